"""What is exported from a server and loaded into it again is the same, for every type that can be written."""

from __future__ import annotations

from pathlib import Path

import pytest

from cachetui.config import parse_target
from cachetui.keyspace.export import export
from cachetui.keyspace.portable import parse_lines, to_commands
from cachetui.source.connect import open_source
from tests.servers.launch import Server

FILL: list[tuple[bytes, ...]] = [
    (b"SET", b"text", b"a b\n\xff"),
    (b"SET", b"", b""),
    (b"HSET", b"hash", b"f", b"v", b"\x00", b"[red]"),
    (b"RPUSH", b"list", b"1", b"", b"1"),
    (b"SADD", b"set", b"b", b"a"),
    (b"ZADD", b"zset", b"1.5", b"m", b"inf", b"n"),
    *((b"XADD", b"stream", b"%d-1" % n, b"f", b"%d" % n, b"f", b"x y=z", b"", b"") for n in range(1, 2500)),
    (b"PEXPIRE", b"text", b"100000000"),
]
READS: list[tuple[bytes, ...]] = [
    (b"GET", b"text"),
    (b"GET", b""),
    (b"HGETALL", b"hash"),
    (b"LRANGE", b"list", b"0", b"-1"),
    (b"SORT", b"set", b"ALPHA"),
    (b"ZRANGE", b"zset", b"0", b"-1", b"WITHSCORES"),
    (b"XRANGE", b"stream", b"-", b"+"),
]


@pytest.mark.parametrize("name", ["keys.jsonl", "keys.redis"])
async def test_there_and_back(redis_like: Server, tmp_path: Path, name: str) -> None:
    for command in FILL:
        redis_like.command(*command)
    before = [redis_like.command(*read) for read in READS]
    source = await open_source(parse_target(redis_like.url))
    try:
        keys = [b"text", b"", b"hash", b"list", b"set", b"zset", b"stream", b"gone"]
        done = await export(source, keys, tmp_path / name)
    finally:
        await source.close()
    assert (done.written, done.gone, done.left_out_count) == (7, 1, 0), done
    redis_like.command("FLUSHALL")
    with (tmp_path / name).open("rb") as file:
        for record in parse_lines(file):
            for command in to_commands(record):
                redis_like.command(*command)
    assert [redis_like.command(*read) for read in READS] == before
    assert 90_000_000 < int(str(redis_like.command("PTTL", "text"))) <= 100_000_000
