"""The command table: bindings, footer, palette, help screen, keymap and the README's table are made from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Risk = Literal["none", "low", "medium", "high"]


@dataclass(frozen=True, slots=True)
class CommandRow:
    """One thing a person can do."""

    id: str
    press: str
    """Textual names of presses, comma-separated; the first is shown."""
    title: str
    """A word or two for the footer and the palette."""
    help: str
    risk: Risk = "none"
    """Anything but `none` changes the server, and is previewed first."""
    needs: str = ""
    """A `source.base.Capability`, or `replay`."""
    where: tuple[str, ...] = ()
    """Views in which it works; empty: everywhere."""
    footer: bool = False
    """Shown in the footer where there is room."""
    kind: str = ""
    """`redis` or `memcached`: the footer has it for these servers only."""


VIEWS: tuple[CommandRow, ...] = (
    CommandRow("overview", "1", "Overview", "the verdict and four live panes"),
    CommandRow("keys", "2", "Keys", "keys by prefix or as a list, and their values"),
    CommandRow("slow", "3", "Slow", "the slow log (Memcached: live events)"),
    CommandRow("topology", "4", "Topology", "roles, replicas, lag; cluster, Sentinel or fleet"),
    CommandRow("clients", "5", "Clients", "who is connected and what they do"),
    CommandRow("memory", "6", "Memory", "what the memory is used for (Memcached: slab classes, evictions by class)"),
    CommandRow("activity", "7", "Activity", "commands by rate and server time, errors, hot keys"),
    CommandRow("findings", "8", "Findings", "problems with evidence and remedy, worst first"),
    CommandRow("journal", "9", "Journal", "what was changed with cachetui, by whom"),
    CommandRow("config", "0", "Config", "every setting, and where the nodes differ"),
)
"""Number presses switch views; a view that is not built is not here."""

_LISTS = ("overview", "keys", "slow", "topology", "clients", "memory", "findings", "journal")

COMMANDS: tuple[CommandRow, ...] = (
    *VIEWS,
    CommandRow("open", "enter", "open", "open the selected row", footer=True),
    CommandRow("back", "escape", "back", "go back: close the value, the zoom, the filter, the view"),
    CommandRow("filter", "slash", "filter", "show only rows that contain a text", footer=True),
    CommandRow("sort", "s", "sort", "sort by the next column", footer=True),
    CommandRow("reverse", "S", "reverse", "reverse the order"),
    CommandRow("mark", "space", "mark", "mark or unmark the row", where=("keys",), footer=True),
    CommandRow("mark-range", "V", "mark range", "mark from the row marked last to the cursor", where=("keys",)),
    CommandRow("mark-all", "A", "mark all", "mark every listed row", where=("keys",)),
    CommandRow("invert", "asterisk", "invert", "mark what is not marked, and the other way round", where=("keys",)),
    CommandRow("unmark", "U", "unmark all", "remove all marks", where=("keys",)),
    CommandRow("flat", "v", "tree/list", "keys as a tree or as a flat list", where=("keys",), footer=True),
    CommandRow("separators", "comma", "separators", "choose what separates the parts of a key's name", where=("keys",)),
    CommandRow(
        "scan", "K", "scan...", "pause, stop or repeat the scan; let the server choose by name or type", where=("keys",)
    ),
    CommandRow(
        "measure", "M", "measure all", "read type, size and TTL of every key, paced; again to stop", where=("keys",)
    ),
    CommandRow("decode", "a", "show as", "choose the decoder for values of this prefix", where=("keys",)),
    CommandRow("fold", "J", "fold", "fold or unfold a JSON value", where=("keys",)),
    CommandRow(
        "next-window", "right_square_bracket", "next", "look at the next node alone; in Keys: read on in a big value"
    ),
    CommandRow(
        "previous-window",
        "left_square_bracket",
        "previous",
        "the previous node, or all; in Keys: read back in the value",
    ),
    CommandRow(
        "value-order",
        "O",
        "value order",
        "read the value in another order: descending, oldest, geo, bits",
        where=("keys",),
    ),
    CommandRow("recent", "H", "recent keys", "open a key that was open before"),
    CommandRow("export", "E", "export", "write the marked or selected keys to a file", "none", "value", ("keys",)),
    CommandRow(
        "group",
        "b",
        "group",
        "group slow commands, clients or hot keys in another way; in Memory: account, prefixes, what goes next, curve",
        where=("slow", "overview", "clients", "memory", "activity"),
        footer=True,
    ),
    CommandRow(
        "hot",
        "N",
        "hot keys",
        "hear every command for 5 s: the hottest keys, prefixes, commands and clients; ends by itself, or by N again",
        where=("activity",),
        footer=True,
    ),
    CommandRow("open-key", "o", "open key", "open a key by its exact name, without any scan", needs="value"),
    CommandRow("next-pane", "tab", "next pane", "move to the next pane"),
    CommandRow("previous-pane", "shift+tab", "previous pane", "move to the previous pane"),
    CommandRow("zoom", "z", "zoom", "give the pane the whole screen", where=("overview",), footer=True),
    CommandRow("copy", "y", "copy", "copy the selected row's name to the clipboard, over SSH too (OSC 52)"),
    CommandRow("freeze", "f", "freeze", "freeze the picture; recording goes on", footer=True),
    CommandRow("refresh", "r", "refresh", "ask now, and ask again for what was denied"),
    CommandRow("faster", "plus,equals_sign", "faster", "poll more often"),
    CommandRow("slower", "minus", "slower", "poll less often"),
    CommandRow(
        "delete",
        "d",
        "delete",
        "delete the marked keys, the selected one or a whole prefix",
        "high",
        "delete",
        ("keys",),
        True,
    ),
    CommandRow(
        "invalidate",
        "i",
        "invalidate",
        "delete or expire by pattern, tag, version or time: planned, paced, undoable",
        "high",
        "delete",
        footer=True,
    ),
    CommandRow("undo", "u", "undo", "undo what was done last, or the selected entry", "medium", "delete", footer=True),
    CommandRow(
        "resume",
        "I",
        "go on",
        "go on with the selected entry that was stopped",
        "high",
        "delete",
        ("journal",),
    ),
    CommandRow("ttl", "t", "TTL", "set or remove the key's time to live", "medium", "ttl", ("keys",), True),
    CommandRow("edit", "e", "edit", "edit the value, or its selected element", "medium", "edit", ("keys",), True),
    CommandRow(
        "new",
        "n",
        "new",
        "create a key, or an element in the opened value (Memcached: append, count up)",
        "low",
        "edit",
        ("keys",),
    ),
    CommandRow("rename", "R", "rename", "rename the selected key", "medium", "edit", ("keys",)),
    CommandRow("copy-key", "C", "copy key", "copy the selected key to a new name", "low", "edit", ("keys",)),
    CommandRow("import", "L", "load", "create keys from a file that export wrote", "medium", "edit", ("keys",)),
    CommandRow("policy", "p", "policy", "change the eviction policy", "high", "policy"),
    CommandRow("maxmemory", "m", "maxmemory", "change maxmemory", "high", "maxmemory"),
    CommandRow(
        "setting",
        "ctrl+e",
        "set",
        "set the selected setting on every node (also Enter or e)",
        "high",
        "settings",
        ("config",),
    ),
    CommandRow(
        "rewrite",
        "w",
        "rewrite file",
        "CONFIG REWRITE: make runtime changes permanent",
        "medium",
        "rewrite",
        ("config",),
        True,
    ),
    CommandRow(
        "reassign",
        "T",
        "take a page",
        "Memcached: give the selected slab class a page of memory of another",
        "medium",
        "settings",
        ("memory",),
        True,
        "memcached",
    ),
    CommandRow(
        "rebalance",
        "B",
        "rebalance",
        "cluster: move slots until every primary holds its share by slots, keys, memory or weight",
        "medium",
        "cluster",
        ("topology", "findings"),
        True,
        "redis",
    ),
    CommandRow(
        "kill", "x", "kill client", "close the selected client's connection", "medium", "kill", ("clients",), True
    ),
    CommandRow(
        "failover",
        "F",
        "failover",
        "make a replica the primary: through Sentinel, in a cluster, or by FAILOVER",
        "high",
        "failover",
        ("overview", "topology"),
        True,
        "redis",
    ),
    CommandRow("clear-slow", "c", "clear", "clear the server's slow log", "low", "slowlog", ("slow",), True, "redis"),
    CommandRow(
        "arm", "W", "arm writes", "allow writes for five minutes where a profile is read-only; again to end that"
    ),
    CommandRow("replay-pause", "P", "pause", "replay: pause or go on", needs="replay"),
    CommandRow("replay-step", "full_stop", "step", "replay: one step forward", needs="replay"),
    CommandRow("replay-faster", "greater_than_sign", "speed up", "replay: twice as fast", needs="replay"),
    CommandRow("replay-slower", "less_than_sign", "slow down", "replay: half as fast", needs="replay"),
    CommandRow("down", "down,j", "down", "next row"),
    CommandRow("up", "up,k", "up", "previous row"),
    CommandRow("left", "left,h", "close", "close the prefix, or go to its parent"),
    CommandRow("right", "right,l", "open", "open the prefix"),
    CommandRow("first", "g,home", "first", "first row"),
    CommandRow("last", "G,end", "last", "last row"),
    CommandRow("page-down", "ctrl+d,pagedown", "page down", "half a page down"),
    CommandRow("page-up", "ctrl+u,pageup", "page up", "half a page up"),
    CommandRow("help", "question_mark", "help", "all presses", footer=True),
    CommandRow("palette", "colon,ctrl+p", "palette", "find a command by its name", footer=True),
    CommandRow("quit", "q,ctrl+q", "quit", "leave; nothing keeps running", footer=True),
    CommandRow("leave", "ctrl+c", "leave", "leave at once, from any dialog too: nothing more is sent"),
)
"""Every command with its presses; the order is that of the help screen."""

BY_ID = {row.id: row for row in COMMANDS}

_SHOWN = {
    "slash": "/",
    "plus": "+",
    "equals_sign": "=",
    "minus": "-",
    "question_mark": "?",
    "colon": ":",
    "full_stop": ".",
    "greater_than_sign": ">",
    "less_than_sign": "<",
    "escape": "Esc",
    "enter": "Enter",
    "space": "Space",
    "asterisk": "*",
    "comma": ",",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
    "tab": "Tab",
    "shift+tab": "Shift+Tab",
    "pagedown": "PgDn",
    "pageup": "PgUp",
    "home": "Home",
    "end": "End",
    "down": "Down",
    "up": "Up",
    "left": "Left",
    "right": "Right",
}


def shown_presses(presses: str) -> str:
    """Return presses as a person reads them.

    >>> shown_presses("plus,equals_sign"), shown_presses("ctrl+d,pagedown")
    ('+ =', 'Ctrl+D PgDn')
    """
    return " ".join(_shown(press) for press in presses.split(","))


def _shown(press: str) -> str:
    if press in _SHOWN:
        return _SHOWN[press]
    head, plus, tail = press.rpartition("+")
    return f"{head.title()}+{tail.upper()}" if plus else press


def markdown_table() -> str:
    """Return the README's table of presses."""
    rows = ["| press | command | what it does | changes the server |", "|---|---|---|---|"]
    for row in COMMANDS:
        presses = " ".join(f"`{press}`" for press in shown_presses(row.press).split(" "))
        risk = "no" if row.risk == "none" else f"yes ({row.risk} risk), after a preview"
        rows.append(f"| {presses} | {row.title} | {row.help} | {risk} |")
    return "\n".join(rows)


BEGIN, END = "<!-- presses: made by `make readme` -->", "<!-- /presses -->"


def with_table(document: str) -> str:
    """Return the README with its table of presses made anew."""
    head, _, rest = document.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n{markdown_table()}\n{END}{tail}"


if __name__ == "__main__":
    from pathlib import Path

    readme = Path("README.md")
    readme.write_text(with_table(readme.read_text()))
