"""The user's presses over the command table's, checked before Textual sees them.

Textual itself takes any override in silence: unknown ids and presses do nothing, and a press
that was taken already is taken away from its command.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from textual.keys import KEY_ALIASES, REPLACED_KEYS, Keys, _character_to_key, key_to_character

from cachetui.text import printable

ALWAYS_HARMLESS = frozenset(
    [
        *("enter", "escape", "tab", "shift+tab", "space", "backspace", "question_mark", "ctrl+c"),
        *("up", "down", "left", "right", "home", "end", "pageup", "pagedown"),
        *"hjklgGqy0123456789",
    ]
)
"""Presses that hands make without thinking: nothing that changes a server may be put on them."""

_MODIFIERS = ("alt", "ctrl", "hyper", "meta", "shift", "super")
_SPOKEN = {
    "esc": "escape",
    "return": "enter",
    "del": "delete",
    "ins": "insert",
    "pgup": "pageup",
    "pgdn": "pagedown",
    "pgdown": "pagedown",
    "spacebar": "space",
}
_NAMED = frozenset(key.value for key in Keys if key.value.isalnum())
_MEANT = {alias: name for name, aliases in KEY_ALIASES.items() for alias in aliases}


class Row(Protocol):
    """What a row of the command table must have."""

    @property
    def id(self) -> str: ...

    @property
    def press(self) -> str: ...

    @property
    def risk(self) -> str: ...


def resolve_keymap(commands: Sequence[Row], overrides: Mapping[str, str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the overrides that hold, ready for `App.set_keymap`, and a line for each that was refused.

    `overrides` maps a command's id to its presses ("ctrl+d", "d,D"), which replace its own. Refused are
    unknown ids and presses, a press that another command has, and anything that changes a server on a press
    that is a harmless command's own. A press belongs to one command in all views, as hands do not look at
    the view first. A refused override leaves the command's own presses as they were.
    """
    rows = {row.id: row for row in commands}
    harmless = {press: row.id for row in commands if row.risk == "none" for press in _split(row.press)}
    accepted: dict[str, tuple[str, ...]] = {}
    problems: list[str] = []
    for command_id, wanted in overrides.items():
        try:
            row = _known(rows, command_id)
            presses = tuple(dict.fromkeys(normal_press(press) for press in _parts(wanted)))
            _refuse_risky(row, presses, harmless)
        except ValueError as error:
            problems.append(f"keymap: {printable(command_id, 40)} = '{printable(wanted, 40)}': {error}")
        else:
            accepted[command_id] = presses
    problems += _drop_clashes(commands, accepted)
    return {command_id: ",".join(presses) for command_id, presses in accepted.items()}, tuple(problems)


def normal_press(press: str) -> str:
    """Return Textual's name of a press as a person may write it. Raises ValueError with a sentence.

    Presses that a terminal cannot tell apart get one name (Ctrl+M is Enter, Ctrl+I is Tab).

    >>> normal_press("?"), normal_press("Ctrl+D"), normal_press("D"), normal_press("shift+d"), normal_press("PgDn")
    ('question_mark', 'ctrl+d', 'D', 'D', 'pagedown')
    >>> normal_press("ctrl+m"), normal_press("shift+ctrl+F5")
    ('enter', 'ctrl+shift+f5')
    """
    given = press.strip()
    *modifiers, base = given.split("+") if len(given) > 1 else [given]
    held = sorted({modifier.strip().lower() for modifier in modifiers})
    named = _base(base.strip())
    if named is None or not set(held) <= set(_MODIFIERS):
        raise ValueError(f"'{printable(given, 40)}' is not a press; write d, D, ctrl+d, f5, enter, slash or /")
    if len(named) == 1 and named.isalpha():
        if held == ["shift"]:
            return named.upper()
        named = named.lower() if held else named
    name = "+".join([*held, named])
    return _MEANT.get(name, name)


def _base(name: str) -> str | None:
    if len(name) == 1:
        return _character_to_key(name) if name.isprintable() and name != " " else None
    spoken = _SPOKEN.get(name.lower(), name.lower())
    if spoken in _NAMED or spoken == "comma":
        return spoken
    character = key_to_character(REPLACED_KEYS.get(spoken, spoken))
    # Only what a press can produce: the name of a control character is none.
    return _character_to_key(character) if character is not None and character.isprintable() else None


def _parts(presses: str) -> list[str]:
    parts = [part.strip() for part in presses.split(",")]
    if not all(parts):
        raise ValueError("a press is missing; write one, or several with commas (the comma itself is called comma)")
    return parts


def _split(presses: str) -> list[str]:
    return [normal_press(press) for press in presses.split(",")]


def _known(rows: Mapping[str, Row], command_id: str) -> Row:
    if command_id not in rows:
        raise ValueError(f"there is no such command; there are {', '.join(rows)}")
    return rows[command_id]


def _refuse_risky(row: Row, presses: Sequence[str], harmless: Mapping[str, str]) -> None:
    if row.risk == "none":
        return
    for press in presses:
        if press in harmless:
            raise ValueError(f"{press} is the press of {harmless[press]}, which changes nothing; {row.id} does")
        if press in ALWAYS_HARMLESS:
            raise ValueError(f"{press} is pressed without thinking; {row.id} changes the server")


def _drop_clashes(commands: Sequence[Row], accepted: dict[str, tuple[str, ...]]) -> list[str]:
    """Take out of `accepted` what shares a press with another command, until nothing does."""
    problems: list[str] = []
    while clash := _clash(commands, accepted):
        loser, press, holder = clash
        wanted = ",".join(accepted.pop(loser))
        problems.append(f"keymap: {loser} = '{wanted}': {press} is the press of {holder} already")
    return problems


def _clash(commands: Sequence[Row], accepted: Mapping[str, tuple[str, ...]]) -> tuple[str, str, str] | None:
    """Return an override that must go, the press, and the command that keeps it; own presses come first."""
    held = {press: row.id for row in commands if row.id not in accepted for press in _split(row.press)}
    for command_id, presses in accepted.items():
        for press in presses:
            if press in held:
                return command_id, press, held[press]
            held[press] = command_id
    return None
