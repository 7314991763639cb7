"""`cachetui get` against real servers: decoded, as a document, and byte for byte."""

from __future__ import annotations

import base64
import gzip
import json
import subprocess

import pytest

from cachetui.keyspace.portable import json_line, parse_lines, quoted, to_commands, to_record
from tests.servers import launch
from tests.servers.launch import Server
from tests.servers.program import command, environment, run

HOSTILE = (b"bad\x1b[2Jname", b"\xff\xfe", b"new\nline", b"a b", "ü日本".encode(), b"App\\name", b"")


def set_item(server: Server, key: str, data: bytes, flags: int = 0) -> None:
    from pymemcache.client.base import Client

    client = Client(("127.0.0.1", server.port), connect_timeout=2, timeout=2, default_noreply=False)
    client.set(key, data, flags=flags)
    client.close()


def test_a_string_is_printed_decoded(redis_like: Server) -> None:
    redis_like.command("SET", "doc", b'{"a":[1,{"b":2}]}')
    redis_like.command("SET", "zip", gzip.compress(b'{"a":[1,2]}'))
    done = run("get", redis_like.url, "doc")
    assert (done.code, done.err) == (0, "")
    assert json.loads(done.out) == {"a": [1, {"b": 2}]}
    assert run("get", redis_like.url, "doc", "--folded").lines == ["{", '  "a": […2]', "}"]
    zipped = run("get", redis_like.url, "zip")
    assert json.loads(zipped.out) == {"a": [1, 2]}
    assert zipped.line().startswith("cachetui: gzip of JSON, ")
    assert run("get", redis_like.url, "zip", "--decoder", "hex").lines[0].startswith("000000  1f 8b 08")
    assert run("get", redis_like.url, "doc", "--decoder", "gzip").lines[0].startswith("this is not gzip: ")


def test_raw_is_byte_for_byte(redis7: Server) -> None:
    data = bytes(range(256)) * 8192 + b"\n"
    redis7.command("SET", "big", data)
    redis7.command("HSET", "h", b"f\xff", b"\x1b\x00v")
    done = run("get", redis7.url, "big", "--raw")
    assert (done.code, done.err, done.raw == data) == (0, "", True)
    assert run("get", redis7.url, "h", "--raw", "--field", "f\\xff").raw == b"\x1b\x00v"
    assert run("get", redis7.url, "h", "--raw").raw == b"f\xff\n\x1b\x00v\n"


def test_a_long_string_is_cut_and_says_so(redis7: Server) -> None:
    redis7.command("SET", "long", "x" * 200_000)
    done = run("get", redis7.url, "long")
    assert done.code == 0 and done.raw == b"x" * 65536 + b"\n"
    assert done.line() == "cachetui: cut: 64.0KB of 195KB; --raw prints all of it"


def test_a_document_of_many_lines_is_cut_and_says_so(redis7: Server) -> None:
    redis7.command("SET", "long", json.dumps(list(range(5000))))
    done = run("get", redis7.url, "long")
    assert len(done.lines) == 2000 and done.lines[-1] == "  1998,"
    assert done.line() == "cachetui: cut after 2,000 lines; --raw prints all of it"


@pytest.mark.parametrize("key", HOSTILE)
def test_every_name_that_keys_prints_can_be_opened(redis7: Server, key: bytes) -> None:
    redis7.command("SET", key, "found")
    (name,) = run("keys", redis7.url).out.split("\n")[:-1]
    done = run("get", redis7.url, "--", name)
    assert (done.code, done.out) == (0, "found\n")


def test_the_habits_of_redis_cli_find_the_key(redis7: Server) -> None:
    redis7.command("SET", "k", "v")
    for args in (
        ["-p", str(redis7.port), "k"],
        ["-u", redis7.url, "k"],
        ["-h", "127.0.0.1", "k", "-p", f"{redis7.port}"],
    ):
        assert run("get", *args).out == "v\n"
    assert run("get", "k", env={"CACHETUI_URL": redis7.url}).out == "v\n"


def test_no_such_key_is_one_line_and_exit_code_1(redis_like: Server) -> None:
    for args in ([], ["--raw"], ["--field", "f"]):
        done = run("get", redis_like.url, "no\x1bkey", *args)
        assert (done.code, done.raw) == (1, b"")
        assert "there is no key no\\x1bkey" in done.line()
    done = run("get", redis_like.url, "missing", "--json")
    assert done.code == 1 and done.json()["error"]["code"] == "gone"
    redis_like.command("HSET", "h", "f", "v")
    assert "h has no g" in run("get", redis_like.url, "h", "--field", "g").line()


def test_what_cannot_be_asked_is_refused(redis7: Server) -> None:
    redis7.command("SET", "k", "v")
    assert run("get").code == 2
    assert "a KEY is needed" in run("get", redis7.url).line()
    assert run("get", redis7.url, "k", "--decoder", "nonsense").code == 2
    assert run("get", redis7.url, "k", "--raw", "--decoder", "hex").code == 2
    assert run("get", redis7.url, "k", "--raw", "--json").code == 2
    assert run("get", redis7.url, "k", "--field", "f").code == 2
    assert run("get", f"127.0.0.1:{launch.free_port()}", "k").code == 3


def test_collections_are_rows(redis7: Server) -> None:
    redis7.command("HSET", "h", "name", "Ada\x1b[1m", "doc", '{"a":1}')
    redis7.command("ZADD", "z", "1.5", "low", "inf", "high")
    redis7.command("RPUSH", "l", "a", "b")
    rows = run("get", redis7.url, "h")
    assert rows.lines[0].split() == ["field", "value"]
    assert sorted(line.split() for line in rows.lines[1:]) == [["doc", '{"a":1}'], ["name", "Ada\\x1b[1m"]]
    assert [line.split() for line in run("get", redis7.url, "z").lines][1:] == [["1.5", "low"], ["inf", "high"]]
    assert run("get", redis7.url, "l", "--field", "1").out == "b\n"
    assert run("get", redis7.url, "z", "--field", "low").out == "low\n"
    assert run("get", redis7.url, "z", "--raw").raw == b"low\n1.5\nhigh\ninf\n"


def test_a_long_collection_is_a_part_and_says_so(redis7: Server) -> None:
    redis7.command("RPUSH", "l", *map(str, range(3000)))
    done = run("get", redis7.url, "l", "--rows", "10")
    assert len(done.lines) == 11
    assert "10 of 3,000 elements" in done.line()


def test_all_of_a_long_collection(redis7: Server) -> None:
    redis7.command("RPUSH", "l", *map(str, range(3000)))
    redis7.command("SADD", "s", *map(str, range(3000)))
    assert run("get", redis7.url, "l", "--raw").lines == [str(number) for number in range(3000)]
    assert sorted(set(map(int, run("get", redis7.url, "s", "--raw").lines))) == list(range(3000))
    first = run("get", redis7.url, "l", "--rows", "1500", "--json").json()
    rest = run("get", redis7.url, "l", "--rows", "5000", "--json", "--start", first["next"]).json()
    assert [item["value"] for item in first["items"] + rest["items"]] == [str(number) for number in range(3000)]
    assert len(first["items"]) == 1500 and first["cut"] is True and rest["next"] is None
    assert run("get", redis7.url, "l", "--field", "2999").out == "2999\n"


def test_a_document(redis7: Server) -> None:
    redis7.command("SET", b"k\xff", b'{"a": 1}', "EX", "500")
    found = run("get", redis7.url, "k\\xff", "--json").json()
    assert (found["schema"], found["operation"], found["status"]) == (1, "get", "success")
    assert base64.b64decode(found["keyBase64"]) == b"k\xff" and "key" not in found
    assert (found["type"], found["encoding"], found["length"]) == ("string", "embstr", 8)
    assert 0 < found["ttlSeconds"] <= 500 and found["hasTtl"] and found["sizeBytes"] > 0
    assert (found["kind"], found["value"], found["cut"]) == ("JSON", '{"a": 1}', False)
    assert found["lines"] == ["{", '  "a": 1', "}"]
    redis7.command("HSET", "h", b"\xff", "v")
    assert run("get", redis7.url, "h", "--json").json()["items"] == [{"fieldBase64": "/w==", "value": "v"}]
    redis7.command("ZADD", "z", "-inf", "m")
    assert run("get", redis7.url, "z", "--json").json()["items"] == [{"member": "m", "score": "-inf"}]


def test_memcached(memcached: Server) -> None:
    set_item(memcached, "doc:1", b'{"a": 1}', flags=32)
    set_item(memcached, "blob", bytes(range(256)) * 1000)
    target = f"memcached://{memcached.address}"
    assert json.loads(run("get", target, "doc:1").out) == {"a": 1}
    assert run("get", memcached.address, "blob", "--raw").raw == bytes(range(256)) * 1000
    found = run("get", target, "doc:1", "--json").json()
    assert (found["type"], found["flags"], found["kind"]) == ("item", 32, "JSON")
    assert run("get", target, "missing").code == 1
    assert run("get", target, "with space").code not in (0, 1)


def test_a_reader_that_leaves_early_ends_it_quietly(redis7: Server) -> None:
    redis7.command("SET", "big", b"x" * 8_000_000)
    with subprocess.Popen(
        command("get", redis7.url, "big", "--raw"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.read(10) == b"x" * 10
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(30) == 0


def test_exported_keys_are_the_same_in_another_server(redis7: Server, new_server) -> None:  # type: ignore[no-untyped-def]
    odd = bytes(range(256))
    at_ms = 4_000_000_000_000
    records = [
        to_record(b"string \x1b\xff", "string", at_ms, odd),
        to_record(b"", "string", None, b""),
        to_record("ü\\n\"'".encode(), "hash", None, [(odd, b"v"), (b"", odd)]),
        to_record(b"list", "list", None, [b"%d" % number for number in range(1200)] + [odd, b""]),
        to_record(b"set", "set", at_ms, [odd, b"a b", b"'", b'"']),
        to_record(b"zset", "zset", None, [(odd, 0.1), (b"b", float("-inf")), (b"c", 1e300), (b"d", -0.0)]),
        to_record(b"stream", "stream", None, [(b"1-1", [(odd, b"x"), (b"", b"")]), (b"5-0", [(b"f", odd)])]),
    ]
    with redis7.client() as client:
        for record in parse_lines(map(json_line, records)):
            for sent in to_commands(record):
                client.execute_command(*sent)
    other = new_server("redis7", "--enable-debug-command", "yes")
    lines = "".join(quoted(sent) + "\n" for record in records for sent in to_commands(record))
    done = subprocess.run(
        [launch.redis_cli(), "-p", str(other.port)], input=lines.encode(), capture_output=True, timeout=60, check=True
    )
    assert b"ERR" not in done.stdout
    keys = redis7.command("KEYS", "*")
    assert isinstance(keys, list) and len(keys) == len(records)
    with redis7.client() as here, other.client() as there:
        assert here.execute_command("DEBUG", "DIGEST-VALUE", *keys) == there.execute_command(
            "DEBUG", "DIGEST-VALUE", *keys
        )
        assert here.execute_command("DEBUG", "DIGEST") == there.execute_command("DEBUG", "DIGEST")
        assert there.pexpiretime(b"set") == at_ms
        assert there.get(b"string \x1b\xff") == odd
