"""Where clients put keys: recorded from pylibmc (libmemcached 1.0) on three servers."""

from __future__ import annotations

import pytest

from cachetui.config import Address, parse_target
from cachetui.config.target import HASHINGS
from cachetui.errors import BadTarget
from cachetui.source.memcached.rings import LEAST_SAMPLED, Ring, best_fit, rings

SERVERS = [Address("127.0.0.1", port) for port in (18511, 18512, 18513)]
SEEN = {
    "ketama": ("ketama", "102221121111022221101020022110111000201002200202000112021101"),
    "consistent": ("consistent", "011100220001121110202010112102222010011110110221212221022022"),
    "modulo": ("modulo", "222211111101110200222211211111112111111111101002220202222221"),
    "md5": ("md5", "001200102121112010200122221012200021210100201120010011210022"),
    "crc32": ("modulo-crc", "102120112121200101220010211212110101100111110001010110000220"),
}
"""Which server holds `NAME:user:0`, `NAME:user:1`, ... ; NAME is pylibmc's behaviour."""


def ring_of(name: str) -> Ring:
    return next(ring for ring in rings(SERVERS) if ring.name == name)


@pytest.mark.parametrize(("name", "behaviour"), [(name, behaviour) for name, (behaviour, _) in SEEN.items()])
def test_keys_lie_where_libmemcached_puts_them(name: str, behaviour: str) -> None:
    ring = ring_of(name)
    homes = "".join(str(ring.home(b"%b:user:%d" % (behaviour.encode(), at))) for at in range(60))
    assert homes == SEEN[name][1]


def test_a_url_can_name_each_rule() -> None:
    assert tuple(ring.name for ring in rings(SERVERS)) == HASHINGS
    for name in HASHINGS:
        assert parse_target(f"memcached://a,b?hash={name}").hashing == name
    for url in ("memcached://a,b?hash=sha1", "redis://a?hash=ketama"):
        with pytest.raises(BadTarget):
            parse_target(url)


def test_several_sockets_are_a_fleet() -> None:
    target = parse_target("memcached+unix:///run/a.sock,/run/b.sock?hash=ketama")
    assert [address.path for address in target.addresses] == ["/run/a.sock", "/run/b.sock"]
    assert target.name == "memcached+unix:///run/a.sock,/run/b.sock"
    assert len(parse_target("unix:///run/a,b.sock").addresses) == 1


def test_shares_are_those_of_many_keys() -> None:
    for ring in rings(SERVERS):
        assert sum(ring.shares) == pytest.approx(1)
        counts = [0, 0, 0]
        for at in range(6000):
            counts[ring.home(b"some:key:%d" % at)] += 1
        for count, share in zip(counts, ring.shares, strict=True):
            assert count / 6000 == pytest.approx(share, abs=0.04), ring.name


def test_binary_names_have_a_home_too() -> None:
    for ring in rings(SERVERS):
        assert ring.home(b"\xff\x00 \n") in (0, 1, 2)


@pytest.mark.parametrize("name", ["rendezvous", "ketama", "consistent", "modulo", "crc32", "md5"])
def test_the_rule_is_told_from_where_names_lie(name: str) -> None:
    ring = ring_of(name)
    seen: dict[int, list[bytes]] = {0: [], 1: [], 2: []}
    for at in range(200):
        seen[ring.home(b"user:%d" % at)].append(b"user:%d" % at)
    best = best_fit(rings(SERVERS), seen)
    assert (best.ring.name, best.misplaced, best.explains) == (name, 0, True)
    # Ten that were left behind are counted, and do not hide the rule.
    strays = [seen[0].pop() for _ in range(10)]
    seen[1] += strays
    best = best_fit(rings(SERVERS), seen)
    assert (best.ring.name, best.misplaced, best.explains) == (name, 10, True)


def test_nothing_is_concluded_from_few_names_or_from_chaos() -> None:
    few = {0: [b"a"], 1: [b"b"], 2: []}
    assert not best_fit(rings(SERVERS), few).explains
    chaos = {at: [b"%d:%d" % (at, number) for number in range(LEAST_SAMPLED)] for at in range(3)}
    assert not best_fit(rings(SERVERS), chaos).explains
