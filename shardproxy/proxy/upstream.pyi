class Upstream:
    """A connection to an endpoint."""

    def connect_failed(self, fault: int) -> int:
        """It could not be made; `fault` is a number of `http1.faults.Fault`.  Told once, to whatever exchange waits."""
