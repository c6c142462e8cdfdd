"""Where limits are kept that hold over several machines: how a user writes it, and what it means."""

from __future__ import annotations

import re
from dataclasses import dataclass

_STORE = re.compile(r"redis://(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?):([0-9]{1,5})(?:/([0-9]{1,4}))?")
_MAX_PORT = 65535


@dataclass(frozen=True, slots=True)
class Store:
    """A database of a Redis or Valkey. `host` is a name, or an address without brackets; the controller looks it up."""

    host: str
    port: int
    database: int = 0

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"redis://{host}:{self.port}" + (f"/{self.database}" if self.database else "")


def parse_store(text: str) -> Store:
    """`redis://10.0.0.9:6379`, or with a database, `redis://redis.internal:6379/1`."""
    found = _STORE.fullmatch(text)
    if not found or not 0 < int(found[3]) <= _MAX_PORT:
        raise ValueError(f"{text!r} is not a store; write redis://HOST:PORT or redis://HOST:PORT/DATABASE")
    return Store(found[1].strip("[]"), int(found[3]), int(found[4] or 0))
