"""A file that many processes append lines to: written in large pieces from a buffer, each piece whole lines."""

class LogFile:
    """`path` is made if it is not there, readable by its owner and group.

    Raises `OSError` when it cannot be opened and `must_open` is true.  Otherwise lines are kept until the file can be
    opened, which is tried once a second.  What a file does not take (a full disk, a slow reader of a named pipe, or
    none) waits in the buffer; when that is full lines are left out, never the traffic kept waiting.  The program's log
    says so, once a minute at most.
    """

    path: str
    lost: int
    """Lines that were left out."""

    def __init__(self, path: str, *, must_open: bool = True) -> None: ...
    def append(self, line: bytes) -> bool:
        """For what comes rarely; false if there is no room, or the line is longer than 32 KiB."""

    def flush(self) -> int:
        """Write what waits.  Returns how many bytes the file has not taken."""

    def retry(self) -> None:
        """Write what waits, if the file did not take it the last time; to be called once a second."""

    def reopen(self) -> None:
        """Write what waits into the file as it was, then open `path` anew, for somebody who has moved the file away.

        When it cannot be opened the old file is written on, and opening is tried once a second.
        """
