"""A file that many processes append lines to: written in large pieces from a buffer, each piece whole lines."""

class LogFile:
    """`path` is made if it is not there, readable by its owner and group.  Raises `OSError` when it cannot be opened.

    A named pipe must have a reader.  What a file does not take (a full disk, a slow reader) waits in the buffer; when
    that is full lines are left out, never the traffic kept waiting.
    """

    path: str

    def __init__(self, path: str) -> None: ...
    def append(self, line: bytes) -> bool:
        """For what comes rarely; false if there is no room, or the line is longer than 32 KiB."""

    def flush(self) -> None:
        """Write what waits."""

    def reopen(self) -> None:
        """Write what waits into the file as it was, then open `path` anew, for whoever has moved the file away.

        Raises `OSError` when it cannot be opened; then the old one is written on.
        """
