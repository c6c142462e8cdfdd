from shardproxy.proxy.retries import RetryBudget
from shardproxy.shm.words import Words

class HedgePolicy:
    """A route's `hedge`: a second try after `after_ns` without a response head, on its cluster's of `budgets`.

    With `words` it is after what the cluster's word there says, whose number `told` has; 0 there: not at all.
    `timeout_ns` is the route's, for both tries together.
    """

    def __init__(
        self,
        budgets: dict[str, RetryBudget],
        timeout_ns: int,
        *,
        after_ns: int = 0,
        words: Words | None = None,
        told: dict[str, int] | None = None,
    ) -> None: ...
