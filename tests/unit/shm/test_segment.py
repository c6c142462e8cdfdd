from __future__ import annotations

import fcntl
import os
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shardproxy.shm import layout
from shardproxy.shm.gauges import Gauges
from shardproxy.shm.layout import Capacities
from shardproxy.shm.segment import ForeignLayout, Segment

OTHER_VERSION = (
    f"^the segment has layout version {layout.LAYOUT_VERSION + 1}, this program has {layout.LAYOUT_VERSION}$"
)

@contextmanager
def memfd(content: bytes, size: int, seals: int = fcntl.F_SEAL_SHRINK) -> Iterator[int]:
    """Shared memory that may pretend to be a segment."""
    fd = os.memfd_create("test", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(fd, size)
        os.pwrite(fd, content, 0)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
        yield fd
    finally:
        os.close(fd)


def header(segment: Segment) -> bytearray:
    return bytearray(segment.memory[: layout.HEADER.size])


def test_what_one_mapping_writes_the_other_reads(segment: Segment) -> None:
    other = Segment.attach(os.dup(segment.fd))
    try:
        Gauges(segment, 1).add(7, 3)
        assert Gauges(other, 2).total(7) == 3
        assert (other.capacities, other.secret) == (segment.capacities, segment.secret)
    finally:
        other.close()


def test_a_new_segment_is_zero_with_a_secret_of_its_own(segment: Segment, capacities: Capacities) -> None:
    other = Segment.create(capacities)
    try:
        assert len(segment.secret) == 16
        assert segment.secret != other.secret
        assert segment.rows_used == 1
        assert not any(segment.part(segment.sections.gauges))
    finally:
        other.close()


def test_its_size_is_sealed(segment: Segment) -> None:
    for size in (0, segment.sections.size * 2):
        with pytest.raises(PermissionError):
            os.ftruncate(segment.fd, size)


def test_a_fresh_default_segment_takes_a_page_of_memory() -> None:
    segment = Segment.create(Capacities())
    try:
        assert os.fstat(segment.fd).st_blocks * 512 <= 2 * layout.PAGE_BYTES
    finally:
        segment.close()


def test_rows_used_is_shared_and_checked(segment: Segment) -> None:
    other = Segment.attach(os.dup(segment.fd))
    segment.rows_used = 32
    assert other.rows_used == 32
    other.close()
    for rows in (0, 33):
        with pytest.raises(ValueError, match=f"rows_used must be from 1 to 32, not {rows}"):
            segment.rows_used = rows


def test_closing_leaves_what_is_built_on_it_usable(capacities: Capacities) -> None:
    segment = Segment.create(capacities)
    gauges = Gauges(segment, 0)
    segment.close()
    segment.close()
    gauges.add(0, 1)
    assert gauges.total(0) == 1
    assert repr(segment) == "<Segment closed>"
    with pytest.raises(ValueError, match="the segment is closed"):
        _ = segment.memory


def test_closing_gives_back_its_only_descriptor(capacities: Capacities) -> None:
    before = set(Path("/proc/self/fd").iterdir())
    Segment.create(capacities).close()
    assert set(Path("/proc/self/fd").iterdir()) == before


def test_repr_tells_its_state(segment: Segment) -> None:
    assert repr(segment) == f"<Segment fd={segment.fd} rows=1/32 size={segment.sections.size}>"


def test_touched_names_only_the_pages_with_memory_behind_them(segment: Segment) -> None:
    counters = segment.sections.counters
    at = counters.offset + 2 * counters.stride
    segment.memory[at + 8] = 1
    assert list(segment.touched(counters.offset, counters.end)) == [(at, at + layout.PAGE_BYTES)]
    assert list(segment.touched(at + 16, at + 24)) == [(at + 16, at + 24)]
    assert list(segment.touched(at + counters.stride, segment.sections.size)) == []


def test_a_regular_file_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as file, pytest.raises(ForeignLayout, match="is not shared memory: Invalid"):
        Segment.attach(file.fileno())


def test_a_socket_is_refused() -> None:
    with socket.socket() as sock, pytest.raises(ForeignLayout, match=f"descriptor {sock.fileno()} is not shared mem"):
        Segment.attach(sock.fileno())


def test_a_closed_descriptor_is_refused() -> None:
    with pytest.raises(ForeignLayout, match="descriptor 900 is not shared memory: Bad file descriptor"):
        Segment.attach(900)


def test_memory_that_can_still_shrink_is_refused(segment: Segment) -> None:
    with (
        memfd(bytes(header(segment)), segment.sections.size, seals=0) as fd,
        pytest.raises(ForeignLayout, match="can still shrink, so shardproxy did not make it"),
    ):
        Segment.attach(fd)


@pytest.mark.parametrize("content", [b"", b"another program's memory", b"shardprx"])
def test_the_memory_of_another_program_is_refused(content: bytes) -> None:
    with memfd(content, len(content)) as fd, pytest.raises(ForeignLayout, match="shared memory of another program"):
        Segment.attach(fd)


def other_version(head: bytearray) -> None:
    struct.pack_into("<I", head, 8, layout.LAYOUT_VERSION + 1)


def no_rows(head: bytearray) -> None:
    struct.pack_into("<I", head, 12, 0)


def more_gauges(head: bytearray) -> None:
    struct.pack_into("<I", head, 16, 1_000_000)


def wrong_size(head: bytearray) -> None:
    struct.pack_into("<Q", head, 36, 4096)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (other_version, OTHER_VERSION),
        (no_rows, "^the segment is damaged: rows must be a multiple of 16 up to 1024, not 0$"),
        (more_gauges, "^the segment is damaged: 32 rows, 1000000 gauges, .* take [0-9]+ bytes, but it has [0-9]+$"),
        (wrong_size, "^the segment is damaged: "),
    ],
)
def test_another_header_is_refused(segment: Segment, damage: Callable[[bytearray], None], sentence: str) -> None:
    head = header(segment)
    damage(head)
    with memfd(bytes(head), segment.sections.size) as fd, pytest.raises(ForeignLayout, match=sentence):
        Segment.attach(fd)


def test_memory_of_another_size_is_refused(segment: Segment) -> None:
    with (
        memfd(bytes(header(segment)), segment.sections.size - 4096) as fd,
        pytest.raises(ForeignLayout, match="is damaged: .* bytes, but it has"),
    ):
        Segment.attach(fd)


def test_capacities_other_than_expected_are_refused(segment: Segment) -> None:
    with pytest.raises(ForeignLayout, match="has room for 32 rows, .* but 64 rows, .* are asked for"):
        Segment.attach(segment.fd, expected=Capacities())
    again = Segment.attach(os.dup(segment.fd), expected=segment.capacities)
    again.close()
