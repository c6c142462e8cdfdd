"""The other end: ask a running proxy's admin interface. Synchronous, and no event loop is loaded for it."""

from __future__ import annotations

import http.client
import socket
from urllib.parse import urlsplit

import msgspec

from shardproxy.controller.stats import Stats

PATIENCE_S = 5.0
MOST_BYTES = 64 << 20


class NoAnswer(Exception):
    """The admin interface was not reached, or did not answer as ours does; `str()` is a plain sentence."""


def ask_stats(admin: str) -> Stats:
    """The numbers of the proxy whose admin interface is at `admin`: `http://HOST:PORT` or `unix:/PATH`.

    Raises `NoAnswer`.
    """
    status, body = ask(admin, "/stats")
    if status != http.client.OK:
        raise NoAnswer(f"{admin} answered {status} to /stats; is it the admin interface of a shardproxy?")
    try:
        return msgspec.json.decode(body, type=Stats)
    except msgspec.DecodeError as error:
        raise NoAnswer(f"{admin} is no shardproxy of this version: {error}") from None


class Outcome(msgspec.Struct, frozen=True):
    """What became of something that was asked for."""

    done: bool = False
    message: str = ""


def change(admin: str, path: str, patience_s: float) -> Outcome:
    """Ask for something, and wait until it is done or refused. Raises `NoAnswer`."""
    status, body = ask(admin, path, "POST", patience_s)
    try:
        return msgspec.json.decode(body, type=Outcome)
    except msgspec.DecodeError:
        raise NoAnswer(f"{admin} answered {status} to {path}; is it the admin interface of a shardproxy?") from None


def ask(admin: str, path: str, method: str = "GET", patience_s: float = PATIENCE_S) -> tuple[int, bytes]:
    """Status and body of the answer. Raises `NoAnswer`."""
    connection = _connection(admin, patience_s)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.read(MOST_BYTES)
    except TimeoutError:
        raise NoAnswer(f"{admin} has not answered {path} within {patience_s:g} s") from None
    except OSError as error:
        raise NoAnswer(f"no proxy answers at {admin}: {error.strerror or error}") from None
    except UnicodeError:
        raise NoAnswer(f"no proxy answers at {admin}: there can be no host of that name") from None
    except http.client.HTTPException:
        raise NoAnswer(f"what answers at {admin} is not an admin interface") from None
    finally:
        connection.close()


def _connection(admin: str, patience_s: float) -> http.client.HTTPConnection:
    try:
        parts = urlsplit(admin)
        if parts.scheme == "unix":
            return _UnixConnection(parts.path, patience_s)
        if parts.scheme == "http" and parts.hostname:
            return http.client.HTTPConnection(parts.hostname, parts.port, timeout=patience_s)
    except (ValueError, http.client.InvalidURL):
        pass
    raise NoAnswer(f"{admin} is neither http://HOST:PORT nor unix:/PATH")


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str, patience_s: float) -> None:
        super().__init__("localhost", timeout=patience_s)
        self._path = path
        self._patience_s = patience_s

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self._patience_s)
        self.sock.connect(self._path)
