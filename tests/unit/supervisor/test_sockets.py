from __future__ import annotations

import gc
import select
import socket
from pathlib import Path

import pytest

from shardproxy.config.schema import Admin, Cluster, Config, Endpoint, Listener, Match, Route
from shardproxy.config.units import Address
from shardproxy.supervisor.sockets import BindError, Sockets


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def config(*binds: Address, admin: Address | None = None) -> Config:
    routes = (Route(match=Match(prefix="/"), cluster="app"),)
    return Config(
        listeners=tuple(Listener(bind=bind, name=f"l{number}", routes=routes) for number, bind in enumerate(binds)),
        clusters=(Cluster(name="app", endpoints=(Endpoint(address=Address("127.0.0.1", 1)),)),),
        admin=Admin(bind=admin or Address("127.0.0.1", free_port())),
    )


def test_each_worker_has_its_own_socket_of_every_tcp_listener() -> None:
    bind = Address("127.0.0.1", free_port())
    sockets = Sockets(config(bind), workers=3)
    group = [sockets.of_worker(index)["l0"] for index in range(3)]
    assert len({one.fileno() for one in group}) == 3
    assert {one.getsockname() for one in group} == {(bind.host, bind.port)}
    assert all(one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) for one in group)
    assert not any(one.getblocking() or one.get_inheritable() for one in group)
    sockets.close()


def test_new_connections_are_spread_over_the_group() -> None:
    bind = Address("127.0.0.1", free_port())
    sockets = Sockets(config(bind), workers=2)
    clients = [socket.create_connection((bind.host, bind.port)) for _ in range(64)]
    group = [sockets.of_worker(index)["l0"] for index in range(2)]
    assert len(select.select(group, [], [], 5)[0]) == 2
    for one in clients:
        one.close()
    sockets.close()


def test_the_same_port_of_ipv4_and_ipv6_are_two_listeners() -> None:
    port = free_port()
    sockets = Sockets(config(Address("0.0.0.0", port), Address("::", port)), workers=1)
    assert set(sockets.of_worker(0)) == {"l0", "l1"}
    sockets.close()


def test_a_unix_socket_is_shared_and_its_file_removed_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "s"
    sockets = Sockets(config(Address(path=str(path))), workers=2)
    assert sockets.of_worker(0)["l0"] is sockets.of_worker(1)["l0"]
    assert path.is_socket()
    sockets.close()
    assert not path.exists()


def test_a_file_that_has_taken_the_place_of_ours_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "s"
    sockets = Sockets(config(Address(path=str(path))), workers=1)
    (tmp_path / "other").write_text("precious")
    (tmp_path / "other").rename(path)
    sockets.close()
    assert path.read_text() == "precious"


def test_the_file_of_a_dead_process_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    sockets = Sockets(config(Address(path=str(path))), workers=1)
    assert path.is_socket()
    sockets.close()


def open_descriptors() -> int:
    gc.collect()  # descriptors that other tests have left to it
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def refusal(*binds: Address, admin: Address | None = None) -> str:
    before = open_descriptors()
    with pytest.raises(BindError) as caught:
        Sockets(config(*binds, admin=admin), workers=2)
    assert open_descriptors() == before
    return str(caught.value)


def test_what_cannot_be_bound_is_said_with_the_name_and_the_reason(tmp_path: Path) -> None:
    foreign = Address("192.0.2.1", 8080)
    assert refusal(foreign) == "listener l0 cannot listen on 192.0.2.1:8080: this machine does not have that address"
    nowhere = Address(path=str(tmp_path / "no" / "s"))
    assert refusal(nowhere) == f"listener l0 cannot listen on {nowhere}: No such file or directory"
    assert refusal(admin=foreign).startswith("the admin interface cannot listen on 192.0.2.1:8080: ")


def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("text")
    assert refusal(Address(path=str(path))).endswith("a file that is not a socket is in the way")
    assert path.read_text() == "text"


def test_a_unix_socket_that_somebody_listens_on_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as living:
        living.bind(str(path))
        living.listen()
        assert refusal(Address(path=str(path))).endswith("another process is listening there")
    assert path.is_socket()


def test_a_later_failure_gives_back_what_was_bound_before(tmp_path: Path) -> None:
    path, bind = tmp_path / "s", Address("127.0.0.1", free_port())
    refusal(bind, Address(path=str(path)), Address("192.0.2.1", 8080))
    assert not path.exists()
    with socket.create_server((bind.host, bind.port)):
        pass


def test_a_port_is_waited_for_that_becomes_free_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    holder = socket.create_server(("127.0.0.1", 0))
    monkeypatch.setattr("time.sleep", lambda _: holder.close())
    Sockets(config(Address("127.0.0.1", holder.getsockname()[1])), workers=1).close()


def test_a_child_keeps_only_its_own() -> None:
    sockets = Sockets(config(Address("127.0.0.1", free_port()), Address("127.0.0.1", free_port())), workers=2)
    mine = sockets.of_worker(1)
    sockets.keep_only(mine)
    assert all(one.fileno() >= 0 for one in mine.values())
    assert all(one.fileno() == -1 for one in [sockets.admin, *sockets.of_worker(0).values()])
    sockets.close()
