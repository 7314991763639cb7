"""The configuration file: what may stand in it, and errors that name the line."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cachetui.config.places import config_file
from cachetui.config.target import INTERVAL_RANGE_S
from cachetui.config.url import parse_target
from cachetui.errors import BadConfig, BadTarget
from cachetui.text import printable

LABEL_CELLS = 24

COLORS = frozenset(
    {
        "red",
        "green",
        "yellow",
        "blue",
        "magenta",
        "cyan",
        "white",
        "black",
        "gray",
        "grey",
        "orange",
        "purple",
        "pink",
        "teal",
        "maroon",
        "navy",
    }
)
_HEX = re.compile(r"^#(?:[0-9a-fA-F]{3}|[0-9a-fA-F]{6})$")
_AT_LINE = re.compile(r"\s*\(at (?:line (\d+), column \d+|end of document)\)$")
_KEY = re.compile(r"""^\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*'))*)\s*=""")


@dataclass(frozen=True, slots=True)
class TlsOptions:
    """TLS of a profile; paths are absolute."""

    ca: str | None = None
    ca_dir: str | None = None
    cert: str | None = None
    key: str | None = None
    key_password_command: str | None = None
    server_name: str | None = None
    insecure: bool = False


@dataclass(frozen=True, slots=True)
class Look:
    """What may stand at the top of the file and in a profile. None: not said."""

    theme: str | None = None
    interval: float | None = None
    separator: str | None = None
    tag_template: str | None = None
    production: bool | None = None
    read_only: bool | None = None
    slow_link: bool | None = None
    ascii: bool | None = None
    keymap: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Profile:
    """One `[profiles.NAME]`."""

    name: str
    url: str = field(repr=False)
    """As written: it may hold a password."""
    user: str | None = None
    password_command: str | None = None
    sentinel_user: str | None = None
    sentinel_password_command: str | None = None
    tls: TlsOptions | None = None
    label: str = ""
    color: str = ""
    look: Look = field(default_factory=Look)


@dataclass(frozen=True, slots=True)
class Config:
    """The whole file; empty when there is none."""

    path: Path
    look: Look = field(default_factory=Look)
    profiles: Mapping[str, Profile] = field(default_factory=dict)


def load_file(path: Path | None = None) -> Config:
    """Return the configuration in `path`, or in the user's own file, which need not exist.

    Raises BadConfig with the file and the line.
    """
    given, path = path is not None, path or config_file()
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        if given:
            raise BadConfig(f"{printable(str(path))}: no such file", "check --config") from None
        return Config(path)
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise BadConfig(f"{printable(str(path))}:{line}: not UTF-8 text", "") from None
    except OSError as error:
        raise BadConfig(f"{printable(str(path))}: {error.strerror}", "check the file and its permissions") from None
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _bad_toml(path, text, error) from None
    return _Reader(path, text).config(document)


def _bad_toml(path: Path, text: str, error: tomllib.TOMLDecodeError) -> BadConfig:
    message = str(error)
    match = _AT_LINE.search(message)
    line = int(match[1]) if match and match[1] else max(1, len(text.rstrip().splitlines()))
    what = _AT_LINE.sub("", message)
    # tomllib repeats the odd character: it may be anything.
    return BadConfig(f"{printable(str(path))}:{line}: not TOML: {printable(what, 120)}", "")


def line_of(text: str, wanted: tuple[str, ...]) -> int:
    """Return the line (from 1) where the key `wanted` is set in a TOML text, or its nearest table, or 1.

    >>> line_of("a = 1\\n[profiles.x]\\nurl = 'h'\\n", ("profiles", "x", "url"))
    3
    """
    table: tuple[str, ...] = ()
    best, best_depth = 1, 0
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("["):
            table = found = _path(line.lstrip()) or ()
        elif match := _KEY.match(line):
            found = table + _path(f"{match[1]} = 0")
        else:
            continue
        if found == wanted:
            return number
        if len(found) > best_depth and wanted[: len(found)] == found:
            best, best_depth = number, len(found)
    return best


def _path(line: str) -> tuple[str, ...]:
    """Return the names in a table's head or before an equals sign."""
    try:
        node: Any = tomllib.loads(line)
    except tomllib.TOMLDecodeError:
        return ()
    names: list[str] = []
    while isinstance(node, (dict, list)) and node:
        if isinstance(node, list):
            node = node[0]
            continue
        name, node = next(iter(node.items()))
        names.append(name)
    return tuple(names)


Check = Callable[["_Reader", tuple[str, ...], object], object]


class _Reader:
    """Turns a TOML document into a `Config` and knows where each key stands."""

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self.text = text

    def error(self, at: tuple[str, ...], what: str, hint: str = "") -> BadConfig:
        where = f"{printable(str(self.path))}:{line_of(self.text, at)}"
        return BadConfig(f"{where}: {what}", hint)

    def config(self, document: Mapping[str, object]) -> Config:
        profiles = document.get("profiles", {})
        if not isinstance(profiles, dict):
            raise self.error(("profiles",), "profiles is a table", "write [profiles.NAME]")
        rest = {name: value for name, value in document.items() if name != "profiles"}
        look = self.fields((), rest, _LOOK, "setting", ("profiles",))
        return Config(self.path, Look(**look), {name: self.profile(name, value) for name, value in profiles.items()})

    def profile(self, name: str, table: object) -> Profile:
        at = ("profiles", name)
        shown = printable(name, 40)
        if not isinstance(table, dict):
            raise self.error(at, f"profile {shown} is a table", f"write [profiles.{shown}]")
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name):
            raise self.error(at, f"profile {shown}: a name is letters, digits, - _ and .")
        if "url" not in table:
            raise self.error(at, f"profile {shown} has no url", 'write url = "redis://host:port/0"')
        values = self.fields(at, table, {**_LOOK, **_PROFILE}, "field", ())
        look = Look(**{field_: values.pop(field_) for field_ in list(values) if field_ in _LOOK})
        return Profile(name=name, look=look, **values)

    def fields(
        self,
        at: tuple[str, ...],
        table: Mapping[str, object],
        checks: Mapping[str, Check],
        noun: str,
        also: tuple[str, ...],
    ) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, value in table.items():
            if name not in checks:
                raise self.error((*at, name), f"unknown {noun} {printable(name, 40)}", _suggest(name, (*checks, *also)))
            found[name] = checks[name](self, (*at, name), value)
        return found


def _suggest(name: str, known: tuple[str, ...]) -> str:
    from difflib import get_close_matches

    close = get_close_matches(name, known, 1)
    return f"did you mean {close[0]}?" if close else f"known are {', '.join(sorted(known))}"


def _text(reader: _Reader, at: tuple[str, ...], value: object) -> str:
    if not isinstance(value, str):
        raise reader.error(at, f"{at[-1]} is text", 'write it in quotes: "..."')
    if not value:
        raise reader.error(at, f"{at[-1]} is empty")
    return value


def _flag(reader: _Reader, at: tuple[str, ...], value: object) -> bool:
    if not isinstance(value, bool):
        raise reader.error(at, f"{at[-1]} is true or false")
    return value


def _interval(reader: _Reader, at: tuple[str, ...], value: object) -> float:
    low, high = INTERVAL_RANGE_S
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise reader.error(at, f"{at[-1]} is seconds from {low:g} to {high:g}")
    return float(value)


def _tag_template(reader: _Reader, at: tuple[str, ...], value: object) -> str:
    text = _text(reader, at, value)
    if text.count("{tag}") != 1 or not text.isprintable():
        raise reader.error(at, "tag_template is a name with {tag} in it, once", 'write tag_template = "tag:{tag}"')
    return text


def _keymap(reader: _Reader, at: tuple[str, ...], value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        raise reader.error(at, "keymap is a table of command = press", 'write quit = "ctrl+q" under [keymap]')
    return {name: _text(reader, (*at, name), press) for name, press in value.items()}


def _color(reader: _Reader, at: tuple[str, ...], value: object) -> str:
    text = _text(reader, at, value)
    if text.lower() not in COLORS and not _HEX.match(text):
        raise reader.error(at, f"no such color: {printable(text, 40)}", f"use #rrggbb or {', '.join(sorted(COLORS))}")
    return text.lower()


def _label(reader: _Reader, at: tuple[str, ...], value: object) -> str:
    text = _text(reader, at, value)
    if not text.isprintable() or len(text) > LABEL_CELLS:
        raise reader.error(at, f"label is one short word, {LABEL_CELLS} letters at most")
    return text


def _file(reader: _Reader, at: tuple[str, ...], value: object) -> str:
    """Return a path; a relative one starts where the configuration file is."""
    try:
        return str(reader.path.parent.absolute() / Path(_text(reader, at, value)).expanduser())
    except RuntimeError:  # ~somebody, and there is no such user
        raise reader.error(at, f"{at[-1]}: no such home folder") from None


def _theme(reader: _Reader, at: tuple[str, ...], value: object) -> str:
    text = _text(reader, at, value)
    return _file(reader, at, value) if "/" in text or text.endswith(".toml") else text


def _command(reader: _Reader, at: tuple[str, ...], value: object) -> str:
    import shlex

    text = _text(reader, at, value)
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise reader.error(at, f"{at[-1]}: {str(error).lower()}") from None
    if not words:
        raise reader.error(at, f"{at[-1]} is empty")
    return text


def _url(reader: _Reader, at: tuple[str, ...], value: object) -> str:
    text = _text(reader, at, value)
    try:
        parse_target(text)
    except BadTarget as error:
        raise reader.error(at, error.message, error.hint) from None
    return text


def _tls(reader: _Reader, at: tuple[str, ...], value: object) -> TlsOptions | None:
    if isinstance(value, bool):
        return TlsOptions() if value else None
    if not isinstance(value, dict):
        raise reader.error(at, "tls is true, false or a table")
    return TlsOptions(**reader.fields(at, value, _TLS, "field", ()))


_LOOK: dict[str, Check] = {
    "theme": _theme,
    "interval": _interval,
    "separator": _text,
    "tag_template": _tag_template,
    "production": _flag,
    "read_only": _flag,
    "slow_link": _flag,
    "ascii": _flag,
    "keymap": _keymap,
}
_TLS: dict[str, Check] = {
    "ca": _file,
    "ca_dir": _file,
    "cert": _file,
    "key": _file,
    "key_password_command": _command,
    "server_name": _text,
    "insecure": _flag,
}
_PROFILE: dict[str, Check] = {
    "url": _url,
    "user": _text,
    "password_command": _command,
    "sentinel_user": _text,
    "sentinel_password_command": _command,
    "tls": _tls,
    "label": _label,
    "color": _color,
}
