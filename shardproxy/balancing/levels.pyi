from collections.abc import Sequence

from shardproxy.shm.decisions import Decisions

class Levels:
    """Shares requests out over the levels of a cluster as Envoy does over priorities (priority.rst)."""

    count: int
    def __init__(
        self, level_of: Sequence[int], decision_of: Sequence[int], *, overprovisioning: int, panic_threshold: int
    ) -> None:
        """Each endpoint's level, from 0 without a gap, and its decision's slot; the others are percent.

        Raises `ValueError` for a level without endpoints.
        """
    def shares(self, decisions: Decisions) -> list[tuple[int, int, int, bool]]:
        """Now, by level: endpoints, healthy ones, percent of the requests, and whether health is ignored in it."""
