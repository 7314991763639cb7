"""INFO's text, whatever it holds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cachetui.model import DbKeys, Identity
from cachetui.source.redis import info as info_text
from cachetui.source.redis.info import parse_info
from cachetui.source.redis.lists import parse_clients, parse_slowlog

SERVER = Identity("redis", address="127.0.0.1:1")


def stats_of(text: bytes, db: int = 0):  # type: ignore[no-untyped-def]
    return info_text.to_stats(parse_info(text), SERVER, taken_at=1.0, latency_us=None, db=db, keys=None, denied=())


def test_unknown_is_none_and_never_zero() -> None:
    stats = stats_of(b"")
    assert stats.keys is None and stats.hits_total is None and stats.loading is None and stats.extra is None
    assert stats.link_up is None and stats.worst_lag_bytes is None and stats.save_ok is None


def test_keyspace_without_our_database_means_no_keys() -> None:
    text = b"# Keyspace\r\ndb3:keys=5,expires=1,avg_ttl=70\r\n"
    assert stats_of(text).keys == 0 and stats_of(text, db=3).keys == 5
    assert stats_of(text).databases == (DbKeys(3, 5, 1, 70),)


def test_replica_and_primary() -> None:
    replica = stats_of(
        b"# Replication\r\nrole:slave\r\nmaster_link_status:down\r\nmaster_last_io_seconds_ago:-1\r\n"
        b"master_link_down_since_seconds:12\r\nmaster_sync_in_progress:1\r\n"
    )
    assert (replica.link_up, replica.link_down_s, replica.replication_lag_s) == (False, 12, None)
    assert replica.sync_running is True
    primary = stats_of(
        b"role:master\r\nconnected_slaves:2\r\nmaster_repl_offset:1000\r\n"
        b"slave0:ip=10.0.0.1,port=1,state=online,offset=900,lag=0\r\n"
        b"slave1:ip=10.0.0.2,port=1,state=wait_bgsave,offset=0,lag=0\r\n"
    )
    assert primary.replicas == 2 and primary.worst_lag_bytes == 100


def test_loading_shows_progress() -> None:
    stats = stats_of(b"loading:1\r\nloading_loaded_perc:12.50\r\nloading_eta_seconds:9\r\n")
    assert (stats.loading, stats.loading_percent, stats.loading_eta_s) == (True, 12.5, 9.0)


def test_servers_are_told_apart() -> None:
    valkey = info_text.identity(
        parse_info(b"redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:9.1.0\r\nserver_mode:cluster\r\n"),
        {},
        "a:1",
    )
    assert (valkey.kind, valkey.version, valkey.mode) == ("valkey", "9.1.0", "cluster")
    keydb = info_text.identity(parse_info(b"redis_version:6.3.4\r\n# KeyDB\r\nmvcc_depth:0\r\n"), {}, "a:1")
    assert (keydb.kind, keydb.version) == ("keydb", "6.3.4")
    denied = info_text.identity(parse_info(b""), {"server": b"redis", "version": b"8.0", "role": b"master"}, "a:1")
    assert (denied.kind, denied.version, denied.role, denied.run_id) == ("redis", "8.0", "primary", None)


def test_text_from_the_server_is_escaped() -> None:
    stats = stats_of(b"maxmemory_policy:\x1b[2J\r\nos:Lin\xe2\x80\xaeux\r\n")
    assert stats.policy == "\\x1b[2J" and stats.extra is not None and stats.extra["os"] == "Lin\\u202eux"


@given(st.binary(max_size=400))
def test_any_bytes_are_read_without_an_error(noise: bytes) -> None:
    stats_of(noise)
    stats_of(b"# Keyspace\r\ndb0:" + noise + b"\r\ncmdstat_get:" + noise + b"\r\nslave0:" + noise)
    parse_clients(noise, frozenset(), "cachetui")


@given(st.recursive(st.none() | st.binary() | st.integers(), lambda inner: st.lists(inner, max_size=6), max_leaves=20))
def test_any_reply_is_read_as_a_slow_log(reply: object) -> None:
    parse_slowlog(reply)


def test_slow_log_of_older_and_newer_servers() -> None:
    old, new = parse_slowlog([[1, 100, 5, [b"GET", b"k"]], [2, 101, 6, [b"SET"], b"1.2.3.4:5", b"app", b"more", 7]])
    assert (old.client, old.client_name, old.args) == ("", "", (b"GET", b"k"))
    assert (new.client, new.client_name, new.duration_us) == ("1.2.3.4:5", "app", 6)
