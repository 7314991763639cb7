"""Is the load spread: slots, keys, memory, traffic; and which slots are hot?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from cachetui import text
from cachetui.analysis.sanity import possible
from cachetui.analysis.topology.words import figures, finding, plural, primaries, some
from cachetui.model import Finding, HotSlot, Node, Topology
from cachetui.model.slots import slots_of

UNEVEN, VERY_UNEVEN = 1.5, 2.5
"""How many times the mean the fullest node has."""
CROWDED_PERCENT = 80.0
"""Percent of maxclients."""
FULL_PERCENT, VERY_FULL_PERCENT = 85.0, 95.0
"""Percent of a node's own limit."""
HOT_SHARE = 0.3
"""The part of what a node's counted slots take from which one slot is hot."""
HOT_US_PER_S = 50_000.0
"""Server time of one slot in microseconds a second: a twentieth of a core."""


def balance_checks(seen: Topology) -> Iterator[Finding]:
    """Yield what is spread badly."""
    yield from _full(seen)
    yield from _crowded(seen)
    yield from _empty(seen)
    for measure in _MEASURES:
        yield from _uneven(seen, measure)
    yield from _hot(seen)


def _full(seen: Topology) -> Iterator[Finding]:
    filled = [
        (percent, node)
        for node in primaries(seen)
        if (percent := figures(node).full_percent) is not None and possible(percent) and percent >= FULL_PERCENT
    ]
    if not filled:
        return
    percent, worst = max(filled, key=lambda pair: pair[0])
    evicting = figures(worst).evicted_per_s or 0.0
    yield finding(
        "node-full",
        "high" if percent >= VERY_FULL_PERCENT and evicting > 0 else "medium",
        f"{worst.address} uses {text.percent(percent, 0)} of its {text.size(figures(worst).limit_bytes)}"
        + (f" and evicts {text.rate(evicting)}" if evicting > 0 else "")
        + (f" (and {plural(len(filled) - 1, 'other node')})" if len(filled) > 1 else ""),
        "Raise maxmemory there, or move slots to nodes with room: cachetui cluster rebalance --by memory.",
        {"nodes": {node.address: round(percent, 1) for percent, node in filled}},
    )


def _crowded(seen: Topology) -> Iterator[Finding]:
    filled = [
        (100.0 * told.clients / told.max_clients, node)
        for node in seen.nodes
        if possible((told := figures(node)).clients) and told.clients and told.max_clients and told.max_clients > 0
    ]
    percent, node = max(filled, key=lambda pair: pair[0], default=(0.0, None))
    if node is not None and percent >= CROWDED_PERCENT:
        yield finding(
            "node-crowded",
            "high" if percent >= VERY_FULL_PERCENT else "medium",
            f"{node.address} is nearly out of connections: {figures(node).clients} of {figures(node).max_clients}",
            "Find who holds them there (Enter on the node, then press 5), or raise its maxclients.",
            {"node": node.address, "clients_percent": round(percent, 1)},
        )


def _empty(seen: Topology) -> Iterator[Finding]:
    empty = [node for node in primaries(seen) if not node.slots and node.state == "online"]
    if empty and primaries(seen, serving=True):
        yield finding(
            "no-slots",
            "low",
            f"{plural(len(empty), 'primary serves', 'primaries serve')} no slots: {some(one.address for one in empty)}",
            "Give it some (cachetui cluster rebalance), or make it a replica with CLUSTER REPLICATE.",
            {"nodes": [node.address for node in empty]},
        )


@dataclass(frozen=True, slots=True)
class _Measure:
    """What ought to be spread evenly."""

    name: str
    read: Callable[[Node], float | None]
    least: float
    """A mean of all nodes below which being uneven costs nothing."""
    shown: Callable[[float], str]
    words: str
    """How a sentence about it begins, and its verb."""
    remedy: str


_MEASURES = (
    _Measure(
        "slots",
        lambda node: float(len(slots_of(node.slots))),
        1.0,
        text.count,
        "Slots are uneven: {} has",
        "Rebalance: cachetui cluster rebalance shows the moves first.",
    ),
    _Measure(
        "memory",
        lambda node: figures(node).used_bytes,
        64 * 1024**2,
        text.size,
        "Memory is uneven: {} uses",
        "Rebalance by memory (cachetui cluster rebalance --by memory); one huge key cannot be divided.",
    ),
    _Measure(
        "keys",
        lambda node: figures(node).keys,
        10_000,
        text.count,
        "Keys are uneven: {} has",
        "Rebalance by keys (cachetui cluster rebalance --by keys); a hash tag ({...}) fills one slot.",
    ),
    _Measure(
        "traffic",
        lambda node: figures(node).ops_per_s,
        200.0,
        text.rate,
        "Traffic is uneven: {} answers",
        "A hot key or slot does that: see the hot slots and their keys; rebalancing moves whole slots only.",
    ),
)


def _uneven(seen: Topology, measure: _Measure) -> Iterator[Finding]:
    nodes = primaries(seen, serving=True)
    values = [(float(value), one) for one in nodes if (value := measure.read(one)) is not None and possible(value)]
    mean = sum(value for value, _ in values) / len(values) if values else 0.0
    if len(values) < 2 or mean < measure.least:
        return
    most, node = max(values, key=lambda pair: pair[0])
    ratio = most / mean
    if ratio < UNEVEN:
        return
    yield finding(
        f"uneven-{measure.name}",
        "medium" if ratio >= VERY_UNEVEN else "low",
        f"{measure.words.format(node.address)} {measure.shown(most)},"
        f" {ratio:.1f} times the mean of {measure.shown(mean)}",
        measure.remedy,
        {"nodes": {one.address: value for value, one in values}, "ratio": round(ratio, 2)},
    )


def _hot(seen: Topology) -> Iterator[Finding]:
    by_node: dict[str, list[HotSlot]] = {}
    for slot in seen.hot_slots:
        if slot.cpu_per_s is not None and possible(slot.cpu_per_s):
            by_node.setdefault(slot.node, []).append(slot)
    for node, slots in by_node.items():
        hottest = max(slots, key=lambda slot: slot.cpu_per_s or 0.0)
        spent, total = hottest.cpu_per_s or 0.0, sum(slot.cpu_per_s or 0.0 for slot in slots)
        if spent >= HOT_US_PER_S and spent >= HOT_SHARE * total:
            yield finding(
                "hot-slot",
                "low",
                f"Slot {hottest.slot} on {node} is hot: {text.percent(spent / 1e4)} of a core,"
                f" {text.percent(100 * spent / total, 0)} of what its busiest slots take",
                "Look which of its keys does that (press 7 where it is there, or the keys of that slot); "
                "cache it in the clients or divide it.",
                {"slot": hottest.slot, "node": node, "cpu_us_per_s": round(spent), "keys": hottest.keys},
            )
