"""What `watch` says, however it is cut, and whatever else comes."""

from __future__ import annotations

import math
from collections import Counter

import pytest

from cachetui.keyspace.access import Sample
from cachetui.model.accesses import Use
from cachetui.model.burst import Access, Call
from cachetui.source.memcached.events import SERVER, EventReader

LINES = (
    b"OK\r\n"
    b"ts=1795449020.90100 gid=1 type=conn_new rip=::1 rport=7 transport=tcp cfd=9\n"
    b"ts=1795449020.90267 gid=2 type=item_get key=foo status=not_found clsid=0 cfd=24 size=0\n"
    b"ts=1795449020.90268 gid=3 type=item_get key=baz status=found clsid=1 cfd=9 size=3\n"
    b"ts=1795449020.90276 gid=4 type=item_store key=foo status=stored cmd=set ttl=100 clsid=1 cfd=24 size=3\n"
    b"ts=1795449020.90278 gid=5 type=item_get key=foo status=not_found clsid=1 cfd=24 size=3\n"
    b"ts=1795449020.90279 gid=6 type=item_get key=foo status=not_found clsid=1 cfd=24 size=3\n"
    b"ts=1795449020.90319 gid=7 type=item_store key=foo status=not_stored cmd=add ttl=0 clsid=1 cfd=24 size=1\n"
    b"ts=1795449020.90320 gid=8 type=item_store key=n status=stored cmd=append ttl=0 clsid=1 cfd=24 size=2\n"
    b"ts=1795449020.90334 gid=9 type=eviction key=a%20%1b fetch=no ttl=0 la=5 clsid=1 size=70\n"
    b"ts=1795449020.90335 gid=10 type=deleted key=bar cmd=delete clsid=1 cfd=9 size=3\n"
    b"skipped=41\n"
    b"ts=1795449020.90336 gid=11 type=item_get key=a%20%1b status=found clsid=1 cfd=31\n"
)


class _Kept:
    """A sink that keeps all."""

    full = False

    def __init__(self) -> None:
        self.accesses: Counter[Access] = Counter()
        self.calls: Counter[Call] = Counter()

    def take_calls(self, accesses: Counter[Access], calls: Counter[Call]) -> None:
        self.accesses += accesses
        self.calls += calls


@pytest.mark.parametrize("step", [10_000, 64, 5])
def test_events_are_counted_by_item_and_client(step: int) -> None:
    kept = _Kept()
    reader = EventReader(kept, {b"24": "10.0.0.1:5"})  # type: ignore[arg-type]
    for at in range(0, len(LINES), step):
        reader.feed(LINES[at : at + step])
    reader.end()
    # The look-up before each store is none of a client's.
    assert kept.calls == {
        Call("fetch", "[::1]:7", False): 1,
        Call("store", "10.0.0.1:5", True): 2,
        Call("miss", "10.0.0.1:5", False): 1,
        Call("not stored", "10.0.0.1:5", None): 1,
        Call("evict", SERVER, None): 1,
        Call("delete", "[::1]:7", True): 1,
        Call("fetch", "fd 31", False): 1,
    }
    assert kept.accesses == {
        Access(0, b"baz", False): 1,
        Access(0, b"foo", True): 1,
        Access(0, b"foo", False): 1,
        Access(0, b"n", True): 1,
        Access(0, b"bar", True): 1,
        Access(0, b"a \x1b", False): 1,
    }
    assert (reader.lines, reader.lookups, reader.skipped, reader.strange) == (10, 3, 41, 0)
    assert reader.first_s < reader.last_s


def test_uses_of_a_sample_say_what_was_done() -> None:
    sample = Sample()
    reader = EventReader(sample, {})
    reader.feed(LINES)
    reader.end()
    told = [(one.key, one.use, one.length) for one in sample.seen]
    assert (b"foo", Use.WRITE, 3) in told
    assert (b"n", Use.UPDATE, 2) in told
    assert (b"bar", Use.DELETE, 0) in told
    assert next(one.ttl_s for one in sample.seen if one.use is Use.WRITE) == 100.0
    assert next(one.ttl_s for one in sample.seen if one.use is Use.UPDATE) == math.inf


@pytest.mark.parametrize(
    "garbage",
    [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"ts=x gid=y type=item_get key= status\n", b"\x1b]0;x\x07\n", b"key=a\n"],
)
def test_what_makes_no_sense_is_counted_and_nothing_else(garbage: bytes) -> None:
    kept = _Kept()
    reader = EventReader(kept, {})  # type: ignore[arg-type]
    reader.feed(garbage)
    reader.end()
    assert reader.strange >= 1
    assert not kept.calls


def test_an_endless_line_is_given_up() -> None:
    reader = EventReader(Sample(), {})
    for _ in range(50):
        reader.feed(b"x" * 1000)
    assert reader.strange >= 1
    assert len(reader._rest) < 10_000
