"""The analyze document, checked by hand: what scripts rely on."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

PRIORITIES = ("high", "medium", "low")
CATEGORIES = {
    "availability",
    "memory",
    "performance",
    "hit-rate",
    "clients",
    "persistence",
    "replication",
    "topology",
    "configuration",
}
_TOP = ["schema", "operation", "status", "target", "takenAt", "server", "metrics", "recommendations"]
_SERVER = {"kind": str, "version": str, "mode": str, "role": str, "uptimeSeconds": int}
_MEMORY = {
    "used": str,
    "peak": str,
    "maxmemory": str,
    "utilizationPercent": float,
    "usedBytes": int,
    "peakBytes": int,
    "maxmemoryBytes": int,
    "fragmentationRatio": float,
}
_CONNECTIONS = {"current": int, "blocked": int, "maxClients": int}
_RECOMMENDATION = {
    "id": str,
    "category": str,
    "issue": str,
    "action": str,
    "priority": str,
    "evidence": dict,
    "commands": list,
}


def assert_document(document: object) -> None:
    """Assert that `document` is an analyze document to the letter, and strict JSON."""
    assert isinstance(document, dict)
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    expected = [*_TOP, "denied"] if document["status"] == "partial" else _TOP
    assert list(document) == expected
    assert document["schema"] == 1
    assert document["operation"] == "analyze-cache"
    assert document["status"] in ("success", "partial", "error")
    assert isinstance(document["target"], str)
    taken_at = document["takenAt"]
    assert taken_at is None or re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", taken_at)
    _assert_fields(document["server"], _SERVER, "server")
    _assert_metrics(document["metrics"])
    if document["status"] == "partial":
        assert all(isinstance(name, str) and name for name in document["denied"])
    assert isinstance(document["recommendations"], list)
    for entry in document["recommendations"]:
        _assert_recommendation(entry)
    order = [PRIORITIES.index(entry["priority"]) for entry in document["recommendations"]]
    assert order == sorted(order), "the worst come first"
    ids = [entry["id"] for entry in document["recommendations"]]
    assert len(ids) == len(set(ids)), "each rule speaks once"
    _assert_printable(document, "document")


def _assert_metrics(metrics: object) -> None:
    assert isinstance(metrics, dict)
    assert list(metrics) == ["hitRate", "missRate", "evictionRate", "memoryUsage", "connections"]
    hit, miss, evicted = (metrics[name] for name in ("hitRate", "missRate", "evictionRate"))
    assert (hit is None) == (miss is None)
    if hit is not None:
        assert 0 <= hit <= 100
        assert abs(hit + miss - 100) < 0.011
        assert round(hit, 2) == hit
    assert evicted is None or evicted >= 0
    memory = metrics["memoryUsage"]
    _assert_fields(memory, _MEMORY, "memoryUsage")
    for shown, figure in (("used", "usedBytes"), ("peak", "peakBytes"), ("maxmemory", "maxmemoryBytes")):
        assert (memory[shown] is None) == (memory[figure] is None)
        assert memory[shown] is None or re.fullmatch(r"\d+(\.\d)?[KMGTP]?B", memory[shown])
    if not memory["maxmemoryBytes"]:
        assert memory["utilizationPercent"] is None
    _assert_fields(metrics["connections"], _CONNECTIONS, "connections")


def _assert_recommendation(entry: object) -> None:
    assert isinstance(entry, dict)
    _assert_fields(entry, _RECOMMENDATION, "recommendation", optional=False)
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", entry["id"])
    assert entry["category"] in CATEGORIES
    assert entry["priority"] in PRIORITIES
    assert entry["issue"]
    assert entry["action"]
    assert all(isinstance(command, str) and command for command in entry["commands"])


def _assert_fields(value: object, fields: Mapping[str, type], where: str, *, optional: bool = True) -> None:
    assert isinstance(value, dict), where
    assert list(value) == list(fields), where
    for name, wanted in fields.items():
        found = value[name]
        if found is None:
            assert optional, f"{where}.{name}"
            continue
        kinds = (int, float) if wanted is float else (wanted,)
        assert isinstance(found, kinds), f"{where}.{name}: {found!r}"
        assert not isinstance(found, bool), f"{where}.{name}"


def _assert_printable(value: object, where: str) -> None:
    if isinstance(value, str):
        assert value.isprintable(), f"{where}: {value!r}"
    elif isinstance(value, dict):
        for name, item in value.items():
            assert isinstance(name, str)
            _assert_printable(name, where)
            _assert_printable(item, f"{where}.{name}")
    elif isinstance(value, list):
        for item in value:
            _assert_printable(item, where)
