"""Long pipelines and the latency probe: on connections of their own, each with a thread that talks on it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from operator import itemgetter
from queue import SimpleQueue
from typing import TypeVar

from cachetui.config import Address
from cachetui.errors import Busy, CacheError, Unreachable
from cachetui.source.base import Command
from cachetui.source.redis.connection import Argument, Credentials, RefusedReply, command_name
from cachetui.source.redis.replies import as_text
from cachetui.source.redis.session import Session
from cachetui.source.redis.wire import Stopped, Wire, explained

Result = TypeVar("Result")

BULK_LINES = 4
"""Long pipelines that are under way to one server at the same time; a fifth waits."""
FULL_S = 5.0
"""So long no further connection is tried where there was no room for it: the session's own do the work."""
_PROBES: tuple[Command, ...] = ((b"PING",), (b"DBSIZE",))
"""The cheapest commands: the first that is allowed is timed."""


class Line:
    """One connection and its daemon thread. Not for concurrent use; of no more use after any error."""

    def __init__(self, address: Address, who: Credentials, epoch: int) -> None:
        self.epoch = epoch
        self._who, self._dropped = who, False
        self._wire = Wire(address, who, lambda: self._dropped, RefusedReply)
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        threading.Thread(target=self._serve, name="bulk", daemon=True).start()

    @property
    def usable(self) -> bool:
        """False when it was dropped or closed, or is out of step."""
        return not self._dropped and self._wire.idle

    async def run(self, work: Callable[[Wire], Result]) -> Result:
        """Run `work` in the line's thread. Raises CacheError; after any error, and when cancelled, the line is gone."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Result] = loop.create_future()

        def settle(result: Result | None, error: Exception | None) -> None:
            if done.cancelled():
                return
            if error is not None:
                done.set_exception(error)
            else:
                done.set_result(result)  # type: ignore[arg-type]

        def job() -> None:
            result, problem = None, None
            try:
                result = work(self._wire)
            except Exception as error:
                problem = error
            with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits any more
                loop.call_soon_threadsafe(settle, result, problem)

        if self._dropped:
            raise self._closed()
        self._jobs.put(job)
        try:
            return await done
        except Stopped:
            raise self._closed() from None
        except Exception as error:
            self.drop()
            raise explained(error, self._wire.address, self._who.timeout_s) from error
        except BaseException:
            self.drop()
            raise

    def drop(self) -> None:
        """Close the connection, whatever it is in the middle of; what is not sent yet never is."""
        if not self._dropped:
            self._dropped = True
            self._wire.cut()
            self._jobs.put(None)

    def _closed(self) -> Unreachable:
        return Unreachable(f"the connection to {self._wire.address} was closed here", "")

    def _serve(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
        self._wire.close()


class Bulk:
    """The lines to one server. They are opened when needed and kept; what is learnt on them the session knows too."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._gate = asyncio.Semaphore(BULK_LINES)
        self._idle: list[Line] = []
        self._open: set[Line] = set()
        self._probe: Line | None = None
        self._probing = asyncio.Lock()
        self._full_until = 0.0

    def close(self) -> None:
        """Close every line. What is under way on one fails with Unreachable."""
        for line in list(self._open):
            self._drop(line)
        self._idle.clear()
        self._probe = None

    async def execute(self, commands: Sequence[Command]) -> list[object]:
        """Send one pipeline, each command exactly once; see `Source.execute`.

        The deadline begins when a line is free. An error of the connection before anything was
        sent has `sent: False` in its detail. Busy is raised when nothing at all was carried out;
        else it stands in the places of what was not.
        """
        session, sent = self._session, False
        async with self._gate:
            try:
                async with session.deadline():
                    line = await self._free_line()
                    if line is None:
                        await session.ask_all("keys", [])
                        sent = True
                        return await session.ask_all("keys", commands)
                    due = _due(commands, session.denied)
                    sent = due is None or bool(due)
                    return await self._exchange(line, commands, due)
            except Unreachable as error:
                if not sent:
                    error.detail["sent"] = False
                raise

    async def latency_us(self) -> float | None:
        """Return the round trip of the cheapest command that is allowed, None where none is.

        It is measured on a line of its own, in the thread that talks on it.
        """
        session = self._session
        async with self._probing, session.deadline():
            line = await self._probe_line()
            for command in _PROBES:
                name = command_name(command)
                if name in session.denied:
                    continue
                began = time.perf_counter()
                if line is None:
                    await session.ask_all("stats", [command])
                    took_us = (time.perf_counter() - began) * 1e6
                else:
                    session.sent[name.lower()] += 1
                    took_us, answer = await self._on(line, partial(_timed, command))
                    reply = session.understood(answer, name)
                    if isinstance(reply, Busy):
                        raise await self._explained(reply, line)
                if name not in session.denied:
                    return took_us
        return None

    async def _probe_line(self) -> Line | None:
        if self._probe is None or not self._fits(self._probe):
            self._drop(self._probe)
            self._probe = None
            self._probe = await self._free_line(spare=False)
        return self._probe

    # Lines

    def _fits(self, line: Line) -> bool:
        return line.epoch == self._session.epoch and line.usable

    def _drop(self, line: Line | None) -> None:
        if line is not None:
            self._open.discard(line)
            line.drop()

    async def _free_line(self, *, spare: bool = True) -> Line | None:
        """Return a line; None where the server has no room for another client, and for a while after that."""
        while spare and self._idle:
            line = self._idle.pop()
            if self._fits(line):
                return line
            self._drop(line)
        if time.monotonic() < self._full_until:
            return None
        try:
            return await self._new_line()
        except Unreachable as error:
            if not _is_full(error):
                raise
            self._full_until = time.monotonic() + FULL_S
            return None

    async def _new_line(self) -> Line:
        """Open a line to where the session finds the server now."""
        session = self._session
        await session.ask_all("keys", [])
        line = Line(session.address, session.credentials, session.epoch)
        self._open.add(line)
        greeting: list[tuple[Argument, ...]] = [("HELLO", 3)] if session.protocol == 3 else []
        if session.touches_nothing:
            greeting.append(("CLIENT", "NO-TOUCH", "on"))
        session.sent.update(str(command[0]).lower() for command in greeting)
        session.sent["client"] += 1
        await self._on(line, lambda wire: _opened(wire, greeting))
        return line

    async def _on(self, line: Line, work: Callable[[Wire], Result]) -> Result:
        try:
            return await line.run(work)
        except BaseException:
            self._drop(line)
            raise

    # Exchanging

    async def _exchange(self, line: Line, commands: Sequence[Command], due: Sequence[int] | None) -> list[object]:
        session = self._session
        sent = commands if due is None else [commands[at] for at in due]
        for word, times in Counter(map(itemgetter(0), sent)).items():
            session.sent[as_text(word, 40).lower()] += times
        answers, refused = await self._on(line, lambda wire: _answered(wire, sent)) if sent else ([], [])
        for at in refused:
            answers[at] = session.understood(answers[at], command_name(sent[at]))
        busy = [at for at in refused if isinstance(answers[at], Busy)]
        if busy:
            first = answers[busy[0]]
            assert isinstance(first, Busy)
            told = await self._explained(first, line)
            if len(busy) == len(sent):
                self._idle.append(line)
                raise told
            for at in busy:
                answers[at] = told
        self._idle.append(line)
        if due is None:
            return answers
        replies: list[object] = [session.denied.get(command_name(command)) for command in commands]
        for at, answer in zip(due, answers, strict=True):
            replies[at] = answer
        return replies

    async def _explained(self, busy: Busy, line: Line) -> Busy:
        async def exchange(commands: Sequence[Sequence[Argument]]) -> list[object]:
            return await self._on(line, lambda wire: wire.ask(commands))

        return await self._session.explained(busy, exchange)


def _is_full(error: Unreachable) -> bool:
    return "max number of clients" in str(error.detail.get("reply", ""))


def _due(commands: Sequence[Command], denied: dict[str, CacheError]) -> list[int] | None:
    """Return which commands are to be sent; None: all."""
    first_words = {name.split(" ", 1)[0] for name in denied}
    if not any(as_text(word, 40).upper() in first_words for word in set(map(itemgetter(0), commands))):
        return None
    return [at for at, command in enumerate(commands) if command_name(command) not in denied]


# For the lines' threads.


def _opened(wire: Wire, greeting: Sequence[Sequence[Argument]]) -> None:
    wire.open()
    if greeting:
        wire.ask(greeting)  # a refusal is no reason to give up


def _answered(wire: Wire, commands: Sequence[Command]) -> tuple[list[object], list[int]]:
    """Return the replies, and where among them the refusals are."""
    replies = wire.pipeline(commands)
    return replies, [at for at, reply in enumerate(replies) if type(reply) is RefusedReply]


def _timed(command: Command, wire: Wire) -> tuple[float, object]:
    """Return how long the answer took in microseconds, and the answer."""
    began = time.perf_counter()
    (reply,) = wire.ask([command])
    return (time.perf_counter() - began) * 1e6, reply
