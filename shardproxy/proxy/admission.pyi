from shardproxy.limits.rates import RateLimits

class LimitGate:
    """The rate limits of a route, as its gate."""

    def __init__(self, limits: RateLimits) -> None: ...
