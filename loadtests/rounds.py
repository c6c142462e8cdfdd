"""Interleaved measurements: in each round every proxy once, so that a drift of the machine meets all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from loadtests import cpu, echo, proxies
from loadtests.configurations import Kind, Site
from loadtests.cpu import CpuTime
from loadtests.processes import DidNotStart, free_ports
from loadtests.proxies import Proxy
from loadtests.report import Sample
from loadtests.work import Load, Outcome, Work, WrkFailed

DIRECT = "direct"

Wrk = Callable[[Work, int, Load], Outcome]


@dataclass(frozen=True)
class Target:
    """Something that wrk can be pointed at. `root` is the proxy's first process; None when there is no proxy."""

    name: str
    port: int
    admin_port: int = 0
    root: int | None = None

    def cpu_by_role(self) -> dict[str, CpuTime]:
        """CPU time so far of the proxy's whole process tree, by role."""
        if self.root is None:
            return {}
        return {role: cpu.total(pids) for role, pids in proxies.roles(self.root, self.admin_port).items()}


@dataclass(frozen=True)
class Plan:
    """What is to be measured. `directory` is temporary; `core` is the proxies', the load has its own."""

    works: tuple[Work, ...]
    proxies: tuple[Proxy, ...]
    with_direct: bool
    rounds: int
    warm_up: bool
    load: Load
    core: int
    directory: Path


@dataclass
class Bench:
    """Runs a plan. `samples` and `notes` grow as it goes, so that an interrupted run still has something to show."""

    plan: Plan
    wrk: Wrk
    say: Callable[[str], None]
    samples: list[Sample]
    notes: list[str]

    def run(self) -> None:
        """All works. Those with the same setup share their running proxies; all are ended before the return."""
        for number, (setup, works) in enumerate(groupby(self.plan.works, key=lambda work: work.setup)):
            with ExitStack() as stack:
                targets = self._start(stack, self.plan.directory / f"setup{number}", *setup)
                for work in works:
                    self._rounds(work, self._able(work, targets))

    def _start(
        self, stack: ExitStack, directory: Path, routes: tuple[str, ...], count: int, kind: Kind
    ) -> list[Target]:
        origins = tuple(free_ports(count))
        begin = proxies.start_echo if kind == "websocket" else proxies.start_origin
        stack.enter_context(begin(origins, directory / "origin", self.plan.load.core))
        targets = [Target(DIRECT, origins[0])] if self.plan.with_direct else []
        for proxy in self.plan.proxies:
            port, admin_port = free_ports(2)
            site = Site(port, admin_port, origins, routes, directory / proxy.name, kind=kind)
            try:
                running = stack.enter_context(proxies.start(proxy, site, self.plan.core, _probe(routes)))
                targets.append(Target(proxy.name, port, admin_port, running.pid))
            except DidNotStart as error:
                self._note(f"{proxy.name} is left out of {len(routes)} route(s): {error}")
        return targets

    def _able(self, work: Work, targets: Sequence[Target]) -> list[Target]:
        """The targets that answer the work's request as they must; the others get a note."""
        able = []
        for target in targets:
            fault = work.fault(target.port)
            if fault is None:
                able.append(target)
            else:
                self._note(f"{target.name} is left out of {work.name}: {fault}")
        return able

    def _rounds(self, work: Work, targets: Sequence[Target]) -> None:
        if self.plan.warm_up:
            for target in targets:
                self._try(work, target, replace(self.plan.load, seconds=1))
        for number in range(self.plan.rounds):
            for target in _rotated(targets, number):
                self._measure(work, target, number)

    def _measure(self, work: Work, target: Target, number: int) -> None:
        before = target.cpu_by_role()
        outcome = self._try(work, target, self.plan.load)
        after = target.cpu_by_role()
        if outcome is None:
            return
        roles = {role: time - before.get(role, CpuTime()) for role, time in after.items()}
        whole = sum(roles.values(), CpuTime()) if target.root is not None else None
        sample = Sample(work.name, target.name, number, outcome, whole, roles)
        self.samples.append(sample)
        self.say(_told(sample, self.plan.rounds))

    def _try(self, work: Work, target: Target, load: Load) -> Outcome | None:
        try:
            if work.frame_bytes:
                return echo.play(target.port, work.frame_bytes, load)
            return self.wrk(work, target.port, load)
        except WrkFailed as error:
            self._note(f"{target.name} at {work.name}: {error}")
            return None

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)
            self.say(text)


def _probe(routes: tuple[str, ...]) -> str:
    return "/1k" if routes == ("/",) else f"{routes[-1]}item"


def _rotated(targets: Sequence[Target], number: int) -> Iterator[Target]:
    """The targets, each round beginning with another, so that none always follows the same neighbour."""
    for position in range(len(targets)):
        yield targets[(position + number) % len(targets)]


def _told(sample: Sample, rounds: int) -> str:
    cost = "" if sample.cpu_us is None else f"  {sample.cpu_us:8.1f} us/request"
    errors = f"  {sample.outcome.errors} errors" if sample.outcome.errors else ""
    where = f"{sample.work} {sample.round + 1}/{rounds}"
    return f"{where:20} {sample.proxy:10} {sample.rate:9,.0f} requests/s{cost}{errors}"
