"""The rules: pure functions from evidence to findings, one file for each category."""

from __future__ import annotations

import dataclasses

from cachetui.analysis.rules.availability import away
from cachetui.analysis.rules.table import RULES
from cachetui.analysis.sanity import sane
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
        live = dataclasses.replace(known, stats=None, window=(), slowlog=None, clients=None, topology=None)
    found = [rule.find(known if rule.when_away else live) for rule in RULES]
    return tuple(sorted((f for f in found if f is not None), key=lambda f: PRIORITIES.index(f.priority)))
