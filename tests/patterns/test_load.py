"""`cachetui load` drives each pattern, says what it did, leaves nothing behind, and is refused elsewhere."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from cachetui.cli import parser, run
from cachetui.cli.load import _is_here
from cachetui.config import Address
from cachetui.demo.drive import PATTERNS
from cachetui.errors import BadUsage, Refused, Unsupported
from tests.servers.launch import Server


@pytest.fixture
def drive(capfdbinary: pytest.CaptureFixture[bytes]) -> Callable[..., dict[str, Any]]:
    """Return what drives a pattern for a moment and gives the document that it printed."""

    def driven(url: str, pattern: str, *more: str) -> dict[str, Any]:
        short = ("--duration", "0.5", "--rate", "400", "--keys", "50", "--json")
        assert run(["load", url, "--pattern", pattern, *short, *more]) == 0
        sys.stdout.flush()
        document: dict[str, Any] = json.loads(capfdbinary.readouterr().out)
        return document

    return driven


def test_the_patterns_are_those_of_the_command_line() -> None:
    assert parser.PATTERNS == PATTERNS


@pytest.mark.parametrize("pattern", PATTERNS)
def test_each_pattern_is_driven_and_cleaned_up(
    redis7: Server, pattern: str, drive: Callable[..., dict[str, Any]]
) -> None:
    redis7.command("SET", "mine", "stays")
    found = drive(redis7.url, pattern, "--writes", "0.2")
    assert found["reads"] > 0 and found["writes"] > 0 and found["loads"] > 0
    assert found["hits"] + found["misses"] + found["joined"] >= found["reads"], "each read is accounted for"
    assert found["errors"] == {} and found["cacheErrors"] == 0 and found["status"] == "success"
    assert found["flushed"] == (found["writes"] if pattern == "write-behind" else None)
    assert found["readUs"]["p50"] <= found["readUs"]["p99"] <= found["readUs"]["max"]
    left = set(redis7.command("KEYS", "*"))  # type: ignore[call-overload]
    # What a write that was overtaken has locked runs out by itself.
    assert {name for name in left if not name.startswith(b"lock:")} == {b"mine"}


def test_memcached_and_a_cluster_are_driven_too(
    memcached: Server, cluster: list[Server], drive: Callable[..., dict[str, Any]]
) -> None:
    assert drive(f"memcached://127.0.0.1:{memcached.port}", "write-through")["loads"] > 0
    assert drive(f"redis+cluster://127.0.0.1:{cluster[0].port}", "write-behind")["flushed"] >= 0
    with pytest.raises(Unsupported, match="streams"):
        run(["load", f"memcached://127.0.0.1:{memcached.port}", "--pattern", "write-behind"])


def test_it_stops_at_a_signal_and_cleans_up(redis7: Server) -> None:
    argv = [sys.executable, "-m", "cachetui", "load", redis7.url, "--duration", "60"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        with redis7.client() as client:
            while not client.keys("cachetui:load:*"):
                assert process.poll() is None
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=30)
    assert process.returncode == 4 and out.startswith("cache-aside: ") and "removed again" in out
    assert redis7.command("DBSIZE") == 0


def test_another_machine_needs_its_typed_name(redis7: Server) -> None:
    with pytest.raises(Refused, match="another machine") as refused:
        run(["load", "redis://10.255.255.1:1"])
    assert refused.value.hint == "add --confirm 10.255.255.1:1/0"
    with pytest.raises(Refused, match="not its name"):
        run(["load", "redis://10.255.255.1:1", "--confirm", "other"])
    with pytest.raises(Refused, match="read-only"):
        run(["load", redis7.url, "--read-only"])
    for wrong in ([], [redis7.url, "--rate", "1000000"]):
        with pytest.raises(BadUsage):
            run(["load", *wrong])
    assert redis7.command("DBSIZE") == 0


def test_here_is_this_machine_only() -> None:
    here = [
        Address("127.0.0.1", 1),
        Address("::1", 1),
        Address("localhost", 1),
        Address(path="/tmp/s"),
        Address("127.9.9.9", 1),
    ]
    assert all(map(_is_here, here))
    assert not any(map(_is_here, [Address("10.0.0.1", 1), Address("0.0.0.0", 1), Address("127.0.0.1.example.com", 1)]))
