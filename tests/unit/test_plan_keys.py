"""Plans for keys: what they say and exactly which commands they hold."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachetui.actions.plan import VALID_S, plan_delete, plan_ttl
from cachetui.errors import BadUsage, Refused, Unsupported
from cachetui.model import Identity, KeyFacts

REDIS = Identity("redis", "7.0.15", role="primary")
MEMCACHED = Identity("memcached", "1.6.18")
TARGET = "redis://127.0.0.1:6379/0"
NOW = 1_700_000_000.25


def said(plan: object) -> str:
    return "\n".join(plan.what)  # type: ignore[attr-defined]


def test_a_delete_names_what_is_known_and_what_is_not() -> None:
    facts = [
        KeyFacts(b"s:1", type="string", has_ttl=True, ttl_s=5, size_bytes=1024),
        KeyFacts(b"s:2", type="string", has_ttl=False, size_bytes=1024),
        KeyFacts(b"h:1", type="hash"),
        KeyFacts(b"gone", exists=False),
    ]
    plan = plan_delete(REDIS, TARGET, facts, now=NOW)
    assert plan.title == "Delete 4 keys"
    assert "about 2.0KB in 2 of 4 keys measured" in said(plan)
    assert "2 string, 1 hash" in said(plan)
    assert "no TTL: 1 of 2 known" in said(plan)
    assert "gone already: 1 of 4" in said(plan)
    assert plan.undo.startswith("no undo:")
    assert plan.typed is None
    assert (plan.risk, plan.needs, plan.deletes) == ("medium", "delete", True)
    assert list(plan.commands()) == [
        (b"UNLINK", b"s:1"),
        (b"UNLINK", b"s:2"),
        (b"UNLINK", b"h:1"),
        (b"UNLINK", b"gone"),
    ]


def test_unmeasured_memory_is_not_guessed() -> None:
    assert "memory: not measured" in said(plan_delete(REDIS, TARGET, [b"a"], now=NOW))


def test_receipts_are_stamped_unique_and_sort_by_time() -> None:
    first, second = (plan_delete(REDIS, TARGET, [b"a"], now=NOW) for _ in range(2))
    later = plan_delete(REDIS, TARGET, [b"a"], now=NOW + 0.002)
    assert first.id.startswith("20231114-221320-250-")
    assert first.id != second.id
    assert max(first.id, second.id) < later.id
    assert (first.created_at, first.expires_at) == (NOW, NOW + VALID_S)
    assert first.digest() == second.digest() != plan_delete(REDIS, TARGET, [b"b"], now=NOW).digest()


def test_a_repeated_key_counts_once() -> None:
    plan = plan_delete(REDIS, TARGET, [b"a", b"b", b"a", KeyFacts(b"b")], now=NOW)
    assert list(plan.commands()) == [(b"UNLINK", b"a"), (b"UNLINK", b"b")]


@pytest.mark.parametrize("prefix", [b"", b"*", b" ", b"**", b"\t*\n"])
def test_the_whole_database_asks_for_the_typed_name(prefix: bytes) -> None:
    plan = plan_delete(REDIS, TARGET, [b"a"], prefix=prefix, now=NOW)
    assert (plan.typed, plan.risk) == ("127.0.0.1:6379/0", "high")
    assert "the whole database" in said(plan)


def test_a_prefix_that_covers_every_key_is_the_whole_database_too() -> None:
    assert plan_delete(REDIS, TARGET, [b"a:1", b"a:2"], prefix=b"a:", total=2, now=NOW).typed is not None
    assert plan_delete(REDIS, TARGET, [b"a:1", b"a:2"], prefix=b"a:", total=3, now=NOW).typed is None


def test_facts_given_beside_bare_keys_are_used() -> None:
    plan = plan_delete(REDIS, TARGET, [b"a", b"b", KeyFacts(b"a", size_bytes=10), b"c"], now=NOW)
    assert [command[1] for command in plan.commands()] == [b"a", b"b", b"c"]
    assert "about 10B in 1 of 3 keys measured" in said(plan)


def test_a_prefix_covers_only_what_was_listed() -> None:
    plan = plan_delete(REDIS, TARGET, [b"a:1"], prefix=b"a\x1b:", now=NOW)
    assert "a\\x1b:" in said(plan)
    assert "born later stay" in said(plan)


def test_many_keys_are_of_high_risk_and_the_preview_stays_short() -> None:
    plan = plan_delete(REDIS, TARGET, [b"k%d" % n for n in range(12_000)], prefix=b"k", now=NOW)
    assert plan.risk == "high"
    assert len(plan.preview_commands(20)) == 21
    assert "and 11,995 more" in said(plan)


def test_del_where_unlink_is_unknown_comes_with_a_warning() -> None:
    plan = plan_delete(REDIS, TARGET, [b"a"], unlink_known=False, now=NOW)
    assert list(plan.commands()) == [(b"DEL", b"a")]
    assert "warning: UNLINK" in said(plan)


@given(st.lists(st.binary(max_size=30), min_size=1, max_size=20))
def test_any_key_is_planned_exactly_and_shown_safely(keys: list[bytes]) -> None:
    plan = plan_delete(REDIS, TARGET, keys, prefix=keys[0], now=NOW)
    assert [command[1] for command in plan.commands()] == list(dict.fromkeys(keys))
    for line in (plan.title, *plan.what, *plan.preview_commands(100)):
        assert line.isprintable()


def test_memcached_deletes_one_by_one() -> None:
    plan = plan_delete(MEMCACHED, "memcached://h:1", [b"a", b"\xff"], now=NOW)
    assert list(plan.commands()) == [(b"delete", b"a"), (b"delete", b"\xff")]


@pytest.mark.parametrize("key", [b"", b"a b", b"a\r\nflush_all", b"a\x00", b"k" * 251, b"\x7f"])
def test_keys_that_memcached_cannot_name_are_refused(key: bytes) -> None:
    with pytest.raises(BadUsage, match="not a Memcached key") as refusal:
        plan_delete(MEMCACHED, "memcached://h:1", [b"ok", key], now=NOW)
    assert refusal.value.line().isprintable()


def test_nothing_to_delete_is_refused() -> None:
    with pytest.raises(BadUsage):
        plan_delete(REDIS, TARGET, [], now=NOW)


def test_replicas_and_sentinels_are_refused() -> None:
    with pytest.raises(Refused, match="replica"):
        plan_delete(Identity("redis", role="replica"), TARGET, [b"a"], now=NOW)
    with pytest.raises(Refused, match="replica"):
        plan_ttl(Identity("redis", role="replica"), TARGET, [b"a"], 5, now=NOW)
    with pytest.raises(Unsupported, match="Sentinel"):
        plan_delete(Identity("redis", mode="sentinel", role="sentinel"), TARGET, [b"a"], now=NOW)


@pytest.mark.parametrize(
    ("ttl_s", "command"),
    [
        (60, (b"EXPIRE", b"k", b"60")),
        (0.25, (b"PEXPIRE", b"k", b"250")),
        (1.5, (b"PEXPIRE", b"k", b"1500")),
        (None, (b"PERSIST", b"k")),
    ],
)
def test_ttl_commands_of_redis(ttl_s: float | None, command: tuple[bytes, ...]) -> None:
    assert list(plan_ttl(REDIS, TARGET, [b"k"], ttl_s, now=NOW).commands()) == [command]


@pytest.mark.parametrize(
    ("ttl_s", "seconds"), [(60, 60), (0.5, 1), (None, 0), (30 * 86400, 2_592_000), (31 * 86400, 1_702_678_400)]
)
def test_ttl_of_memcached_over_thirty_days_is_a_time(ttl_s: float | None, seconds: int) -> None:
    plan = plan_ttl(MEMCACHED, "memcached://h:1", [b"k"], ttl_s, now=NOW)
    assert list(plan.commands()) == [(b"touch", b"k", b"%d" % seconds)]


@pytest.mark.parametrize("ttl_s", [0, -1, float("nan"), float("inf"), 1e300])
def test_a_ttl_that_would_delete_or_overflow_is_refused(ttl_s: float) -> None:
    with pytest.raises(BadUsage, match="TTL"):
        plan_ttl(REDIS, TARGET, [b"k"], ttl_s, now=NOW)


def test_ttl_undo_is_the_old_ttl() -> None:
    def undo(*facts: KeyFacts) -> str:
        return plan_ttl(REDIS, TARGET, facts, 60, now=NOW).undo

    assert undo(KeyFacts(b"k", has_ttl=False)) == "PERSIST k"
    assert undo(KeyFacts(b"k", has_ttl=True, ttl_s=3600)) == "EXPIRE k 3600 (it had 1h00m left)"
    assert undo(KeyFacts(b"k")) == "no undo: the old TTL is unknown"
    assert undo(KeyFacts(b"k"), KeyFacts(b"l")).startswith("no undo")


def test_ttl_preview_shows_what_they_had() -> None:
    facts = [KeyFacts(b"a", has_ttl=True, ttl_s=60), KeyFacts(b"b", has_ttl=False), KeyFacts(b"c")]
    text = said(plan_ttl(REDIS, TARGET, facts, 3600, now=NOW))
    assert "1 expire in 1m00s to 1m00s, 1 have no TTL, 1 unknown" in text
    assert "expire together" in text
