"""What the access log is told of an exchange."""

from shardproxy.observe.log_file import LogFile
from shardproxy.proxy.process import Process

class AccessLog:
    """The access log of one listener: `format` is `json` or `combined`; `dropped` is the counter of lines left out.

    Lines are written when half of the file's buffer is used, or `flush_ns` after the first of them.
    """

    def __init__(
        self, process: Process, file: LogFile, format: str, listener: str, flush_ns: int, dropped: int
    ) -> None: ...
