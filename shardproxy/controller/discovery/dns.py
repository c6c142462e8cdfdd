"""Endpoints from DNS: addresses (A, AAAA) with one port, or SRV records.

Records are asked for again when their time to live is over, within `min_ttl` and `max_ttl`; after failures twice as
long each time, by chance a little sooner.  A name that does not exist, or has no addresses, is a failure like silence:
what is known stays, since DNS is more often wrong than all servers are gone.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Any

import dns.asyncresolver
import dns.exception
import dns.name
import dns.resolver

from shardproxy.config.discovery import question
from shardproxy.config.schema import Dns, Endpoint
from shardproxy.config.units import Address
from shardproxy.controller.discovery.changes import Changes, Endpoints
from shardproxy.controller.discovery.source import NotFound, Source

# As in SEMANTICS: what a weight may be.
MOST_WEIGHT = 1000
# SRV targets that are looked up; RFC 2782 answers have a few.
MOST_TARGETS = 256
FIRST_PAUSE_S = 0.5


class DnsName(Source):
    """The name in `terms`, asked by a resolver of its own: a dead one holds nobody else up."""

    def __init__(self, cluster: str, terms: Dns, changes: Changes) -> None:
        super().__init__(cluster, terms.name, changes)
        self._terms = terms
        self._failures = 0
        self._ttl_s = 0.0

    async def ask(self) -> Endpoints | None:
        self._failures += 1
        try:
            endpoints = await self._endpoints()
        except (dns.exception.DNSException, OSError) as error:
            raise NotFound(f"{self.name}: {_sentence(error)}") from None
        if not endpoints:
            raise NotFound(f"{self.name}: the name has no addresses")
        self._failures = 0
        return endpoints

    def pause_s(self) -> float:
        least_s, most_s = self._terms.min_ttl / 1e9, self._terms.max_ttl / 1e9
        if self._failures:
            return min(most_s, FIRST_PAUSE_S * 2.0 ** min(self._failures - 1, 16)) * random.uniform(0.8, 1)
        return max(least_s, min(self._ttl_s, most_s))

    async def _endpoints(self) -> Endpoints:
        lookup = Lookup(self._terms)
        name, port = question(self.name)
        found = await lookup.services(name) if port is None else await lookup.addresses(name, port)
        self._ttl_s = lookup.ttl_s
        unique = {endpoint.address: endpoint for endpoint in found}
        return tuple(unique[address] for address in sorted(unique, key=str))


class Lookup:
    """The questions of one turn; `ttl_s` is the least time to live of their answers."""

    def __init__(self, terms: Dns) -> None:
        self._timeout_s = terms.timeout / 1e9
        self._resolver = dns.asyncresolver.Resolver(configure=terms.resolver is None)
        if terms.resolver is not None:
            self._resolver.nameservers = [terms.resolver.host]
            self._resolver.port = terms.resolver.port
        self._resolver.timeout = min(1.0, self._timeout_s)
        self.ttl_s = float("inf")

    async def addresses(self, name: str, port: int, weight: int = 1, priority: int = 0) -> list[Endpoint]:
        """Both kinds at once; one of them may be missing."""
        found = await asyncio.gather(self._records(name, "A"), self._records(name, "AAAA"))
        hosts = [str(record.address) for records in found for record in records]
        return [Endpoint(address=Address(host, port), weight=weight, priority=priority) for host in hosts]

    async def services(self, name: str) -> list[Endpoint]:
        """The targets of SRV records; their priorities (RFC 2782) become those of endpoints, counted from 0."""
        used = [each for each in await self._records(name, "SRV") if str(each.target) != "."][:MOST_TARGETS]
        levels = sorted({each.priority for each in used})
        weighed = any(each.weight for each in used)
        found = await asyncio.gather(
            *(
                self.addresses(
                    str(each.target),
                    each.port,
                    max(1, min(each.weight, MOST_WEIGHT)) if weighed else 1,
                    levels.index(each.priority),
                )
                for each in used
            )
        )
        return [one for several in found for one in several]

    async def _records(self, name: str, kind: str) -> Sequence[Any]:
        absolute = dns.name.from_text(name)
        answer = await self._resolver.resolve(absolute, kind, raise_on_no_answer=False, lifetime=self._timeout_s)
        if answer.rrset is None:
            return ()
        self.ttl_s = min(self.ttl_s, answer.chaining_result.minimum_ttl)
        return list(answer.rrset)


def _sentence(error: Exception) -> str:
    match error:
        case dns.resolver.NXDOMAIN():
            return "there is no such name"
        case dns.exception.Timeout():
            return "the resolver does not answer"
        case dns.resolver.NoNameservers():
            return "the resolver refuses, or fails"
        case _:
            return str(error) or type(error).__name__
