class Wheel:
    """The coarse timer wheel of a worker (ticks of 50 ms)."""

    now_ns: int
    def advance(self) -> None:
        """Serve all ticks that have passed."""
