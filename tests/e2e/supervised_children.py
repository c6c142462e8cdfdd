"""Children for the supervisor's tests: plain loops that do what a client writes to them in one line.

`whoami` answers name, pid and row; `exit N`, `crash`, `spin` and `mute` misbehave;
`hold` is work that lasts; `count` adds one to a gauge and to a counter; `fds` lists the descriptors that should not be
there; `lose` raises where nothing can catch it; the controller answers `gauge`, `counter` and `lost` with the totals.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import time
from pathlib import Path

from shardproxy.control.channel import PeerGone
from shardproxy.control.messages import Drain, Drained, Ready, Stop
from shardproxy.control.seat import Seat
from shardproxy.shm import names
from shardproxy.shm.gauges import Gauges
from shardproxy.shm.metrics import Metrics
from shardproxy.shm.rows import Rows

BEAT_S = 0.05


class FailsAtItsEnd:
    def __del__(self) -> None:
        raise OSError("nothing can catch this")


class Puppet:
    """One child's loop; `serve` returns the exit code."""

    def __init__(self, seat: Seat) -> None:
        self.seat = seat
        self.rows = Rows(seat.segment)
        self.gauges, self.metrics = Gauges(seat.segment, seat.row), Metrics(seat.segment, seat.row)
        self.gauge = seat.slots.gauge(names.endpoint_active("app", "127.0.0.1:1"))
        self.counter = seat.slots.counter(names.REQUESTS)
        self.accepting = list(seat.listeners.values())
        self.held: list[socket.socket] = []

    def serve(self) -> int:
        self.seat.channel.send(Ready())
        while True:
            self.rows.beat(self.seat.row, time.monotonic_ns())
            readable = set(select.select([self.seat.channel.fileno(), *descriptors(self.accepting)], [], [], BEAT_S)[0])
            for one in self.accepting:
                if one.fileno() in readable:
                    self.accept(one)
            if self.seat.channel.fileno() in readable and (code := self.obey()) is not None:
                return code

    def obey(self) -> int | None:
        try:
            message = self.seat.channel.receive()
        except PeerGone:
            return 0
        if isinstance(message, Drain):
            return self.drain(message.deadline_ns)
        return 0 if isinstance(message, Stop) else None

    def drain(self, deadline_ns: int) -> int | None:
        """Empty the queues, let go of them, wait for what is held, say what was cut."""
        for one in self.accepting:
            while self.accept(one):
                pass
            one.close()
        self.accepting.clear()
        wait_s = max(0.0, (deadline_ns - time.monotonic_ns()) / 1e9)
        channel = self.seat.channel.fileno()
        if self.held and channel in select.select([channel, *descriptors(self.held)], [], [], wait_s)[0]:
            return None
        self.seat.channel.send(Drained(cut=len(self.held)))
        return 0

    def accept(self, listener: socket.socket) -> bool:
        try:
            connection, _ = listener.accept()
        except BlockingIOError:
            return False
        connection.settimeout(5)
        words = connection.recv(100).decode().split()
        answer = getattr(self, f"do_{words[0]}")(connection, *words[1:])
        if answer is not None:
            connection.sendall(answer.encode())
            connection.close()
        return True

    def do_whoami(self, connection: socket.socket) -> str:
        return f"{self.seat.name}|{os.getpid()}|{self.seat.row}"

    def do_count(self, connection: socket.socket) -> str:
        self.gauges.add(self.gauge, 1)
        self.metrics.count(self.counter)
        return "counted"

    def do_gauge(self, connection: socket.socket) -> str:
        return str(self.gauges.total(self.gauge))

    def do_counter(self, connection: socket.socket) -> str:
        return str(self.metrics.counter_total(self.counter))

    def do_lose(self, connection: socket.socket) -> str:
        FailsAtItsEnd()
        return "lost"

    def do_lost(self, connection: socket.socket) -> str:
        slots = [self.seat.slots.counter(names.unraisable(kind)) for kind in ("worker", "controller", "supervisor")]
        return " ".join(str(self.metrics.counter_total(slot)) for slot in slots)

    def do_fds(self, connection: socket.socket) -> str:
        mine = {connection.fileno(), self.seat.channel.fileno(), self.seat.segment.fd}
        mine |= {*self.seat.bells, *(one.fileno() for one in self.accepting)}
        open_now = {int(entry.name) for entry in Path("/proc/self/fd").iterdir() if os.path.lexists(entry)}
        return " ".join(str(fd) for fd in sorted(open_now - mine))

    def do_exit(self, connection: socket.socket, code: str) -> None:
        os._exit(int(code))

    def do_crash(self, connection: socket.socket) -> None:
        signal.signal(signal.SIGSEGV, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGSEGV)

    def do_spin(self, connection: socket.socket) -> None:
        spin_for_ever()

    def do_mute(self, connection: socket.socket) -> None:
        """Alive, but deaf to messages: the channel is closed."""
        self.seat.channel.close()
        while True:
            self.rows.beat(self.seat.row, time.monotonic_ns())
            time.sleep(BEAT_S)

    def do_hold(self, connection: socket.socket) -> None:
        """Work that ends when the client closes."""
        self.held.append(connection)
        connection.sendall(b"held")


class Stubborn(Puppet):
    """Hears every message and does nothing about it."""

    def obey(self) -> int | None:
        self.seat.channel.receive()
        return None


def descriptors(sockets: list[socket.socket]) -> list[int]:
    return [one.fileno() for one in sockets]


def spin_for_ever() -> None:
    while True:
        pass


def serve(seat: Seat) -> int:
    return Puppet(seat).serve()


def stubborn(seat: Seat) -> int:
    return Stubborn(seat).serve()


def never_ready(seat: Seat) -> int:
    return 4


def raises(seat: Seat) -> int:
    raise RuntimeError("cannot work like this")


def short_lived(seat: Seat) -> int:
    """Ready, and gone at once."""
    seat.channel.send(Ready())
    return 7
