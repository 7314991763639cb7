"""Checks of a cluster: what is broken, what would break next, what to do. Pure; finds all that redis-cli does."""

from __future__ import annotations

from cachetui.analysis.topology.balance import balance_checks
from cachetui.analysis.topology.coverage import coverage_checks
from cachetui.analysis.topology.members import member_checks
from cachetui.analysis.topology.safety import safety_checks
from cachetui.model import Finding, Topology
from cachetui.model.findings import PRIORITIES

__all__ = ["cluster_findings", "is_checked", "is_whole_cluster"]


def is_whole_cluster(seen: Topology | None) -> bool:
    """Tell whether all nodes of a cluster were asked, so that it can be checked."""
    return seen is not None and any(node.member is not None for node in seen.nodes)


def cluster_findings(seen: Topology | None) -> tuple[Finding, ...]:
    """Return all that is wrong with a cluster, the worst first; nothing for anything else."""
    if seen is None or not is_whole_cluster(seen):
        return ()
    found = [*coverage_checks(seen), *member_checks(seen), *safety_checks(seen), *balance_checks(seen)]
    return tuple(sorted(found, key=lambda finding: PRIORITIES.index(finding.priority)))


def is_checked(finding: Finding) -> bool:
    """Tell whether a finding fails a check: what has low priority is only worth knowing."""
    return finding.priority != "low"
