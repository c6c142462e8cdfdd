"""All listening sockets: bound before the first fork, kept open by the supervisor for as long as it serves.

Every worker has a SO_REUSEPORT socket of its own for each TCP listener.  Because the supervisor holds it too, the queue
of a worker that dies stays, and its successor accepts what arrived meanwhile; in a hot restart both generations hold
it.
A Unix listener is one socket that all workers share, since the kernel has no SO_REUSEPORT for those.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from shardproxy.config.schema import Config
from shardproxy.config.units import Address
from shardproxy.supervisor.binding import bind_tcp, bind_unix, wait_until_free, why
from shardproxy.supervisor.privileges import Identity, own

# Sockets that are there already, by address, in the order in which they were bound: a former generation's, systemd's.
Inherited = Mapping[Address, Sequence[socket.socket]]


class BindError(Exception):
    """A listener's socket cannot be had; `str()` is a plain sentence that names the listener and its address."""


@dataclass
class Group:
    """The sockets of one address.  `is_shared` says that there is one for all workers, otherwise index = worker.

    The kernel numbers the sockets of a group in the order of their binding, so only the last are added and taken away.
    """

    address: Address
    sockets: list[socket.socket]
    is_shared: bool
    inode: int | None = None

    @classmethod
    def adopted(cls, address: Address, found: Sequence[socket.socket], *, is_lent: bool) -> Group:
        """The file of a lent Unix socket belongs to whoever has lent it."""
        is_alone = len(found) == 1 and not _shares_its_port(found[0])
        return cls(address, list(found), is_alone, None if is_lent else _inode(address))

    @classmethod
    def bound(cls, address: Address, count: int) -> Group:
        """Raises `OSError`."""
        if address.is_unix:
            return cls(address, [bind_unix(Path(address.path))], True, _inode(address))
        wait_until_free(address)
        return cls(address, bind_tcp(address, count), False)

    def of(self, worker: int) -> socket.socket:
        return self.sockets[0 if self.is_shared else worker]

    def grow(self, count: int) -> None:
        """At least `count` workers have a socket.  Raises `OSError`."""
        if not self.is_shared and count > len(self.sockets):
            self.sockets += bind_tcp(self.address, count - len(self.sockets))

    def shrink(self, count: int) -> None:
        """Only `count` workers have one; those of the others are left to their workers."""
        if not self.is_shared:
            for one in self.sockets[count:]:
                one.close()
            del self.sockets[count:]

    def let_go(self) -> None:
        """Leave the sockets to the workers."""
        for one in self.sockets:
            one.close()

    def close(self) -> None:
        """Let go, and remove the file of a Unix socket, unless somebody else has put another there."""
        self.let_go()
        if self.inode is not None and _inode(self.address) == self.inode:
            with suppress(OSError):
                Path(self.address.path).unlink()


@dataclass(frozen=True)
class Change:
    """What another configuration needs: `groups` it does not have yet, and `sockets` that each worker is to be sent.

    `names` are the listeners that a worker has no socket for under that name and address.
    """

    config: Config
    groups: dict[Address, Group] = field(default_factory=dict)
    names: tuple[str, ...] = ()


class Sockets:
    """The sockets of one configuration.  Raises `BindError`, and then nothing that it bound is left open."""

    def __init__(
        self,
        config: Config,
        workers: int,
        inherited: Inherited | None = None,
        lent: frozenset[Address] = frozenset(),
    ) -> None:
        self._lent = lent
        self._groups: dict[Address, Group] = {}
        self._names: dict[str, Address] = {}
        self._workers = workers
        there = dict(inherited or {})
        self._admin = self._first("the admin interface", config.admin.bind, 1, there)
        try:
            for listener in config.listeners:
                self._names[listener.name] = listener.bind
                group = self._first(f"listener {listener.name}", listener.bind, workers, there)
                self._groups[listener.bind] = group
        except BindError:
            for group in self._groups.values():
                group.close()
            self._admin.close()
            raise
        for unused in there.values():
            for one in unused:
                one.close()

    @property
    def admin(self) -> socket.socket:
        return self._admin.sockets[0]

    def of_worker(self, index: int, change: Change | None = None) -> Mapping[str, socket.socket]:
        """The sockets of one worker by the listener's name, as they are or as they would be after `change`."""
        if change is None:
            return {name: self._groups[address].of(index) for name, address in self._names.items()}
        groups = {**self._groups, **change.groups}
        return {listener.name: groups[listener.bind].of(index) for listener in change.config.listeners}

    def groups(self) -> Mapping[str, Group]:
        """By the listener's name."""
        return {name: self._groups[address] for name, address in self._names.items()}

    def by_address(self, workers: int | None = None) -> Iterator[tuple[Address, Sequence[socket.socket]]]:
        """Everything, the admin interface first: what another generation can inherit.  `workers`: only of so many."""
        yield self._admin.address, self._admin.sockets
        for group in self._groups.values():
            yield group.address, group.sockets[:workers]

    def give_files_to(self, identity: Identity) -> None:
        """Unix sockets belong to whom the workers run as.  Raises `OSError`."""
        for group in [self._admin, *self._groups.values()]:
            if group.inode is not None:
                own(Path(group.address.path), identity)

    def keep_only(self, mine: Mapping[str, socket.socket]) -> None:
        """In a child: close all sockets but `mine`.  Files stay, they belong to the supervisor."""
        kept = {id(one) for one in mine.values()}
        for _, sockets in self.by_address():
            for one in sockets:
                if id(one) not in kept:
                    one.close()

    # Another configuration -----------------------------------------------------------------------------------------

    def prepare(self, config: Config) -> Change:
        """Bind what `config` has beyond ours; nothing of ours changes.  Raises `BindError`."""
        change = Change(config, names=tuple(one.name for one in config.listeners if not self._has(one.name, one.bind)))
        for listener in config.listeners:
            if listener.bind not in self._groups:
                try:
                    change.groups[listener.bind] = _bound(f"listener {listener.name}", listener.bind, self._workers)
                except BindError:
                    self.abandon(change)
                    raise
        return change

    def sent_to(self, index: int, change: Change) -> list[socket.socket]:
        """The sockets for `change.names`, in their order."""
        sockets = self.of_worker(index, change)
        return [sockets[name] for name in change.names]

    def abandon(self, change: Change) -> None:
        """Give back what `prepare` has bound."""
        for group in change.groups.values():
            group.close()

    def commit(self, change: Change) -> None:
        """From now on these are the sockets of `change.config`; what it does not have is left to the workers, who close
        it when they have emptied its queue."""
        self._groups.update(change.groups)
        self._names = {listener.name: listener.bind for listener in change.config.listeners}
        for address in set(self._groups) - set(self._names.values()):
            self._groups.pop(address).close()

    def resize(self, workers: int) -> None:
        """Sockets for that many workers.  Raises `BindError`, and then their number is what it was."""
        try:
            for group in self._groups.values():
                group.grow(workers)
        except OSError as error:
            for each in self._groups.values():
                each.shrink(self._workers)
            raise BindError(f"{group.address} cannot have a socket for another worker: {why(error)}") from None
        for group in self._groups.values():
            group.shrink(workers)
        self._workers = workers

    # The end -------------------------------------------------------------------------------------------------------

    def leave_files(self) -> None:
        """The files of Unix sockets stay when we end: somebody else holds the sockets, and clients still find them."""
        for group in [self._admin, *self._groups.values()]:
            group.inode = None

    def close_workers(self) -> None:
        """Leave the workers' sockets to the workers: each really closes when its worker closes it."""
        for group in self._groups.values():
            group.let_go()

    def close(self) -> None:
        """Close everything and remove the files of the Unix sockets."""
        for group in self._groups.values():
            group.close()
        self._admin.close()

    def _has(self, name: str, address: Address) -> bool:
        return self._names.get(name) == address

    def _first(self, what: str, address: Address, count: int, there: dict[Address, Sequence[socket.socket]]) -> Group:
        found = there.pop(address, ())
        if not found:
            return _bound(what, address, count)
        group = Group.adopted(address, found, is_lent=address in self._lent)
        try:
            group.grow(count)
        except OSError as error:
            raise BindError(f"{what} cannot listen on {address} with more workers: {why(error)}") from None
        group.shrink(count)
        return group


def _bound(what: str, address: Address, count: int) -> Group:
    try:
        return Group.bound(address, count)
    except OSError as error:
        raise BindError(f"{what} cannot listen on {address}: {why(error)}") from None


def _shares_its_port(one: socket.socket) -> bool:
    return one.family != socket.AF_UNIX and bool(one.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT))


def _inode(address: Address) -> int | None:
    """Of the file of a Unix socket, if it is there."""
    if not address.is_unix:
        return None
    with suppress(OSError):
        return Path(address.path).lstat().st_ino
    return None
