"""Cursors and pace of an enumeration: every place is walked, and a slow server is given rest."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from cachetui.source.redis.scanner.cursors import (
    BITS,
    SLOTS,
    NotDivisible,
    SlotPart,
    TablePart,
    WholePart,
    reversed_bits,
    slot_parts,
    table_parts,
)
from cachetui.source.redis.scanner.pace import COUNT_MOST, Pace


def next_cursor(cursor: int, bits: int) -> int:
    """Return where a table of 2^bits places goes on after `cursor` (dictScan's own arithmetic)."""
    mask = (1 << BITS) - 1
    at = cursor | (mask & ~((1 << bits) - 1))
    return reversed_bits((reversed_bits(at) + 1) & mask)


def test_parts_visit_every_place_whatever_size_the_table_gets() -> None:
    chance = random.Random(5)
    for number in (1, 4, 64):
        parts, visited = list(table_parts(number)), set()
        waiting = list(parts)
        while waiting:
            part = chance.choice(waiting)
            if chance.random() < 0.2 and (other := part.split()) is not None:
                waiting.append(other)
            bits = chance.randint(4, 12)  # it is resized under the walk
            cursor = int(part.cursor)
            place = cursor & ((1 << bits) - 1)
            # All places of the greatest table that lie in this one.
            visited |= {place + (step << bits) for step in range(1 << (12 - bits))}
            part.advance(b"%d" % next_cursor(cursor, bits))
            if part.done:
                waiting.remove(part)
        assert visited == set(range(1 << 12))


def test_slots_are_all_in_some_part() -> None:
    parts = slot_parts(4, [(100, 199), (5000, 5099), (16000, 16383)])
    assert parts[0].start == 0 and parts[-1].end == SLOTS
    assert all(before.end == after.start for before, after in pairwise(parts))
    other = parts[1].split()
    assert other is not None and other.start == parts[1].end
    assert sum(part.weight for part in [*parts, other]) == pytest.approx(1)
    parts[0].advance(b"%d" % (7 << 14 | 120))
    assert not parts[0].done and 0 < parts[0].share < 1
    parts[0].advance(b"%d" % parts[0].end)
    assert parts[0].done


def test_cursors_that_go_backwards_are_not_believed() -> None:
    part: TablePart | SlotPart = table_parts(2)[1]
    part.advance(b"%d" % reversed_bits((1 << 63) + (1 << 60)))
    with pytest.raises(NotDivisible):
        part.advance(b"%d" % reversed_bits((1 << 63) + (1 << 59)))
    part = slot_parts(2, [(0, 16383)])[1]
    with pytest.raises(NotDivisible):
        part.advance(b"5")


def test_one_cursor_may_look_like_anything() -> None:
    part = WholePart()
    part.advance(b"_opaque")
    assert (part.cursor, part.done, part.share, part.split()) == (b"_opaque", False, None, None)
    part.advance(b"0")
    assert part.done and part.share == 1.0


def test_a_server_that_slows_down_is_given_rest_and_taken_on_again() -> None:
    pace = Pace()
    for took_s in (0.0001, 0.0002, 0.0001):
        pace.learn_latency(took_s)
    assert pace.rest_s == 0.0 and not pace.far
    pace.learn_latency(0.02)
    assert pace.rest_s == 0.0, "one late answer may be our own fault"
    for _ in range(10):
        pace.learn_latency(0.02)
    assert pace.rest_s == pytest.approx(0.05)
    for _ in range(12):
        pace.learn_latency(0.0001)
    assert pace.rest_s == 0.0


def test_steps_fit_what_the_server_can_do() -> None:
    pace = Pace()
    pace.learn_latency(0.0001)
    pace.learn_step(0.0001 + 250 * 10e-6, 250)
    assert pace.lanes * pace.count <= 100, "10 us for a key: half a millisecond is some 50 of them"
    pace.learn_step(0.0001 + 250 * 0.1e-6, 250)
    assert pace.count * pace.lanes == 2000
    pace.use_one_cursor()
    assert (pace.lanes, pace.count) == (1, COUNT_MOST)
    while pace.take_less():
        assert pace.count < COUNT_MOST
    assert pace.count == 1


def test_a_far_server_gets_many_small_steps_that_do_not_arrive_at_once() -> None:
    pace = Pace()
    pace.learn_latency(0.040)
    assert pace.far and pace.lanes == 256 and pace.count == 100
    assert pace.burst * pace.count <= 1000 and 0.001 < pace.gap_s < 0.002
