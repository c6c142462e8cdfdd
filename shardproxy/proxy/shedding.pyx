"""Refusing by class, lowest first: while the worker is overloaded, or what is left of an adaptive limit is for others."""

from .priority cimport LOWEST, rank_of


# hot
cdef bint is_shed(Process process, ClusterRuntime cluster, RouteRuntime route, Head head) noexcept:
    """Cost: two tests; under overload, or with an adaptive limit, the request's class."""
    cdef bint is_scarce = cluster.balancing.adaptive != NULL and cluster.queue is None
    cdef int rank
    if not is_scarce and process.refused_from > LOWEST:
        return False
    rank = rank_of(route, head)
    return rank >= process.refused_from or (is_scarce and cluster.balancing.is_short_for(rank))
