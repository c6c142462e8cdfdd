"""The body of a request, thrown away as it comes: only its end and its length matter to an origin of the demo."""

from __future__ import annotations

_LINE = b"\r\n"
_LONGEST_LINE = 4096


class BadBody(Exception):
    """The body is not framed as HTTP/1.1 frames bodies."""


class LengthBody:
    """A body of `length` bytes; 0 for none."""

    def __init__(self, length: int) -> None:
        self.received = 0
        self._left = length

    def take(self, buffer: bytearray) -> bool:
        """Take what is ours from the front of `buffer`; true once the body is complete."""
        taken = min(self._left, len(buffer))
        del buffer[:taken]
        self._left -= taken
        self.received += taken
        return not self._left


class ChunkedBody:
    """A chunked body. Raises `BadBody` from `take`."""

    def __init__(self) -> None:
        self.received = 0
        self._chunk: LengthBody | None = None
        self._is_in_trailers = False

    def take(self, buffer: bytearray) -> bool:
        """As `LengthBody.take`."""
        while True:
            if self._chunk is not None:
                if not self._chunk.take(buffer):
                    return False
                self._chunk = None
            line = _line(buffer)
            if line is None:
                return False
            if self._is_in_trailers and not line:
                return True
            if not self._is_in_trailers:
                self._begin_chunk(line)

    def _begin_chunk(self, line: bytes) -> None:
        try:
            size = int(line.partition(b";")[0], 16)
        except ValueError:
            raise BadBody(f"{line!r} is not the size of a chunk") from None
        self.received += size
        self._is_in_trailers = size == 0
        if size:
            self._chunk = LengthBody(size + len(_LINE))


def _line(buffer: bytearray) -> bytes | None:
    """The next line, taken from the front of `buffer`, or None if it is not complete."""
    line, end, _ = bytes(buffer[:_LONGEST_LINE]).partition(_LINE)
    if end:
        del buffer[: len(line) + len(end)]
        return line
    if len(buffer) >= _LONGEST_LINE:
        raise BadBody(f"a line of the chunked framing is longer than {_LONGEST_LINE} bytes")
    return None
