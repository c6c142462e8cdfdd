from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from shardproxy.supervisor import privileges
from shardproxy.supervisor.privileges import Identity, PrivilegeError

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
SOMEBODY = "nobody"


def in_a_child(act: Callable[[], str]) -> str:
    """What `act` says in a process of its own."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            said = act()
        except BaseException as error:
            said = f"{type(error).__name__}: {error}"
        os.write(writer, said.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as end:
        said = end.read()
    os.waitpid(pid, 0)
    return said


def as_nobody(act: Callable[[], str]) -> str:
    somebody = Identity.find(SOMEBODY)

    def dropped() -> str:
        privileges.drop(somebody)
        return act()

    privileges.drop(Identity.find("root"))  # whoever starts it stays who it is

    return in_a_child(dropped)


@root_only
def test_a_user_is_found_by_name_or_number_with_its_groups() -> None:
    by_name = Identity.find(SOMEBODY)
    assert by_name == Identity.find(str(by_name.uid))
    assert by_name.gid in by_name.groups
    assert str(by_name) == f"{SOMEBODY} (uid {by_name.uid}, gid {by_name.gid})"


@root_only
def test_a_named_group_is_the_only_one() -> None:
    found = Identity.find(f"{SOMEBODY}:daemon")
    assert found.groups == (found.gid,)
    assert found == Identity.find(f"{found.uid}:{found.gid}")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("no-such-user", "user: there is no user no-such-user on this machine"),
        ("4000000000", "user: there is no user 4000000000 on this machine"),
        ("99999999999999999999", "user: there is no user 99999999999999999999 on this machine"),
        ("nobody:no-such-group", "user: there is no group no-such-group on this machine"),
    ],
)
def test_who_is_not_known_is_said(text: str, sentence: str) -> None:
    with pytest.raises(PrivilegeError, match=f"^{sentence}$"):
        Identity.find(text)


@root_only
def test_a_child_becomes_somebody_else_in_every_respect() -> None:
    def who() -> str:
        return repr((os.getresuid(), os.getresgid(), sorted(os.getgroups())))

    somebody = Identity.find(SOMEBODY)
    assert as_nobody(who) == repr(((somebody.uid,) * 3, (somebody.gid,) * 3, sorted(set(somebody.groups))))
    assert os.geteuid() == 0, "whoever starts it stays who it is"


@root_only
@pytest.mark.parametrize(
    "way_back",
    [
        lambda: os.setresuid(0, 0, 0),
        lambda: os.setresuid(-1, 0, -1),
        lambda: os.setresgid(0, 0, 0),
        lambda: os.setgroups([0]),
        lambda: Path("/etc/shadow").read_text(),
        lambda: os.kill(os.getppid(), 0),
    ],
)
def test_there_is_no_way_back(way_back: Callable[[], object]) -> None:
    assert as_nobody(lambda: str(way_back())).startswith("PermissionError")


@root_only
def test_no_capability_is_left_and_its_memory_is_closed_to_its_equals() -> None:
    def capabilities() -> str:
        lines = Path("/proc/self/status").read_text().splitlines()
        return " ".join(line.split()[1] for line in lines if line.startswith(("CapEff", "CapPrm")))

    assert as_nobody(capabilities) == " ".join(["0" * 16] * 2)
    if Path("/proc/sys/fs/suid_dumpable").read_text().strip() == "0":
        # proc(5): the files there belong to root as long as the process is not dumpable
        assert as_nobody(lambda: str(Path("/proc/self/mem").stat().st_uid)) == "0"


@root_only
def test_listening_sockets_work_on() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname(), timeout=5)

        def accept() -> str:
            server.settimeout(5)
            accepted, _ = server.accept()
            with accepted:
                return "accepted"

        assert as_nobody(accept) == "accepted"
        client.close()


@root_only
def test_who_is_not_root_can_only_stay_who_it_is() -> None:
    def ask(text: str) -> str:
        return str(Identity.find(text))

    assert as_nobody(lambda: ask("daemon")) == (
        "PrivilegeError: user: only root can run workers as daemon; start as root or leave `user` out"
    )
    assert as_nobody(lambda: ask(SOMEBODY)) == str(Identity.find(SOMEBODY))


@root_only
def test_dropping_what_cannot_be_dropped_is_said() -> None:
    daemon = Identity.find("daemon")

    def twice() -> str:
        privileges.drop(daemon)
        return "?"

    assert as_nobody(twice) == f"PrivilegeError: cannot become {daemon}: Operation not permitted"


@root_only
def test_that_a_process_is_somebody_else_is_not_believed_but_verified() -> None:
    somebody = Identity.find(SOMEBODY)
    with pytest.raises(PrivilegeError, match=f"^the system has not made this process {SOMEBODY} .uid {somebody.uid}, "):
        privileges._verify(somebody)


@root_only
def test_staying_oneself_changes_nothing() -> None:
    privileges.drop(Identity.find("root"))
    assert os.geteuid() == 0


@root_only
def test_a_file_is_given_away_and_a_link_is_not_followed(tmp_path: Path) -> None:
    somebody = Identity.find(SOMEBODY)
    (tmp_path / "precious").touch()
    (tmp_path / "link").symlink_to("precious")
    (tmp_path / "own").touch()
    for name in ("link", "own"):
        privileges.own(tmp_path / name, somebody)
    owners = {path.name: path.lstat().st_uid for path in tmp_path.iterdir()}
    assert owners == {"precious": 0, "link": somebody.uid, "own": somebody.uid}
