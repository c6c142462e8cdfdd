"""Whether all workers serve, and if not, why."""

from __future__ import annotations

from shardproxy.shm.rows import Kind, Rows, State
from shardproxy.shm.segment import Segment

SUPERVISOR_ROW = 0


def why_not_ready(segment: Segment, wanted: int) -> str | None:
    """None when `wanted` workers are READY and the proxy is to go on, else a sentence that says what is the matter."""
    if Rows(segment).state(SUPERVISOR_ROW) is State.DRAINING:
        return "the proxy is draining"
    found = dict.fromkeys(State, 0)
    for state in _worker_states(segment):
        found[state] += 1
    if found[State.READY] >= wanted:
        return None
    others = [f"{found[state]} {state.name.lower()}" for state in (State.STARTING, State.DRAINING) if found[state]]
    return ", ".join([f"{found[State.READY]} of {wanted} workers are ready", *others])


def _worker_states(segment: Segment) -> list[State]:
    rows = Rows(segment)
    used = [row for row in range(segment.rows_used) if rows.state(row) is not State.GONE]
    return [rows.state(row) for row in used if rows.kind(row) is Kind.WORKER]
