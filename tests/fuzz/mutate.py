"""Mutated wire cases: whole and bytewise the same, llhttp and h11 read what we read, onward nothing hop-by-hop.

    python -m tests.fuzz.mutate --seconds 60 --seed 7
    python -m tests.fuzz.mutate --inputs 100000 --seed 7
    python -m tests.fuzz.mutate --reproduce request:474554202f ...

The seeds are the wire cases. An input that reaches a reading not seen before joins the corpus, so that the next
mutations start from it. Prints inputs per second and how many were accepted; on a violation exits 1 with the input in
hex.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from shardproxy.http1.head import Head
from tests.fuzz.invariants import check
from tests.fuzz.reading import Message, Reading
from tests.wire.casefile import load_all

# A longer seed is left to the wire tests, a longer mutant is cut: the bytewise reading is quadratic.
MAX_INPUT_BYTES = 1024
MAX_CORPUS = 4096

# What framing and line ends are made of, and the words that change what a message means.
PIECES = (
    b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\r\n ", b"\t", b" ", b"\0", b"\x0b", b"\x7f", b"\x80", b"\xff",
    b":", b";", b",", b"=", b'"', b"\\", b"/", b"?", b"#", b"%", b"%00", b"*", b"@", b"[", b"]", b"-", b"+",
    b"0", b"1", b"5", b"a", b"f", b"0\r\n\r\n", b"5\r\n", b"http://", b"a.test", b"HTTP/1.0", b"HTTP/1.1",
    b"chunked", b"close", b"keep-alive", b"upgrade", b"trailers", b"CONNECT", b"OPTIONS",
    b"\r\nContent-Length: 5", b"\r\nContent-Length: 0", b"\r\nTransfer-Encoding: chunked", b"\r\nHost: a.test",
    b"\r\nConnection: ", b"\r\nUpgrade: x", b"\r\nTE: trailers", b"\r\nTrailer: a", b"\r\nKeep-Alive: x",
    b"\r\nExpect: 100-continue", b"\r\nX-Forwarded-For: 1",
)  # fmt: skip

Mutation = Callable[[random.Random, bytes, bytes], bytes]


def flip_bit(rng: random.Random, data: bytes, _: bytes) -> bytes:
    at = rng.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]


def replace_byte(rng: random.Random, data: bytes, _: bytes) -> bytes:
    at = rng.randrange(len(data))
    return data[:at] + rng.randbytes(1) + data[at + 1 :]


def insert_piece(rng: random.Random, data: bytes, _: bytes) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.choice(PIECES) + data[at:]


def overwrite_with_piece(rng: random.Random, data: bytes, _: bytes) -> bytes:
    at = rng.randrange(len(data))
    piece = rng.choice(PIECES)
    return data[:at] + piece + data[at + len(piece) :]


def cut_out(rng: random.Random, data: bytes, _: bytes) -> bytes:
    at = rng.randrange(len(data))
    return data[:at] + data[at + rng.randint(1, 8) :]


def repeat_part(rng: random.Random, data: bytes, _: bytes) -> bytes:
    at = rng.randrange(len(data))
    part = data[at : at + rng.randint(1, 24)]
    return data[:at] + part * rng.randint(2, 3) + data[at + len(part) :]


def repeat_line(rng: random.Random, data: bytes, _: bytes) -> bytes:
    lines = data.split(b"\r\n")
    at = rng.randrange(len(lines))
    return b"\r\n".join(lines[:at] + [lines[at]] + lines[at:])


def swap_lines(rng: random.Random, data: bytes, _: bytes) -> bytes:
    lines = data.split(b"\r\n")
    a, b = rng.randrange(len(lines)), rng.randrange(len(lines))
    lines[a], lines[b] = lines[b], lines[a]
    return b"\r\n".join(lines)


def splice(rng: random.Random, data: bytes, other: bytes) -> bytes:
    return data[: rng.randrange(len(data) + 1)] + other[rng.randrange(len(other) + 1) :]


def borrow_line(rng: random.Random, data: bytes, other: bytes) -> bytes:
    lines, others = data.split(b"\r\n"), other.split(b"\r\n")
    lines.insert(rng.randrange(len(lines) + 1), rng.choice(others))
    return b"\r\n".join(lines)


def change_case(rng: random.Random, data: bytes, _: bytes) -> bytes:
    at = rng.randrange(len(data))
    return data[:at] + data[at : at + 12].swapcase() + data[at + 12 :]


def cut_end(rng: random.Random, data: bytes, _: bytes) -> bytes:
    return data[: rng.randrange(len(data)) + 1]


MUTATIONS: tuple[Mutation, ...] = (
    flip_bit, replace_byte, insert_piece, insert_piece, overwrite_with_piece, cut_out, repeat_part, repeat_line,
    swap_lines, splice, borrow_line, borrow_line, change_case, cut_end,
)  # fmt: skip


class Tally(NamedTuple):
    """What a run came to; `violation` is empty if everything held."""

    inputs: int
    accepted: int
    corpus: int
    seconds: float
    violation: str = ""
    reproducer: str = ""


def mutant(rng: random.Random, corpus: Sequence[Message]) -> Message:
    """One corpus entry with one to four mutations."""
    seed = rng.choice(corpus)
    data = seed.data
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 4))):
        data = rng.choice(MUTATIONS)(rng, data or b"G", rng.choice(corpus).data)
    return seed._replace(data=data[:MAX_INPUT_BYTES])


def shape(message: Message, reading: Reading) -> tuple[object, ...]:
    """What makes a reading new to the corpus: coarse, so that the corpus stays small."""
    framing = sorted(name.lower() for name, _, hop in reading.fields if hop or name.lower() == b"content-length")
    size = len(reading.payload).bit_length()
    return message.what, message.method, reading.verdict, reading.kind, reading.minor, tuple(framing[:4]), size


def run(seed: int, *, seconds: float = float("inf"), inputs: int = sys.maxsize) -> Tally:
    """Mutate until the time or the number is used up, or an invariant breaks."""
    rng = random.Random(seed)
    corpus = [case.message for case in load_all() if 0 < len(case.message.data) <= MAX_INPUT_BYTES]
    shapes: set[tuple[object, ...]] = set()
    reused = Head()
    begin = time.monotonic()
    done = accepted = 0
    while done < inputs and (done % 64 or time.monotonic() - begin < seconds):
        message = mutant(rng, corpus)
        done += 1
        try:
            reading = check(message, reused)
        except AssertionError as violation:
            reproducer = f"{message.what}:{message.data.hex()}:{message.method.decode()}"
            return Tally(done, accepted, len(corpus), time.monotonic() - begin, str(violation), reproducer)
        accepted += reading.verdict == "ok"
        if len(corpus) < MAX_CORPUS and (found := shape(message, reading)) not in shapes:
            shapes.add(found)
            corpus.append(message)
    return Tally(done, accepted, len(corpus), time.monotonic() - begin)


def parse_input(text: str) -> Message:
    """An input as a run prints it; ValueError if it is none."""
    what, data, method = (text + ":GET").split(":")[:3]
    if what == "request":
        return Message("request", bytes.fromhex(data))
    if what == "response":
        return Message("response", bytes.fromhex(data), method.encode())
    raise ValueError(what)


def reproduce(text: str) -> str:
    """The violation of one input in the form that a run prints, or nothing."""
    try:
        check(parse_input(text))
    except AssertionError as violation:
        return str(violation)
    return ""


def reproduce_or_explain(parser: argparse.ArgumentParser, text: str) -> int:
    """Say what is wrong with the input, or that nothing is; the exit code."""
    try:
        violation = reproduce(text)
    except ValueError:
        parser.error(f"{text!r} is not WHAT:HEX or WHAT:HEX:METHOD, with request or response as WHAT")
    print(violation or "every invariant holds")
    return 1 if violation else 0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.mutate", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after so long")
    parser.add_argument("--inputs", type=int, default=sys.maxsize, help="stop after so many inputs")
    parser.add_argument("--seed", type=int, default=None, help="of the random numbers; a new one each time by default")
    parser.add_argument("--reproduce", metavar="INPUT", help="check one input that a run printed")
    options = parser.parse_args(arguments)
    if options.reproduce:
        return reproduce_or_explain(parser, options.reproduce)
    if options.seconds == float("inf") and options.inputs == sys.maxsize:
        options.seconds = 60.0
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(1 << 32)
    return report(run(seed, seconds=options.seconds, inputs=options.inputs), seed)


def report(tally: Tally, seed: int) -> int:
    """Print what a run came to; the exit code."""
    rate = tally.inputs / max(tally.seconds, 1e-9)
    print(
        f"seed {seed}: {tally.inputs} inputs in {tally.seconds:.1f} s ({rate:.0f}/s), "
        f"{tally.accepted} accepted, corpus {tally.corpus}"
    )
    if not tally.violation:
        return 0
    print(f"VIOLATION: {tally.violation}\ninput: {tally.reproducer}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
