from shardproxy.config.units import Address
from shardproxy.proxy.upstream import Upstream
from shardproxy.proxy.watching import Watch

class Attempt:
    """A connection that is being made.  It ends in a stream whose receiver is `upstream` (`streams.adopt`), or in
    `upstream.connect_failed()`, later than the call that began it.  Raises `OSError` when it cannot even begin."""

    def __init__(self, watcher: Watch, address: Address, upstream: Upstream) -> None: ...
    def fail(self) -> None: ...
    def cancel(self) -> None:
        """Nobody waits for it any more, and the upstream is not told."""
