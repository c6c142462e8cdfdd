from shardproxy.proxy.retries import RetryBudget

class HedgePolicy:
    """A route's `hedge`: a second try after `after_ns` without a response head, on its cluster's of `budgets`.

    `timeout_ns` is the route's, for both tries together.
    """

    def __init__(self, budgets: dict[str, RetryBudget], *, after_ns: int, timeout_ns: int) -> None: ...
