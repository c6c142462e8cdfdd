"""Descriptors that the worker's own epoll watches, beside what its loop has to do."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator

import pytest
import uvloop

from shardproxy.proxy.watching import Reader, Watch

MOMENT_S, LONG_S = 0.05, 5.0


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    made = uvloop.new_event_loop()
    yield made
    made.close()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        yield ours, theirs


def run(loop: asyncio.AbstractEventLoop, seconds: float = MOMENT_S) -> None:
    loop.call_later(seconds, loop.stop)
    loop.run_forever()


Pair = tuple[socket.socket, socket.socket]


def test_whoever_can_be_read_is_called(loop: asyncio.AbstractEventLoop, pair: Pair) -> None:
    ours, theirs = pair
    got: list[bytes] = []
    Reader(Watch(loop), ours.fileno(), lambda: got.append(ours.recv(10)))
    theirs.sendall(b"one")
    run(loop)
    theirs.sendall(b"two")
    run(loop)
    assert got == [b"one", b"two"]


def test_who_pauses_is_called_when_it_goes_on(loop: asyncio.AbstractEventLoop, pair: Pair) -> None:
    ours, theirs = pair
    got: list[bytes] = []
    reader = Reader(Watch(loop), ours.fileno(), lambda: got.append(ours.recv(10)))
    reader.pause()
    theirs.sendall(b"one")
    run(loop)
    assert got == []
    reader.resume()
    run(loop)
    assert got == [b"one"]


def test_who_is_closed_is_not_called_and_its_descriptor_stays_open(loop: asyncio.AbstractEventLoop, pair: Pair) -> None:
    ours, theirs = pair
    got: list[bytes] = []
    reader = Reader(Watch(loop), ours.fileno(), lambda: got.append(ours.recv(10)))
    reader.close()
    reader.close()
    theirs.sendall(b"one")
    run(loop)
    assert got == []
    assert ours.recv(10) == b"one"


def test_one_may_close_another_that_is_ready_at_the_same_time(loop: asyncio.AbstractEventLoop) -> None:
    watch, called = Watch(loop), 0
    ends = [os.eventfd(1) for _ in range(2)]
    readers: list[Reader] = []

    def close_all() -> None:
        nonlocal called
        called += 1
        for reader in readers:
            reader.close()

    readers += [Reader(watch, end, close_all) for end in ends]
    run(loop)
    assert 1 <= called <= 2
    for end in ends:
        os.close(end)


def test_those_who_are_always_ready_leave_the_loop_its_turns(loop: asyncio.AbstractEventLoop) -> None:
    watch, turns = Watch(loop), 0
    always = os.eventfd(1)
    Reader(watch, always, lambda: None)
    ended = loop.create_future()

    def count() -> None:
        nonlocal turns
        turns += 1
        if turns == 20:
            ended.set_result(None)
        else:
            loop.call_later(0.001, count)

    count()
    loop.run_until_complete(asyncio.wait_for(ended, LONG_S))
    os.close(always)
    assert turns == 20
