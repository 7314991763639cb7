"""Frozen snapshots: what was seen at one moment. `None` means unknown, never zero.

All times are Unix seconds, all sizes bytes, all keys `bytes`; a unit that differs is in the name.
"""

from cachetui.model.checks import Check
from cachetui.model.entries import (
    ClientInfo,
    ClientList,
    JournalEntry,
    KeySpread,
    Node,
    SlowEntry,
    SlowLog,
    Topology,
)
from cachetui.model.findings import Evidence, Finding, Trouble
from cachetui.model.keys import KeyFacts, KeyFactsList, ScanProgress, ScanStep, Value, ValueItem, ValueSection
from cachetui.model.replication import Opinion, Replication, SentinelEvent, SentinelGroup, Watched
from cachetui.model.selection import Estimate, Keep, Operation, Selection
from cachetui.model.settings import NodeSettings, SettingsByNode, is_secret
from cachetui.model.slots import SlotMove
from cachetui.model.stats import CommandStat, DbKeys, ErrorStat, Identity, SlabClass, Stats
from cachetui.model.topology import HotSlot, Membership, NodeFigures, OpenSlot

Snapshot = Stats | SlowLog | ClientList | Topology | ScanStep | KeyFactsList | Value
"""Everything a source can answer with, and so everything a recording holds."""

__all__ = [
    "Check",
    "ClientInfo",
    "ClientList",
    "CommandStat",
    "DbKeys",
    "ErrorStat",
    "Estimate",
    "Evidence",
    "Finding",
    "HotSlot",
    "Identity",
    "JournalEntry",
    "Keep",
    "KeyFacts",
    "KeyFactsList",
    "KeySpread",
    "Membership",
    "Node",
    "NodeFigures",
    "NodeSettings",
    "OpenSlot",
    "Operation",
    "Opinion",
    "Replication",
    "ScanProgress",
    "ScanStep",
    "Selection",
    "SentinelEvent",
    "SentinelGroup",
    "SettingsByNode",
    "SlabClass",
    "SlotMove",
    "SlowEntry",
    "SlowLog",
    "Snapshot",
    "Stats",
    "Topology",
    "Trouble",
    "Value",
    "ValueItem",
    "ValueSection",
    "Watched",
    "is_secret",
]
