"""One call of the program: what was asked for, and how a command gets at its target."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cachetui.config import Arguments, Settings, Target, resolve
from cachetui.config.resolve import LOCAL, settings_only
from cachetui.errors import BadUsage, CacheError, Unreachable, Unsupported

if TYPE_CHECKING:
    from cachetui.source.base import Kind, Polled, Source

WATCH_S = 2.0
"""How long Memcached's live events are watched where a slow log would be read."""


@dataclass(frozen=True, slots=True)
class Call:
    """A parsed command line."""

    command: str
    options: argparse.Namespace
    environ: Mapping[str, str]

    @property
    def json(self) -> bool:
        """True when a JSON document was asked for."""
        return bool(getattr(self.options, "json", False))

    @property
    def words(self) -> list[str]:
        """What stood on the command line beside the options, and the URL of `-u`."""
        return list(self.options.words)

    @property
    def by_parts(self) -> bool:
        """True when `-h`, `-p`, `-s` or `-u` say where to connect."""
        options = self.options
        return any(part is not None for part in (options.host, options.port, options.socket, options.uri))

    def tell(self, line: str) -> None:
        """Narrate on stderr; stdout is for data."""
        with contextlib.suppress(OSError, ValueError):  # nobody listens
            print(f"cachetui: {line}", file=sys.stderr, flush=True)

    def arguments(self, targets: tuple[str, ...]) -> Arguments:
        """Return the options as the configuration takes them."""
        options = self.options
        return Arguments(
            targets=targets,
            host=options.host,
            port=options.port,
            db=options.db,
            socket=options.socket,
            user=options.user,
            password=options.password,
            askpass=options.askpass,
            tls=options.tls,
            ca=options.cacert,
            ca_dir=options.cacertdir,
            cert=options.cert,
            key=options.key,
            server_name=options.sni,
            insecure=options.insecure,
            config=options.config,
            read_only=options.read_only,
            interval_s=options.interval,
            theme=options.theme,
            slow_link=options.slow_link,
            ascii=options.ascii,
            no_color=options.no_color,
        )

    def settings(self) -> Settings:
        """Return the settings of a command without a target. Raises BadUsage, BadConfig."""
        return settings_only(self.arguments(()), self.environ)

    def target(self, words: list[str] | None = None) -> tuple[Target, Settings]:
        """Return the one target that `words` (all of them unless told) name. Raises CacheError."""
        words = self.words if words is None else words
        if len(words) > 1:
            raise BadUsage("several targets at once are not supported yet", "give one target")
        targets, settings = resolve(self.arguments(tuple(words)), self.environ)
        return targets[0], settings


async def settled(target: Target) -> Target:
    """Return `target` with one address where it had several places to look. Raises CacheError."""
    if target.kind != "auto" or len(target.addresses) < 2:
        return target
    from cachetui.source.connect import recognise

    try:
        return await recognise(target)
    except CacheError as error:
        if target.addresses != LOCAL:
            raise
        redis, memcached = LOCAL
        raise Unreachable(
            f"no target was given and no cache answers at {redis} (Redis, Valkey) or {memcached} (Memcached)",
            "give one, e.g. cachetui HOST:PORT, or try cachetui demo",
            dict(error.detail),
        ) from error


@asynccontextmanager
async def opened(target: Target) -> AsyncIterator[Source]:
    """Open the source of `target`, and close it again. Raises CacheError."""
    from cachetui.source.connect import open_source

    source = await open_source(await settled(target))
    try:
        yield source
    finally:
        await source.close()


async def _without_opening(target: Target, kind: Kind) -> tuple[str, Polled]:
    from cachetui.source.connect import make_source

    source = make_source(target)
    try:
        return source.name, await source.poll(kind)
    finally:
        await source.close()


def poll_once(target: Target, kind: Kind) -> tuple[str, Polled]:
    """Return the source's name and one snapshot of `kind`. Raises CacheError, KeyboardInterrupt."""

    async def inside() -> tuple[str, Polled]:
        if target.kind == "sentinel" and kind == "topology":
            return await _without_opening(target, kind)  # the Sentinels tell it though the primary be down
        async with opened(target) as source:
            if kind == "slowlog" and (why := source.why_not("slowlog")):
                raise Unsupported(f"{source.name}: {why}")
            polled = await source.poll(kind)
            if kind == "slowlog" and polled.server.kind == "memcached":
                # It has events from now on only.
                await asyncio.sleep(WATCH_S)
                polled = await source.poll(kind)
            return source.name, polled

    return asyncio.run(inside())
