"""`cachetui config`: a commented configuration file for a new server."""

from __future__ import annotations

import textwrap
from argparse import Namespace
from collections.abc import Iterator
from typing import cast, get_args

from cachetui.analysis.sizing import Kind, Part, Wishes, parts, persistence_of
from cachetui.cli.call import Call
from cachetui.cli.output import write_lines
from cachetui.errors import BadUsage
from cachetui.text import printable, size

WIDTH = 100
SENTINEL_PORT = 26379


def config(call: Call) -> int:
    """Print the file; nothing is asked of any server."""
    wishes = _wishes(call.words, call.options)
    try:
        found = parts(wishes)
    except ValueError as error:
        raise BadUsage(str(error), "see cachetui config --help") from None
    write_lines(_lines(wishes, found))
    return 0


def _wishes(words: list[str], options: Namespace) -> Wishes:
    kinds = get_args(Kind)
    if len(words) != 1 or words[0] not in kinds:
        raise BadUsage(f"one of {', '.join(kinds)} is needed", "e.g. cachetui config redis-cluster --memory 4gb")
    kind = cast(Kind, words[0])
    if any(not sign.isalnum() and sign not in "._-" for sign in options.name) or not options.name:
        raise BadUsage(f"{printable(options.name, 40)!r} is no name for a group", "letters, digits, . _ and - will do")
    replicas = options.replicas if options.replicas is not None else 0 if kind == "standalone" else 1
    return Wishes(
        kind,
        options.memory,
        replicas,
        options.shards,
        options.sentinels,
        options.quorum,
        options.policy,
        options.persistence,
        options.port or (SENTINEL_PORT if kind == "sentinel" else 6379),
        options.name,
        options.primary,
    )


def _lines(wishes: Wishes, found: list[Part]) -> Iterator[str]:
    yield from _comment(_ABOUT[wishes.kind])
    for line in _next(wishes):
        yield from _comment(line)
    for part in found:
        yield ""
        yield f"# {part.title}"
        for setting in part.settings:
            yield ""
            yield from _comment(setting.why)
            yield f"{'# ' if setting.optional else ''}{setting.name} {setting.value}"


_ABOUT = {
    "standalone": "One server. Start it with: redis-server FILE (or valkey-server FILE).",
    "redis-cluster": "One node of a cluster: the same file for each, with its own port where they share a machine.",
    "sentinel": "One Sentinel. It rewrites this file: give each its own copy. Start it with: redis-sentinel FILE.",
}


def _next(wishes: Wishes) -> Iterator[str]:
    """Yield what belongs to it beside this file."""
    if wishes.kind == "redis-cluster":
        nodes = wishes.shards * (1 + wishes.replicas)
        yield f"{nodes} nodes: {wishes.shards} primaries with {wishes.replicas} replica(s) each, on different machines."
        yield f"When all run: cachetui cluster create HOST:PORT ... ({nodes} of them) --replicas {wishes.replicas}"
    elif wishes.kind == "sentinel":
        yield f"{wishes.sentinels} of them, on machines that do not fail together; two cannot outvote a broken network."
        data = f"--memory {wishes.memory_bytes // 1024**2}mb --replicas {wishes.replicas}"
        yield f"The data servers' file: cachetui config standalone {data}"
    elif wishes.replicas:
        yield "The replicas take the same file and one line more: replicaof HOST PORT."
    if wishes.kind != "sentinel":
        disk = {"none": "nothing on the disk", "snapshot": "snapshots", "aof": "an append-only file"}
        yield f"Sized for {size(wishes.memory_bytes)} of memory, {disk[persistence_of(wishes)]}."


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(text, WIDTH - 2, break_on_hyphens=False)]
