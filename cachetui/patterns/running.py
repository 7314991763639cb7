"""One core, two thin faces.

Every pattern is written once, as coroutines. The asyncio face awaits them. The face for threads runs the same
coroutines with `finish`: there every await ends at once (a store that blocks, a `time.sleep`), so no event loop
is needed. What differs between the two is in `Threads` and `Tasks` and nowhere else.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol, TypeVar

T = TypeVar("T")

BACKGROUND = 8
"""So many background refreshes of one cache may run at once; more are left to later gets."""


class Abandoned(Exception):
    """The caller that loaded for everybody was interrupted: somebody else has to load."""


class Flight(Protocol):
    """One lookup or load that several callers wait for."""

    began: int
    """The turn in which it began."""

    def settle(self, value: Any = None, error: BaseException | None = None) -> None:
        """Give everybody who waits the value or the error; who was interrupted leaves them Abandoned."""

    async def lead(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Do the work for everybody, settle and return its result."""

    async def wait(self) -> Any:
        """Return what was settled."""


class Runtime(Protocol):
    """What a pattern needs besides its store."""

    async def call(self, function: Callable[..., Any], *args: Any, **named: Any) -> Any:
        """Call a function of the user: plain for threads, a coroutine function for asyncio."""

    @property
    def shares_lookups(self) -> bool:
        """Whether callers share lookups too: a thousand tasks at once would want a thousand connections."""

    @property
    def limited(self) -> Callable[..., Awaitable[Any]] | None:
        """What awaits one call of the store for so many seconds at most.

        None for threads: a blocking call cannot be cut short, its limit is the client's own socket timeout.
        """

    async def sleep(self, seconds: float) -> None: ...

    async def take(self, gate: Any, seconds: float) -> bool:
        """Take one place of a gate from `gate`, waiting at most `seconds`."""

    def gate(self, places: int) -> Any:
        """Return a semaphore of this runtime's kind."""

    def flight(self, began: int) -> Flight: ...

    def spawn(self, work: Coroutine[Any, Any, None]) -> bool:
        """Start work in the background; False when too much runs already."""

    async def settle(self) -> None:
        """Wait for the background work."""


def finish(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in which nothing waits for an event loop, and return its result."""
    try:
        work.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    work.close()
    raise RuntimeError("an asyncio client or function was given to the face for threads")


class ThreadFlight:
    """What one thread does and others wait for."""

    def __init__(self, began: int) -> None:
        self.began = began
        self._under_way = threading.Lock()
        self._under_way.acquire()
        self._leader = threading.get_ident()
        self._value: Any = None
        self._error: Exception | None = None

    def settle(self, value: Any = None, error: BaseException | None = None) -> None:
        self._value, self._error = value, _shared(error)
        self._under_way.release()

    async def lead(self, work: Coroutine[Any, Any, Any]) -> Any:
        try:
            value = await work
        except BaseException as error:
            self.settle(error=error)
            raise
        self.settle(value)
        return value

    async def wait(self) -> Any:
        if self._leader == threading.get_ident():
            raise RuntimeError("the loader asks the cache for the key that it loads")
        with self._under_way:
            pass
        if self._error is not None:
            raise self._error
        return self._value


def _shared(error: BaseException | None) -> Exception | None:
    return error if error is None or isinstance(error, Exception) else Abandoned()


class Threads:
    """Everything happens in the caller's own thread, background work in daemon threads."""

    limited = None
    shares_lookups = False

    def __init__(self) -> None:
        self._room = threading.BoundedSemaphore(BACKGROUND)
        self._running: set[threading.Thread] = set()

    async def call(self, function: Callable[..., Any], *args: Any, **named: Any) -> Any:
        return function(*args, **named)

    async def sleep(self, seconds: float) -> None:
        time.sleep(seconds)  # noqa: ASYNC251 - there is no event loop here

    def gate(self, places: int) -> threading.BoundedSemaphore:
        return threading.BoundedSemaphore(places)

    async def take(self, gate: threading.BoundedSemaphore, seconds: float) -> bool:
        return gate.acquire(timeout=seconds)

    def flight(self, began: int) -> ThreadFlight:
        return ThreadFlight(began)

    def spawn(self, work: Coroutine[Any, Any, None]) -> bool:
        if not self._room.acquire(blocking=False):
            work.close()
            return False

        def run() -> None:
            try:
                finish(work)
            finally:
                self._room.release()
                self._running.discard(threading.current_thread())

        thread = threading.Thread(target=run, name="cache-refresh", daemon=True)
        self._running.add(thread)
        thread.start()
        return True

    async def settle(self) -> None:
        for thread in list(self._running):
            thread.join()


class TaskFlight:
    """What one task does and others wait for. A load has a task of its own: who is cancelled disturbs nobody."""

    def __init__(self, began: int) -> None:
        self.began = began
        self._waiting: asyncio.Future[Any] | None = None
        self._task: asyncio.Task[Any] | None = None

    def settle(self, value: Any = None, error: BaseException | None = None) -> None:
        if self._waiting is None or self._waiting.done():
            return
        if (shared := _shared(error)) is not None:
            self._waiting.set_exception(shared)
        else:
            self._waiting.set_result(value)

    async def lead(self, work: Coroutine[Any, Any, Any]) -> Any:
        self._task = asyncio.ensure_future(work)
        self._task.add_done_callback(self._landed)
        return await asyncio.shield(self._task)

    async def wait(self) -> Any:
        if self._task is not None and self._task is asyncio.current_task():
            raise RuntimeError("the loader asks the cache for the key that it loads")
        if self._waiting is None:
            self._waiting = asyncio.get_running_loop().create_future()
            self._waiting.add_done_callback(_seen)
        return await asyncio.shield(self._waiting)

    def _landed(self, task: asyncio.Task[Any]) -> None:
        if task.cancelled():
            self.settle(error=asyncio.CancelledError())
        else:
            self.settle(None if task.exception() else task.result(), task.exception())


async def _limited(seconds: float, function: Callable[..., Awaitable[T]], *args: Any) -> T:
    async with asyncio.timeout(seconds):
        return await function(*args)


class Tasks:
    """Everything happens in the event loop that runs."""

    limited = staticmethod(_limited)
    shares_lookups = True

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()

    async def call(self, function: Callable[..., Any], *args: Any, **named: Any) -> Any:
        return await function(*args, **named)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def gate(self, places: int) -> asyncio.BoundedSemaphore:
        return asyncio.BoundedSemaphore(places)

    async def take(self, gate: asyncio.BoundedSemaphore, seconds: float) -> bool:
        if not gate.locked():
            return await gate.acquire()
        try:
            async with asyncio.timeout(seconds):
                return await gate.acquire()
        except TimeoutError:
            return False

    def flight(self, began: int) -> TaskFlight:
        return TaskFlight(began)

    def spawn(self, work: Coroutine[Any, Any, None]) -> bool:
        if len(self._running) >= BACKGROUND:
            work.close()
            return False
        task = asyncio.ensure_future(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return True

    async def settle(self) -> None:
        while self._running:
            await asyncio.wait(set(self._running))


def _seen(future: asyncio.Future[Any]) -> None:
    """Mark an error as seen, for the case that every caller was cancelled."""
    if not future.cancelled():
        future.exception()
