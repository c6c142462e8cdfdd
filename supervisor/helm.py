"""Which groups are steered, and by what: the link between what exists (`state`) and the kernel's programs (`steering`).

A worker counts with the connections in its row.  It gets no new ones while it is not there, not ready, or leaving; in a
hot restart both workers of a socket count, since both accept on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from shardproxy.shm import names
from shardproxy.supervisor.sockets import Group
from shardproxy.supervisor.state import Child, Household, Post
from shardproxy.supervisor.steering import Course, Steering, Steersman


class Helm:
    """Steers all listeners of `home`, as long as its configuration says so."""

    def __init__(self, home: Household) -> None:
        self._home = home
        self._steersman = Steersman()
        self._memory = home.memory
        self._courses: dict[str, tuple[Group, Course]] = {}
        self._serving: list[int] = []

    def due_ns(self) -> list[int]:
        return self._steersman.due_ns()

    def turn(self, now_ns: int) -> None:
        """Look where the next connections are to go, if it is time to, or something has changed."""
        self._follow_listeners()
        serving = [child.pid for _, child in self._workers()]
        if serving != self._serving:
            self._serving = serving
            self._steersman.hurry()
        self._steersman.steer(now_ns)

    def close(self) -> None:
        """The kernel goes on as it was told last."""
        for _, course in self._courses.values():
            course.steering.close()
        self._courses.clear()
        self._steersman.courses.clear()

    def _follow_listeners(self) -> None:
        """Listeners come and go with reloads; those that stay are steered on as they are.

        Cost: a comparison of two small mappings."""
        groups = {name: group for name, group in self._home.sockets.groups().items() if not group.is_shared}
        wanted = groups if self._home.config.steering else {}
        if not self._is_right(wanted):
            self._change_to(wanted)

    def _is_right(self, wanted: Mapping[str, Group]) -> bool:
        return (
            self._memory is self._home.memory
            and wanted.keys() == self._courses.keys()
            and all(group is self._courses[name][0] for name, group in wanted.items())
        )

    def _change_to(self, wanted: Mapping[str, Group]) -> None:
        former = self._courses if self._memory is self._home.memory else {}
        kept = {name: each for name, each in former.items() if wanted.get(name) is each[0]}
        for name, (_, course) in self._courses.items():
            if not self._home.config.steering:
                course.steering.detach()
            elif name not in kept:
                course.steering.close()
        self._memory = self._home.memory
        self._courses = {
            name: kept.get(name) or (group, self._course(name, group)) for name, group in wanted.items()
        }
        self._steersman.courses = [course for _, course in self._courses.values()]
        self._steersman.hurry()

    def _course(self, name: str, group: Group) -> Course:
        gauge = self._home.slots.gauge(names.listener_connections(name))
        counter = self._home.slots.counter(names.listener_accepted(name))
        return Course(Steering(group.sockets), partial(self._counts, gauge), partial(self._accepted, counter))

    def _accepted(self, counter: int) -> int:
        return self._memory.metrics.counter_total(counter)

    def _counts(self, gauge: int) -> list[int | None]:
        """Of each worker; None for one that must get nothing."""
        found: list[int | None] = [None] * len(self._home.workers)
        for post, child in self._workers():
            if post.index < len(found):
                found[post.index] = (found[post.index] or 0) + self._memory.connections(gauge, child.row)
        return found

    def _workers(self) -> list[tuple[Post, Child]]:
        """Those that serve and count in the memory that we read."""
        return [(post, child) for post, child in self._home.filled() if self._serves(post, child)]

    def _serves(self, post: Post, child: Child) -> bool:
        is_going = child.killed or child.doom is not None
        return post.kind == "worker" and child.ready and not is_going and child.memory is self._memory
