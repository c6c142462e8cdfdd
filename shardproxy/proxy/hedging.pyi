from shardproxy.proxy.retries import RetryBudget

class HedgePolicy:
    """A route's `hedge`: a second try after `after_ns` without a response head, on `budget`.

    `timeout_ns` is the route's, for both tries together.
    """

    def __init__(self, budget: RetryBudget, *, after_ns: int, timeout_ns: int) -> None: ...
