"""Plans for many keys: what they say of a selection, which commands they hold, when a name must be typed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachetui.actions.plan import Plan, plan_delete, plan_flush, plan_sweep, plan_ttl, plan_version
from cachetui.errors import BadUsage, Refused, Unsupported
from cachetui.model import Estimate, Identity, Keep, KeyFacts, Operation, Selection

REDIS = Identity("redis", "7.0.15", role="primary")
CLUSTER = Identity("valkey", "9.1", mode="cluster", role="primary")
MEMCACHED = Identity("memcached", "1.6.18")
TARGET = "redis://127.0.0.1:6379/0"
NOW = 1_700_000_000.25
DELETE = Operation("delete")
SESSIONS = Selection(pattern=b"session:*")
FOUND = Estimate(
    120_400,
    error=3_100,
    total=1_000_000,
    sample=(b"session:1", b"session:\xff", b"session:3"),
    looked=200,
    bytes_each=100.0,
    largest_bytes=2 * 1024**2,
    heaviest_bytes=(2 * 1024**2, 300),
    types=(("string", 190), ("hash", 10)),
    without_ttl=20,
    reads_per_s=42.0,
)
COUNTED = replace(FOUND, keys=300, error=0)


def said(plan: Plan) -> str:
    return "\n".join(plan.what)


def swept(
    selection: Selection = SESSIONS,
    operation: Operation = DELETE,
    estimate: Estimate = FOUND,
    *,
    identity: Identity = REDIS,
    keep: Keep | None = Keep(),  # noqa: B008  # frozen
    **how: object,
) -> Plan:
    return plan_sweep(identity, TARGET, selection, operation, estimate, keep=keep, now=NOW, **how)  # type: ignore[arg-type]


def test_a_plan_says_how_many_which_and_what_they_cost() -> None:
    plan = swept(rate=2000, p99_ms=3)
    text = said(plan)
    assert plan.title == "Delete about 120,400 keys (±3,100) by the pattern session:*"
    assert "estimated, 95 %: 117,300 to 123,500 of 1,000,000 keys of the database" in text
    assert 'names: session:1, "session:\\xff", session:3 ... and 120k more' in text
    assert "memory: about 11.5MB" in text
    assert "types: 190 string, 10 hash of 200 looked at" in text
    assert "no TTL: 20 of 200" in text
    assert "about 42.0/s of these keys are read now" in text or "about 42/s of these keys are read now" in text
    assert "left alone: keys above 1.0MB, 1 of 200 looked at" in text
    assert "time: about 1m00s, at most 2,000 keys a second, slower while another client waits longer than 3 ms" in text
    assert (plan.risk, plan.needs, plan.deletes, plan.typed, plan.count) == ("high", "delete", True, None, 120_400)
    assert plan.undo.startswith(f"cachetui undo {plan.id} for 7 days")
    assert "11.5MB at most" in plan.undo and "256MB" in plan.undo
    assert plan.sweep is not None
    assert (plan.sweep.selection, plan.sweep.keep, plan.sweep.rate, plan.sweep.p99_ms) == (SESSIONS, Keep(), 2000, 3)
    assert next(iter(plan.commands())) == (b"UNLINK", b"session:1")


def test_what_was_counted_has_no_error_and_what_is_unknown_no_number() -> None:
    counted = swept(estimate=COUNTED)
    assert counted.title == "Delete 300 keys by the pattern session:*"
    assert "counted: 300 of 1,000,000" in said(counted) and "±" not in said(counted)
    unknown = swept(estimate=Estimate(None))
    assert "an unknown number of keys" in unknown.title
    text = said(unknown)
    assert "memory: not measured" in text and "time: unknown" in text and "more reads behind the cache: unknown" in text
    assert "it stops: nothing goes without a copy" in text
    assert list(unknown.commands()) == [(b"UNLINK", b"<key>")]  # the server must be asked about the command
    none = swept(estimate=Estimate(0, total=10))
    assert none.title.startswith("Delete 0 keys") and "0B at most" in none.undo and "it stops" not in said(none)


@pytest.mark.parametrize(("keep", "seconds"), [(None, "about 10s"), (Keep(), "about 20s")])
def test_the_time_without_a_rate(keep: Keep | None, seconds: str) -> None:
    plan = swept(estimate=replace(FOUND, keys=1_000_000, total=None, bytes_each=10.0), keep=keep)
    assert f"time: {seconds}, as fast as the server bears" in said(plan)
    measured = swept(estimate=replace(FOUND, keys=1_000_000, total=None), keep=keep, seconds_per_key=1e-6)
    assert "time: about 1s" in said(measured)


@pytest.mark.parametrize("pattern", [b"", b"*", b"**", b" ", b"\t*\n", None])
def test_the_whole_database_asks_for_its_name(pattern: bytes | None) -> None:
    for operation in (DELETE, Operation("expire", 60), Operation("persist")):
        plan = swept(Selection(pattern=pattern), operation, estimate=replace(COUNTED, total=None))
        assert (plan.typed, plan.risk) == ("127.0.0.1:6379/0", "high")
        assert "this is the whole database" in said(plan)


def test_a_pattern_that_takes_every_key_is_the_whole_database_too() -> None:
    every = replace(COUNTED, keys=300, total=300)
    assert swept(Selection(pattern=b"?*"), estimate=every).typed is not None
    assert swept(Selection(pattern=b"?*"), estimate=replace(every, total=301)).typed is None
    assert swept(Selection(pattern=b"?*"), estimate=replace(every, total=310, error=12)).typed is not None
    assert swept(Selection(pattern=b"a"), estimate=replace(every, keys=1, total=1)).typed is None


def test_many_keys_without_a_way_back_ask_for_the_name() -> None:
    assert swept(keep=None).typed is not None
    assert swept(keep=None).undo == "no undo: the values are not kept"
    assert swept(estimate=COUNTED, keep=None).typed is None
    assert swept(estimate=Estimate(None), keep=None).typed is not None
    assert swept(keep=None, operation=Operation("persist")).undo == "no undo: the old TTLs are not kept"


def test_more_than_can_be_kept_means_no_undo_and_a_typed_name() -> None:
    plan = swept(estimate=replace(COUNTED, bytes_each=1024.0**2))
    assert plan.undo.startswith("no undo: about 300MB would have to be kept, and 256MB are the most")
    assert plan.sweep is not None and plan.sweep.keep is None
    assert plan.typed is not None
    assert "copied" not in said(plan)
    assert swept(operation=Operation("persist"), estimate=replace(COUNTED, bytes_each=1024.0**2)).typed is None


def test_every_condition_is_said() -> None:
    rule = Selection(pattern=b"a*", regex=rb"^a\d+$", type_="hash", ttl=False, idle_s=3600)
    title = swept(rule).title
    assert title.endswith(
        'by the pattern a*, with "^a\\\\d+$" in the name, of type hash, without a TTL, idle for 1h00m'
    )
    text = said(swept(rule))
    for words in ("the pattern a*", "the regular expression", "of the type hash", "have no TTL", "for 1h00m or longer"):
        assert words in text
    assert "that have a TTL" in said(swept(Selection(ttl=True)))


def test_a_list_holds_exactly_its_keys_each_once() -> None:
    plan = swept(Selection((b"a", b"b", b"a")), estimate=Estimate(2, sample=(b"a", b"b"), looked=2, gone=1))
    assert list(plan.commands()) == [(b"UNLINK", b"a"), (b"UNLINK", b"b")]
    assert plan.sweep is not None and plan.sweep.selection.keys == (b"a", b"b")
    assert "gone already: 1 of 2 looked at" in said(plan)
    assert (plan.count, plan.typed, plan.risk) == (2, None, "medium")
    with pytest.raises(BadUsage, match="no keys"):
        swept(Selection(()))


def test_a_tag_takes_its_members_and_then_its_set() -> None:
    plan = swept(Selection(tag=b"tag:a"), estimate=replace(COUNTED, keys=301, gone=7))
    assert "delete the members of the tag tag:a of redis://127.0.0.1:6379/0: 300 keys" in said(plan)
    assert "at the end the tag's set itself" in said(plan)
    assert "stale members, named by the tag but not there: 7 of 200 looked at" in said(plan)
    assert list(plan.commands())[-1] == (b"UNLINK", b"tag:a")


def test_expiry_is_a_moment_and_jitter_spreads_it() -> None:
    (first, *_) = swept(operation=Operation("expire", 60)).commands()
    assert first == (b"PEXPIREAT", b"session:1", b"1700000060250")
    spread = swept(operation=Operation("expire", 60, jitter_s=30))
    moments = [int(command[2]) for command in spread.commands()]
    assert all(1_700_000_060_250 <= moment <= 1_700_000_090_250 for moment in moments)
    assert len(set(moments)) == 3
    assert "spread over 1m00s to 1m30s" in said(spread)
    assert spread.needs == "ttl" and not spread.deletes
    assert "warning: so many at once" in said(swept(operation=Operation("expire", 60)))
    listed = swept(Selection((b"a", b"b")), Operation("expire", 60, 30), estimate=COUNTED)
    assert [command[1] for command in listed.commands()] == [b"a", b"b"]
    (kept, *_) = swept(operation=Operation("persist")).commands()
    assert kept == (b"PERSIST", b"session:1")


@pytest.mark.parametrize("ttl_s", [None, 0, 0.5, -1, float("nan"), float("inf"), 1e300])
def test_a_ttl_that_would_delete_or_overflow_is_refused(ttl_s: float | None) -> None:
    with pytest.raises(BadUsage, match="expire in 1 second"):
        swept(operation=Operation("expire", ttl_s))
    with pytest.raises(BadUsage, match="jitter"):
        swept(operation=Operation("expire", 60, -1))


def test_memcached_deletes_touches_and_has_no_tags() -> None:
    def plan(selection: Selection, operation: Operation) -> Plan:
        return swept(selection, operation, estimate=replace(COUNTED, sample=(b"a", b"odd name")), identity=MEMCACHED)

    assert list(plan(SESSIONS, DELETE).commands()) == [(b"delete", b"a")]
    assert list(plan(SESSIONS, Operation("expire", 60)).commands()) == [(b"touch", b"a", b"60")]
    assert list(plan(SESSIONS, Operation("persist")).commands()) == [(b"touch", b"a", b"0")]
    with pytest.raises(Unsupported, match="no sets"):
        plan(Selection(tag=b"t"), DELETE)
    with pytest.raises(Unsupported, match="types"):
        plan(Selection(type_="hash"), DELETE)
    with pytest.raises(BadUsage, match="not a Memcached key"):
        plan(Selection((b"a\r\nflush_all",)), DELETE)


def test_a_cluster_and_a_server_without_unlink_are_said() -> None:
    assert "on every shard" in said(swept(identity=CLUSTER))
    plan = swept(unlink_known=False)
    assert "warning: UNLINK" in said(plan)
    assert next(iter(plan.commands())) == (b"DEL", b"session:1")


def test_replicas_and_sentinels_are_refused() -> None:
    replica = Identity("redis", role="replica")
    with pytest.raises(Refused, match="replica"):
        swept(identity=replica)
    with pytest.raises(Refused, match="replica"):
        plan_version(replica, TARGET, b"v", b"1", None)
    with pytest.raises(Unsupported, match="Sentinel"):
        swept(identity=Identity("redis", mode="sentinel", role="sentinel"))


@given(st.lists(st.binary(max_size=30), max_size=8), st.binary(max_size=30), st.binary(max_size=30))
def test_whatever_names_hold_is_shown_safely(sample: list[bytes], pattern: bytes, regex: bytes) -> None:
    estimate = replace(FOUND, sample=tuple(sample))
    for selection in (Selection(pattern=pattern, regex=regex), Selection(tag=pattern)):
        plan = swept(selection, estimate=estimate)
        for line in (plan.title, plan.undo, *plan.what, *plan.preview_commands()):
            assert line.isprintable()


def test_a_version_is_raised_once_and_says_what_stays() -> None:
    remaining = replace(COUNTED, without_ttl=200)
    plan = plan_version(REDIS, TARGET, b"shop:version", b"7", remaining, rule=Selection(pattern=b"shop:*"), now=NOW)
    assert plan.title == "Raise the version shop:version from 7 to 8"
    assert list(plan.commands()) == [(b"INCR", b"shop:version")]
    assert [(check.command, check.expected) for check in plan.checks] == [((b"GET", b"shop:version"), b"7")]
    assert [(check.command, check.expected) for check in plan.shows] == [((b"GET", b"shop:version"), b"8")]
    assert plan.watched == (b"shop:version",) and plan.batch == 1 and plan.sweep is None
    assert "keys of version 7: 300 keys" in said(plan)
    assert "stay for ever" in said(plan)
    assert plan.undo.startswith(f"cachetui undo {plan.id} for 7 days, or DECR shop:version")
    expiring = plan_version(REDIS, TARGET, b"v", b"-1", replace(COUNTED, without_ttl=0))
    assert "expire by themselves" in said(expiring) and "from -1 to 0" in expiring.title
    assert "the others expire by themselves" in said(plan_version(REDIS, TARGET, b"v", b"1", COUNTED))


def test_a_version_that_is_not_there_begins_with_one() -> None:
    plan = plan_version(REDIS, TARGET, b"v", None, None)
    assert "there is no such key" in said(plan) and plan.risk == "high"
    assert plan.checks[0].expected is None and plan.shows[0].expected == b"1"
    assert "or UNLINK v" in plan.undo


@pytest.mark.parametrize(
    "value", [b"", b"x", b"1.5", b"01", b"+1", b" 1", b"1\n", b"-0", b"9223372036854775807", b"\x1b"]
)
def test_a_version_that_is_no_integer_is_refused(value: bytes) -> None:
    with pytest.raises(BadUsage, match="no version") as refusal:
        plan_version(REDIS, TARGET, b"v", value, None)
    assert refusal.value.line().isprintable()


def test_memcached_flushes_and_redis_does_not() -> None:
    plan = plan_flush(MEMCACHED, "memcached://h:1", 30, now=NOW)
    assert list(plan.commands()) == [(b"flush_all", b"30")]
    assert (plan.typed, plan.risk) == ("h:1", "high") and plan.undo.startswith("no undo")
    assert list(plan_flush(MEMCACHED, "memcached://h:1").commands()) == [(b"flush_all",)]
    with pytest.raises(Refused, match="never flushed"):
        plan_flush(REDIS, TARGET)
    with pytest.raises(BadUsage, match="delay"):
        plan_flush(MEMCACHED, "memcached://h:1", 31 * 86400)
    with pytest.raises(Unsupported, match="version key"):
        plan_version(MEMCACHED, "memcached://h:1", b"v", b"1", None)


def test_a_deletion_of_listed_keys_can_be_undone() -> None:
    plan = plan_delete(REDIS, TARGET, [KeyFacts(b"a", size_bytes=100), b"b"], keep=Keep(), now=NOW)
    assert plan.sweep is not None
    assert (plan.sweep.selection, plan.sweep.operation, plan.sweep.keep) == (Selection((b"a", b"b")), DELETE, Keep())
    assert plan.undo.startswith(f"cachetui undo {plan.id}") and plan.copies
    assert plan_delete(REDIS, TARGET, [b"a"], now=NOW).sweep is None
    heavy = plan_delete(REDIS, TARGET, [KeyFacts(b"a", size_bytes=300 * 1024**2)], keep=Keep(), now=NOW)
    assert heavy.undo.startswith("no undo") and heavy.typed is not None
    assert heavy.sweep is not None and heavy.sweep.keep is None


def test_a_new_ttl_of_listed_keys_can_be_undone() -> None:
    plan = plan_ttl(REDIS, TARGET, [b"a"], 60, keep=Keep(), now=NOW)
    assert list(plan.commands()) == [(b"PEXPIREAT", b"a", b"1700000060250")]
    assert plan.sweep is not None and plan.sweep.operation == Operation("expire", 60)
    assert plan.undo.startswith(f"cachetui undo {plan.id}")
    persisted = plan_ttl(REDIS, TARGET, [b"a"], None, keep=Keep(), now=NOW)
    assert list(persisted.commands()) == [(b"PERSIST", b"a")]
    assert persisted.sweep is not None and persisted.sweep.operation == Operation("persist")
    assert plan_ttl(REDIS, TARGET, [b"a"], 0.25, keep=Keep(), now=NOW).sweep is None
    touched = plan_ttl(MEMCACHED, "memcached://h:1", [b"a"], 60, keep=Keep(), now=NOW)
    assert list(touched.commands()) == [(b"touch", b"a", b"60")]
