"""In whatever order the steps of processes follow each other, and wherever one is killed, addresses.pxd is right.

The functions below say in Python, step for step and by the same names, what addresses.pyx does; a step is one access to
the shared memory, in the order of the fences. Whoever changes the one changes the other. That a step left out is
noticed shows that the search looks where it matters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from types import GeneratorType
from typing import NamedTuple, TypeVar

import pytest

TAG, CLAIM = ~0xFFF, 0x800
A, B, C = 0x1000, 0x2000, 0x3000
DEAD = 7  # the mark of a row that is not in the game
WAYS, ATTEMPTS, PATIENCE = 2, 4, 1  # small, so that the search ends
REFUSED, UNCOUNTED, AGAIN, IN_USE = -1, -2, -3, -4

Op = tuple[str, int, int, int]  # read way | swap way, seen, next | add way, delta | total way | in, out: way, tag
Steps = Generator[Op, int, int]
T = TypeVar("T")


class Quest(NamedTuple):
    tag: int
    mark: int
    left_out: str


def address_enter(quest: Quest, cap: int) -> Steps:
    for attempt in range(ATTEMPTS):
        way = yield from settled_at(quest)
        if way == AGAIN:
            way = yield from settle_somewhere(quest, attempt)
        outcome = (yield from count_in(quest, way, cap)) if way >= 0 else way
        if outcome != AGAIN:
            return outcome
    return UNCOUNTED


def settled_at(quest: Quest) -> Steps:
    for way in range(WAYS):
        if (yield "read", way, 0, 0) & (TAG | CLAIM) == quest.tag:
            return way
    return AGAIN


def count_in(quest: Quest, way: int, cap: int) -> Steps:
    outcome = AGAIN
    yield "add", way, 1, 0
    if quest.left_out == "the second look of who enters" or (yield from is_kept(way, quest.tag)):
        if (yield "total", way, 0, 0) <= cap:
            return way
        outcome = REFUSED
    yield "add", way, -1, 0
    return outcome


def is_kept(way: int, tag: int) -> Steps:
    seen = yield "read", way, 0, 0
    return seen == tag or (seen & (TAG | CLAIM) == tag and (yield "swap", way, seen, tag))


def settle_somewhere(quest: Quest, attempt: int) -> Steps:
    for kind in ("rival", "vacant", "settled", "claimed"):
        for way in range(WAYS):
            seen = yield "read", way, 0, 0
            if kind_of(seen, quest.tag) == kind:
                outcome = yield from take_over(quest, way, seen, attempt)
                if outcome != IN_USE:
                    return outcome
    return UNCOUNTED if (yield from is_full(quest)) else AGAIN


def kind_of(word: int, tag: int) -> str:
    if word & TAG == tag:
        return "rival"
    if word == 0:
        return "vacant"
    return "claimed" if word & CLAIM else "settled"


def is_full(quest: Quest) -> Steps:
    for way in range(WAYS):
        if kind_of((yield "read", way, 0, 0), quest.tag) != "settled":
            return False
        if (yield "total", way, 0, 0) == 0:
            return False
    return True


def take_over(quest: Quest, way: int, seen: int, attempt: int) -> Steps:
    if seen & CLAIM:
        if attempt < PATIENCE:
            return AGAIN
    elif seen & TAG == quest.tag:
        return AGAIN
    elif seen != 0:
        if not (yield from is_closed(quest, way, seen)):
            return IN_USE
        seen = seen & TAG | quest.mark
    if not (yield "swap", way, seen, quest.tag | CLAIM | quest.mark):
        return AGAIN
    return (yield from settled(quest, way))


def is_closed(quest: Quest, way: int, seen: int) -> Steps:
    closing = seen & TAG | quest.mark
    if (yield "total", way, 0, 0) != 0 or not (yield "swap", way, seen, closing):
        return False
    if quest.left_out == "the second sum of who takes over" or (yield "total", way, 0, 0) == 0:
        return True
    yield "swap", way, closing, seen & TAG
    return False


def settled(quest: Quest, way: int) -> Steps:
    claim = quest.tag | CLAIM | quest.mark
    for other in range(WAYS):
        if other != way and not (yield from is_out_of_the_way(quest, other, way)):
            yield "swap", way, claim, 0
            return AGAIN
    return way if (yield "swap", way, claim, quest.tag) else AGAIN


def is_out_of_the_way(quest: Quest, other: int, way: int) -> Steps:
    seen = yield "read", other, 0, 0
    if quest.left_out == "the look for rivals" or seen & TAG != quest.tag:
        return True
    return other > way and seen & CLAIM != 0 and (yield "swap", other, seen, 0)


def life(row: int, wishes: tuple[int, ...], left_out: str) -> Steps:
    """One process: for each address it wishes a connection comes (the cap is always 1), and goes."""
    for tag in wishes:
        way = yield from address_enter(Quest(tag, row + 1, left_out), 1)
        if way >= 0:
            yield "in", way, tag, 0
            yield "out", way, tag, 0
            yield "add", way, -1, 0
    return 0


class World(NamedTuple):
    """All there is between two steps. A process is what it has been answered so far; None once it is dead."""

    words: tuple[int, ...]
    cells: tuple[tuple[int, ...], ...]  # by row
    inside: tuple[tuple[int, int], ...]  # way and tag of all who surely are counted
    answers: tuple[tuple[int, ...] | None, ...]
    killings: int  # how many there may still be


class Process:
    """A life as far as it has come; `next` is the step it is about to do, None at its end."""

    def __init__(self, life: Steps, answers: Sequence[int]) -> None:
        self.life = life
        self.next: Op | None = next(life)
        for answer in answers:
            self.advance(answer)

    def advance(self, answer: int) -> None:
        try:
            self.next = self.life.send(answer)
        except StopIteration:
            self.next = None

    def place(self) -> tuple[object, ...]:
        """Where it is: equal for two that will do the same from here on."""
        found: list[object] = []
        steps: object = self.life
        while isinstance(steps, GeneratorType) and (frame := steps.gi_frame) is not None:
            found.append((frame.f_code.co_name, frame.f_lasti, tuple(sorted(frame.f_locals.items()))))
            steps = steps.gi_yieldfrom
        return tuple(found)


class Search:
    """Visits every world that can come about, once."""

    def __init__(self, wishes: Sequence[tuple[int, ...]], left_out: str = "") -> None:
        self.wishes = wishes
        self.left_out = left_out
        self.visited: set[tuple[object, ...]] = set()

    def all_from(self, words: tuple[int, ...], killings: int = 0) -> None:
        rows = len(self.wishes)
        ahead = [World(words, ((0,) * WAYS,) * rows, (), ((),) * rows, killings)]
        while ahead:
            world = ahead.pop()
            processes = [self.process(row, answers) for row, answers in enumerate(world.answers)]
            key = (world._replace(answers=()), *(process and process.place() for process in processes))
            if key not in self.visited:
                self.visited.add(key)
                check(world)
                following = list(self.following(world, processes))
                assert following or not any(map(any, world.cells)), f"something is left behind: {world}"
                ahead += following

    def process(self, row: int, answers: tuple[int, ...] | None) -> Process | None:
        return None if answers is None else Process(life(row, self.wishes[row], self.left_out), answers)

    def following(self, world: World, processes: list[Process | None]) -> Iterator[World]:
        for row, process in enumerate(processes):
            if process is None:
                if any(world.cells[row]):
                    yield world._replace(cells=put(world.cells, row, (0,) * WAYS))
            elif process.next is not None:
                yield done(world, row, process.next)
                if world.killings:
                    yield killed(world, row, process.next)


def put(items: tuple[T, ...], at: int, item: T) -> tuple[T, ...]:
    return (*items[:at], item, *items[at + 1 :])


def killed(world: World, row: int, op: Op) -> World:
    """The world after the process died just before `op`; whom it had counted is gone, but not the count."""
    world = done(world, row, op) if op[0] == "out" else world
    return world._replace(answers=put(world.answers, row, None), killings=world.killings - 1)


def done(world: World, row: int, op: Op) -> World:
    """The world after `op`, with its answer."""
    name, way, first, second = op
    answer = 0
    if name == "read":
        answer = world.words[way]
    elif name == "total":
        answer = sum(cells[way] for cells in world.cells)
    elif name == "swap":
        answer = int(world.words[way] == first)
        world = world._replace(words=put(world.words, way, second)) if answer else world
    elif name == "add":
        own = world.cells[row]
        world = world._replace(cells=put(world.cells, row, put(own, way, own[way] + first)))
    elif name == "in":
        world = world._replace(inside=tuple(sorted((*world.inside, (way, first)))))
    elif name == "out":
        at = world.inside.index((way, first))
        world = world._replace(inside=world.inside[:at] + world.inside[at + 1 :])
    so_far = world.answers[row]
    assert so_far is not None
    return world._replace(answers=put(world.answers, row, (*so_far, answer)))


def check(world: World) -> None:
    """No address has more than its cap, nobody has lost the entry, and no address has two."""
    entries = Counter(word & TAG for word in world.words if word and not word & CLAIM)
    assert max(entries.values(), default=0) <= 1, f"two entries for one address: {world}"
    assert all(world.words[way] & (TAG | CLAIM) == tag for way, tag in world.inside), f"an entry is lost: {world}"
    assert max(Counter(tag for _, tag in world.inside).values(), default=0) <= 1, f"above the cap: {world}"


CASES: dict[str, tuple[list[tuple[int, ...]], tuple[int, ...], int]] = {  # wishes by row, words, killings
    "two bring the same new address": ([(A,), (A,)], (0, 0), 0),
    "two bring the same new address and one entry is idle": ([(A,), (A,)], (B, 0), 0),
    "one takes over what the other enters": ([(A,), (B,)], (A, C), 0),
    "one takes over what the other enters again": ([(A, A), (B,)], (A, C), 0),
    "one is killed anywhere": ([(A,), (A,)], (B, C), 1),
    "one is killed while entries change hands": ([(A,), (B,)], (A, C), 1),
    "the dead left marks": ([(A,), (A,)], (A | DEAD, B | CLAIM | DEAD), 0),
    "the dead left claims": ([(A,), (A,)], (A | CLAIM | DEAD, A | CLAIM | DEAD + 1), 1),
}


@pytest.mark.parametrize("case", CASES)
def test_no_order_of_steps_breaks_a_promise(case: str) -> None:
    wishes, words, killings = CASES[case]
    search = Search(wishes)
    search.all_from(words, killings)
    assert len(search.visited) > 100


@pytest.mark.parametrize(
    ("left_out", "case"),
    [
        ("the second look of who enters", "one takes over what the other enters"),
        ("the second sum of who takes over", "one takes over what the other enters"),
        ("the look for rivals", "two bring the same new address"),
    ],
)
def test_a_step_left_out_is_noticed(left_out: str, case: str) -> None:
    wishes, words, killings = CASES[case]
    with pytest.raises(AssertionError, match="an entry is lost|above the cap|two entries"):
        Search(wishes, left_out).all_from(words, killings)
