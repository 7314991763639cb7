"""Themes from TOML files: the bundled ones and the user's, each checked whole while it is loaded.

A bad colour would otherwise crash the app when the theme is applied. The format:

    name = "dusk"
    dark = true
    [colors]       # of Textual's design: primary, foreground, background, success, warning, error; more optional
    [variables]    # the states ok, warn, bad, unknown, muted, mark, select; and Textual's own variables
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

from textual.color import Color, ColorParseError
from textual.css.constants import VALID_STYLE_FLAGS
from textual.theme import BUILTIN_THEMES, Theme

from cachetui.errors import BadConfig
from cachetui.text import printable

REQUIRED_COLORS = ("primary", "foreground", "background", "success", "warning", "error")
OPTIONAL_COLORS = ("secondary", "accent", "surface", "panel")
STATES = ("ok", "warn", "bad", "unknown", "muted", "mark", "select")
"""Variables that a theme may set and that every theme has once loaded; `select` is the cursor row's ground."""
DEFAULT = "dark"
MAX_BYTES = 64 * 1024

_COLORS = (*REQUIRED_COLORS, *OPTIONAL_COLORS)
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_COLOR_HELP = "write #rrggbb, rgb(r,g,b), a colour's name such as teal, or ansi_red for the terminal's own"


@dataclass(frozen=True, slots=True)
class Themes:
    """What was found: the usable themes by name, and a line for each file that was not usable."""

    themes: Mapping[str, Theme]
    problems: tuple[str, ...] = ()


def bundled_dir() -> Path:
    """Return the folder of the bundled themes: in the installed package, else beside it in a checkout."""
    package = Path(str(resources.files("cachetui")))
    inside = package / "themes"
    return inside if inside.is_dir() else package.parent / "themes"


def load_themes(user_dir: Path | None) -> Themes:
    """Load the bundled themes, then those of `user_dir`; the user's replaces a bundled one of the same name.

    A file that is wrong becomes a line in `problems`; the others are loaded all the same.
    """
    themes, problems = _load_folder(bundled_dir())
    if user_dir is not None and user_dir.is_dir():
        own, own_problems = _load_folder(user_dir)
        themes, problems = {**themes, **own}, problems + own_problems
    return Themes(themes, tuple(problems))


def find_theme(loaded: Themes, wanted: str) -> Theme:
    """Return the theme named `wanted`, or the one in the file `wanted` (a path that ends in .toml).

    Raises BadConfig, which names the themes there are.
    """
    if wanted.endswith(".toml"):
        return load_theme(wanted)
    if wanted not in loaded.themes:
        names = ", ".join(sorted(loaded.themes))
        raise BadConfig(f"no theme is named '{printable(wanted, 40)}'", f"There are {names}; or give a .toml file")
    return loaded.themes[wanted]


def pick_theme(wanted: str, user_dir: Path) -> tuple[Theme, tuple[str, ...]]:
    """Return the theme named `wanted` (or the one in that file), and a line for each thing that is wrong.

    The default theme stands in for one that cannot be had. Without themes of the user's own
    only the wanted file is read: this stands before the first paint.
    """
    bundled = bundled_dir() / f"{wanted}.toml"
    if _NAME.fullmatch(wanted) and bundled.is_file() and not any(user_dir.glob("*.toml")):
        return load_theme(bundled), ()
    loaded = load_themes(user_dir)
    try:
        return find_theme(loaded, wanted), loaded.problems
    except BadConfig as error:
        return loaded.themes[DEFAULT], (*loaded.problems, error.line())


def load_theme(path: Path | str) -> Theme:
    """Read and check one theme file. Raises BadConfig with file, line where it is known, field and what is allowed."""
    path = Path(path).expanduser()
    return _Reader(path, _read(path)).theme()


def _load_folder(folder: Path) -> tuple[dict[str, Theme], list[str]]:
    themes: dict[str, Theme] = {}
    problems: list[str] = []
    for path in sorted(folder.glob("*.toml")):
        try:
            theme = load_theme(path)
            if theme.name in themes:
                raise BadConfig(f"{_shown(path)}: name: another file here is named {theme.name!r} too")
        except BadConfig as error:
            problems.append(error.line())
        else:
            themes[theme.name] = theme
    return themes, problems


def _shown(path: Path) -> str:
    return printable(str(path), 300)


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        text = data.decode("utf-8")
    except OSError as error:
        raise BadConfig(f"{_shown(path)}: cannot be read: {error.strerror or 'unknown error'}") from error
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise BadConfig(f"{_shown(path)}:{line}: is not UTF-8 text") from error
    if len(data) > MAX_BYTES:
        raise BadConfig(f"{_shown(path)}: is larger than {MAX_BYTES // 1024} KB: not a theme")
    return text


@cache
def _textual_variables() -> frozenset[str]:
    """The variables that Textual's own widgets read."""
    plain = Theme("names", primary="#000000").to_color_system().generate()
    ansi = BUILTIN_THEMES["ansi-dark"]
    return frozenset((*plain, *ansi.to_color_system().generate(), *ansi.variables))


class _Reader:
    """Checks one file's text; each complaint names the file and the line of the field."""

    def __init__(self, path: Path, text: str) -> None:
        self._path = path
        self._text = text

    def theme(self) -> Theme:
        document = self._document()
        self._refuse_unknown("", document, ("name", "dark", "colors", "variables"))
        name, dark = document.get("name"), document.get("dark")
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise self._wrong("", "name", "must be up to 32 of a-z, 0-9, - and _, beginning with a letter or digit")
        if not isinstance(dark, bool):
            raise self._wrong("", "dark", "must be true or false")
        colors = self._colors(self._table(document, "colors"))
        variables = self._variables(self._table(document, "variables"), colors)
        ansi = Color.parse(colors["background"]).ansi is not None
        if ansi:
            # Textual's widgets read more variables on such a theme than it generates.
            variables = {**BUILTIN_THEMES["ansi-dark" if dark else "ansi-light"].variables, **variables}
        theme = Theme(name, dark=dark, variables=variables, ansi=ansi, **colors)  # type: ignore[arg-type]
        # What applying the theme would compute: nothing may be left to fail then.
        theme.to_color_system().generate()
        return theme

    def _document(self) -> dict[str, object]:
        try:
            return tomllib.loads(self._text)
        except tomllib.TOMLDecodeError as error:
            said = str(error)
            where = re.search(r" \(at line (\d+), column \d+\)$", said)
            line = f":{where[1]}" if where else ""
            reason = printable(said[: where.start()] if where else said, 200)
            raise BadConfig(f"{_shown(self._path)}{line}: is not TOML: {reason}") from error
        except RecursionError as error:
            raise BadConfig(f"{_shown(self._path)}: is not a theme: too deeply nested") from error

    def _table(self, document: dict[str, object], section: str) -> dict[str, object]:
        table = document.get(section, {})
        if not isinstance(table, dict):
            raise self._wrong("", section, f"must be a table: write [{section}]")
        return table

    def _colors(self, table: dict[str, object]) -> dict[str, str]:
        self._refuse_unknown("colors", table, _COLORS)
        for name in REQUIRED_COLORS:
            if name not in table:
                raise self._wrong("colors", name, f"is missing; [colors] needs {', '.join(REQUIRED_COLORS)}")
        return {name: self._opaque("colors", name, value) for name, value in table.items()}

    def _variables(self, table: dict[str, object], colors: dict[str, str]) -> dict[str, str]:
        known = _textual_variables()
        variables: dict[str, str] = {}
        for name, value in table.items():
            if name in STATES:
                variables[name] = self._opaque("variables", name, value)
            elif name not in known:
                allowed = f"not a variable; the states are {', '.join(STATES)}, the others Textual's own"
                raise self._wrong("variables", name, allowed)
            elif name.endswith("-style"):
                variables[name] = self._text_style(name, value)
            else:
                variables[name] = self._translucent(name, value)
        return {**_default_states(colors), **variables}

    def _opaque(self, section: str, name: str, value: object) -> str:
        color = self._color(section, name, value)
        if color.a < 1:
            raise self._wrong(section, name, "must be a colour one cannot see through")
        return str(value)

    def _translucent(self, name: str, value: object) -> str:
        """Check a value of Textual's own: a colour, with a share in percent after it if one likes."""
        if isinstance(value, str):
            self._color("variables", name, re.sub(r"\s+\d{1,3}%$", "", value))
            return value
        raise self._wrong("variables", name, f"must be a colour in quotes: {_COLOR_HELP}")

    def _text_style(self, name: str, value: object) -> str:
        words = value.split() if isinstance(value, str) else []
        if not words or not set(words) <= VALID_STYLE_FLAGS:
            raise self._wrong("variables", name, f"must be of {', '.join(sorted(VALID_STYLE_FLAGS))}")
        return " ".join(words)

    def _color(self, section: str, name: str, value: object) -> Color:
        if not isinstance(value, str):
            raise self._wrong(section, name, f"must be a colour in quotes: {_COLOR_HELP}")
        try:
            return Color.parse(value)
        except ColorParseError as error:
            said = f"'{printable(value, 40)}' is not a colour; {_COLOR_HELP}"
            raise self._wrong(section, name, said) from error

    def _refuse_unknown(self, section: str, table: dict[str, object], allowed: tuple[str, ...]) -> None:
        for name in table:
            if name not in allowed:
                raise self._wrong(section, name, f"not a field of a theme; allowed are {', '.join(allowed)}")

    def _wrong(self, section: str, field: str, said: str) -> BadConfig:
        line = self._line_of(section, field)
        where = f"{_shown(self._path)}:{line}" if line else _shown(self._path)
        name = printable(f"{section}.{field}" if section else field, 80)
        return BadConfig(f"{where}: {name}: {said}")

    def _line_of(self, section: str, field: str) -> int | None:
        """Return the line that sets `field`; else that of its section's heading; else None."""
        current, heading = "", None
        for number, line in enumerate(self._text.splitlines(), 1):
            stripped = line.strip()
            if opened := re.match(r"\[+\s*([^\]]+?)\s*\]", stripped):
                current = opened[1]
                if current in (section, field):
                    heading = number
            elif current == section and re.match(rf"[\"']?{re.escape(field)}[\"']?\s*[=.]", stripped):
                return number
        return heading


def _default_states(colors: dict[str, str]) -> dict[str, str]:
    """Derive the states that a theme does not set from its colours."""
    foreground, background = Color.parse(colors["foreground"]), Color.parse(colors["background"])
    plain = foreground.ansi is None and background.ansi is None
    return {
        "ok": colors["success"],
        "warn": colors["warning"],
        "bad": colors["error"],
        "unknown": colors.get("secondary", colors["primary"]),
        "muted": foreground.blend(background, 0.3).hex if plain else colors["foreground"],
        "mark": colors.get("accent", colors["primary"]),
        "select": background.blend(foreground, 0.15).hex if plain else "ansi_bright_black",
    }
