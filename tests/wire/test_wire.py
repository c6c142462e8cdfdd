"""Each wire case, fed whole, byte by byte and with trailing data."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.invariants import check
from tests.fuzz.reading import read_every_way
from tests.wire.casefile import BadCase, WireCase, load, load_all, unescape

CASES = load_all()


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.place} {case.name}")
def test_a_wire_case_reads_the_same_whole_bytewise_and_with_trailing_data(case: WireCase) -> None:
    reading = read_every_way(case.message)
    assert reading.verdict == case.verdict, case.place
    if case.kind:
        assert reading.kind == case.kind
    if case.body is not None:
        assert reading.payload == case.body
    assert case.message.data[reading.used :] == case.rest or case.rest is None


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.place} {case.name}")
def test_a_wire_case_keeps_the_invariants_of_the_fuzzer(case: WireCase) -> None:
    assert check(case.message).verdict == case.verdict


def test_every_case_has_a_name_of_its_own() -> None:
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names) > 200


def test_escapes_are_the_ones_of_the_readme() -> None:
    assert unescape(r"a\r\n\t\0\\\x41\3*(b)") == b"a\r\n\t\0\\Abbb"


def test_a_case_that_is_written_wrongly_is_refused_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "wrong.http"
    path.write_text("# name\n> request\nGET / HTTP/1.1\n= ok\n")
    with pytest.raises(BadCase, match="wrong.http:1: a line begins with 'G'"):
        list(load(path))
