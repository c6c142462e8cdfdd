"""Simulated people against a running proxy, such as `shardproxy demo`.

    locust -f loadtests/locustfile.py --headless --host http://127.0.0.1:8080 --users 50 --run-time 60s

Without `--headless` locust serves its own page instead. The load goes up, stays, and goes down again within
`--run-time` (Ramp below). What counts as a failure: every status from 400 except a 429 on the limited path.
"""

from __future__ import annotations

import argparse
import random
from typing import Any

from locust import FastHttpUser, LoadTestShape, between, constant_pacing, events, task

DEFAULT_RUN_S = 60.0
DEFAULT_USERS = 50
UP = 0.3  # share of the run in which users arrive
DOWN = 0.2  # share of the run in which they leave again
PAGES = 200
TOO_MANY_REQUESTS = 429


@events.init_command_line_parser.add_listener  # type: ignore[untyped-decorator]
def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--limited-path", default="/limited", help="A path with a rate limit, for Impatient.")


class Browser(FastHttpUser):
    """Reads pages over one kept connection, with time to think; now and then several parts of a page at once."""

    weight = 6
    wait_time = between(0.2, 1.0)

    @task(3)
    def page(self) -> None:
        self.client.get(f"/pages/{random.randrange(PAGES)}", name="/pages/N")

    @task(2)
    def front(self) -> None:
        self.client.get("/")

    @task(1)
    def page_with_parts(self) -> None:
        self.page()
        for part in ("style.css", "script.js", "logo.svg"):
            self.client.get(f"/static/{part}", name="/static/FILE")


class Api(FastHttpUser):
    """A program: places orders as JSON and reads them, at a steady pace."""

    weight = 3
    wait_time = constant_pacing(0.25)

    @task(2)
    def order(self) -> None:
        lines = [{"article": random.randrange(10_000), "count": random.randint(1, 5)} for _ in range(20)]
        self.client.post("/api/orders", json={"customer": random.randrange(1000), "lines": lines})

    @task(1)
    def read_orders(self) -> None:
        self.client.get("/api/orders?since=yesterday", name="/api/orders?since")


class Impatient(FastHttpUser):
    """Asks faster than it may. A 429 is what it expects, if it says when to come back."""

    weight = 1
    wait_time = constant_pacing(0.05)

    @task
    def push(self) -> None:
        path = self.environment.parsed_options.limited_path
        with self.client.get(path, name="limited", catch_response=True) as answer:
            if answer.status_code != TOO_MANY_REQUESTS:
                return
            if answer.headers.get("Retry-After"):
                answer.success()
            else:
                answer.failure("429 without Retry-After")


class Ramp(LoadTestShape):
    """Users arrive evenly, stay, and leave evenly: a trapezium over `--run-time` with `--users` at its top."""

    use_common_options = True

    def tick(self) -> tuple[int, float] | None:
        """(users, users a second to get there) at this moment; None ends the run."""
        runner: Any = self.runner
        options = runner.environment.parsed_options
        length_s = float(options.run_time or DEFAULT_RUN_S)
        users = int(options.num_users or DEFAULT_USERS)
        passed_s: float = self.get_run_time()  # type: ignore[no-untyped-call]
        share = passed_s / length_s
        if share >= 1:
            return None
        height = min(1.0, share / UP, (1 - share) / DOWN)
        return max(1, round(users * height)), max(1.0, users / (UP * length_s))
