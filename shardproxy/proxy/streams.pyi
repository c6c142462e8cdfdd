from shardproxy.proxy.downstream import Downstream
from shardproxy.proxy.upstream import Upstream
from shardproxy.proxy.watching import Watch

def adopt(watcher: Watch, fd: int, user: Downstream | Upstream) -> None:
    """Make a stream of a connected socket that does not block, for a protocol that is told of it at once; it is closed
    with the stream."""
