"""The keys pane: prefixes as a tree or keys as a list, and the value of the opened key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, cast

from textual.message import Message

from cachetui import text
from cachetui.keyspace.decode import preview
from cachetui.model import KeyFacts
from cachetui.source.base import Kind
from cachetui.ui.line import Line, Span, line
from cachetui.ui.panes.pane import TablePane
from cachetui.ui.scene import Scene
from cachetui.ui.table import Column, Row, Table

_FULL = (
    Column("key", 0),
    Column("keys", 7, "right"),
    Column("type", 10),
    Column("TTL", 7, "right"),
    Column("size", 8, "right"),
)
_SHORT = (Column("prefix", 0), Column("keys", 7, "right"), Column("share", 6, "right"))

CHILDREN_SHOWN = 1_000
"""Rows drawn of one prefix; the filter finds the others."""

LIST_SHOWN = 5_000
"""Rows drawn of the flat list."""

PART = 0.9
"""Fewer of the keys than this are a part of them; while counting a few come and go."""

LIVE_S = 60.0
"""An enumeration older than this says when it was made."""

SPLIT_COLUMNS = 100
"""From this width on the value stands beside the list."""


class KeysPane(TablePane):
    """The key browser. It asks by messages: the app reads, the pane draws."""

    heading = "Keys"
    kinds: ClassVar[tuple[Kind, ...]] = ("stats",)

    class FactsWanted(Message):
        """These keys became visible and their facts are wanted."""

        def __init__(self, keys: list[bytes]) -> None:
            super().__init__()
            self.keys = keys

    class ValueWanted(Message):
        """This key was opened."""

        def __init__(self, key: bytes) -> None:
            super().__init__()
            self.key = key

    class ValueClosed(Message):
        """The value was closed."""

    def __init__(self, *, id: str, compact: bool = False) -> None:
        super().__init__(id=id)
        self.compact = compact
        self.table = Table(_SHORT if compact else _FULL, follows=compact)
        self.expanded: set[bytes] = set()
        self.flat = False
        self._built: tuple[object, ...] = ()
        self._rows: list[Row] = []
        self._asked: tuple[bytes, ...] = ()

    def title(self, scene: Scene) -> str:
        browse = scene.browse
        words = self.heading
        if browse.scanning and browse.scanned_at is None:
            words += f" · scanning {text.count(browse.scanned)} of {text.count(browse.total)}"
        elif browse.scanned_at is not None:
            words += f" · {text.count(browse.tree.total)}"
            if not browse.tree.complete or browse.tree.total < PART * (browse.total or 0):
                words += f" of {text.count(browse.total)}: a part"
            if scene.now - browse.scanned_at > LIVE_S:
                words += f" · as of {text.clock(browse.scanned_at, scene.now)}"
        if self.table.marked:
            words += f" · {len(self.table.marked)} marked"
        return words

    def notes(self, scene: Scene) -> list[Line]:
        trouble = scene.browse.trouble
        words = scene.why_not("scan") or (trouble.line() if trouble is not None else "")
        return [line((text.fit(words, self.content_size.width), "bad"))] if words else []

    def empty_words(self, scene: Scene) -> str:
        if scene.browse.scanned_at is None:
            return "" if scene.browse.trouble else "scanning"
        return "no keys" if not self.table.needle else "no key matches"

    # Rows

    def rows(self, scene: Scene) -> Sequence[Row]:
        browse = scene.browse
        built = (
            browse.version,
            browse.facts_version,
            frozenset(self.expanded),
            self.flat,
            id(browse.tree),
            self.table.needle,
        )
        if built != self._built:
            self._built = built
            self._rows = self._flat_rows(scene) if self.flat or self.table.needle else self._tree_rows(scene, b"", 0)
        return self._rows

    def _tree_rows(self, scene: Scene, prefix: bytes, depth: int) -> list[Row]:
        rows: list[Row] = []
        branches = scene.browse.tree.children(prefix)
        for branch in branches[:CHILDREN_SHOWN]:
            label = text.printable(branch.label, 300)
            if branch.is_key:
                rows.append(self._key_row(scene, branch.name, "  " * depth + "  " + _named(label)))
                continue
            is_open = branch.name in self.expanded
            sign = ("v " if scene.settings.ascii else "▾ ") if is_open else ("> " if scene.settings.ascii else "▸ ")
            rows.append(self._prefix_row(scene, branch.name, "  " * depth + sign + _named(label), branch.count))
            if is_open and not self.compact:
                rows += self._tree_rows(scene, branch.name, depth + 1)
        if len(branches) > CHILDREN_SHOWN:
            words = f"{'  ' * depth}  … {len(branches) - CHILDREN_SHOWN:,} more: filter with /"
            rows.append(Row(("more", prefix), ((words, "muted"),)))
        return rows

    def _flat_rows(self, scene: Scene) -> list[Row]:
        tree = scene.browse.tree
        keys = tree.matches(self.table.needle) if self.table.needle else tree.keys(b"")
        rows = [self._key_row(scene, key, _named(text.printable(key, 300))) for key in sorted(keys)[:LIST_SHOWN]]
        if len(keys) > LIST_SHOWN:
            rows.append(Row(("more", b""), ((f"… {len(keys) - LIST_SHOWN:,} more: filter with /", "muted"),)))
        return rows

    def _prefix_row(self, scene: Scene, prefix: bytes, label: str, count: int) -> Row:
        total = max(1, scene.browse.tree.total)
        figure = (text.count(count), "")
        cells: tuple[Span, ...] = ((label, "accent"), figure, ("", ""), ("", ""), ("", ""))
        if self.compact:
            cells = ((label, "accent"), figure, (text.percent(100 * count / total, 0), "muted"))
        return Row(("prefix", prefix), cells, (text.printable(prefix), count), text.printable(prefix))

    def _key_row(self, scene: Scene, key: bytes, label: str) -> Row:
        _, facts = scene.browse.facts.get(key, (0.0, KeyFacts(key)))
        name = text.printable(key)
        if self.compact:
            return Row(("key", key), ((label, ""), ("1", "muted"), ("", "")), (name, 1), name)
        cells = (
            (label, ""),
            ("", ""),
            (facts.type or facts.note, "muted"),
            (_ttl_words(facts), ""),
            (text.size(facts.size_bytes), ""),
        )
        ttl = float("inf") if facts.has_ttl is False else facts.ttl_s
        return Row(("key", key), cells, (name, 1, facts.type, ttl, facts.size_bytes), name)

    # What is selected

    def selected(self) -> tuple[str, bytes] | None:
        """Return ("key", name) or ("prefix", name) under the cursor."""
        row = self.table.current
        if row is None or _identity(row.row_id)[0] not in ("key", "prefix"):
            return None
        return _identity(row.row_id)

    def marked(self) -> list[bytes]:
        """Return the marked keys; a marked prefix counts with its keys."""
        keys: list[bytes] = []
        for kind, name in map(_identity, self.table.marked):
            if kind == "key":
                keys.append(name)
            elif kind == "prefix" and self.scene is not None:
                keys += self.scene.browse.tree.keys(name)
        return sorted(set(keys))

    # Drawing

    def draw(self, scene: Scene, width: int, height: int) -> list[Line]:
        if self.compact:
            return super().draw(scene, width, height)
        opened = scene.browse.opened is not None
        if width < SPLIT_COLUMNS:
            lines = self._value_lines(scene, width, height) if opened else super().draw(scene, width, height)
        else:
            left = width * 55 // 100 if width < 160 else width - 80
            right = self._value_lines(scene, width - left - 3, height)
            listed = super().draw(scene, left, height)
            lines = [_beside(listed, right, at, left) for at in range(height)]
        self._want_facts(height)
        return lines

    def _want_facts(self, height: int) -> None:
        visible = self.table.rows[self.table.offset : self.table.offset + height]
        keys = tuple(name for kind, name in (_identity(row.row_id) for row in visible) if kind == "key")
        if keys and keys != self._asked:
            self._asked = keys
            self.post_message(self.FactsWanted(list(keys)))

    def forget_asked(self) -> None:
        """Ask for the visible keys' facts again at the next drawing."""
        self._asked = ()

    def _value_lines(self, scene: Scene, width: int, height: int) -> list[Line]:
        browse = scene.browse
        if browse.opened is None:
            return [line(("Enter opens the selected key", "muted"))]
        head = [line((text.fit(_named(text.printable(browse.opened, 300)), width), "title"))]
        if browse.value_trouble is not None:
            return [*head, line((text.fit(browse.value_trouble.line(), width), "bad"))]
        if browse.value is None:
            return [*head, line(("reading", "muted"))]
        value = browse.value
        facts = value.facts
        known = [facts.type, f"TTL {_ttl_words(facts)}", text.size(facts.size_bytes), facts.encoding]
        if facts.length is not None:
            known.append(f"{facts.length:,} {'bytes' if facts.type in ('string', 'item') else 'elements'}")
        head.append(line((text.fit("  ".join(word for word in known if word), width), "muted")))
        if value.note:
            head.append(line((text.fit(value.note, width), "warn")))
        body = preview(value, width=width, rows=max(1, height - len(head)))
        return [*head, *(line(part) for part in body)]

    # Presses

    def command(self, command_id: str) -> bool:
        handled = True
        if command_id == "open":
            self._open()
        elif command_id == "right":
            self._expand()
        elif command_id == "left":
            self._collapse()
        elif command_id == "mark":
            if self.selected() is not None:
                self.table.toggle_mark()
        elif command_id == "flat":
            self.flat = not self.flat
        elif command_id == "back" and self.scene is not None and self.scene.browse.opened is not None:
            self.post_message(self.ValueClosed())
        else:
            handled = super().command(command_id)
        if handled and self.scene is not None:
            self.show(self.scene)
        return handled

    def find(self, needle: str) -> None:
        self.table.needle = needle
        if self.scene is not None:
            self.show(self.scene)

    def _open(self) -> None:
        selected = self.selected()
        if selected is None:
            return
        kind, name = selected
        if self.compact:
            self.post_message(self.Opened(self, selected))
        elif kind == "prefix":
            self.expanded ^= {name}
        else:
            self.post_message(self.ValueWanted(name))

    def _expand(self) -> None:
        selected = self.selected()
        if selected is not None and selected[0] == "prefix" and not self.compact:
            self.expanded.add(selected[1])
        elif selected is not None:
            self._open()

    def _collapse(self) -> None:
        selected = self.selected()
        if selected is None:
            return
        kind, name = selected
        if kind == "prefix" and name in self.expanded:
            self.expanded.discard(name)
            return
        parents = [prefix for prefix in self.expanded if name.startswith(prefix) and prefix != name]
        if parents:
            parent = max(parents, key=len)
            self.expanded.discard(parent)
            if self.scene is not None:
                self.show(self.scene)
            self.table.select(("prefix", parent))


def _identity(row_id: object) -> tuple[str, bytes]:
    """Return a row's kind (key, prefix, more) and name."""
    kind, name = cast("tuple[str, bytes]", row_id)
    return kind, name


def _named(label: str) -> str:
    return label if label else '""'


def _ttl_words(facts: KeyFacts) -> str:
    if facts.has_ttl is False:
        return "none"
    return text.duration(None if facts.ttl_s is None else max(0, round(facts.ttl_s)))


def _beside(left: list[Line], right: list[Line], at: int, width: int) -> Line:
    one = left[at] if at < len(left) else line()
    used = sum(text.cells(part) for part, _ in one.spans)
    other = right[at].spans if at < len(right) else ()
    return Line((*one.spans, (" " * max(0, width - used), ""), (" │ ", "muted"), *other), one.row, width)
