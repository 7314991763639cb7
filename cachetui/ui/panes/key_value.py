"""The opened value beside the list of keys: its facts, and lines to move through."""

from __future__ import annotations

from dataclasses import replace

from cachetui import text
from cachetui.keyspace.decode import lines_of
from cachetui.model import KeyFacts, Value, ValueItem
from cachetui.model.conventions import recognise
from cachetui.ui.browse import Browse
from cachetui.ui.line import Line, line
from cachetui.ui.scene import Scene

NAME_COLUMNS = 300


class ValueView:
    """Where somebody is in the opened value. Knows no widget."""

    def __init__(self) -> None:
        self.cursor = 0
        self.offset = 0
        self.element: int | None = None
        """The element that is shown alone."""
        self.folded = False
        self.focused = False
        """Presses move in the value, not in the list."""
        self._lines: list[str] = []
        self._made: tuple[object, ...] = ()
        self._made_of: Value | None = None
        self._of: tuple[object, ...] = ()
        self._height = 1

    def reset(self) -> None:
        """Go to the first line."""
        self.cursor = self.offset = 0
        self.element = None

    # What is selected

    def item(self, value: Value | None) -> ValueItem | None:
        """Return the selected element of a collection; None for a value that is one thing, or between elements."""
        if value is None or not is_collection(value):
            return None
        at = self.element if self.element is not None else self.cursor - 1
        return value.items[at] if 0 <= at < len(value.items) else None

    def shown(self, value: Value) -> Value:
        """Return the value, or its opened element as a value of its own."""
        if self.element is None or self.element >= len(value.items):
            return value
        item = value.items[self.element]
        alone = ValueItem(b"", item.data, total_bytes=item.total_bytes)
        return replace(value, items=(alone,), columns=("value",), total=item.total_bytes, sections=(), points=())

    def open_element(self, value: Value) -> bool:
        """Show the selected element alone."""
        if self.element is not None or self.item(value) is None:
            return False
        self.element, self.offset = self.cursor - 1, 0
        return True

    def leave_element(self) -> bool:
        """Go back from an element to the whole value."""
        if self.element is None:
            return False
        self.cursor, self.element = self.element + 1, None
        return True

    # Moving

    def move(self, by: int) -> None:
        self.move_to(max(0, self.cursor + by))

    def move_to(self, at: int) -> None:
        """Go to a line; a negative one counts from the end."""
        last = len(self._lines) - 1
        self.cursor = max(0, min(at if at >= 0 else last + 1 + at, last))

    # Drawing

    def draw(self, scene: Scene, width: int, height: int) -> list[Line]:
        """Return the lines of the opened value: its name, its facts, and as much of it as fits."""
        browse = scene.browse
        if browse.opened is None:
            return [line(("Enter opens the selected key", "muted"))]
        if self._of != (browse.opened, browse.order, tuple(browse.before)):
            self._of = (browse.opened, browse.order, tuple(browse.before))
            self.reset()
        name = text.fit(text.printable(browse.opened, NAME_COLUMNS) or '""', width)
        head = [line((name, "title"))]
        if browse.value_trouble is not None:
            return [*head, line((text.fit(browse.value_trouble.line(), width), "bad"))]
        value = browse.value
        if value is None:
            return [*head, line(("reading", "muted"))]
        head.append(line((text.fit(_facts_words(value.facts), width), "muted")))
        said = _convention_words(browse.opened, scene.settings.tag_template, value)
        if said:
            head.append(line((text.fit(said, width), "accent")))
        if value.note and value.items:
            head.append(line((text.fit(value.note, width), "warn")))
        window = self._window_words(browse, value)
        if window:
            head.append(line((text.fit(window, width), "muted")))
        self._height = max(1, height - len(head))
        return [*head, *self._body(scene, value, width)]

    def _window_words(self, browse: Browse, value: Value) -> str:
        parts = []
        if browse.order:
            parts.append(f"order: {browse.order}")
        if self.element is not None:
            label = text.printable(value.items[self.element].label, 60) if self.element < len(value.items) else ""
            parts.append(f"element {label or self.element}: Esc goes back")
        if browse.before or value.next is not None:
            more = "] next window" if value.next is not None else "the last"
            parts.append(f"window {len(browse.before) + 1}: {more}" + (", [ back" if browse.before else ""))
        return " · ".join(parts)

    def _body(self, scene: Scene, value: Value, width: int) -> list[Line]:
        shown = self.shown(value)
        decoder = scene.browse.decoders.of(scene.browse.opened or b"")
        made = (self.element, width, decoder, self.folded, scene.settings.ascii)
        if made != self._made or value is not self._made_of:
            self._made, self._made_of = made, value
            self._lines = lines_of(
                shown, width=width, decoder=decoder, folded=self.folded, ascii_only=scene.settings.ascii
            )
        self.cursor = max(0, min(self.cursor, len(self._lines) - 1))
        room = self._height
        if self.focused:
            if self.cursor < self.offset:
                self.offset = self.cursor
            elif self.cursor >= self.offset + room:
                self.offset = self.cursor - room + 1
        self.offset = max(0, min(self.offset, len(self._lines) - room))
        rows = []
        for at in range(self.offset, min(self.offset + room, len(self._lines))):
            chosen = self.focused and at == self.cursor
            rows.append(line(self._lines[at], row="cursor" if chosen else ""))
        if rows and self.offset + room < len(self._lines) and not self.focused:
            rows[-1] = line(
                (text.fit(f"… {len(self._lines) - self.offset - room + 1:,} more lines: Tab", width), "muted")
            )
        return rows


def is_collection(value: Value) -> bool:
    """Tell whether the value has elements to choose from."""
    return bool(value.items) and not (
        len(value.items) == 1 and not value.items[0].label and value.columns == ("value",)
    )


def ttl_words(facts: KeyFacts) -> str:
    """Return the time a key has left: `none` without a TTL, `-` where it is unknown."""
    if facts.has_ttl is False:
        return "none"
    return text.duration(None if facts.ttl_s is None else max(0, round(facts.ttl_s)))


def _facts_words(facts: KeyFacts) -> str:
    known = [facts.type, f"TTL {ttl_words(facts)}", text.size(facts.size_bytes)]
    if facts.length is not None:
        known.append(f"{facts.length:,} {'bytes' if facts.type in ('string', 'item') else 'elements'}")
    if facts.idle_s is not None:
        known.append(f"idle {text.duration(facts.idle_s)}")
    if facts.frequency is not None:
        known.append(f"frequency {facts.frequency}")
    known.append(facts.encoding)
    return "  ".join(word for word in known if word)


def _convention_words(key: bytes, tag_template: str, value: Value) -> str:
    """Return what the name says by the conventions of `cachetui.patterns`; empty where it says nothing."""
    said = recognise(key, tag_template)
    if said is None or not value.facts.exists:
        return ""
    of, facts = text.printable(said.of, 60), value.facts
    if said.kind == "lock":
        who = {b"r": "a reader that loads it", b"w": "a writer"}.get(_first_bytes(value)[:1], "somebody")
        ends = "it never ends by itself!" if facts.has_ttl is False else f"for {text.duration(facts.ttl_s)} more"
        return f"lock of {of}, held by {who}, {ends}"
    if said.kind == "version":
        return f"version of {of}: its keys are {of}:{text.printable(_first_bytes(value), 20)}:*; i raises it"
    return {
        "tag": f"tag {of}: i deletes its {text.count(facts.length)} members, and the set",
        "tag-expiry": f"until when each key belongs to the tag {of}",
        "stream": f"write-behind queue {of}: {text.count(facts.length)} updates in the stream",
        "values": f"the latest values of the write-behind queue {of}",
        "dead-letters": f"dead letters of {of}: {text.count(facts.length)} updates that the database refused",
    }[said.kind]


def _first_bytes(value: Value) -> bytes:
    return value.items[0].data if value.items else b""
