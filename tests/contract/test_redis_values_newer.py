"""Types that the servers of the tests do not have, read from replies as their documentation shows them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from cachetui.errors import CacheError, from_reply
from cachetui.model import KeyFacts, Value
from cachetui.source.redis.connection import Argument
from cachetui.source.redis.replies import as_bytes
from cachetui.source.redis.values import READERS, READS, Window, read_value

MEMBERS = [b"member:%03d" % number for number in range(250)] + [b"\xff\x00"]
VINFO = [b"quant-type", b"int8", b"vector-dim", 300, b"size", len(MEMBERS), b"max-level", 12, b"attributes-count", 0]
ELEMENTS = {number * number: b"e%d" % number for number in range(200)}
ARINFO = [b"count", len(ELEMENTS), b"len", 199 * 199 + 1, b"next-insert-index", 1, b"slices", 10, b"slice-size", 4096]

Answers = dict[str, Callable[[list[bytes]], object]]


def known(reply: list[object]) -> Callable[[list[bytes]], object]:
    return lambda _: reply


def vrange(words: list[bytes]) -> object:
    start, count = words[2], int(words[4])
    assert words[3] == b"+" and (start == b"-" or start[:1] == b"[")
    return [name for name in MEMBERS if start == b"-" or name >= start[1:]][:count]


def vemb(words: list[bytes]) -> object:
    assert words[2] in MEMBERS
    return [b"%.17f" % (0.1 + number) for number in range(300)]


def arscan(words: list[bytes]) -> object:
    start, end, limit = int(words[2]), int(words[3]), int(words[5])
    inside = sorted(index for index in ELEMENTS if min(start, end) <= index <= max(start, end))
    return [[index, ELEMENTS[index]] for index in (inside if start <= end else inside[::-1])][:limit]


VECTORS: Answers = {
    "VCARD": lambda _: len(MEMBERS),
    "VINFO": known(list(VINFO)),
    "COMMAND": known([[b"vrange", -4, [b"readonly", b"module"], 1, 1, 1]]),
    "VRANGE": vrange,
    "VEMB": vemb,
}
ARRAY: Answers = {"ARINFO": known(list(ARINFO)), "ARSCAN": arscan}


async def read(
    answers: Answers, type_: str, start: bytes | None = None, order: str = "", length: int | None = None
) -> Value:
    async def ask(commands: Sequence[Sequence[Argument]]) -> list[object]:
        replies: list[object] = []
        for command in commands:
            words = [as_bytes(word) for word in command]
            answer = answers.get(words[0].decode().upper())
            replies.append(answer(words) if answer else from_reply("ERR unknown command", words[0].decode()))
        return replies

    facts = KeyFacts(b"key", type=type_, length=length, size_bytes=10_000)
    return await read_value(ask, facts, Window(40, 1000, start, order), taken_at=1.0)


async def all_windows(answers: Answers, type_: str, order: str = "") -> list[Value]:
    found = [await read(answers, type_, order=order)]
    while found[-1].next is not None:
        found.append(await read(answers, type_, found[-1].next, order))
        assert len(found) < 100
    return found


async def test_a_vector_set_in_order() -> None:
    found = await all_windows(VECTORS, "vectorset")
    assert [item.data for value in found for item in value.items] == MEMBERS and len(found) == 7
    assert {value.total for value in found} == {len(MEMBERS)} and {value.note for value in found} == {""}
    assert dict(found[0].sections[0].rows)["quant-type"] == "int8"  # type: ignore[arg-type]
    assert [value.sections for value in found[1:]] == [()] * 6


async def test_the_beginnings_of_a_few_vectors() -> None:
    told = (await read(VECTORS, "vectorset")).sections[1]
    assert told.title == "vectors" and [row[0] for row in told.rows] == [f"member:00{number}" for number in range(5)]
    assert {row[1] for row in told.rows} == {"0.1, 1.1, 2.1, 3.1, 4.1, 5.1, 6.1, 7.1, … of 300"}
    # Of very long vectors fewer are asked for.
    many = {**VECTORS, "VINFO": known([b"vector-dim", 15_000])}
    assert len((await read(many, "vectorset")).sections[1].rows) == 1
    denied = {**VECTORS, "VEMB": lambda _: from_reply("NOPERM no", "VEMB")}
    value = await read(denied, "vectorset")
    assert len(value.items) == 40 and value.sections[1].title.startswith("vectors: VEMB: not permitted")


@pytest.mark.parametrize(
    "command", [known([None]), lambda _: from_reply("NOPERM no", "COMMAND INFO")], ids=["told", "not told"]
)
async def test_a_vector_set_where_members_come_at_random_only(command: Callable[[list[bytes]], object]) -> None:
    answers = {**VECTORS, "COMMAND": command, "VRANDMEMBER": lambda words: MEMBERS[: int(words[2])]}
    del answers["VRANGE"]
    value = await read(answers, "vectorset")
    assert len(value.items) == 40 and value.next is None and value.note.startswith("40 members at random")
    answers["VCARD"] = lambda _: 3
    answers["VRANDMEMBER"] = lambda _: MEMBERS[:3]
    assert (await read(answers, "vectorset")).note == ""


@pytest.mark.parametrize("shape", [list, dict])
async def test_an_array_by_its_indexes(shape: type) -> None:
    about = list(ARINFO) if shape is list else dict(zip(ARINFO[::2], ARINFO[1::2], strict=True))
    found = await all_windows({**ARRAY, "ARINFO": lambda _: about}, "array")
    rows = [(item.label, item.data) for value in found for item in value.items]
    assert rows == [(b"%d" % index, element) for index, element in sorted(ELEMENTS.items())]
    assert found[0].columns == ("index", "value") and found[0].total == len(ELEMENTS)
    assert dict(found[0].sections[0].rows)["slice-size"] == "4096"  # type: ignore[arg-type]
    turned = await all_windows(ARRAY, "array", "descending")
    assert [(item.label, item.data) for value in turned for item in value.items] == rows[::-1]


async def test_an_array_to_its_last_possible_index() -> None:
    last = 2**64 - 2
    elements = {7: b"a", 2**63: b"b", last: b"c"}

    def scan(words: list[bytes]) -> object:
        start, limit = int(words[2]), int(words[5])
        return [[index, element] for index, element in elements.items() if index >= start][: min(limit, 2)]

    answers = {"ARINFO": known([b"count", 3, b"len", str(last + 1).encode()]), "ARSCAN": scan}
    value = await read(answers, "array", str(2**63).encode())
    assert [item.label for item in value.items] == [b"%d" % 2**63, b"%d" % last] and value.note == ""
    beyond = await read(answers, "array", b"9" * 21)
    assert (beyond.items, beyond.note) == ((), "there is no such window on this value")


ODD_REPLIES: list[object] = [
    *(None, b"", [], [None], [[None]], {}, 5, -1.5, float("nan"), True, b"HYLL", "\x1b", [b"\x1b[31m"]),
    *([[b"x"], b"y", 3], [b"0", b"no list"], [b"x", [b"odd"]], [b"7", [b"a", b"b", b"c"]], [b"\xff", [[], {}]]),
    *({b"len": b"no number"}, {b"k": -1, b"totalSamples": 9, b"firstTimestamp": 5, b"lastTimestamp": 9}),
    *(
        [[b"1-1", None]],
        [[b"1-1", [b"f"]]],
        [[[1, 2], [3, 4]], [5]],
        [{b"name": {}, b"pending": []}],
        [1e308, b"1e999"],
    ),
    from_reply("ERR odd"),
    from_reply("NOPERM no"),
]


@pytest.mark.parametrize("type_", sorted(READERS))
@pytest.mark.parametrize("order", ["", "descending", "bits", "geo", "oldest"])
async def test_replies_that_make_no_sense_raise_nothing(type_: str, order: str) -> None:
    names = {name.split(" ")[0] for name in READS}
    for reply in ODD_REPLIES:
        for start in (None, b"7", b"7-1", b"7:1:1:1", b"0+YQ=="):
            value = await read(dict.fromkeys(names, lambda _, same=reply: same), type_, start, order, length=3)
            assert all(cell.isprintable() for section in value.sections for row in section.rows for cell in row)
            assert all(section.title.isprintable() for section in value.sections) and value.note.isprintable()
            assert len(value.items) <= 40 and len(value.points) <= 200 and value.facts.type == type_


@pytest.mark.parametrize("type_", ["vectorset", "array"])
async def test_a_server_without_the_commands(type_: str) -> None:
    value = await read({}, type_, length=3)
    assert value.items == () and "does not know the command" in value.note and value.total == 3


async def test_a_connection_that_breaks_is_raised() -> None:
    async def ask(commands: Sequence[Sequence[Argument]]) -> list[object]:
        raise from_reply("LOADING the dataset")

    with pytest.raises(CacheError):
        await read_value(ask, KeyFacts(b"k", type="array"), Window(1, 1), taken_at=1.0)
