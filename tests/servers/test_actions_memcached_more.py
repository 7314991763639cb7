"""Memcached items changed in place, and pages moved between slab classes, by the one writer on real servers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from cachetui.actions.apply import Guard, apply
from cachetui.actions.journal import Journal
from cachetui.actions.plan.memcached_items import plan_count, plan_extend
from cachetui.actions.plan.memcached_slabs import ANY, plan_reassign
from cachetui.config import Address, Target
from cachetui.errors import BadUsage, CacheError, Refused, Unsupported
from cachetui.model import Identity, Stats
from cachetui.source.memcached import MemcachedSource
from tests.contract.memcached_targets import Plain, source_of, until
from tests.servers.launch import Server

FREE = Guard(read_only=False)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal.jsonl")


@pytest.fixture
async def source(memcached: Server) -> AsyncIterator[MemcachedSource]:
    async with source_of(memcached) as opened:
        await opened.open()
        yield opened


def identity_of(source: MemcachedSource) -> Identity:
    assert source.identity is not None
    return source.identity


async def test_an_item_grows_at_both_ends_and_keeps_its_flags_and_ttl(
    source: MemcachedSource, memcached: Server, journal: Journal
) -> None:
    with Plain(memcached) as plain:
        plain.say(b"set log 9 500 3\r\nold")
        for where, data in (("append", b"\r\nend"), ("prepend", b"begin ")):
            plan = plan_extend(identity_of(source), source.name, await source.value(b"log"), data, where=where)  # type: ignore[arg-type]
            assert (await apply(plan, source, journal=journal, guard=FREE)).done == 1
        value = await source.value(b"log")
        assert (value.items[0].data, value.flags) == (b"begin old\r\nend", 9)
        assert 400 < (value.facts.ttl_s or 0) <= 500
        plain.say(b"delete log")
        outcome = await apply(
            plan_extend(identity_of(source), source.name, value, b"x", where="append"),
            source,
            journal=journal,
            guard=FREE,
        )
        assert (outcome.done, outcome.missing, outcome.failed) == (0, 1, 0)


async def test_a_number_is_counted_up_and_down(source: MemcachedSource, memcached: Server, journal: Journal) -> None:
    with Plain(memcached) as plain:
        plain.say(b"set n 0 0 1\r\n5")
        plain.say(b"set word 0 0 1\r\nx")
        for by, then in ((10, b"15"), (-7, b"8"), (-20, b"0")):
            plan = plan_count(identity_of(source), source.name, await source.value(b"n"), by)
            assert plan.undo == ("no undo: it was 8; edit it back (e)" if by == -20 else plan.undo)
            outcome = await apply(plan, source, journal=journal, guard=FREE)
            assert (outcome.done, outcome.failed) == (1, 0), outcome.line()
            assert (await source.value(b"n")).items[0].data.strip() == then
        plan = plan_count(identity_of(source), source.name, await source.value(b"n"), 3)
        plain.say(b"delete n")
        assert (await apply(plan, source, journal=journal, guard=FREE)).missing == 1
        with pytest.raises(BadUsage, match="no whole number"):
            plan_count(identity_of(source), source.name, await source.value(b"word"), 1)
        with pytest.raises(Refused):
            await apply(
                plan_extend(identity_of(source), source.name, await source.value(b"word"), b"y", where="append"),
                source,
                journal=journal,
                guard=Guard(read_only=True),
            )


async def stats_of(source: MemcachedSource) -> Stats:
    stats = await source.poll("stats")
    assert isinstance(stats, Stats)
    return stats


@pytest.mark.parametrize("number", [1, 2])
async def test_a_page_goes_to_the_class_that_needs_it(
    number: int, new_server: Callable[..., Server], journal: Journal
) -> None:
    servers = [new_server("memcached", "-m", "16", "-o", "slab_reassign,no_slab_automove") for _ in range(number)]
    server = servers[-1]
    with Plain(server) as plain:
        plain.fill((b"small:%d" % at for at in range(50_000)), b"x" * 60)
        for at in range(50_000):
            plain.link.sendall(b"md small:%d q\r\n" % at)
        assert plain.say(b"mn") == b"MN"
        plain.fill([b"big"], b"x" * 5000)
        source = MemcachedSource(Target("memcached", tuple(Address("127.0.0.1", each.port) for each in servers)))
        try:
            identity = await source.open()
            slabs = [slab for slab in (await stats_of(source)).slabs if slab.server == server.address]
            giver, taker = max(slabs, key=lambda slab: slab.free_chunks), max(slabs, key=lambda slab: slab.chunk_bytes)
            where = server.address if number > 1 else ""
            plan = plan_reassign(identity, source.name, slabs, giver.class_id, taker.class_id, server=where)
            assert "none is lost" in " ".join(plan.what) and plan.undo.startswith("slabs reassign")
            outcome = await apply(plan, source, journal=journal, guard=FREE)
            assert (outcome.state, outcome.done) == ("done", 1), outcome.line()

            async def moved() -> bool:
                return plain.stat(b"slabs_moved") == b"1"

            await until(moved)
            after = {
                slab.class_id: slab.total_pages
                for slab in (await stats_of(source)).slabs
                if slab.server == server.address
            }
            assert after[taker.class_id] == taker.total_pages + 1
            assert after[giver.class_id] == giver.total_pages - 1
            with pytest.raises(Refused, match="one page"):
                lonely = next(slab for slab in slabs if slab.total_pages == 1)
                plan_reassign(identity, source.name, slabs, lonely.class_id, giver.class_id, server=where)
            with pytest.raises(BadUsage):
                plan_reassign(identity, source.name, slabs, giver.class_id, 60, server=where)
            assert plan_reassign(identity, source.name, slabs, ANY, taker.class_id, server=where).steps == [
                (b"slabs", b"reassign", b"-1", b"%d" % taker.class_id)
            ]
            with pytest.raises(Unsupported):
                plan_reassign(Identity("redis"), source.name, slabs, giver.class_id, taker.class_id)
        finally:
            await source.close()


async def test_what_memcached_says_to_a_page_that_cannot_move(source: MemcachedSource, memcached: Server) -> None:
    replies = await source.execute([(b"slabs", b"reassign", b"1", b"1"), (b"slabs", b"reassign", b"200", b"1")])
    assert all(isinstance(reply, CacheError) for reply in replies)
