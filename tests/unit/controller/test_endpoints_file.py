"""An endpoints file that is written, replaced, broken and removed: what is found, and when it is read again."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from shardproxy.config.load import endpoints_in
from shardproxy.controller.discovery import files
from shardproxy.controller.discovery.changes import Changes
from shardproxy.controller.discovery.files import LOOK_S, EndpointsFile
from shardproxy.controller.discovery.source import NotFound
from tests.unit.controller.shortage import no_descriptors_left


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "endpoints.yaml"


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Each reading of a file."""
    found: list[str] = []

    def read(path: str) -> object:
        found.append(path)
        return endpoints_in(path)

    monkeypatch.setattr(files, "endpoints_in", read)
    return found


def run(file: Path, story: Callable[[EndpointsFile], Awaitable[None]]) -> None:
    async def play() -> None:
        await story(EndpointsFile("app", str(file), Changes(lambda: NotImplemented, lambda *_: NotImplemented)))

    asyncio.run(play())


async def ports(source: EndpointsFile) -> list[int] | None:
    found = await source.ask()
    return None if found is None else [each.address.port for each in found]


async def problem(source: EndpointsFile) -> str:
    with pytest.raises(NotFound) as caught:
        await source.ask()
    return str(caught.value)


def test_it_is_read_once_and_again_when_it_is_another_one(file: Path, reads: list[str]) -> None:
    async def story(source: EndpointsFile) -> None:
        file.write_text("- 127.0.0.1:1\n- 127.0.0.1:2\n")
        assert [await ports(source), await ports(source), await ports(source)] == [[1, 2], None, None]
        replacement = file.with_name("new")
        replacement.write_text("- 127.0.0.1:3\n- 127.0.0.1:4\n")
        stat = file.stat()
        os.utime(replacement, ns=(stat.st_mtime_ns, stat.st_mtime_ns))
        replacement.rename(file)
        assert [await ports(source), await ports(source)] == [[3, 4], None]
        os.utime(file, ns=(1, 1))
        assert await ports(source) == [3, 4]
        file.write_text("- 127.0.0.1:3\n")
        os.utime(file, ns=(1, 1))
        assert await ports(source) == [3]
        assert reads == [str(file)] * 4

    run(file, story)


def test_what_could_not_be_handed_on_is_found_again(file: Path) -> None:
    async def story(source: EndpointsFile) -> None:
        file.write_text("- 127.0.0.1:1\n")
        await source.ask()
        source.ask_in_full()
        assert [await ports(source), await ports(source)] == [[1], None]

    run(file, story)


def test_what_is_wrong_is_read_once_and_told_each_time(file: Path, reads: list[str]) -> None:
    async def story(source: EndpointsFile) -> None:
        file.write_text("- 127.0.0.1:1\n- nonsense\n")
        told = [await problem(source), await problem(source)]
        assert told[0] == told[1]
        assert told[0].startswith(f"{file}:2: ")
        assert len(reads) == 1
        file.write_text("- 127.0.0.1:12\n")
        assert [await ports(source), await ports(source)] == [[12], None]

    run(file, story)


def test_a_file_that_is_gone_and_comes_back_as_it_was_is_read_again(file: Path) -> None:
    async def story(source: EndpointsFile) -> None:
        assert await problem(source) == f"{file}: the file cannot be read: No such file or directory"
        file.write_text("- 127.0.0.1:1\n")
        assert await ports(source) == [1]
        file.rename(file.with_name("away"))
        assert "No such file" in await problem(source)
        file.with_name("away").rename(file)
        assert await ports(source) == [1]

    run(file, story)


def test_a_file_that_could_not_be_opened_for_want_of_descriptors_is_read_as_soon_as_it_can_be(file: Path) -> None:
    async def story(source: EndpointsFile) -> None:
        await asyncio.to_thread(lambda: None)
        file.write_text("- 127.0.0.1:1\n")
        with no_descriptors_left():
            assert await problem(source) == f"{file}: the file cannot be read: Too many open files"
        assert await ports(source) == [1]

    run(file, story)


def test_it_is_looked_at_four_times_a_second(file: Path) -> None:
    async def story(source: EndpointsFile) -> None:
        assert source.pause_s() == LOOK_S == 0.25
        assert repr(source) == f"<EndpointsFile app {file}>"

    run(file, story)
