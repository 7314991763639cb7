"""Whatever a server says: no rule, verdict, group or report ever raises."""

from __future__ import annotations

import dataclasses
import types
import typing

from hypothesis import given, settings
from hypothesis import strategies as st

from cachetui import text
from cachetui.analysis.report import report
from cachetui.analysis.rules import findings
from cachetui.analysis.sanity import sane
from cachetui.analysis.slow import group
from cachetui.analysis.verdict import WIDTH, verdict
from cachetui.model import (
    ClientInfo,
    ClientList,
    CommandStat,
    DbKeys,
    ErrorStat,
    Evidence,
    Identity,
    Node,
    SlabClass,
    SlowEntry,
    SlowLog,
    Stats,
    Topology,
    Trouble,
)
from tests.unit.documents import assert_document
from tests.unit.evidence import redis_stats

SHOWN = st.text(max_size=12).map(text.printable)
WORDS = st.sampled_from(["noeviction", "volatile-lru", "allkeys-lru", "volatile-ttl", "OOM", "MISCONF", "keys"]) | SHOWN
HUGE = 10**400
COUNTS = st.integers() | st.builds(lambda: HUGE) | st.sampled_from([0, 1, 100, 10**6, 2**31, 2**63])
FIGURES = COUNTS | st.floats()
TIMES = st.floats() | st.floats(0, 1000) | st.integers(0, 1000).map(float)
DETAILS = st.dictionaries(
    st.sampled_from(["name", "command", "duration_ms", "reply", "percent", "eta_s"]),
    st.none() | FIGURES | SHOWN | st.lists(SHOWN, max_size=3),
)
RUNS = st.sampled_from(["run-1", "run-2"])
IDENTITIES = st.builds(
    Identity,
    st.sampled_from(["redis", "valkey", "memcached"]),
    st.none() | SHOWN,
    st.sampled_from(["standalone", "cluster", "sentinel", "fleet"]),
    st.sampled_from([None, "primary", "replica", "sentinel"]),
    st.none() | RUNS,
)
EXTRAS = st.none() | st.dictionaries(
    st.sampled_from(["expired_stale_perc", "used_cpu_user_main_thread", "used_cpu_sys_main_thread", "x"]),
    SHOWN | st.sampled_from(["nan", "inf", "-1", "1e400", "50"]),
)


def values_of(hint: object) -> st.SearchStrategy[object]:
    """Return a strategy for one field's type: numbers are of any size; what may be None sometimes is."""
    several = isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union
    choices = [arg for arg in typing.get_args(hint) if arg is not type(None)] if several else [hint]
    return st.none() | known_values(choices[0]) if several else known_values(choices[0])


def known_values(wanted: typing.Any) -> st.SearchStrategy[typing.Any]:
    if typing.get_origin(wanted) is tuple:
        first, *rest = typing.get_args(wanted)
        if rest == [...]:
            return st.lists(known_values(first), max_size=2).map(tuple)
        return st.tuples(*map(known_values, (first, *rest)))
    if isinstance(wanted, type) and dataclasses.is_dataclass(wanted):
        return st.builds(wanted)  # what is inside has tests of its own
    return {int: COUNTS, float: FIGURES, bool: st.booleans(), str: WORDS}[wanted]


def rows(cls: type) -> st.SearchStrategy[tuple[object, ...]]:
    hints = typing.get_type_hints(cls)
    given_fields = {field.name: values_of(hints[field.name]) for field in dataclasses.fields(cls)}
    return st.lists(st.builds(cls, **given_fields), max_size=3).map(tuple)


def stats() -> st.SearchStrategy[Stats]:
    own = {
        "taken_at": TIMES,
        "server": IDENTITIES,
        "denied": st.lists(SHOWN, max_size=2).map(tuple),
        "databases": rows(DbKeys),
        "commands": rows(CommandStat),
        "errors": rows(ErrorStat),
        "slabs": rows(SlabClass),
        "extra": EXTRAS,
    }
    hints = typing.get_type_hints(Stats)
    fields = {f.name: own[f.name] if f.name in own else values_of(hints[f.name]) for f in dataclasses.fields(Stats)}
    whole = st.builds(Stats, **fields)
    names = sorted(set(fields) - set(own))
    # A healthy server with a few wild fields reaches the depths of each rule more often.
    some = st.fixed_dictionaries({}, optional={name: fields[name] for name in names}).flatmap(
        lambda changes: TIMES.map(lambda at: redis_stats(at, **changes))
    )
    return whole | some


def evidences() -> st.SearchStrategy[Evidence]:
    args = st.lists(st.binary(max_size=20), max_size=5).map(tuple)
    entry = st.builds(SlowEntry, COUNTS, TIMES, st.none() | COUNTS, args, SHOWN, SHOWN, st.just("") | SHOWN)
    nodes = rows(Node)
    clients = rows(ClientInfo)
    return st.builds(
        Evidence,
        TIMES,
        SHOWN,
        st.none() | stats(),
        st.lists(stats(), max_size=3).map(tuple),
        st.none() | st.builds(SlowLog, TIMES, IDENTITIES, st.lists(entry, max_size=4).map(tuple)),
        st.none() | st.builds(ClientList, TIMES, IDENTITIES, clients),
        st.none() | st.builds(Topology, TIMES, IDENTITIES, nodes, SHOWN, st.lists(SHOWN, max_size=2).map(tuple)),
        st.none()
        | st.builds(
            Trouble,
            st.sampled_from(["unreachable", "auth", "denied", "busy", "loading", "server-error", "x"]),
            SHOWN,
            SHOWN,
            TIMES,
            DETAILS,
        ),
    )


@settings(max_examples=150, deadline=None)
@given(evidences(), st.booleans())
def test_nothing_a_server_says_makes_the_analysis_raise(evidence: Evidence, windowed: bool) -> None:
    found = findings(evidence)
    line = verdict(evidence, found)
    assert text.cells(line.text) <= WIDTH
    assert line.text.isprintable()
    assert_document(report(evidence, target="redis://127.0.0.1:6379", windowed=windowed))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(st.binary(max_size=40), max_size=4), max_size=6))
def test_groups_hold_every_entry_once_and_only_printable_text(commands: list[list[bytes]]) -> None:
    entries = [SlowEntry(i, float(i), i, tuple(args)) for i, args in enumerate(commands)]
    groups = group(entries)
    assert sum(g.count for g in groups) == len(entries)
    assert sum(g.total_us for g in groups) == sum(entry.duration_us or 0 for entry in entries)
    assert all(part.isprintable() for g in groups for part in (g.shape, *g.example))


def test_what_is_sane_stays_the_same_object() -> None:
    healthy = redis_stats()
    evidence = sane(Evidence(1.0, "x", healthy, (healthy,)))
    assert evidence.stats is healthy
    assert evidence.window[0] is healthy


def test_impossible_figures_become_unknown() -> None:
    wild = redis_stats(
        used_bytes=-1, clients=10**30, fragmentation_ratio=float("nan"), errors=(ErrorStat("OOM", -5),), fork_us=3
    )
    known = sane(Evidence(1.0, "x", wild)).stats
    assert known is not None
    assert (known.used_bytes, known.clients, known.fragmentation_ratio, known.errors) == (None, None, None, ())
    assert known.fork_us == 3
