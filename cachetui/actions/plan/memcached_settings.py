"""The few settings of Memcached that can be changed while it runs, and the commands that do it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from cachetui.actions.plan.commands import Command
from cachetui.errors import BadUsage, Unsupported
from cachetui.text import printable

_TUNED = ("hot_lru_pct", "warm_lru_pct", "hot_max_factor", "warm_max_factor")
_NUMBER = re.compile(r"\d{1,7}(\.\d{1,4})?")
_MB = 1024**2
_TUNE_WORDS = (
    "lru tune sets shares and ages of HOT and WARM together; what is over moves on to COLD, where items go first"
)


@dataclass(frozen=True, slots=True)
class Change:
    """One setting's change."""

    command: Command
    shown: str
    """What `stats settings` shows of it afterwards."""
    lines: tuple[str, ...] = ()
    risky: bool = False


def memcached_fixed(name: str) -> Unsupported | None:
    """Return why `name`, of `stats settings`, cannot be changed while the server runs; None when it can."""
    changeable = ("maxbytes", *_WORDS, *_TUNED)
    if name in changeable:
        return None
    known = ", ".join(sorted(changeable))
    return Unsupported(f"memcached fixes {printable(name, 40)} when it starts", f"while it runs, these change: {known}")


def memcached_change(name: str, value: str, values: Mapping[str, str]) -> Change:
    """Return the command that sets `name`; `values` are the server's settings now.

    Raises Unsupported for what is fixed at start, BadUsage for a value that cannot be.

    >>> memcached_change("slab_automove", "0", {}).command
    (b'slabs', b'automove', b'0')
    """
    if (why := memcached_fixed(name)) is not None:
        raise why
    value = value.strip().lower()
    if name in _TUNED:
        return _tuned(name, value, values)
    if name == "maxbytes":
        if not value.isdigit() or int(value) < 8 * _MB:
            raise BadUsage("Memcached takes no limit under 8MB", "write it in bytes, or press m")
        whole = int(value) // _MB
        return Change((b"cache_memlimit", b"%d" % whole), str(whole * _MB), ("whole megabytes",), risky=True)
    allowed, words = _WORDS[name]
    if not re.fullmatch(allowed, value):
        raise BadUsage(f"not a value of {name}: {printable(value, 40)}", words)
    return Change(_command(name, value, values), value, (words,), risky=name in ("lru_segmented", "verbosity"))


_WORDS: dict[str, tuple[str, str]] = {
    "verbosity": (r"\d", "0 says nothing, 1 errors, 2 and more every command on stderr: slow, and it fills logs"),
    "slab_automove": ("[012]", "0 never moves pages between slab classes, 1 slowly, 2 at every eviction: costly"),
    "lru_segmented": ("yes|no", "yes: HOT, WARM and COLD; no: one flat list, in which a scan can push out hot items"),
    "temporary_ttl": (
        r"\d{1,7}",
        "items whose TTL is below so many seconds never leave the TEMP list and are not evicted",
    ),
    "temp_lru": ("yes|no", "yes keeps items with a short TTL in a list of their own; temporary_ttl says how short"),
    "lru_crawler_sleep": (r"\d{1,7}", "microseconds between two items of the LRU crawler: at most 1000000"),
    "lru_crawler_tocrawl": (r"\d{1,9}", "items the LRU crawler looks at in each class; 0: all"),
}
"""What may be written, as a pattern, and what it means."""


def _command(name: str, value: str, values: Mapping[str, str]) -> Command:
    given = value.encode()
    match name:
        case "verbosity":
            return (b"verbosity", given)
        case "slab_automove":
            return (b"slabs", b"automove", given)
        case "lru_segmented":
            return (b"lru", b"mode", b"segmented" if value == "yes" else b"flat")
        case "temporary_ttl":
            return (b"lru", b"temp_ttl", given)
        case "temp_lru":
            return (b"lru", b"temp_ttl", values.get("temporary_ttl", "61").encode() if value == "yes" else b"-1")
    return (b"lru_crawler", name.removeprefix("lru_crawler_").encode(), given)


def _tuned(name: str, value: str, values: Mapping[str, str]) -> Change:
    if not _NUMBER.fullmatch(value):
        raise BadUsage(f"not a value of {name}: {printable(value, 40)}", "a share in percent, or a factor such as 0.2")
    now = {each: values.get(each, "") for each in _TUNED} | {name: value}
    missing = [each for each, known in now.items() if not _NUMBER.fullmatch(known)]
    if missing:
        raise Unsupported(f"the server does not show {', '.join(missing)}", "lru tune sets all four together")
    if float(now["hot_lru_pct"]) + float(now["warm_lru_pct"]) > 80:
        raise BadUsage("HOT and WARM may take 80 percent together at most", "COLD needs the rest")
    return Change((b"lru", b"tune", *(now[each].encode() for each in _TUNED)), value, (_TUNE_WORDS,))
