"""Plans of edits: what they say, exactly which commands they hold, and what they depend on."""

from __future__ import annotations

import ast
import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachetui.actions.plan import (
    KINDS,
    Plan,
    plan_copy,
    plan_hash_field,
    plan_import,
    plan_list_element,
    plan_list_push,
    plan_new,
    plan_rename,
    plan_set_member,
    plan_set_string,
    plan_stream_entry,
    plan_zset_member,
)
from cachetui.actions.plan.edit import hash_slot
from cachetui.errors import BadUsage, Refused, Unsupported
from cachetui.model import Check, Identity, KeyFacts, Value, ValueItem
from tests.unit.test_plan_layers import trees

REDIS = Identity("redis", "7.0.15", role="primary")
CLUSTER = Identity("redis", "7.0.15", mode="cluster", role="primary")
MEMCACHED = Identity("memcached", "1.6.18")
TARGET = "redis://127.0.0.1:6379/0"
WHO = (REDIS, TARGET)
NOW = 1_700_000_000.25


def value_of(data: bytes, *, type_: str = "string", total: int | None = -1, **more: Any) -> Value:
    """Return a value that was read whole, unless `total` says otherwise."""
    facts = KeyFacts(b"k", type=type_, has_ttl=True, ttl_s=100.0)
    item = ValueItem(b"", data, total_bytes=len(data) if total == -1 else total)
    return dataclasses.replace(Value(NOW, facts, (item,), len(data)), **more)


def said(plan: Plan) -> str:
    return "\n".join(plan.what)


def test_a_string_is_set_with_its_ttl_and_only_on_what_was_read() -> None:
    plan = plan_set_string(*WHO, value_of(b"old"), b"new", now=NOW)
    assert list(plan.commands()) == [(b"SET", b"k", b"new", b"KEEPTTL")]
    assert plan.checks == (Check((b"GET", b"k"), b"old", "the value of k"),)
    assert plan.shows == (Check((b"GET", b"k"), b"new", "the value of k"),)
    assert (plan.watched, plan.needs, plan.risk, plan.batch) == ((b"k",), "edit", "medium", 1)
    assert plan.undo == "SET k old KEEPTTL"
    assert "was: old" in said(plan) and "now: new" in said(plan) and "1m40s left now" in said(plan)
    assert "never overwritten" in said(plan)


def test_a_large_value_is_neither_read_back_nor_kept_for_undo() -> None:
    plan = plan_set_string(*WHO, value_of(b"o" * 100_000), b"n" * 100_000, now=NOW)
    assert plan.shows == ()
    assert plan.undo == "no undo: the old value (97.7KB) is not kept"
    assert all(len(line) < 1200 for line in (*plan.what, *plan.preview_commands()))


@pytest.mark.parametrize(
    "value",
    [
        value_of(b"old", total=4),
        value_of(b"old", total=None),
        value_of(b"old", start=b"10"),
        value_of(b"old", next=b"3"),
        value_of(b"old", items=()),
        value_of(b"old", items=(ValueItem(b"0", b"1", total_bytes=1),)),
        value_of(b"old", items=(ValueItem(b"", b"a", total_bytes=1), ValueItem(b"", b"b", total_bytes=1))),
    ],
)
def test_a_part_of_a_value_is_never_written_back(value: Value) -> None:
    with pytest.raises(Refused, match=r"only a part of its .* was read"):
        plan_set_string(*WHO, value, b"new", now=NOW)


def test_what_is_gone_the_same_or_another_type_is_refused() -> None:
    with pytest.raises(BadUsage, match="nothing to write"):
        plan_set_string(*WHO, value_of(b"old"), b"old", now=NOW)
    with pytest.raises(BadUsage, match="hash is not edited as one text"):
        plan_set_string(*WHO, value_of(b"old", type_="hash"), b"new", now=NOW)
    with pytest.raises(Refused, match="k is gone"):
        plan_set_string(*WHO, value_of(b"old", facts=KeyFacts(b"k", exists=False)), b"new", now=NOW)
    with pytest.raises(Refused, match="replica"):
        plan_set_string(Identity("redis", role="replica"), TARGET, value_of(b"old"), b"new", now=NOW)
    with pytest.raises(Unsupported, match="Sentinel"):
        plan_set_string(Identity("redis", mode="sentinel"), TARGET, value_of(b"old"), b"new", now=NOW)


def test_json_is_checked_before_it_is_sent() -> None:
    value = value_of(b'{"a":1}', type_="ReJSON-RL")
    plan = plan_set_string(*WHO, value, b'{"a": 2}', now=NOW)
    assert list(plan.commands()) == [(b"JSON.SET", b"k", b"$", b'{"a": 2}')]
    assert [check.command for check in plan.checks] == [(b"TYPE", b"k"), (b"JSON.GET", b"k")]
    assert plan.undo == r'JSON.SET k "$" "{\"a\":1}"'
    for bad in (b"{", b"nope", b"NaN", b"[Infinity]", b"\xff", b"", b"[" * 100_000):
        with pytest.raises(BadUsage, match=r"not JSON|nested too deep") as refused:
            plan_set_string(*WHO, value, bad, now=NOW)
        assert refused.value.line().isprintable()
        with pytest.raises(BadUsage):
            plan_new(*WHO, b"k", "json", bad, now=NOW)


def test_an_item_is_replaced_by_its_version() -> None:
    value = value_of(b"old", type_="item", flags=7, version=b"12")
    plan = plan_set_string(MEMCACHED, "memcached://h:1", value, b"a\r\nb", now=NOW)
    assert list(plan.commands()) == [(b"ms", b"k", b"F7", b"T100", b"C12", b"a\r\nb")]
    assert plan.checks == (Check((b"mg", b"k", b"c"), b"12", "the value of k"),)
    assert plan.undo == "edit it back: old"
    for version in (None, b"0"):
        with pytest.raises(Unsupported, match="no version"):
            plan_set_string(MEMCACHED, TARGET, dataclasses.replace(value, version=version), b"new", now=NOW)


@pytest.mark.parametrize(
    ("kind", "content", "command"),
    [
        ("string", b"v", (b"SET", b"k", b"v")),
        ("hash", [(b"f", b"v"), (b"g", b"")], (b"HSET", b"k", b"f", b"v", b"g", b"")),
        ("list", [b"a", b"b"], (b"RPUSH", b"k", b"a", b"b")),
        ("set", [b"a"], (b"SADD", b"k", b"a")),
        ("zset", [(b"m", 1.0), (b"n", 0.1)], (b"ZADD", b"k", b"1", b"m", b"0.1", b"n")),
        ("stream", [(b"f", b"v")], (b"XADD", b"k", b"*", b"f", b"v")),
        ("hyperloglog", [b"a"], (b"PFADD", b"k", b"a")),
        ("json", b"[1]", (b"JSON.SET", b"k", b"$", b"[1]")),
    ],
)
def test_a_new_key_is_made_only_where_there_is_none(kind: Any, content: Any, command: tuple[bytes, ...]) -> None:
    plan = plan_new(*WHO, b"k", kind, content, now=NOW)
    assert list(plan.commands()) == [command]
    assert plan.checks == (Check((b"EXISTS", b"k"), 0, "the key k"),)
    assert (plan.watched, plan.undo, plan.risk) == ((b"k",), "UNLINK k", "low")
    assert "nothing is overwritten" in said(plan) and "no TTL" in said(plan)
    with_ttl = plan_new(*WHO, b"k", kind, content, ttl_s=60, now=NOW)
    assert list(with_ttl.commands()) == [command, (b"EXPIRE", b"k", b"60")]
    assert kind in KINDS


def test_a_new_item_is_added_with_its_ttl() -> None:
    plan = plan_new(MEMCACHED, TARGET, b"k", "item", b"a b\r\n", ttl_s=1.5, now=NOW)
    assert list(plan.commands()) == [(b"add", b"k", b"0", b"2", b"a b\r\n")]
    month = plan_new(MEMCACHED, TARGET, b"k", "item", b"v", ttl_s=31 * 86400, now=NOW)
    assert next(iter(month.commands()))[3] == b"%d" % (31 * 86400 + int(NOW))


@pytest.mark.parametrize("kind", ["hash", "list", "set", "zset", "stream", "hyperloglog"])
def test_an_empty_collection_cannot_be_made(kind: Any) -> None:
    for content in ([], b"", b"text"):
        with pytest.raises(BadUsage, match="does not exist"):
            plan_new(*WHO, b"k", kind, content, now=NOW)


def test_what_makes_no_value_is_refused() -> None:
    with pytest.raises(BadUsage, match="one text"):
        plan_new(*WHO, b"k", "string", [b"a"], now=NOW)
    with pytest.raises(BadUsage, match="a score is a number"):
        plan_new(*WHO, b"k", "zset", [(b"m", float("nan"))], now=NOW)
    with pytest.raises(BadUsage, match="item is not made here"):
        plan_new(*WHO, b"k", "item", b"v", now=NOW)
    for ttl_s in (0, -1, 1e12):
        with pytest.raises(BadUsage, match="a TTL is more than 0"):
            plan_new(*WHO, b"k", "string", b"v", ttl_s=ttl_s, now=NOW)


def test_a_field_keeps_its_own_ttl() -> None:
    plan = plan_hash_field(*WHO, b"k", b"f", old=b"a", new=b"b", field_ttl_s=12.5, now=NOW)
    assert list(plan.commands()) == [
        (b"HSET", b"k", b"f", b"b"),
        (b"HPEXPIRE", b"k", b"12500", b"FIELDS", b"1", b"f"),
    ]
    assert "HSET takes the field's own TTL away" in said(plan)
    kept = plan_hash_field(*WHO, b"k", b"f", old=b"a", new=b"b", field_ttl_s=12.5, keepttl_known=True, now=NOW)
    assert list(kept.commands()) == [(b"HSETEX", b"k", b"KEEPTTL", b"FIELDS", b"1", b"f", b"b")]
    plain = plan_hash_field(*WHO, b"k", b"f", old=b"a", new=b"b", keepttl_known=True, now=NOW)
    assert list(plain.commands()) == [(b"HSET", b"k", b"f", b"b")]
    assert plain.undo == "HSET k f a"


def test_adding_and_removing_a_field_depend_on_the_hash() -> None:
    added = plan_hash_field(*WHO, b"k", b"f", old=None, new=b"v", now=NOW)
    assert [(check.command[0], check.expected) for check in added.checks] == [(b"TYPE", b"hash"), (b"HGET", None)]
    assert (added.title, added.undo) == ("Add field f of k", "HDEL k f")
    removed = plan_hash_field(*WHO, b"k", b"f", old=b"v", new=None, now=NOW)
    assert list(removed.commands()) == [(b"HDEL", b"k", b"f")]
    assert "if it is the last one the key goes" in said(removed)
    with pytest.raises(BadUsage, match="nothing to change"):
        plan_hash_field(*WHO, b"k", b"f", old=b"v", new=b"v", now=NOW)


def test_an_element_is_removed_by_a_mark_that_cannot_be_there_twice() -> None:
    first, second = (plan_list_element(*WHO, b"k", 3, old=b"v", new=None, now=NOW) for _ in range(2))
    (lset, lrem) = first.commands()
    assert lset[:3] == (b"LSET", b"k", b"3") and lrem == (b"LREM", b"k", b"1", lset[3])
    assert lset[3] != next(iter(second.commands()))[3]
    far = plan_list_element(*WHO, b"k", 900_000, old=b"v", new=None, length=1_000_000, now=NOW)
    assert list(far.commands())[1][2] == b"-1"
    assert "warning" not in said(far)
    middle = plan_list_element(*WHO, b"k", 400_000, old=b"v", new=b"w", length=1_000_000, now=NOW)
    assert "the server walks over 400,000 elements" in said(middle)
    with pytest.raises(BadUsage, match="counts from 0"):
        plan_list_element(*WHO, b"k", -1, old=b"v", new=b"w", now=NOW)


def test_a_member_is_replaced_without_emptying_the_set() -> None:
    plan = plan_set_member(*WHO, b"k", old=b"a", new=b"b", now=NOW)
    assert list(plan.commands()) == [(b"SADD", b"k", b"b"), (b"SREM", b"k", b"a")]
    assert [check.expected for check in plan.checks] == [b"set", 1, 0]
    assert plan.undo == "SADD k a, then SREM k b"


def test_scores_are_compared_as_numbers() -> None:
    plan = plan_zset_member(*WHO, b"k", b"m", old_score=1, new_score=0.1, now=NOW)
    assert list(plan.commands()) == [(b"ZADD", b"k", b"0.1", b"m")]
    assert plan.checks[1].expected == 1.0 and isinstance(plan.checks[1].expected, float)
    renamed = plan_zset_member(*WHO, b"k", b"m", old_score=1, new_score=1, renamed=b"n", now=NOW)
    assert list(renamed.commands()) == [(b"ZADD", b"k", b"1", b"n"), (b"ZREM", b"k", b"m")]
    assert renamed.undo == "ZADD k 1 m, then ZREM k n"
    for old, new, name in (
        (1.0, 1.0, None),
        (1.0, 1.0, b"m"),
        (None, 1.0, b"n"),
        (1.0, None, b"n"),
        (None, None, None),
    ):
        with pytest.raises(BadUsage, match="nothing to change"):
            plan_zset_member(*WHO, b"k", b"m", old_score=old, new_score=new, renamed=name, now=NOW)


@given(st.floats(allow_nan=False))
def test_any_score_reads_back_as_it_was(score: float) -> None:
    plan = plan_zset_member(*WHO, b"k", b"m", old_score=None, new_score=score, now=NOW)
    assert float(next(iter(plan.commands()))[2]) == score


def test_entries_are_added_and_deleted_and_never_changed() -> None:
    added = plan_stream_entry(*WHO, b"k", entry_id=None, fields=[(b"f", b"v")], now=NOW)
    assert list(added.commands()) == [(b"XADD", b"k", b"*", b"f", b"v")]
    deleted = plan_stream_entry(*WHO, b"k", entry_id=b"1-1", fields=None, now=NOW)
    assert list(deleted.commands()) == [(b"XDEL", b"k", b"1-1")]
    assert deleted.undo.startswith("no undo")
    for bad in ({"entry_id": None, "fields": None}, {"entry_id": None, "fields": []}):
        with pytest.raises(BadUsage):
            plan_stream_entry(*WHO, b"k", **bad, now=NOW)  # type: ignore[arg-type]


def test_pushing_does_not_wait_for_a_quiet_list() -> None:
    plan = plan_list_push(*WHO, b"k", b"v", end="left", now=NOW)
    assert list(plan.commands()) == [(b"LPUSHX", b"k", b"v")]
    assert (plan.watched, plan.undo) == ((), "LPOP k")


def test_rename_and_copy_never_overwrite() -> None:
    facts = KeyFacts(b"k", has_ttl=False, size_bytes=50 * 1024**2)
    rename = plan_rename(*WHO, facts, b"n", now=NOW)
    assert list(rename.commands()) == [(b"RENAMENX", b"k", b"n")]
    assert [(check.command[1], check.expected) for check in rename.checks] == [(b"k", 1), (b"n", 0)]
    assert (rename.watched, rename.undo) == ((b"k", b"n"), "RENAMENX n k")
    copy = plan_copy(*WHO, facts, b"n", now=NOW)
    assert list(copy.commands()) == [(b"COPY", b"k", b"n")]
    assert copy.risk == "high" and "every client waits" in said(copy)
    with pytest.raises(Unsupported, match="no COPY"):
        plan_copy(*WHO, b"k", b"n", copy_known=False, now=NOW)
    for planned in (plan_rename, plan_copy):
        with pytest.raises(BadUsage, match="both names are the same"):
            planned(*WHO, b"k", b"k", now=NOW)


def test_a_cluster_cannot_reach_two_slots() -> None:
    with pytest.raises(Refused, match="different slots") as refused:
        plan_rename(CLUSTER, TARGET, b"a{tag}b\x1b", b"n", now=NOW)
    assert "{tag}:new" in refused.value.hint
    with pytest.raises(Refused) as refused:
        plan_copy(CLUSTER, TARGET, b"a\x1b", b"n", now=NOW)
    assert refused.value.line().isprintable()
    assert plan_rename(CLUSTER, TARGET, b"a{tag}b", b"{tag}", now=NOW).steps


@given(st.binary(max_size=20))
def test_slots_are_those_of_the_client_library(key: bytes) -> None:
    from redis.crc import key_slot

    assert hash_slot(key) == key_slot(key)


NAMES = st.binary(max_size=30)


@given(NAMES, NAMES, NAMES, NAMES)
def test_any_bytes_are_planned_exactly_and_shown_safely(key: bytes, name: bytes, old: bytes, new: bytes) -> None:
    plans = [
        plan_new(*WHO, key, "hash", [(name, new)], now=NOW),
        plan_new(*WHO, key, "zset", [(name, 1.5)], ttl_s=5, now=NOW),
        plan_list_push(*WHO, key, new, now=NOW),
        plan_stream_entry(*WHO, key, entry_id=name, fields=None, now=NOW),
        plan_import(*WHO, [(key, [(b"SET", key, new)])], (), now=NOW),
    ]
    if old != new:
        plans += [
            plan_hash_field(*WHO, key, name, old=old, new=new, field_ttl_s=3, now=NOW),
            plan_list_element(*WHO, key, 1, old=old, new=new, now=NOW),
            plan_set_member(*WHO, key, old=old, new=new, now=NOW),
            plan_rename(*WHO, old, new, now=NOW),
        ]
    for plan in plans:
        for line in (plan.title, plan.undo, *plan.what, *plan.preview_commands(100)):
            assert line.isprintable()
        assert all(check.what.isprintable() for check in (*plan.checks, *plan.shows))
        json.dumps(plan.what)


def test_an_import_joins_what_belongs_to_one_key() -> None:
    rows = [(b"a", [(b"SET", b"a", b"1")]), (b"b", [(b"SET", b"b", b"1")]), (b"a", [(b"PEXPIREAT", b"a", b"9")])]
    plan = plan_import(*WHO, rows, {b"b"}, now=NOW)
    assert list(plan.commands()) == [(b"SET", b"a", b"1"), (b"PEXPIREAT", b"a", b"9")]
    assert plan.fresh == ((b"a", 2),)
    assert "write 1 new key to" in said(plan) and "skipped: 1 key that" in said(plan)
    assert "1 SET, 1 PEXPIREAT" in said(plan)


def test_nobody_but_apply_transacts() -> None:
    callers = {
        name
        for name, tree in trees("actions", "analysis", "cli", "feeds", "keyspace", "model", "ui")
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr == "transact"
    }
    # The first with no command at all: only the checks are looked at once more.
    assert callers == {"actions/verifying.py", "actions/send.py"}
