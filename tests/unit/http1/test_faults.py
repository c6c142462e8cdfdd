"""The numbers in faults.pxd, the table in faults.py, and the answers prepared from it say the same."""

from __future__ import annotations

import re
from pathlib import Path

import h11
import pytest

from shardproxy.http1 import faults
from shardproxy.http1.faults import FAULTS, NAMES, FaultFacts
from shardproxy.proxy.replies import REPLIES, Reply

ENUM = Path(faults.__file__).with_name("faults.pxd")
ANSWERED = [reply for reply in REPLIES if reply.status]


def numbers() -> dict[str, int]:
    """The enum, by lower-case name."""
    found = re.findall(r"^    ([A-Z_]+) = (\d+)$", ENUM.read_text(), re.MULTILINE)
    return {name.lower(): int(number) for name, number in found}


def test_the_enum_and_the_table_have_the_same_names_in_the_same_order() -> None:
    enum = numbers()
    assert enum.pop("faults") == len(FAULTS)
    assert list(enum.items()) == [(name, number) for number, name in enumerate(NAMES)]


def test_names_are_words_for_metrics_and_each_stands_once() -> None:
    assert len(set(NAMES)) == len(NAMES)
    assert all(re.fullmatch(r"[a-z_]+", name) for name in NAMES)


@pytest.mark.parametrize(
    "facts", [facts for facts in FAULTS if facts.side == "downstream"], ids=lambda facts: facts.name
)
def test_a_client_fault_has_a_client_status_and_closes(facts: FaultFacts) -> None:
    nobody_listens = facts.name in ("client_gone", "truncated_request")
    assert facts.closes
    assert facts.status == 0 if nobody_listens else 400 <= facts.status < 500 or facts.status in (501, 505)


@pytest.mark.parametrize("facts", [facts for facts in FAULTS if facts.side == "upstream"], ids=lambda facts: facts.name)
def test_a_fault_of_the_origin_keeps_the_client(facts: FaultFacts) -> None:
    assert not facts.closes
    assert facts.status in (502, 504) or facts.name in ("response_cut", "response_stalled")


def test_every_fault_has_a_sentence_of_its_own() -> None:
    sentences = [facts.sentence for facts in FAULTS]
    assert len(set(sentences)) == len(sentences)
    assert all(sentence and not sentence.endswith(".") for sentence in sentences)


def test_there_is_a_reply_for_each_fault_and_an_empty_one_where_nobody_listens() -> None:
    assert [reply.status for reply in REPLIES] == [facts.status for facts in FAULTS]
    assert all(reply.head == reply.body == b"" for reply in REPLIES if not reply.status)


@pytest.mark.parametrize(
    "reply", ANSWERED, ids=lambda reply: reply.head.split(b"Reason: ")[1].split(b"\r\n")[0].decode()
)
def test_a_prepared_reply_is_a_whole_response_to_h11(reply: Reply) -> None:
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="GET", target="/", headers=[("Host", "a.test")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(reply.head + b"\r\n" + reply.body)
    response = connection.next_event()
    assert isinstance(response, h11.Response)
    assert response.status_code == reply.status
    data = connection.next_event()
    assert isinstance(data, h11.Data) and bytes(data.data) == reply.body
    assert isinstance(connection.next_event(), h11.EndOfMessage)
