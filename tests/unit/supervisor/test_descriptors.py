from __future__ import annotations

import os
import resource
from collections.abc import Callable

import pytest

from shardproxy.config.schema import Cluster, Config, Endpoint, Listener, Match, Route
from shardproxy.config.units import Address
from shardproxy.supervisor import descriptors


def config(*caps: int | None, workers: int = 2) -> Config:
    routes = (Route(match=Match(prefix="/"), cluster="app"),)
    return Config(
        listeners=tuple(
            Listener(bind=Address("127.0.0.1", 80 + number), name=f"l{number}", routes=routes, max_connections=cap)
            for number, cap in enumerate(caps)
        ),
        clusters=(Cluster(name="app", endpoints=(Endpoint(address=Address("127.0.0.1", 1)),)),),
        workers=workers,
    )


def holds_in_a_child(condition: Callable[[], bool]) -> bool:
    """A limit that has been lowered cannot be raised again: so in a process of its own."""
    pid = os.fork()
    if pid == 0:
        os._exit(0 if condition() else 1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_the_soft_limit_becomes_the_hard_one() -> None:
    def raised() -> bool:
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, 300))
        return descriptors.raise_limit() == 300 and resource.getrlimit(resource.RLIMIT_NOFILE) == (300, 300)

    assert holds_in_a_child(raised)


def test_each_connection_needs_two_and_each_worker_has_its_part() -> None:
    spare = descriptors.OTHERS
    assert descriptors.needed(config(1000)) == 500 * 2 + 2 + spare
    assert descriptors.needed(config(1000, 501)) == 751 * 2 + 4 + spare
    assert descriptors.needed(config(1000, workers=1)) == 1000 * 2 + 2 + spare


def test_too_few_are_said_in_a_sentence() -> None:
    def said() -> bool:
        resource.setrlimit(resource.RLIMIT_NOFILE, (400, 400))
        return (descriptors.enough_for(config(1000)) or "").startswith(
            "max_connections may need 1066 open descriptors in each worker, but the system allows 400: "
        )

    assert holds_in_a_child(said)


@pytest.mark.parametrize("caps", [(100,), (None,)])
def test_enough_or_nothing_promised_is_no_warning(caps: tuple[int | None, ...]) -> None:
    def silent() -> bool:
        resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200))
        return descriptors.enough_for(config(*caps)) is None

    assert holds_in_a_child(silent)


def test_no_limit_at_all_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert descriptors.enough_for(config(2**31 - 1)) is None
