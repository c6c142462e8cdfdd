"""What finding a route costs as routes grow: `python -m loadtests.lookup`.

Tables of 1 to 100 000 routes, each asked for some of its own routes in random order, from Python: the call itself (the
first line, a table of one route) is part of every figure. With few routes in use, what is looked at stays in the
processor's caches, whatever else the table holds; with all of them, each lookup waits for main memory, most of all for
the text that is looked up, which here is as large as the table.
"""

from __future__ import annotations

import random
import time

from shardproxy.config.matches import Match
from shardproxy.config.routes import Route
from shardproxy.routing.compile import compile_routes

SIZES = (1, 10, 1_000, 10_000, 100_000)
LOOKUPS = 200_000
ROUNDS = 5
SERVICES = 100


def prefix(number: int) -> tuple[Match, bytes]:
    path = f"/service{number % SERVICES}/v{number // SERVICES}/"
    return Match(prefix=path), path.encode() + b"items/7"


def template(number: int) -> tuple[Match, bytes]:
    path = f"/service{number % SERVICES}/{{id}}/v{number // SERVICES}"
    return Match(template=path), path.replace("{id}", "7").encode()


def host(number: int) -> tuple[Match, bytes]:
    return Match(hosts=(f"tenant{number}.example.com",), prefix="/"), b"tenant%d.example.com" % number


def cost_ns(kind: str, size: int, in_use: int) -> float:
    """Of one lookup; the least of some rounds, since a shared machine only ever adds."""
    made = [{"prefix": prefix, "template": template, "host": host}[kind](number) for number in range(size)]
    table = compile_routes([Route(match=match, cluster="app") for match, _ in made])
    chance = random.Random(7)
    used = chance.sample(made, min(in_use, size))
    asked = [chance.choice(used)[1] for _ in range(LOOKUPS)]
    pairs = [(name, b"/x") if kind == "host" else (b"any.example.com", name) for name in asked]
    find, least = table.match, float("inf")
    for _ in range(ROUNDS):
        begun = time.perf_counter_ns()
        for name, path in pairs:
            find(name, path)
        least = min(least, (time.perf_counter_ns() - begun) / LOOKUPS)
    return least


if __name__ == "__main__":
    kinds = ("prefix", "template", "host")
    for in_use in (200, max(SIZES)):
        print(f"\n{in_use} routes in use\n{'routes':>8} " + " ".join(f"{kind:>12}" for kind in kinds) + "  ns each")
        for size in SIZES:
            print(f"{size:8} " + " ".join(f"{cost_ns(kind, size, in_use):12.0f}" for kind in kinds), flush=True)
