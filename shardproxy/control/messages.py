"""Every sentence that the supervisor and a child exchange.

    supervisor                       worker or controller
        |  <------------------------------  Ready
        |  Drain(deadline_ns)  ---------->
        |  <------------------------------  Drained(cut), then the child exits
        |  Stop  ------------------------>

A message is one packet, encoded as msgpack with its name as the tag.  Times are CLOCK_MONOTONIC nanoseconds, which all
processes of the machine share.
"""

from __future__ import annotations

import msgspec


class Ready(msgspec.Struct, frozen=True, tag=True):
    """Child to supervisor: everything is set up, and connections are being accepted."""


class Drain(msgspec.Struct, frozen=True, tag=True):
    """Supervisor to child: accept what waits in the queues, close the listening sockets, finish what runs, then exit.

    What still runs at `deadline_ns` is cut.  A second one replaces the deadline of the first.
    """

    deadline_ns: int


class Stop(msgspec.Struct, frozen=True, tag=True):
    """Supervisor to child: exit at once, whatever is running."""


class Drained(msgspec.Struct, frozen=True, tag=True):
    """Child to supervisor: the drain is over and the exit follows; `cut` exchanges had not ended by themselves."""

    cut: int


Message = Ready | Drain | Stop | Drained

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)


def encode(message: Message) -> bytes:
    return _encoder.encode(message)


def decode(packet: bytes) -> Message:
    """The message in `packet`; raises `msgspec.DecodeError` if it is none of ours."""
    return _decoder.decode(packet)
