"""Which groups are steered, and by what: the link between what exists (`state`) and the kernel's programs (`steering`).

A worker counts with the connections in its row.  It gets no new ones while it is not there, not ready, or leaving; in a
hot restart both workers of a socket count, since both accept on it.
"""

from __future__ import annotations

from functools import partial

from shardproxy.shm import names
from shardproxy.supervisor.sockets import Group
from shardproxy.supervisor.state import Child, Household
from shardproxy.supervisor.steering import Course, Steering, Steersman


class Helm:
    """Steers all listeners of `home`, as long as its configuration says so."""

    def __init__(self, home: Household) -> None:
        self._home = home
        self._steersman = Steersman()
        self._groups: dict[str, Group] = {}

    def due_ns(self) -> list[int]:
        return self._steersman.due_ns()

    def turn(self, now_ns: int) -> None:
        """Look where the next connections are to go, if it is time to."""
        self._follow_changes()
        self._steersman.steer(now_ns)

    def close(self) -> None:
        for course in self._steersman.courses:
            course.steering.close()
        self._steersman.courses.clear()

    def _follow_changes(self) -> None:
        """Listeners come and go with reloads.  Cost: a comparison of two small mappings."""
        groups = {name: group for name, group in self._home.sockets.groups().items() if not group.is_shared}
        wanted = groups if self._home.config.steering else {}
        if wanted.keys() == self._groups.keys() and all(wanted[name] is self._groups[name] for name in wanted):
            return
        for course in self._steersman.courses:
            course.steering.detach()
        self._groups = wanted
        self._steersman.courses = [self._course(name, group) for name, group in wanted.items()]

    def _course(self, name: str, group: Group) -> Course:
        gauge = self._home.slots.gauge(names.listener_connections(name))
        counter = self._home.slots.counter(names.listener_accepted(name))
        return Course(Steering(group.sockets), partial(self._counts, gauge), partial(self._accepted, counter))

    def _accepted(self, counter: int) -> int:
        return self._home.memory.metrics.counter_total(counter)

    def _counts(self, gauge: int) -> list[int | None]:
        """Of each worker; None for one that must get nothing."""
        found: list[int | None] = [None] * len(self._home.workers)
        for post, child in self._home.filled():
            if post.kind == "worker" and post.index < len(found) and _serves(child) and child.memory is not None:
                found[post.index] = (found[post.index] or 0) + child.memory.connections(gauge, child.row)
        return found


def _serves(child: Child) -> bool:
    return child.ready and not child.killed and child.doom is None
