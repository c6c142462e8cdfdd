from __future__ import annotations

import os
import select
import socket
from collections.abc import Iterator

import pytest

from shardproxy.control.channel import Channel, PeerBusy, PeerGone
from shardproxy.control.messages import Drain, Drained, Ready, Stop


@pytest.fixture
def pair() -> Iterator[tuple[Channel, Channel]]:
    one, other = Channel.pair()
    yield one, other
    one.close()
    other.close()


def test_messages_arrive_one_by_one_in_order(pair: tuple[Channel, Channel]) -> None:
    one, other = pair
    one.send(Drain(deadline_ns=7))
    one.send(Stop())
    assert [other.receive(), other.receive(), other.receive()] == [Drain(deadline_ns=7), Stop(), None]


def test_both_directions_are_apart(pair: tuple[Channel, Channel]) -> None:
    one, other = pair
    one.send(Stop())
    other.send(Ready())
    assert (one.receive(), other.receive()) == (Ready(), Stop())


def test_receive_does_not_wait(pair: tuple[Channel, Channel]) -> None:
    assert pair[0].receive() is None


def test_what_was_sent_before_the_end_is_still_received(pair: tuple[Channel, Channel]) -> None:
    one, other = pair
    one.send(Drained(cut=1))
    one.close()
    assert other.receive() == Drained(cut=1)
    with pytest.raises(PeerGone):
        other.receive()


def test_sending_to_a_closed_end_says_so(pair: tuple[Channel, Channel]) -> None:
    one, other = pair
    other.close()
    with pytest.raises(PeerGone, match="is gone"):
        one.send(Ready())


def test_an_end_that_does_not_read_cannot_make_the_other_wait(pair: tuple[Channel, Channel]) -> None:
    with pytest.raises(PeerBusy, match="does not read"):
        for _ in range(100_000):
            pair[0].send(Ready())


def test_a_packet_that_is_no_message_is_skipped() -> None:
    raw, end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    channel, peer = Channel(end), Channel(raw)
    raw.send(b"\xc1 from another version")
    peer.send(Ready())
    assert channel.receive() == Ready()
    channel.close()
    peer.close()


def test_a_process_that_is_killed_is_noticed_at_the_other_end(pair: tuple[Channel, Channel]) -> None:
    ours, theirs = pair
    pid = os.fork()
    if pid == 0:
        ours.close()
        os.kill(os.getpid(), 9)
    theirs.close()
    readable, _, _ = select.select([ours], [], [], 10)
    os.waitpid(pid, 0)
    assert readable
    with pytest.raises(PeerGone):
        ours.receive()


def test_a_channel_tells_its_state() -> None:
    one, other = Channel.pair()
    assert repr(one) == f"<Channel fd={one.fileno()}>"
    one.close()
    other.close()
    assert (repr(one), one.fileno()) == ("<Channel closed>", -1)


def test_descriptors_travel_with_their_message(pair: tuple[Channel, Channel]) -> None:
    one, other = pair
    reading, writing = os.pipe()
    one.send(Ready(), [writing])
    os.close(writing)
    assert other.receive() == Ready()
    (copy,) = other.take_descriptors()
    assert other.take_descriptors() == []
    assert not os.get_inheritable(copy)
    os.write(copy, b"x")
    os.close(copy)
    assert os.read(reading, 2) == b"x"
    os.close(reading)


def test_descriptors_that_nobody_takes_are_closed(pair: tuple[Channel, Channel]) -> None:
    one, other = pair
    reading, writing = os.pipe()
    one.send(Ready(), [writing])
    os.close(writing)
    assert (other.receive(), other.receive()) == (Ready(), None)
    assert os.read(reading, 1) == b""
    os.close(reading)
