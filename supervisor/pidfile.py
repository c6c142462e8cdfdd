"""The file that tells the supervisor's pid (`pid_file`), and that keeps two supervisors from sharing one.

Its holder keeps a flock(2) on it, which the kernel takes back when the holder ends, however it ends.  So a file that
was left behind is recognized for what it is, even if another process has that pid by now.

    no file ──────────────────────────── link ──┐
    a file, not locked (left behind) ── rename ─┴──> ours, locked ── remove ──> gone
    a file, locked ──> refused

The new file is complete before it gets its name, so nobody reads half a pid.  A child must close the descriptor (as
`children` sees to), or the lock would live on in it.  It is closed on exec: after a hot restart the new code writes the
file again, under the same pid.

The file stays root's if the supervisor is root: whoever can write to it chooses whom the operator's next
`kill $(cat ...)` hits.
"""

from __future__ import annotations

import fcntl
import os
import stat
import time
from contextlib import suppress
from pathlib import Path

# A child of our own may hold the lock for a moment, from its birth until it has closed what is not its own.
PATIENCE_S = 1.0
RETRY_S = 0.02
_MOST_BYTES = 32


class PidFileError(Exception):
    """The file cannot be had; `str()` is a plain sentence."""


class PidFile:
    """Our pid at `path`, from `write` until `remove`."""

    def __init__(self, path: Path, fd: int) -> None:
        self._path = path
        self._fd = fd
        self._pid = os.getpid()

    def __repr__(self) -> str:
        return f"<PidFile {self._path} {'held' if self._fd >= 0 else 'given up'}>"

    @classmethod
    def write(cls, path: Path) -> PidFile:
        """Raises `PidFileError` if a living process holds it, if it is not a pid file, or cannot be written."""
        give_up = time.monotonic() + PATIENCE_S
        try:
            while True:
                fd = _place(path)
                if fd is not None:
                    return cls(path, fd)
                if _told(path) != str(os.getpid()) or time.monotonic() > give_up:
                    raise PidFileError(
                        f"pid_file: {path} is held by another supervisor, pid {_told(path) or 'unknown'}"
                    )
                time.sleep(RETRY_S)
        except OSError as error:
            raise PidFileError(f"pid_file: {path} cannot be written: {error.strerror}") from None

    def remove(self) -> None:
        """Give it up, and remove the file unless somebody else's has taken its place.  In a child it only closes."""
        if self._fd < 0:
            return
        if os.getpid() == self._pid and _is_at(self._fd, self._path):
            with suppress(OSError):
                self._path.unlink()
        os.close(self._fd)
        self._fd = -1


def _place(path: Path) -> int | None:
    """Our locked file at `path`, or None if somebody holds the one that is there.  Raises `OSError`."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    fd = _draft(draft)
    try:
        is_placed = _link(draft, path) or _replace(draft, path)
    except BaseException:
        os.close(fd)
        raise
    finally:
        draft.unlink(missing_ok=True)
    if not is_placed:
        os.close(fd)
        return None
    return fd


def _draft(draft: Path) -> int:
    """A complete and locked file under another name."""
    draft.unlink(missing_ok=True)
    fd = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        os.write(fd, f"{os.getpid()}\n".encode())
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        os.close(fd)
        draft.unlink(missing_ok=True)
        raise
    return fd


def _link(draft: Path, path: Path) -> bool:
    """Give the draft its name, if that is free."""
    try:
        path.hardlink_to(draft)
    except FileExistsError:
        return False
    return True


def _replace(draft: Path, path: Path) -> bool:
    """Put the draft in the place of a file that was left behind.

    Whoever replaces it has its lock, so of two that try at a time one finds it held.
    """
    old = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        if not _is_pid_file(old):
            raise PidFileError(f"pid_file: {path} is there and is not a pid file; it is left alone")
        try:
            fcntl.flock(old, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        if not _is_at(old, path):
            return False
        draft.rename(path)
        return True
    finally:
        os.close(old)


def _is_pid_file(fd: int) -> bool:
    """Whether there is nothing but a number in it, or nothing at all."""
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        return False
    text = os.pread(fd, _MOST_BYTES, 0).strip()
    return not text or text.isdigit()


def _is_at(fd: int, path: Path) -> bool:
    with suppress(OSError):
        return os.path.samestat(os.fstat(fd), path.lstat())
    return False


def _told(path: Path) -> str:
    """The pid in the file; empty if it cannot be read."""
    with suppress(OSError), path.open("rb") as file:
        return file.read(_MOST_BYTES).strip().decode("ascii", "replace")
    return ""
