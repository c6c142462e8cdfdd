"""The clock of this process can be stopped, and set: whatever waits can then be driven step by step."""


def stop_clock(int64_t at_ns):
    """From here on it is `at_ns`, in nanoseconds of CLOCK_MONOTONIC, for all compiled code of this process.

    Raises `ValueError` unless it is above 0."""
    global stopped_at_ns
    if at_ns <= 0:
        raise ValueError(f"the clock can be stopped at a time above 0, not at {at_ns}")
    stopped_at_ns = at_ns


def start_clock():
    """The clock is the kernel's again."""
    global stopped_at_ns
    stopped_at_ns = 0


def clock_ns():
    """What compiled code takes for now, in nanoseconds."""
    return now_ns()
