"""Stages of a request: how compilers write names, whose stage a stack is, and what is said without perf."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from loadtests.sampling import parse
from loadtests.stages import MEANINGS, OTHER, RULES, Taken, plain, shares, stage_of

ROOT = Path(__file__).resolve().parents[3]
FROM_CLIENT = "shardproxy.proxy.downstream.Downstream.received"
FROM_ENDPOINT = "shardproxy.proxy.upstream.Upstream.received"

SCRIPT = """
    ffffffff81e2bbed sock_recvmsg ([kernel.kallsyms])
               f82ad read (/usr/lib/x86_64-linux-gnu/libc.so.6)
              130b3d uv__read (/a place/loop.so)

                b1e1 __pyx_f_10shardproxy_5http1_4head_4Head_scan_request (/x/head.so)
    ffffffffffffffff [unknown] ([unknown])

"""


@pytest.mark.parametrize(
    ("symbol", "name"),
    [
        ("__pyx_f_10shardproxy_5http1_4head_4Head_scan_request", "shardproxy.http1.head.Head.scan_request"),
        ("__pyx_pw_10shardproxy_5proxy_5queue_5Queue_15close", "shardproxy.proxy.queue.Queue.close"),
        ("__pyx_pw_10shardproxy_5proxy_6timers_5Wheel_1advance", "shardproxy.proxy.timers.Wheel.advance"),
        ("__pyx_f_10shardproxy_5proxy_10downstream_10Downstream_received", FROM_CLIENT),
        ("__pyx_f_10shardproxy_5proxy_4pool_12EndpointPool_take.part.0", "shardproxy.proxy.pool.EndpointPool.take"),
        ("_PyObject_Malloc", "_PyObject_Malloc"),
        ("finish_task_switch.isra.0", "finish_task_switch"),
    ],
)
def test_a_symbol_is_read_as_its_author_wrote_it(symbol: str, name: str) -> None:
    assert plain(symbol) == name


@pytest.mark.parametrize(
    ("stack", "stage"),
    [
        (["tcp_sendmsg", "write", "uv__try_write", FROM_CLIENT], "write to endpoint"),
        (["tcp_sendmsg", "write", "uv__try_write", FROM_ENDPOINT], "write to client"),
        (["shardproxy.http1.fields.Fields.scan_fields", FROM_CLIENT], "head"),
        (["memchr", "shardproxy.http1.fields.Fields.scan_fields", FROM_ENDPOINT], "response head"),
        (["shardproxy.routing.table.Table.find", "shardproxy.proxy.exchange.Exchange.begin", FROM_CLIENT], "route"),
        (["tcp_recvmsg", "recv", "shardproxy.proxy.streams.Stream.ready"], "read"),
        (["epoll_pwait", "uv__io_poll", "uv_run"], "loop"),
        (["read", "uv__read", "uv__io_poll"], "read"),
        (["strlen", "main"], OTHER),
    ],
)
def test_a_stack_belongs_to_the_innermost_stage_and_to_the_side_whose_bytes_are_dealt_with(
    stack: list[str], stage: str
) -> None:
    assert stage_of(stack) == stage


def test_what_perf_prints_becomes_samples() -> None:
    assert parse(SCRIPT) == [
        Taken(("sock_recvmsg", "read", "uv__read"), in_kernel=True),
        Taken(("shardproxy.http1.head.Head.scan_request", "[unknown]"), in_kernel=False),
    ]


def test_shares_are_of_all_samples() -> None:
    found = shares(parse(SCRIPT))
    assert (found["read"], found["head"]) == ((0.0, 0.5), (0.5, 0.0))
    assert sum(user + kernel for user, kernel in found.values()) == 1


def test_every_stage_of_a_rule_is_explained() -> None:
    assert {stage for rule in RULES for stage in (rule.from_client, rule.from_endpoint)} <= MEANINGS.keys()


def test_without_perf_it_says_how_to_get_it(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "loadtests.profile"]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"PATH": str(tmp_path)}, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert done.stderr.startswith("perf is not installed: apt-get install linux-perf")
