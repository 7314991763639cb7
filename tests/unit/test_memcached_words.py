"""What goes to Memcached's wire, and what its words mean: pure functions."""

import doctest
import importlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachetui.config import Address, Secret, Target
from cachetui.errors import AuthFailed, CacheError, Refused, ServerError, Unsupported
from cachetui.model import Identity
from cachetui.source.memcached import MemcachedSource
from cachetui.source.memcached.commands import FLAGS, ON_A_KEY, ON_EVERY_SERVER, STORES, Wire, flags_of, wired
from cachetui.source.memcached.connection import reply_error
from cachetui.source.memcached.keys import debug_line, is_plain, value_line
from cachetui.source.memcached.polls import connections_of, topology_of
from cachetui.source.memcached.stats import Answer, combined, slab_classes

words = st.lists(st.binary(max_size=12) | st.sampled_from([b"a", b"1", b"-1", b"a b", b"a\r\nflush_all"]), max_size=5)


@pytest.mark.parametrize("name", ["commands", "keys", "stats", "watch"])
def test_the_examples_in_the_code(name: str) -> None:
    assert doctest.testmod(importlib.import_module(f"cachetui.source.memcached.{name}")).failed == 0


@given(st.sampled_from(sorted(name.encode() for name in FLAGS)) | st.binary(max_size=8), words)
def test_one_command_is_one_line(name: bytes, rest: list[bytes]) -> None:
    wire = wired((name, *rest), set())
    if isinstance(wire, CacheError):
        assert wire.message.isprintable()
        return
    assert wire.name in ON_A_KEY | ON_EVERY_SERVER
    head, _, data = wire.data.partition(b"\r\n")
    assert b"\n" not in head and b"\r" not in head and b"\x00" not in head
    if wire.name in STORES:
        assert data.endswith(b"\r\n") and int(head.split(b" ")[-1]) == len(data) - 2
    else:
        assert data == b""


@given(st.binary(min_size=1, max_size=250))
def test_a_name_the_server_told_is_asked_for_in_one_line(key: bytes) -> None:
    for line in (debug_line(key), value_line(key)):
        assert line.endswith(b"\r\n") and line.count(b"\n") == 1 == line.count(b"\r") and b"\x00" not in line
    wire = wired((b"delete", key), {key})
    assert isinstance(wire, Wire) and wire.data.count(b"\n") == 1
    assert isinstance(wired((b"delete", key), set()), Wire) == is_plain(key)


def test_error_replies() -> None:
    assert isinstance(reply_error(b"ERROR", "me"), Unsupported)
    assert isinstance(reply_error(b"CLIENT_ERROR unauthenticated", "stats"), AuthFailed)
    full = reply_error(b"SERVER_ERROR out of memory storing object", "set")
    assert isinstance(full, ServerError) and full.word == "OOM"
    odd = reply_error(b"\x1b]0;x\x07", "set")
    assert odd.message == "set: \\x1b]0;x\\x07"


def test_every_known_command_has_flags() -> None:
    assert all(flags_of(name) for name in ON_A_KEY | ON_EVERY_SERVER)
    assert flags_of("") is None and flags_of("stats reset") != flags_of("stats")


def answer(**more: str) -> Answer:
    general = {"pid": "7", "time": "100", "uptime": "40", "curr_items": "3", "version": "1.6.18", **more}
    return Answer(more.pop("address", "h:1"), general)


def test_a_run_is_named_by_process_and_start() -> None:
    assert answer().run_id == answer(time="160", uptime="100").run_id
    assert answer().run_id != answer(uptime="1").run_id
    assert answer().run_id != answer(pid="8").run_id


def test_missing_and_impossible_figures_are_unknown() -> None:
    stats = combined(
        [answer(bytes="x", get_hits="1e5", rusage_user="nan")],
        taken_at=1.0,
        identity=Identity("memcached"),
        settings=None,
        denied=(),
    )
    assert (stats.used_bytes, stats.hits_total, stats.cpu_s_total, stats.evicted_total) == (None, None, None, None)
    assert (stats.keys, stats.policy) == (3, None)


def test_without_evictions_the_policy_says_so() -> None:
    stats = combined([answer()], taken_at=1.0, identity=Identity("memcached"), settings={"evictions": "off"}, denied=())
    assert stats.policy == "noeviction"


def test_slab_classes_join_slabs_and_items() -> None:
    one = Answer(
        "h:1",
        {},
        items={"items:2:number": "5", "items:2:age": "9", "items:2:evicted": "4", "odd": "1", "items:x:age": "1"},
        slabs={"2:chunk_size": "120", "2:used_chunks": "5", "active_slabs": "1", "10:chunk_size": "96"},
    )
    first, second = slab_classes(one)
    assert (first.class_id, first.chunk_bytes, first.items, first.age_s, first.evicted) == (2, 120, 5, 9, 4)
    assert (second.class_id, second.items) == (10, None)


def test_connections_are_grouped_by_their_handle() -> None:
    fields = {
        "23:addr": "tcp:0.0.0.0:11211",
        "23:state": "conn_listening",
        "24:addr": "tcp6:[::1]:5000",
        "24:state": "conn_read",
        "24:secs_since_last_cmd": "9",
        "junk": "x",
    }
    (client,) = connections_of(fields, server="", ours={"tcp6:[::1]:5000"})
    assert (client.client_id, client.address, client.idle_s, client.command, client.ours) == (
        24,
        "[::1]:5000",
        9,
        "read",
        True,
    )


def test_different_versions_are_a_problem() -> None:
    other = Answer("h:2", {"version": "1.6.40", "curr_items": "1"})
    topology = topology_of(
        [("h:1", answer()), ("h:2", other)], identity=Identity("memcached", mode="fleet"), settings=None
    )
    assert any("different versions" in problem for problem in topology.problems)


def test_no_secret_shows() -> None:
    source = MemcachedSource(Target("memcached", (Address("h", 1),), user="bob", password=Secret("s3cret-x")))
    assert "s3cret-x" not in repr(vars(source)) + source.name
    assert isinstance(wired((b"delete", b"a b"), set()), Refused)
