"""Real servers for the whole session: each is started once, on first use, and stopped by pid at the end."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.servers import launch
from tests.servers.launch import SERVERS, Server

# A machine may be busy: how long an example takes says nothing. The same examples each time; `--hypothesis-profile
# search` looks for new ones.
settings.register_profile("suite", deadline=None, derandomize=True)
settings.register_profile("search", deadline=None)
settings.load_profile("suite")


@pytest.fixture(autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the tests away from the user's own configuration, journal and environment."""
    home = tmp_path_factory.mktemp("home")
    for name, folder in (("XDG_CONFIG_HOME", "config"), ("XDG_STATE_HOME", "state"), ("XDG_CACHE_HOME", "cache")):
        monkeypatch.setenv(name, str(home / folder))
    monkeypatch.setenv("HOME", str(home))
    for name in list(os.environ):
        if name in ("CACHETUI_URL", "REDIS_URL", "REDISCLI_AUTH", "NO_COLOR", "SSH_CLIENT", "SSH_CONNECTION"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def _shared() -> Iterator[Callable[[str, Callable[[], Server]], Server]]:
    running: dict[str, Server] = {}

    def get(name: str, start: Callable[[], Server]) -> Server:
        if name not in running:
            running[name] = start()
        return running[name]

    yield get
    for server in running.values():
        launch.remove(server)


def _emptied(server: Server) -> Server:
    server.command("FLUSHALL")
    server.command("CONFIG", "RESETSTAT")
    server.command("SLOWLOG", "RESET")
    return server


@pytest.fixture
def redis7(_shared: Callable[[str, Callable[[], Server]], Server]) -> Server:
    """An empty Redis 7.0 shared by the session. Leave its configuration as it was."""
    return _emptied(_shared("redis7", lambda: launch.redis_server(launch.redis7(), "--enable-debug-command", "yes")))


@pytest.fixture
def redis6(_shared: Callable[[str, Callable[[], Server]], Server]) -> Server:
    """An empty Redis 6.2."""
    return _emptied(_shared("redis6", lambda: launch.redis_server(launch.redis6())))


@pytest.fixture
def valkey9(_shared: Callable[[str, Callable[[], Server]], Server]) -> Server:
    """An empty Valkey 9."""
    server = _shared("valkey9", lambda: launch.redis_server(launch.valkey9(), "--enable-debug-command", "yes"))
    for log in ("large-request", "large-reply"):
        server.command("COMMANDLOG", "RESET", log)
    return _emptied(server)


@pytest.fixture(params=sorted(SERVERS))
def redis_like(request: pytest.FixtureRequest) -> Server:
    """Each of the Redis-like servers in turn, empty."""
    server: Server = request.getfixturevalue(request.param)
    return server


@pytest.fixture
def stack(_shared: Callable[[str, Callable[[], Server]], Server]) -> Server:
    """An empty Redis 7.4 with modules (JSON, time series, sketches, search) shared by the session."""
    return _emptied(_shared("stack", launch.stack_server))


@pytest.fixture
def memcached(_shared: Callable[[str, Callable[[], Server]], Server]) -> Server:
    """An empty memcached shared by the session."""
    server = _shared("memcached", lambda: launch.memcached_server("-m", "64"))
    from pymemcache.client.base import Client

    client = Client(("127.0.0.1", server.port), connect_timeout=2, timeout=2, default_noreply=False)
    client.flush_all()
    client.close()
    return server


@pytest.fixture
def new_server() -> Iterator[Callable[..., Server]]:
    """Start a server of this test alone: `new_server("redis7", "--requirepass", "x")`, `new_server("memcached")`."""
    started: list[Server] = []

    def start(kind: str, *options: str, **more: object) -> Server:
        if kind == "memcached":
            server = launch.memcached_server(*options, **more)  # type: ignore[arg-type]
        else:
            server = launch.redis_server(SERVERS[kind](), *options, **more)  # type: ignore[arg-type]
        started.append(server)
        return server

    yield start
    for server in started:
        launch.remove(server)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A CA with a server and a client certificate."""
    return launch.certificates(tmp_path_factory.mktemp("tls"))
