"""The lines of an access log."""

FORMATS: dict[str, int]

def line_of(format: str, **facts: bytes | int) -> bytes:
    """For tests: the line of a record with these facts; raises `KeyError` for one that there is not."""
