"""The rules: pure functions from evidence to findings, one file for each category."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from cachetui.analysis.rules.availability import away
from cachetui.analysis.rules.table import RULES
from cachetui.analysis.sanity import sane
from cachetui.analysis.topology import cluster_findings
from cachetui.model import Evidence, Finding
from cachetui.model.findings import PRIORITIES

__all__ = ["RULES", "findings"]


def findings(evidence: Evidence) -> tuple[Finding, ...]:
    """Return all that is wrong, the worst first; the same evidence always gives the same order.

    While the server does not answer, its last figures are stale: only the rules on the
    connection itself speak then. Never raises, whatever the server said.
    """
    known = sane(evidence)
    live = known
    if away(known):
        live = dataclasses.replace(
            known, stats=None, window=(), slowlog=None, clients=None, topology=None, prefixes=None
        )
    found = [f for rule in RULES if (f := rule.find(known if rule.when_away else live)) is not None]
    if live.stats is not None and live.stats.nodes:
        found = [dataclasses.replace(f, commands=_for_each_node(f.commands)) for f in found]
    found += cluster_findings(live.topology)
    return tuple(sorted(found, key=lambda f: PRIORITIES.index(f.priority)))


_SUMMED = ("CONFIG SET maxmemory ", "CONFIG SET maxclients ")
"""Their figures were made from sums: no single node is to be given them."""


def _for_each_node(commands: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"each node> {command}" for command in commands if not command.startswith(_SUMMED))
