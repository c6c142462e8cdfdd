from shardproxy.balancing.cluster import Cluster
from shardproxy.routing.table import Table
from shardproxy.shm.buckets import Bucket
from shardproxy.shm.keyed import KeyedBuckets

class Operation:
    """Does nothing: what it costs is the loop's part of every other."""

    def run(self, times: int) -> None:
        """The operation, so many times. Raises `ValueError` if it did not do what it should."""

class ScanHead(Operation):
    """Scan a whole head, and say how its body is framed."""

    def __init__(self, source: bytes, *, is_request: bool) -> None: ...

class SpliceHead(ScanHead):
    """Write a scanned head onward, as every request's and response's is."""

class ReadChunked(Operation):
    """Read a whole chunked body."""

    def __init__(self, body: bytes) -> None: ...

class FindRoute(Operation):
    """Find the route of one of the paths, each in turn; all of them have one."""

    def __init__(self, table: Table, paths: list[bytes]) -> None: ...

class Pick(Operation):
    """Choose an endpoint, take its place, and give it back."""

    def __init__(self, cluster: Cluster) -> None: ...

class PickHashed(Pick):
    """The same by a key, another one each time."""

class TakeToken(Operation):
    """Take a token that is there."""

    def __init__(self, bucket: Bucket) -> None: ...

class TakeKeyedToken(Operation):
    """Hash a key, and take a token of its bucket; the keys in turn."""

    def __init__(self, buckets: KeyedBuckets, keys: list[bytes]) -> None: ...
