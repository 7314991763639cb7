"""What every Sentinel thinks of each group, and what they told of lately."""

from __future__ import annotations

from cachetui import text
from cachetui.model import Opinion, SentinelEvent, SentinelGroup, Topology
from cachetui.ui.line import Line, Span, line

EVENTS_LEAST = 3
"""Rows that the events get before the facts do."""
_BAD = ("+sdown", "+odown", "+tilt", "-failover-abort-no-good-slave", "-failover-abort-not-elected")
_SETTINGS = {"down-after-milliseconds": "down after", "notification-script": "notification"}


def section(topology: Topology, now: float, width: int, room: int) -> list[Line]:
    """Return the opinions and the latest events, as many lines as there is room for."""
    if room < 2 or not (topology.groups or topology.events):
        return []
    opinions = [drawn for group in topology.groups for drawn in _group(group, width)]
    events = [_event(event, now, width) for event in topology.events]
    kept = min(len(events), max(EVENTS_LEAST, room - len(opinions) - 1)) if room > len(opinions) + 1 else 0
    drawn = opinions[: room - (kept + 1 if kept else 0)]
    if kept:
        drawn.append(line(("Events", "title")))
        drawn += events[:kept]
    return drawn[:room]


def _group(group: SentinelGroup, width: int) -> list[Line]:
    answered = group.answered
    known = max((one.sentinels or 0 for one in answered), default=0)
    able = [one.usable for one in answered if one.usable is not None]
    state: Span = ("", "")
    if able:
        state = ("a failover can be agreed on", "ok") if all(able) else ("! no failover is possible now", "bad")
    head = f"Sentinels of {group.name}: quorum {group.quorum if group.quorum is not None else '-'} of {known}  "
    settings = ", ".join(f"{_SETTINGS.get(name, name)} {value}" for name, value in group.settings)
    lines = [line((text.fit(head, min(width, text.cells(head))), "title"), state)]
    lines += [_opinion(one, group, width) for one in group.opinions]
    if settings:
        lines.append(line((text.fit(f"  {settings}", width), "muted")))
    return lines


def _opinion(one: Opinion, group: SentinelGroup, width: int) -> Line:
    where = text.fit(f"  {one.sentinel}" + (" (this)" if one.myself else ""), 26)
    left = max(0, width - 26)
    if one.problem:
        return line((where, ""), (text.fit(f"! {one.problem}", left), "bad" if one.given else "warn"))
    if one.primary != group.primary:
        return line((where, ""), (text.fit(f"! names {one.primary} as the primary", left), "bad"))
    held = [*one.flags, *(["TILT"] if one.tilt else [])]
    words: Span = (f"! {', '.join(held)}", "bad") if held else ("agrees", "ok")
    epoch = "" if one.epoch is None else f"epoch {one.epoch}"
    knows = "" if one.sentinels is None else f"knows {one.sentinels} Sentinels, {one.replicas} replicas"
    check = f"CKQUORUM: {one.check}" if one.usable is False else ""
    more = "  ".join(filter(None, (epoch, knows, one.version or "", check)))
    shown = text.fit(words[0], 12) if text.cells(words[0]) <= 12 else words[0] + "  "
    return line((where, ""), (shown, words[1]), (text.fit(more, max(0, left - text.cells(shown))), "muted"))


def _event(event: SentinelEvent, now: float, width: int) -> Line:
    style = "accent" if event.name == "+switch-master" else "bad" if event.name in _BAD else ""
    by = f"  ({len(event.sentinels)} Sentinels)" if len(event.sentinels) > 1 else ""
    when, name = f"  {text.clock(event.at, now)}  ", min(22, max(8, width // 4))
    words = text.fit(f" {event.words}{by}", max(0, width - text.cells(when) - name))
    return line((when, "muted"), (text.fit(event.name, name), style), (words, ""))
