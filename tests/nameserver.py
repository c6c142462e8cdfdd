"""A small DNS server for tests: answers by UDP what its table says, in a thread of its own."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

Table = dict[tuple[str, str], list[str]]


class Nameserver:
    """`table` is by name and kind of record, and may be changed at any time; `is_silent` lets every question wait.

    `is_refusing` refuses every question.
    """

    def __init__(self) -> None:
        self.table: Table = {}
        self.ttl_s = 0
        self.is_silent = False
        self.is_refusing = False
        self.questions = 0
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"

    def serve(self) -> None:
        while True:
            packet, client = self._socket.recvfrom(4096)
            if not packet:
                return
            self.questions += 1
            if not self.is_silent:
                self._socket.sendto(self._answer(packet), client)

    def close(self, thread: Thread) -> None:
        host, port = self._socket.getsockname()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", (host, port))
        thread.join(5)
        self._socket.close()

    def _answer(self, packet: bytes) -> bytes:
        query = dns.message.from_wire(packet)
        response = dns.message.make_response(query)
        response.flags |= dns.flags.RA
        asked = query.question[0]
        name, kind = str(asked.name).rstrip("."), dns.rdatatype.to_text(asked.rdtype)
        if self.is_refusing:
            response.set_rcode(dns.rcode.REFUSED)
        elif not any(known == name for known, _ in self.table):
            response.set_rcode(dns.rcode.NXDOMAIN)
        if records := self.table.get((name, kind)):
            response.answer.append(dns.rrset.from_text(asked.name, self.ttl_s, "IN", kind, *records))
        return response.to_wire()


@contextmanager
def nameserver() -> Iterator[Nameserver]:
    server = Nameserver()
    thread = Thread(target=server.serve)
    thread.start()
    try:
        yield server
    finally:
        server.close(thread)
