"""What a command does not need is not loaded."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.servers.launch import Server
from tests.servers.program import ROOT, environment

_PROBE = """
import sys
from cachetui.__main__ import main
code = main(sys.argv[1:])
sys.stdout.flush()
print("\\n".join(sorted({name.partition(".")[0] for name in sys.modules})), file=sys.stderr)
sys.exit(code)
"""


def loaded(*args: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", _PROBE, *args], capture_output=True, text=True, timeout=40, env=environment(), cwd=ROOT,
        check=True,
    )  # fmt: skip
    return set(done.stderr.split())


@pytest.mark.parametrize(
    "command",
    [
        ["analyze"],
        ["analyze", "--json"],
        ["keys"],
        ["slowlog"],
        ["topology"],
        ["policy"],
        ["invalidate", "--key", "a", "--yes"],
    ],
)
def test_a_redis_target_loads_neither_textual_nor_pymemcache(redis7: Server, command: list[str]) -> None:
    names = loaded(command[0], redis7.address, *command[1:])
    assert "redis" in names
    assert not names & {"textual", "rich", "pymemcache"}


def test_a_memcached_target_does_not_load_redis(memcached: Server) -> None:
    for command in ("analyze", "keys", "topology"):
        assert not loaded(command, memcached.address) & {"textual", "rich", "redis"}


def test_help_loads_no_client() -> None:
    assert not loaded("--help") & {"textual", "rich", "redis", "pymemcache"}
