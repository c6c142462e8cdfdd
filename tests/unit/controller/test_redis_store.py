"""What a store is asked, and what is made of its answers and of its silence; a real one is asked in test_sync."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("redis")

from shardproxy.config.stores import parse_store
from shardproxy.controller import redis_store
from shardproxy.controller.redis_store import SCRIPT, TRIP_S, Grant, RedisStore, StoreLost, first_line, sentence
from tests.proxykit import free_port
from tests.unit.controller.counting import until
from tests.unit.controller.scripted_store import ScriptedStore, bulk, integers, scripted_store


def run(story: Callable[[ScriptedStore, RedisStore], Awaitable[None]]) -> None:
    async def play() -> None:
        async with asyncio.timeout(20), scripted_store() as server:
            store = RedisStore(parse_store(server.url), "machine-7")
            try:
                await story(server, store)
            finally:
                await store.close()

    asyncio.run(play())


def test_the_script_is_loaded_once_and_called_with_everything_that_it_needs() -> None:
    async def story(server: ScriptedStore, store: RedisStore) -> None:
        await store.open()
        assert server.named("SCRIPT") == [["SCRIPT", "LOAD", SCRIPT]]
        server.replies["EVALSHA"] = integers(12, 300, 2)
        assert await store.lease("per day", -3, 20, 8.0, 100) == Grant(12, 300, 2)
        assert await store.lease("few", 4, 0, 1000.0, 7) == Grant(12, 300, 2)
        per_day, few = (
            [key, f"{key}:machines", f"{key}:interval"] for key in ("shardproxy:{per day}", "shardproxy:{few}")
        )
        assert server.named("EVALSHA") == [
            ["EVALSHA", "cafe", "3", *per_day, "machine-7", "-3", "20", "125000.0", "100"],
            ["EVALSHA", "cafe", "3", *few, "machine-7", "4", "0", "1000.0", "7"],
        ]
        assert len(server.named("SCRIPT")) == 1
        assert server.connections == 1

    run(story)


def test_another_database_and_a_password_are_said_first(tmp_path: Path) -> None:
    async def story(server: ScriptedStore, _: RedisStore) -> None:
        (tmp_path / "password").write_text("hunter2\r\nand more\n")
        store = RedisStore(parse_store(f"{server.url}/3"), "m", str(tmp_path / "password"))
        await store.open()
        assert server.named("AUTH") == [["AUTH", "hunter2"]]
        assert server.named("SELECT") == [["SELECT", "3"]]
        assert not server.named("HELLO")
        await store.close()

    run(story)


def test_without_a_password_none_is_said() -> None:
    async def story(server: ScriptedStore, store: RedisStore) -> None:
        await store.open()
        assert not server.named("AUTH")
        assert not server.named("SELECT")

    run(story)


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine may take its time; only silence is waited for less long."""
    assert TRIP_S == 0.3
    monkeypatch.setattr(redis_store, "TRIP_S", 10.0)


@contextmanager
def hurry(reply: bytes | None) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        if reply is None:
            patch.setattr(redis_store, "TRIP_S", 0.05)
        yield


async def lost(what: Awaitable[object]) -> str:
    with pytest.raises(StoreLost) as caught:
        await what
    return str(caught.value)


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (b"-NOSCRIPT No matching script\r\n", "it was restarted"),
        (b"-LOADING Redis is loading the dataset\r\n", "Redis is loading the dataset"),
        (b"-ERR it is full\r\n", "it is full"),
        (None, "no answer within 0.05 s"),
        (b":5\r\n", ""),
        (integers(1, 2), ""),
        (b"*3\r\n$1\r\nx\r\n:1\r\n:2\r\n", ""),
    ],
)
def test_an_answer_that_is_none_loses_the_store_until_it_is_opened(reply: bytes | None, why: str) -> None:
    async def story(server: ScriptedStore, store: RedisStore) -> None:
        await store.open()
        good, server.replies["EVALSHA"] = server.replies["EVALSHA"], reply
        with hurry(reply):
            assert why in await lost(store.lease("few", 0, 1, 1.0, 1))
        await until(lambda: not server.connections)
        server.replies["EVALSHA"] = good
        await store.open()
        assert await store.lease("few", 0, 1, 1.0, 1) == Grant(5, 6, 1)

    run(story)


@pytest.mark.parametrize(("reply", "why"), [(None, "no answer within 0.05 s"), (b"-NOAUTH log in\r\n", "log in")])
def test_a_store_that_takes_no_script_is_not_open(reply: bytes | None, why: str) -> None:
    async def story(server: ScriptedStore, store: RedisStore) -> None:
        server.replies["SCRIPT"] = reply
        with hurry(reply):
            assert why in await lost(store.open())
        await until(lambda: not server.connections)
        with pytest.raises(AssertionError, match="open.. comes first"):
            await store.lease("few", 0, 1, 1.0, 1)

    run(story)


def test_nobody_there_is_said_in_one_sentence() -> None:
    async def story() -> None:
        why = await lost(RedisStore(parse_store(f"redis://127.0.0.1:{free_port()}"), "m").open())
        assert "127.0.0.1" in why
        assert "\n" not in why

    asyncio.run(story())


def test_a_late_answer_is_not_asked_for_twice() -> None:
    async def story(server: ScriptedStore, store: RedisStore) -> None:
        await store.open()
        server.replies["EVALSHA"] = None
        with hurry(None):
            await lost(store.lease("few", 0, 1, 1.0, 1))
        assert len(server.named("EVALSHA")) == 1

    run(story)


def test_opening_again_leaves_the_connection_before() -> None:
    async def story(server: ScriptedStore, store: RedisStore) -> None:
        await store.open()
        await store.open()
        await until(lambda: server.connections == 1)
        await store.close()
        await store.close()
        await until(lambda: not server.connections)

    run(story)


def test_a_script_is_known_by_what_the_store_calls_it() -> None:
    async def story(server: ScriptedStore, store: RedisStore) -> None:
        server.replies["SCRIPT"] = bulk(b"beef")
        await store.open()
        await store.lease("few", 0, 1, 1.0, 1)
        assert server.named("EVALSHA")[0][1] == "beef"

    run(story)


def test_a_password_is_the_first_line_of_its_file(tmp_path: Path) -> None:
    file = tmp_path / "password"
    passwords = {
        "one\ntwo": "one", "one\r\n": "one", " one ": " one ", "XoneX\r\n": "XoneX", "": "", "zürich": "zürich",
    }  # fmt: skip
    for text, password in passwords.items():
        file.write_bytes(text.encode())
        assert first_line(str(file)) == password
    file.write_bytes(b"\xff\n")
    with pytest.raises(StoreLost, match="its password cannot be read: .*decode"):
        first_line(str(file))
    with pytest.raises(StoreLost, match="its password cannot be read: .*No such file"):
        first_line(str(tmp_path / "nowhere"))


def test_an_error_is_told_by_its_text_or_else_its_kind() -> None:
    assert sentence(TimeoutError("x")) == "no answer within 10 s"
    assert sentence(ConnectionError("it hung up")) == "it hung up"
    assert sentence(ConnectionError()) == "ConnectionError"
