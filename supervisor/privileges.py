"""Workers that are nobody in particular (`user`): the supervisor stays who it is, its children become somebody else.

    supervisor (root)      binds port 443, reads keys, starts the new code in a hot restart
      +- controller, workers (user)      everything that reads what strangers send

The supervisor stays root for as long as it runs, as nginx's master does: a reload may ask for another privileged port,
and a hot restart executes the new code in the same process, which may need one, too.  It touches no traffic.  A
supervisor that is not started as root has nothing to give up; then `user` is an error, unless it says what is already
the case.
"""

from __future__ import annotations

import grp
import os
import pwd
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


class PrivilegeError(Exception):
    """`user` cannot be had; `str()` is a plain sentence."""


@dataclass(frozen=True)
class Identity:
    """A user with its groups, resolved once, before anything is bound."""

    user: str
    uid: int
    gid: int
    groups: tuple[int, ...]

    @classmethod
    def find(cls, text: str) -> Identity:
        """`name` or `name:group`, where numbers are good as well; without a group it is the user's own.

        Raises `PrivilegeError` if one is not known, or if this process cannot become that.
        """
        name, _, group = text.partition(":")
        user = _user(name)
        gid = _group(group) if group else user.pw_gid
        # With a group that is named the user's other groups are left behind, as with `setpriv --clear-groups`.
        groups = (gid,) if group else tuple(os.getgrouplist(user.pw_name, gid))
        found = cls(user.pw_name, user.pw_uid, gid, groups)
        if os.geteuid() != 0 and not found.is_ours:
            raise PrivilegeError(f"user: only root can run workers as {text}; start as root or leave `user` out")
        return found

    def __str__(self) -> str:
        return f"{self.user} (uid {self.uid}, gid {self.gid})"

    @property
    def is_ours(self) -> bool:
        """Whether this process is that already."""
        return os.getresuid() == (self.uid,) * 3 and os.getresgid() == (self.gid,) * 3


def drop(identity: Identity) -> None:
    """In the child, after the fork: become `identity` for good.  Raises `PrivilegeError`; then nothing may be served.

    Groups go first, since only root may change them; with the last uid that was 0 the kernel takes all capabilities.
    It also makes the process "not dumpable" (fs.suid_dumpable decides), and that is left so: a worker's memory began as
    a copy of root's, so no other process of that user may read it.  For a core file or `py-spy` be root.
    """
    if identity.is_ours:
        return
    try:
        os.setgroups(identity.groups)
        os.setresgid(identity.gid, identity.gid, identity.gid)
        os.setresuid(identity.uid, identity.uid, identity.uid)
    except OSError as error:
        raise PrivilegeError(f"cannot become {identity}: {error.strerror}") from None
    _verify(identity)


def own(path: Path, identity: Identity) -> None:
    """Give a file of ours, such as a Unix socket, to `identity`; a symbolic link is not followed.

    Not for the pid file: see there.  Raises `OSError`.
    """
    os.chown(path, identity.uid, identity.gid, follow_symlinks=False)


def _user(name: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwuid(int(name)) if name.isdecimal() else pwd.getpwnam(name)
    except (KeyError, OverflowError):
        raise PrivilegeError(f"user: there is no user {name} on this machine") from None


def _group(name: str) -> int:
    try:
        return grp.getgrgid(int(name)).gr_gid if name.isdecimal() else grp.getgrnam(name).gr_gid
    except (KeyError, OverflowError):
        raise PrivilegeError(f"user: there is no group {name} on this machine") from None


def _verify(identity: Identity) -> None:
    """That it is so, and that there is no way back: neither to root, nor to other groups."""
    if not identity.is_ours or set(os.getgroups()) != set(identity.groups):
        raise PrivilegeError(f"the system has not made this process {identity}")
    if identity.uid == 0:
        return
    with suppress(OSError):
        os.setresuid(-1, 0, -1)
        raise PrivilegeError(f"as {identity} this process could still become root again")
    with suppress(OSError):
        os.setgroups(identity.groups)
        raise PrivilegeError(f"as {identity} this process could still choose its groups")
