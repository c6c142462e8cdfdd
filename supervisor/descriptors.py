"""How many descriptors a process may have open: as many as the system lets us, and a warning if those are too few."""

from __future__ import annotations

import logging
import resource

from shardproxy.config.schema import Config, worker_count

# A connection of a client needs one, and while its request runs, the one to the endpoint another.
EACH_CONNECTION = 2
# Standard streams, shared memory, channel, event loop, log, and what libraries open.
OTHERS = 64

logger = logging.getLogger(__name__)


def limits() -> tuple[int, int]:
    """The soft and the hard limit, as numbers that compare (RLIM_INFINITY is -1 otherwise)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    endless = 1 << 62
    return (endless if soft == resource.RLIM_INFINITY else soft, endless if hard == resource.RLIM_INFINITY else hard)


def raise_limit() -> int:
    """Raise the soft limit to the hard one, for this process and its children; returns what holds then.

    The soft limit is usually 1024, for the sake of programs that use select(2); we do not.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError) as error:
        logger.warning("the limit of open descriptors stays as it is: %s", error)
    return limits()[0]


def needed(config: Config) -> int:
    """How many descriptors one worker needs when every listener is at its `max_connections`, each worker with its part.

    Listeners without `max_connections` are left out: nobody has said how many they should bear.
    """
    connections = sum(listener.max_connections or 0 for listener in config.listeners)
    part = -(-connections // worker_count(config))
    return part * EACH_CONNECTION + len(config.listeners) * 2 + OTHERS


def enough_for(config: Config) -> str | None:
    """A sentence for the operator if one process may not have as many descriptors as `config` needs, otherwise None."""
    if not any(listener.max_connections for listener in config.listeners):
        return None
    wanted, (_, hard) = needed(config), limits()
    if wanted <= hard:
        return None
    return (
        f"max_connections may need {wanted} open descriptors in each worker, but the system allows {hard}: "
        "raise the hard limit (LimitNOFILE= in systemd, ulimit -Hn in a shell), lower max_connections or add workers"
    )
