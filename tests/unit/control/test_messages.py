from __future__ import annotations

import msgspec
import pytest

from shardproxy.control.messages import (
    Abort,
    Answer,
    Applied,
    Ask,
    Commit,
    Drain,
    Drained,
    Message,
    Prepare,
    Prepared,
    Ready,
    Refused,
    Released,
    Stop,
    decode,
    encode,
)

EVERY_MESSAGE: tuple[Message, ...] = (
    Ready(),
    Drain(deadline_ns=2**62, is_succeeded=True),
    Stop(),
    Drained(cut=3),
    Released(),
    Prepare(2, ("web", "127.0.0.1:80")),
    Prepared(2),
    Refused(2, "there is no room"),
    Commit(2),
    Abort(2),
    Applied(2),
    Ask(1, "scale", 3),
    Answer(1, True, "3 workers"),
)


@pytest.mark.parametrize("message", EVERY_MESSAGE)
def test_a_message_comes_back_as_it_was_sent(message: Message) -> None:
    assert decode(encode(message)) == message


@pytest.mark.parametrize("packet", [b"", b"\xc1", b"\x81\xa4type\xa4Nope", encode(Ready())[:-1]])
def test_bytes_that_are_no_message_are_refused(packet: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode(packet)
