"""What the presses do that change nothing on a server; those that do are in `acting`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

from cachetui.config import state_dir
from cachetui.errors import CacheError
from cachetui.keyspace.decode import DECODER_NAMES, guesses
from cachetui.keyspace.export import export
from cachetui.model import JournalEntry
from cachetui.text import from_printable, printable
from cachetui.ui import hottest, narrowing
from cachetui.ui.browse import Scope
from cachetui.ui.commands import BY_ID, COMMANDS, CommandRow
from cachetui.ui.panes.activity import ActivityPane
from cachetui.ui.panes.journal import JournalPane, what_next
from cachetui.ui.panes.keys import KeysPane
from cachetui.ui.panes.pane import TablePane
from cachetui.ui.panes.topology import TopologyPane
from cachetui.ui.screens.dialog import Choice, Help, Prompt
from cachetui.ui.screens.entry import EntryScreen
from cachetui.ui.screens.palette import Palette

if TYPE_CHECKING:
    from cachetui.ui.app import CachetuiApp
    from cachetui.ui.live import Live

Answer = Callable[["CachetuiApp", "Live"], Awaitable[None]]

INTERVALS_S = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)

REHEARSAL = "demo:"
"""What the ids of the demo's scenarios begin with."""


async def _open(app: CachetuiApp, live: Live) -> None:
    """From the Overview, Enter leads to the view of the pane; in the journal it shows the whole entry."""
    pane = app.pane
    if isinstance(pane, JournalPane) and (entry := pane.selected()) is not None:
        await _show_entry(app, live, entry)
    elif isinstance(pane, TopologyPane) and app.view_id == "topology":
        await _narrow(app, live, pane)
    elif isinstance(pane, ActivityPane) and (key := pane.selected()) is not None:
        await _show_value(app, live, key)
    elif app.view_id == "overview" and (view_id := app.pane.heading.lower()) in BY_ID:
        await app.go(view_id)


async def _narrow(app: CachetuiApp, live: Live, pane: TopologyPane) -> None:
    """Look at the selected node alone, where the target has several."""
    node = pane.selected()
    if live.node:
        app.say(f"all views show {live.node} alone already: Esc shows all again")
    elif node is None or node.role == "sentinel" or len(live.nodes) < 2:
        app.say("there is no other node to look at alone")
    else:
        await narrowing.narrow(app, live, node.address)


async def _show_entry(app: CachetuiApp, live: Live, entry: JournalEntry) -> None:
    def wished(command_id: str | None) -> None:
        if command_id:
            app.run_worker(app.action_command(command_id), group="command", exit_on_error=False)

    await app.push_screen(EntryScreen(entry, what_next(entry, live.scene())), wished)


async def _back(app: CachetuiApp, live: Live) -> None:
    if app.view.zoomed:
        app.view.zoom()
    elif live.node:
        await narrowing.widen(app, live)
    elif app.view_id != "overview":
        await app.go("overview")


async def _open_key(app: CachetuiApp, live: Live) -> None:
    hint = "the exact name; write odd bytes as they are shown: \\x1b, \\n"
    name = await app.push_screen_wait(Prompt("open key", hint=hint))
    if name is not None:
        await _show_value(app, live, from_printable(name))


async def _show_value(app: CachetuiApp, live: Live, key: bytes) -> None:
    await app.go("keys")
    await live.browser.open(key)


async def _recent(app: CachetuiApp, live: Live) -> None:
    """Open one of the keys that were open before."""
    recent = live.browser.state.recent
    if not recent:
        app.say("no key was opened yet")
        return
    chosen = await app.push_screen_wait(
        Choice("recent keys", [(printable(key, 200), "") for key in recent], hint="Enter opens it, Esc leaves")
    )
    if chosen is not None:
        await _show_value(app, live, recent[[printable(key, 200) for key in recent].index(chosen)])


async def _decode(app: CachetuiApp, live: Live) -> None:
    """Choose what values beneath this prefix are shown as; it is remembered."""
    browse = live.browser.state
    if browse.opened is None or browse.value is None:
        app.say("open a key first")
        return
    pane = app.pane
    item = pane.value.item(browse.value) if isinstance(pane, KeysPane) else None
    data = item.data if item is not None else browse.value.items[0].data if browse.value.items else b""
    fitting = guesses(data)
    names = [*fitting, *(name for name in DECODER_NAMES if name not in fitting)]
    options = [("best", "whatever fits best"), *((name, "fits" if name in fitting else "") for name in names)]
    prefix = _prefix_of(browse.opened, live.browser.separators)
    title = f"show values of {printable(prefix or browse.opened, 60)} as"
    current = browse.decoders.of(browse.opened) or "best"
    chosen = await app.push_screen_wait(Choice(title, options, current=current, hint="Enter chooses, Esc leaves"))
    if chosen is None:
        return
    browse.decoders.choose(prefix or browse.opened, None if chosen == "best" else chosen)
    app.soon()
    try:
        browse.decoders.save(state_dir() / "decoders.json")
    except OSError as error:
        app.say(f"the choice holds until you leave: it cannot be saved: {error.strerror}", severity="warning")


def _prefix_of(key: bytes, separators: str) -> bytes:
    """Return the name up to its last separator.

    >>> _prefix_of(b"user:1:name", ":"), _prefix_of(b"plain", ":")
    (b'user:1:', b'')
    """
    cut = max((key.rfind(one.encode()) for one in separators), default=-1) if separators != "any" else key.rfind(b":")
    return key[: cut + 1]


async def _scan(app: CachetuiApp, live: Live) -> None:
    """Pause, stop or repeat the scan, or let the server choose the keys."""
    browser = live.browser
    options = [("begin again", "forget what was listed and enumerate anew")]
    if browser.state.scanning or browser.state.measuring is not None:
        options = [
            ("pause or go on", "send nothing more for now; the place is kept"),
            ("stop", "keep the part that was found"),
            *options,
        ]
    options += [
        ("only a pattern", "MATCH: the server leaves out all other names"),
        ("only a type", "TYPE: the server leaves out all other types"),
        ("all keys", "no MATCH, no TYPE"),
    ]
    chosen = await app.push_screen_wait(Choice("scan", options, hint="Enter chooses, Esc leaves"))
    scope = browser.state.scope
    if chosen == "pause or go on":
        app.say("the scan is paused" if browser.hold() else "the scan goes on")
    elif chosen == "stop":
        browser.stop()
    elif chosen == "begin again":
        browser.restart()
    elif chosen == "all keys":
        browser.restart(scope=Scope())
    elif chosen == "only a pattern":
        words = await app.push_screen_wait(Prompt("only names that match", hint="a glob: user:*, *:[0-9]; empty: all"))
        if words is not None:
            browser.restart(scope=Scope(from_printable(words) or None, scope.type_))
    elif chosen == "only a type":
        words = await app.push_screen_wait(
            Prompt("only keys of the type", hint="string, hash, list, set, zset, stream, ...")
        )
        if words is not None:
            browser.restart(scope=Scope(scope.match, words.strip() or None))


async def _separators(app: CachetuiApp, live: Live) -> None:
    hint = 'each character separates, as in ":/"; any: every punctuation mark'
    words = await app.push_screen_wait(Prompt("separators", initial=live.browser.separators, hint=hint))
    if words:
        live.browser.restart(separators=words.strip() or words)


async def _export(app: CachetuiApp, live: Live) -> None:
    """Write the marked or selected keys to a file."""
    pane = app.pane
    if not isinstance(pane, KeysPane):
        return
    selected, keys = pane.selected(), pane.marked()
    if not keys and selected is not None:
        keys = [selected[1]] if selected[0] == "key" else list(live.browser.state.index.under(selected[1]))
    if not keys:
        app.say("no key is selected")
        return
    hint = "NAME.jsonl: JSON lines; NAME.redis: redis-cli commands"
    words = await app.push_screen_wait(Prompt(f"export {len(keys):,} key{'s' * (len(keys) > 1)} to", hint=hint))
    if not words:
        return
    path = Path(words).expanduser()  # noqa: ASYNC240 - reads no more than the environment

    def tell(done: int) -> None:
        if done % 1000 == 0:
            app.say(f"{done:,} of {len(keys):,} keys written")

    try:
        app.say((await export(live.source, keys, path, progress=tell)).line(path))
    except CacheError as error:
        app.say(error.line(), severity="error")


async def _measure(app: CachetuiApp, live: Live) -> None:
    if live.browser.state.scanned_at is None:
        app.say("wait for the scan to end: K shows what can be done with it")
    elif not live.browser.measure():
        app.say("measuring was stopped: what was read stays")
    app.soon()


async def _value_order(app: CachetuiApp, live: Live) -> None:
    """Read the opened value in its next other order."""
    value = live.browser.state.value
    if value is None:
        app.say("open a key first")
        return
    orders = ("", *_VALUE_ORDERS.get(value.facts.type or "", ()))
    if len(orders) == 1:
        app.say(f"a {value.facts.type or 'value'} has one order only")
        return
    at = orders.index(live.browser.state.order) if live.browser.state.order in orders else 0
    chosen = orders[(at + 1) % len(orders)]
    await live.browser.reorder(chosen)
    app.say(f"order: {chosen or 'the usual one'}")


_VALUE_ORDERS = {"zset": ("descending", "geo"), "list": ("descending",), "stream": ("oldest",), "string": ("bits",)}


async def _filter(app: CachetuiApp, live: Live) -> None:
    pane = app.pane
    if isinstance(pane, KeysPane):
        before, hint = pane.needle, "text, glob*, /regex/, ~fuzzy; Enter keeps it, Esc takes it back"
    elif isinstance(pane, TablePane):
        before, hint = pane.table.needle, "Enter keeps it, Esc takes it back"
    else:
        app.say("this pane has no list to filter")
        return
    prompt = Prompt("filter", initial=before, hint=hint, live=pane.find)
    if await app.push_screen_wait(prompt) is None:
        pane.find(before)


def rehearsals() -> list[CommandRow]:
    """Return the demo's scenarios as rows of the palette."""
    from cachetui.demo.scenarios import SCENARIOS

    return [CommandRow(REHEARSAL + one.id, "", f"demo: {one.title}", one.words) for one in SCENARIOS]


async def _palette(app: CachetuiApp, live: Live) -> None:
    rows = [(row, app.why_not(row)) for row in COMMANDS]
    if app.demo is not None:
        rows += [(row, "") for row in rehearsals()]
    chosen = await app.push_screen_wait(Palette(rows))
    if chosen is not None and app.demo is not None and chosen.startswith(REHEARSAL):
        app.demo.play(chosen.removeprefix(REHEARSAL))
        app.say(f"{chosen}: choose it again to end it sooner")
    elif chosen is not None:
        await app.action_command(chosen)


async def _help(app: CachetuiApp, live: Live) -> None:
    await app.push_screen_wait(Help([(row, app.why_not(row)) for row in COMMANDS]))


async def _hot(app: CachetuiApp, live: Live) -> None:
    """Find the hottest keys, or stop that."""
    if live.replaying:
        app.say("a recording has no commands to hear")
    elif live.hot.busy:
        app.workers.cancel_group(app, "hot")
    else:
        app.run_worker(hottest.hear(app, live), group="hot", exit_on_error=False)


async def _copy(app: CachetuiApp, live: Live) -> None:
    copied = app.pane.copied()
    if copied:
        app.copy_to_clipboard(copied)
        app.say(f"copied {printable(copied, 60)}")


async def _freeze(app: CachetuiApp, live: Live) -> None:
    live.freeze(not live.frozen)
    app.soon()


async def _refresh(app: CachetuiApp, live: Live) -> None:
    live.refresh()
    if isinstance(app.pane, JournalPane):
        app.read_journal()


async def _arm(app: CachetuiApp, live: Live) -> None:
    """Allow writes for a while; again to end that."""
    on = not live.armed_s
    live.arm(on)
    app.say("writes are allowed for five minutes: W ends that" if on else "read-only again", severity="warning")
    app.soon()
    if on:
        app.tick_while_armed()


async def _zoom(app: CachetuiApp, live: Live) -> None:
    app.view.zoom()


def _step(by: int) -> Answer:
    async def step(app: CachetuiApp, live: Live) -> None:
        app.view.step(by)

    return step


def _node(by: int) -> Answer:
    async def go(app: CachetuiApp, live: Live) -> None:
        await narrowing.step(app, live, by)

    return go


def _interval(by: int) -> Answer:
    async def change(app: CachetuiApp, live: Live) -> None:
        nearest = min(INTERVALS_S, key=lambda interval_s: abs(interval_s - live.interval_s))
        at = INTERVALS_S.index(nearest) + by
        wanted = INTERVALS_S[max(0, min(len(INTERVALS_S) - 1, at))]
        live.set_interval(wanted)
        app.say(f"every {wanted:g} s")

    return change


def _replay(what: str) -> Answer:
    async def replay(app: CachetuiApp, live: Live) -> None:
        live.replay(what)
        app.soon()

    return replay


ANSWERS: dict[str, Answer] = {
    "open": _open,
    "back": _back,
    "copy": _copy,
    "hot": _hot,
    "freeze": _freeze,
    "refresh": _refresh,
    "arm": _arm,
    "zoom": _zoom,
    "measure": _measure,
    "value-order": _value_order,
    "next-pane": _step(1),
    "previous-pane": _step(-1),
    "faster": _interval(-1),
    "slower": _interval(1),
    "replay-pause": _replay("pause"),
    "replay-step": _replay("step"),
    "replay-faster": _replay("faster"),
    "replay-slower": _replay("slower"),
}
"""Done at once, in the order of the presses."""

DIALOGS: dict[str, Answer] = {
    "next-window": _node(1),
    "previous-window": _node(-1),
    "open-key": _open_key,
    "recent": _recent,
    "filter": _filter,
    "decode": _decode,
    "export": _export,
    "scan": _scan,
    "separators": _separators,
    "palette": _palette,
    "help": _help,
}
"""Ask something first: they wait in a worker, and presses go on."""


async def show_in_keys(app: CachetuiApp, live: Live, row_id: tuple[str, bytes]) -> None:
    """Open a prefix or key of the Overview in the Keys view."""
    await app.go("keys")
    pane = app.pane
    if isinstance(pane, KeysPane):
        pane.show(live.scene())
        if pane.table.select(row_id):
            pane.command("right")
