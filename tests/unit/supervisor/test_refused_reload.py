"""A reload that is not done: nothing has changed, and everybody knows why."""

from __future__ import annotations

import signal

import pytest

from shardproxy.control.messages import Abort, Applied, Prepare, Prepared, Refused
from shardproxy.control.plan import Plan
from shardproxy.supervisor.reload import PATIENCE_NS, Refusal, read
from tests.unit.supervisor.stage import SECOND, Stage, edit, fill_the_memory, say

PATIENCE_S = PATIENCE_NS / SECOND
STAYS = "reload: the running configuration stays: "


@pytest.fixture
def preparing(stage: Stage) -> Stage:
    """A reload that has been offered to all children."""
    stage.signal(signal.SIGHUP)
    assert all(child.told(Prepare) for child in stage.living())
    return stage


def test_what_one_child_refuses_is_aborted_for_all(preparing: Stage) -> None:
    say([preparing.current("worker 0")], Prepared)
    preparing.current("worker 1").say(Refused(2, "worker 1: it cannot be built"))
    preparing.step()
    assert [child.told(Abort) for child in preparing.living()] == [[Abort(2)]] * 3
    assert preparing.said(STAYS + "worker 1: it cannot be built", "ERROR")
    assert (preparing.home.version, preparing.home.is_changing) == (1, False)


def test_a_refusal_after_all_have_been_told_to_serve_it_changes_nothing(preparing: Stage) -> None:
    say(preparing.living(), Prepared)
    preparing.step()
    preparing.current("worker 0").say(Refused(2, "too late"))
    preparing.step()
    assert not any(child.told(Abort) for child in preparing.living())
    say(preparing.living(), Applied)
    preparing.step()
    assert preparing.said("reload: configuration 2 is served by all 2 workers")


def test_a_child_that_does_not_answer_ends_the_reload_after_twenty_seconds(preparing: Stage) -> None:
    slow = preparing.current("worker 1")
    say([child for child in preparing.living() if child is not slow], Prepared)
    for _ in range(10):
        preparing.pass_time(PATIENCE_S / 10 - 0.01)
    assert not any(child.told(Abort) for child in preparing.living())
    preparing.pass_time(0.1)
    assert preparing.said(STAYS + f"no answer from worker 1 (pid {slow.pid}) for 20 s")
    assert all(child.told(Abort) for child in preparing.living())


def test_all_that_do_not_answer_are_named(preparing: Stage) -> None:
    say([preparing.current("controller")], Prepared)
    for _ in range(10):
        preparing.pass_time(PATIENCE_S / 10)
    names = ", ".join(f"{child.name} (pid {child.pid})" for child in preparing.workers())
    assert preparing.said(STAYS + f"no answer from {names} for 20 s")


def test_a_plan_that_cannot_be_written_refuses_the_reload(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(self: Plan) -> int:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(Plan, "write", fails)
    stage.signal(signal.SIGHUP)
    assert stage.said(STAYS + "it cannot be handed to the workers: Cannot allocate memory")


def test_a_child_that_does_not_get_ready_ends_the_reload_after_twenty_seconds(stage: Stage) -> None:
    stage.end(stage.current("worker 0"), signal.SIGKILL)
    stage.signal(signal.SIGHUP)
    for _ in range(10):
        stage.pass_time(PATIENCE_S / 10)
    assert stage.said(STAYS + "no answer from a child that is not ready for 20 s")
    assert not any(child.told(Abort) for child in stage.living())
    assert not stage.home.is_changing


def test_a_child_that_never_commits_is_killed_and_its_successor_serves_the_new_one(preparing: Stage) -> None:
    slow = preparing.current("worker 1")
    say(preparing.living(), Prepared)
    preparing.step()
    say([child for child in preparing.living() if child is not slow], Applied)
    for _ in range(10):
        preparing.pass_time(PATIENCE_S / 10 - 0.01)
    assert preparing.kills() == []
    preparing.pass_time(0.1)
    assert preparing.kills() == ["worker 1 SIGKILL"]
    assert preparing.supervisor._operations.due_ns() == [preparing.clock.now_ns + PATIENCE_NS]
    assert preparing.said(f"worker 1 (pid {slow.pid}) is killed: it does not take configuration 2 over")
    preparing.step()
    assert preparing.said("reload: configuration 2 is served by all 2 workers")


def test_it_wants_to_be_asked_again_when_its_time_is_up(preparing: Stage) -> None:
    operations, began_ns = preparing.supervisor._operations, preparing.clock.now_ns
    assert operations.due_ns() == [began_ns + PATIENCE_NS]
    preparing.pass_time(1)
    say(preparing.living(), Prepared)
    preparing.step()
    assert operations.due_ns() == [began_ns + SECOND + PATIENCE_NS]


def test_a_wrong_file_is_refused_before_anybody_hears_of_it(stage: Stage) -> None:
    edit(stage.file, "prefix: /", "prefix: nowhere")
    controller = stage.ask("reload")
    (answer,) = controller.answers()
    assert not answer.is_done
    assert answer.text.startswith(f"the running configuration stays: {stage.file}:")
    assert not any(child.told(Prepare) or child.told(Abort) for child in stage.living())


@pytest.mark.parametrize(
    ("before", "after", "key"),
    [
        ("drain_delay", "user: nobody\ndrain_delay", "user"),
        ("drain_delay", "pid_file: /tmp/x.pid\ndrain_delay", "pid_file"),
        ("admin: {bind: 127.0.0.1:", "admin: {bind: 127.0.0.2:", "admin.bind"),
    ],
)
def test_what_only_a_restart_can_change_is_refused(before: str, after: str, key: str, stage: Stage) -> None:
    edit(stage.file, before, after)
    with pytest.raises(Refusal, match=f"^{key} can only be changed by a restart \\(shardproxy restart\\)$"):
        read(stage.home)


def test_without_a_file_there_is_nothing_to_read(stage: Stage) -> None:
    stage.home.path = None
    with pytest.raises(Refusal, match="^the proxy was not started with a file$"):
        read(stage.home)


def test_as_many_workers_as_there_are_rows_for_are_taken_and_no_more(stage: Stage) -> None:
    rows = stage.home.memory.segment.capacities.rows
    most = (rows - 1) // 2 - 1
    edit(stage.file, "workers: 2", f"workers: {most}")
    assert read(stage.home).workers == most
    edit(stage.file, f"workers: {most}", f"workers: {most + 1}")
    said = f"the shared memory has {rows} rows, too few for that many workers; restart \\(shardproxy restart\\)"
    with pytest.raises(Refusal, match=said):
        read(stage.home)


def test_more_names_than_the_memory_has_room_for_are_refused(stage: Stage) -> None:
    fill_the_memory(stage)
    edit(stage.file, "clusters:\n", "clusters:\n  - {name: other, endpoints: [127.0.0.1:1]}\n")
    stage.signal(signal.SIGHUP)
    assert any(line.startswith(f"ERROR {STAYS}the shared memory") for line in stage.log)
    assert not any(child.told(Prepare) for child in stage.living())
