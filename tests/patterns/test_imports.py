"""The library loads what it is given a client of, and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.servers.launch import Server


def loaded(script: str) -> set[str]:
    """Run a script in a process of its own and return the libraries that it had loaded."""
    script += "\nimport json, sys; print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    return set(json.loads(out.splitlines()[-1]))


@pytest.mark.parametrize("module", ["cachetui.patterns", "cachetui.patterns.aio", "cachetui.patterns.names"])
def test_the_library_alone_loads_no_client_and_no_screen(module: str) -> None:
    assert loaded(f"import {module}") & {"textual", "rich", "redis", "pymemcache", "msgpack"} == set()


def test_each_client_loads_its_own_library_only(redis7: Server, memcached: Server) -> None:
    use = "from cachetui.patterns import CacheAside\nassert CacheAside(client, str.encode, 60).get('a') == b'a'"
    redis = f"import redis; client = redis.Redis(port={redis7.port})\n{use}"
    other = f"from pymemcache.client.base import PooledClient; client = PooledClient(('127.0.0.1', {memcached.port}))\n"
    assert "pymemcache" not in loaded(redis) and "redis" not in loaded(other + use)


def test_a_load_loads_the_library_of_its_target_only(redis7: Server, memcached: Server) -> None:
    run = "from cachetui.__main__ import main; import sys; sys.argv[1:] = ['load', {!r}, '--duration', '0.1']; main()"
    assert loaded(run.format(redis7.url)) & {"textual", "pymemcache"} == set()
    assert loaded(run.format(f"memcached://127.0.0.1:{memcached.port}")) & {"textual", "redis"} == set()
