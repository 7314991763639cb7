"""A decoded document as lines: the common shape of MessagePack, PHP and Protocol Buffers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from cachetui import text
from cachetui.keyspace.decode.described import Described, Look, bounded

NODES = 10_000
"""Most values of one document."""
DEPTH = 32
"""Deeper nesting is refused."""
LEAF = 4096
"""Characters of one string."""
LEAF_BYTES = 64
"""Bytes of one binary value."""


@dataclass(slots=True)
class Branch:
    """A map, list or object; a leaf is a `str` that is printable already."""

    head: str = ""
    """What stands before the bracket: a class name."""
    brackets: str = "{}"
    members: list[tuple[str, Branch | str]] = field(default_factory=list)
    """Label (empty in a list) and value of each."""

    def under(self, label: str) -> Attach:
        """Return what adds one member by this label."""
        return lambda node: self.members.append((label, node))


Node = Branch | str


class Unreadable(ValueError):
    """The bytes are not what was expected; the message says where."""


class Cut(Unreadable):
    """The bytes end too soon."""


def lines_of_tree(node: Node, folded: bool) -> Iterator[str]:
    """Yield `node` laid out with two spaces a level, or with only the count of what is inside each member."""
    if isinstance(node, str):
        yield node
        return
    yield from _lines(node, "", 0, 1 if folded else DEPTH + 1)


def _lines(node: Branch, label: str, level: int, fold_at: int) -> Iterator[str]:
    opening, closing = node.brackets[0], node.brackets[1]
    start = "  " * level + label + (f"{node.head} " if node.head else "") + opening
    if not node.members:
        yield start + closing
    elif level >= fold_at:
        yield f"{start}…{len(node.members)}{closing}"
    else:
        yield start
        for name, member in node.members:
            named = f"{name}: " if name else ""
            if isinstance(member, Branch):
                yield from _lines(member, named, level + 1, fold_at)
            else:
                yield "  " * (level + 1) + named + member
        yield "  " * level + closing


class TooMany(Cut):
    """There is more than is shown."""


class Reader:
    """Takes values off the front of some bytes, and counts what it takes."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0
        self.nodes = 0

    @property
    def ended(self) -> bool:
        """True when nothing is left."""
        return self.at >= len(self.data)

    def take(self, count: int) -> bytes:
        """Return the next `count` bytes. Raises Cut."""
        if count > len(self.data) - self.at:
            raise Cut(f"it ends at byte {len(self.data):,}, in the middle of a value")
        taken = self.data[self.at : self.at + count]
        self.at += count
        return taken

    def number(self, count: int, signed: bool = False) -> int:
        """Return the next `count` bytes as a big-endian integer. Raises Cut."""
        return int.from_bytes(self.take(count), "big", signed=signed)

    def until(self, mark: bytes, limit: int) -> bytes:
        """Return what comes before `mark`, and pass it; `mark` must come within `limit` bytes. Raises Unreadable."""
        end = self.data.find(mark, self.at, self.at + limit + len(mark))
        if end < 0:
            short = len(self.data) - self.at <= limit
            raise (Cut if short else Unreadable)(f"no {mark.decode('ascii')} after byte {self.at:,}")
        taken = self.data[self.at : end]
        self.at = end + len(mark)
        return taken

    def count_node(self, depth: int) -> None:
        """Note one more value. Raises TooMany after too many, Unreadable when too deep."""
        self.nodes += 1
        if self.nodes > NODES:
            raise TooMany(f"cut after {NODES:,} values")
        if depth > DEPTH:
            raise Unreadable(f"nested deeper than {DEPTH} at byte {self.at:,}")


Attach = Callable[[Node], None]
"""Takes a value as soon as it begins, so that a document that is cut off shows what there is of it."""

Parse = Callable[[Reader, int, Attach], None]
"""Takes one value off the reader, at this depth. Raises Unreadable."""


def document(kind: str, data: bytes, look: Look, parse: Parse) -> Described | None:
    """Return one document by `parse`; None or Unreadable when `data` is no such document, or more than one."""
    reader, roots, note = Reader(data), list[Node](), ""
    try:
        parse(reader, 0, roots.append)
    except TooMany as error:
        note = f"… {error}"
    except Cut as error:
        if not roots or (look.whole and not look.asked):
            raise
        note = f"… {error}"
    if not reader.ended and not note:
        if not look.asked:
            return None
        note = f"… {len(data) - reader.at:,} more bytes are no part of it"
    lines = bounded(lines_of_tree(roots[0], look.folded))
    return Described(kind, (*lines, note) if note else lines)


def quoted(data: bytes) -> str:
    """Return a string of a document: in quotes where it is UTF-8, else its first bytes in hexadecimal."""
    try:
        words = data.decode("utf-8")
    except UnicodeDecodeError:
        return in_hex(data)
    return f'"{text.printable(words, LEAF)}"'


def in_hex(data: bytes) -> str:
    """Return how many bytes, and the first of them in hexadecimal."""
    return f"{text.size(len(data))} {data[:LEAF_BYTES].hex(' ')}" + (" …" if len(data) > LEAF_BYTES else "")
