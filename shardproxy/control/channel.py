"""One end of the line between the supervisor and one child: a SOCK_SEQPACKET pair, one packet per message.

Descriptors can travel with a message (SCM_RIGHTS, unix(7)).  Packets keep their borders, so nothing has to be framed,
and the end of the other process is seen as an end of file: a child whose supervisor is gone finds `PeerGone` and drains
out instead of living on as an orphan.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
from collections.abc import Sequence

import msgspec

from shardproxy.control.messages import Message, decode, encode

# Far above any message of ours, far below the kernel's default of 208 KiB for a socket's buffer.
MAX_PACKET_BYTES = 64 * 1024
# The kernel takes 253 with one packet.
MAX_DESCRIPTORS = 250
# Of the kernel, or of this process: the other end is there.
SHORTAGES = frozenset((errno.ENOBUFS, errno.ENOMEM, errno.ETOOMANYREFS))
_ROOM = socket.CMSG_SPACE(4 * MAX_DESCRIPTORS)

logger = logging.getLogger(__name__)


class ChannelError(Exception):
    """A message could not be sent or received; the text is a plain sentence."""


class PeerGone(ChannelError):
    """The process at the other end has exited or has closed its end."""


class PeerBusy(ChannelError):
    """The other end does not read, and the kernel's buffer (the bound of this queue) is full; nothing was sent."""


class Channel:
    """Never blocks in either direction: wait for `fileno()` to become readable, then `receive` until it gives None."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._socket = end
        self._descriptors: list[int] = []

    @classmethod
    def pair(cls) -> tuple[Channel, Channel]:
        """Two connected ends; each process closes the one that is not its own."""
        one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(one), cls(other)

    def __repr__(self) -> str:
        fd = self.fileno()
        return f"<Channel {'closed' if fd < 0 else f'fd={fd}'}>"

    def fileno(self) -> int:
        """The descriptor to wait on; -1 once closed."""
        return self._socket.fileno()

    def send(self, message: Message, descriptors: Sequence[int] = ()) -> None:
        """Hand `message` to the kernel, with at most 250 descriptors, which the other end gets copies of.

        Raises `PeerGone` or `PeerBusy`.
        """
        try:
            socket.send_fds(self._socket, [encode(message)], descriptors, socket.MSG_NOSIGNAL)
        except BlockingIOError:
            raise PeerBusy("the process at the other end does not read its messages") from None
        except OSError as error:
            if error.errno in SHORTAGES:
                raise PeerBusy(f"the kernel takes no message ({error.strerror})") from None
            raise PeerGone(f"the process at the other end is gone ({error.strerror})") from None

    def receive(self) -> Message | None:
        """The next message, or None when there is none yet; raises `PeerGone` at the end of file.

        A packet that is no message of this version is logged and skipped: another generation may know more words.
        """
        while (packet := self._receive_packet()) is not None:
            try:
                return decode(packet)
            except msgspec.DecodeError as error:
                logger.warning("a message of %d bytes is not understood and skipped: %s", len(packet), error)
        return None

    def take_descriptors(self) -> list[int]:
        """Those that came with the last message; they are the caller's now.  Whoever does not ask loses them."""
        taken, self._descriptors = self._descriptors, []
        return taken

    def _receive_packet(self) -> bytes | None:
        self._drop_descriptors()
        try:
            # Not socket.recv_fds, which forgets its flags (CPython 3.11): another thread's fork would inherit them.
            packet, ancillary, _, _ = self._socket.recvmsg(MAX_PACKET_BYTES, _ROOM, socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno in SHORTAGES:
                return None  # it stays readable
            raise PeerGone(f"the process at the other end is gone ({error.strerror})") from None
        self._descriptors = [fd for _, _, data in ancillary for fd in memoryview(data).cast("i")]
        if not packet:
            raise PeerGone("the process at the other end is gone")
        return packet

    def close(self) -> None:
        """Give the descriptor back; the other end then finds `PeerGone`.  Closing twice does no harm."""
        self._drop_descriptors()
        self._socket.close()

    def _drop_descriptors(self) -> None:
        for fd in self.take_descriptors():
            os.close(fd)
