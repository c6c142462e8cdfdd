from typing import NamedTuple

class Announced(NamedTuple):
    """What a header says; both ends are empty when it names nobody."""

    size: int
    source: bytes
    source_port: int
    destination: bytes
    destination_port: int

def scan(data: bytes) -> Announced | str:
    """The header that `data` begins with, or the name of what stands in the way: `need_more` or `bad_proxy_header`."""

def header(version: int, source: bytes, source_port: int, destination: bytes, destination_port: int) -> bytes:
    """The header of that version (1 or 2); ends that are not two IP addresses with ports make one that names nobody."""
