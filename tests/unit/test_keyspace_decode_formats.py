"""Each decoder on what other programs write, and on what nobody should."""

from __future__ import annotations

import gzip
import json
import pickle
import struct
import subprocess
import sys
import time
import uuid
import zlib

import brotli
import lz4.block
import lz4.frame
import msgpack
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from cachetui.keyspace.decode import DECODER_NAMES, LINES, UNPACKED_BYTES, describe, guesses
from tests.servers.launch import Server

DOCUMENT = {"name": "Ada", "tags": ["a", "b"], "deep": {"x": {"y": None}}, "none": []}
JSON = json.dumps(DOCUMENT).encode()
COMPRESSED = {
    "gzip": gzip.compress,
    "zlib": zlib.compress,
    "zstd": zstandard.compress,
    "lz4": lz4.frame.compress,
    "brotli": brotli.compress,
}


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


# Anything at all


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400), st.sampled_from((None, "nothing", *DECODER_NAMES)), st.booleans(), st.booleans())
def test_no_bytes_break_a_decoder(data: bytes, decoder: str | None, folded: bool, whole: bool) -> None:
    described = describe(data, decoder, folded=folded, whole=whole)
    assert described.kind.isprintable()
    assert all(line.isprintable() for line in described.lines)
    assert len(described.lines) <= LINES + 3
    assert "\x1b" not in "".join(described.lines)


PREFIXES = (
    b"\x1f\x8b\x08", b"\x78\x9c", b"\x28\xb5\x2f\xfd", b"\x04\x22\x4d\x18", b"\xac\xed\x00\x05", b"\x80\x04",
    b"\x80\x02", b"HYLL\x00\x00\x00\x00", b"HYLL\x01\x00\x00\x00", b"\x00\x00\x00\x02", b"a:2:{", b"x|s:", b"{\"",
    b"[[", b"\x92", b"\x82\xa1a", b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\x0a\x05",
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(PREFIXES), st.binary(max_size=200), st.sampled_from((None, *DECODER_NAMES)), st.booleans())
def test_no_broken_beginning_breaks_a_decoder(prefix: bytes, data: bytes, decoder: str | None, whole: bool) -> None:
    described = describe(prefix + data, decoder, whole=whole)
    assert described.lines or described.kind.endswith("empty")
    assert all(line.isprintable() for line in described.lines)
    assert guesses(prefix + data)[-1] == "hex"


@pytest.mark.parametrize("decoder", [None, *DECODER_NAMES])
@pytest.mark.parametrize(
    "data",
    [
        b"\x00" * 4_000_000,
        b'"' + b'\\"' * 1_000_000,
        b"[" * 1_000_000,
        b'{"a":' * 300_000,
        b"\xdc\xff\xff" * 300_000,
        b"\x91" * 1_000_000,
        b"a:1:{i:0;" * 100_000,
        b"\x0a\xff\xff\x3f" * 200_000,
        b"\x80\x04" + b"]" * 1_000_000,
        gzip.compress(b"") * 50_000,
        b"\xe2\x80\xae" * 300_000,
        b"9" * 1_000_000,
    ],
    ids=lambda data: repr(data[:4]),
)
def test_large_and_nested_data_stays_bounded(data: bytes, decoder: str | None) -> None:
    began = time.process_time()
    described = describe(data, decoder)
    # Far above what it takes: this catches only what grows with the square.
    assert time.process_time() - began < 20
    assert len(described.lines) <= LINES + 3


# What fits


def test_the_fitting_ones_come_best_first() -> None:
    assert guesses(JSON)[:2] == ["json", "text"]
    assert guesses(gzip.compress(JSON))[0] == "gzip"
    assert guesses(b"1700000000")[:2] == ["integer", "text"]
    assert "timestamp" in guesses(b"1700000000") and "timestamp" not in guesses(b"17")
    assert guesses(b"\x00\x01\x02")[-2:] == ["bits", "hex"]
    assert guesses(b"") == []


def test_names_stay_in_one_order() -> None:
    assert len(set(DECODER_NAMES)) == len(DECODER_NAMES)
    assert DECODER_NAMES[-1] == "hex"
    assert [name for name in DECODER_NAMES if name in guesses(JSON)] == guesses(JSON)


def test_a_decoder_that_does_not_fit_says_so_and_shows_the_bytes() -> None:
    assert describe(b"plain", "gzip").lines == ("this is not gzip: incorrect header check", "plain")
    refused = describe(b"\x00\xff", "json")
    assert refused.kind == "binary"
    assert refused.lines == ("this is not json", "000000  00 ff                                            ..")
    assert describe(b"plain", "no\x1bsuch").lines[0] == "there is no decoder no\\x1bsuch"
    assert describe(b"a\nb", "hex").kind == "binary"


# JSON


def test_folded_json_counts_what_it_hides() -> None:
    assert describe(JSON, folded=True).lines == (
        "{",
        '  "name": "Ada",',
        '  "tags": […2],',
        '  "deep": {…1},',
        '  "none": []',
        "}",
    )
    assert describe(b'[1, [2, [3, 4]], {"a": {"b": 1, "c": 2}, "d": 3}, []]', folded=True).lines == (
        "[",
        "  1,",
        "  […2],",
        "  {…2},",
        "  []",
        "]",
    )
    assert describe(b"{}", folded=True).lines == ("{}",)


@given(st.dictionaries(st.text(), st.lists(st.integers()) | st.dictionaries(st.text(), st.integers()) | st.text()))
def test_folded_json_has_a_line_for_each_member(document: dict[str, object]) -> None:
    lines = describe(json.dumps({"": 0, **document}).encode(), folded=True).lines
    assert len(lines) == 2 + len({"": 0, **document})
    for line, member in zip(lines[1:], {"": 0, **document}.values(), strict=False):
        if isinstance(member, list | dict) and member:
            assert line.rstrip(",").endswith((f"[…{len(member)}]", f"{{…{len(member)}}}"))


def test_the_beginning_of_json_is_laid_out_only_when_more_was_left_out() -> None:
    for end in range(2, len(JSON)):
        cut = describe(JSON[:end], whole=False)
        assert cut.kind == "JSON (its beginning)", JSON[:end]
        assert describe(JSON[:end]).kind == "text"
    assert describe(b'{"a": nonsense and more of it, for more than a word is not JSON', whole=False).kind == "text"


# Compressed


@pytest.mark.parametrize("name", COMPRESSED)
def test_compressed_json_is_shown_as_json(name: str) -> None:
    packed = COMPRESSED[name](JSON)
    assert describe(packed).kind == f"{name} of JSON"
    assert describe(packed).lines == describe(JSON).lines
    assert describe(packed, folded=True).lines == describe(JSON, folded=True).lines
    assert describe(packed, name).lines == describe(JSON).lines


@pytest.mark.parametrize("name", COMPRESSED)
def test_bombs_are_cut(name: str) -> None:
    described = describe(COMPRESSED[name](b"a" * 50_000_000))
    assert described.kind == f"{name} of text" or name == "brotli"
    described = describe(COMPRESSED[name](b"a" * 50_000_000), name)
    assert described.lines[-1].startswith("… cut after")
    assert sum(map(len, described.lines)) < UNPACKED_BYTES + 100


@pytest.mark.parametrize("name", COMPRESSED)
def test_the_beginning_of_compressed_data_is_named_or_unpacked(name: str) -> None:
    noise = b"".join(uuid.uuid5(uuid.NAMESPACE_URL, str(number)).bytes for number in range(20_000)).hex().encode()
    packed = COMPRESSED[name](noise)
    for length in (40, 5_000, 64 * 1024):
        described = describe(packed[:length], None if name != "brotli" else name, whole=False)
        assert described.lines
        assert described.kind.startswith(name) or name == "brotli"


def test_formats_without_a_mark_are_read_when_asked() -> None:
    assert describe(raw_deflate(JSON), "deflate").kind == "deflate of JSON"
    assert describe(lz4.block.compress(JSON), "lz4-block").kind == "lz4-block of JSON"
    assert describe(lz4.block.compress(JSON, store_size=False), "lz4-block").kind == "lz4-block of JSON"
    assert describe(raw_deflate(JSON)).kind == "binary"


def test_packings_in_packings_are_opened_three_deep() -> None:
    twice = gzip.compress(zstandard.compress(JSON))
    assert describe(twice).kind == "gzip of zstd of JSON"
    assert describe(gzip.compress(zlib.compress(twice))).kind == "gzip of zlib of gzip of binary"
    assert describe(gzip.compress(b"one ") + gzip.compress(b"two")).lines == ("one two",)


def test_text_that_begins_like_a_packing_stays_text() -> None:
    assert describe(b"x^2 + y^2").kind == "text"
    assert describe(b"BZh and more").kind == "text"


def test_a_missing_package_is_named() -> None:
    script = """
import sys
for name in ("zstandard", "lz4", "lz4.frame", "lz4.block", "brotli", "msgpack"):
    sys.modules[name] = None
from cachetui.keyspace.decode import describe, guesses
zstd, lz4 = b"\\x28\\xb5\\x2f\\xfd\\x00", b"\\x04\\x22\\x4d\\x18\\x00"
for data, name in ((zstd, None), (lz4, None), (b"\\x00\\x01", "brotli")):
    found = describe(data, name)
    print(found.kind, "|", found.lines[0])
print(describe(bytes.fromhex("82a16101a16202")).kind, describe(b"\\xff\\x00").kind)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines() == [
        "zstd | to see what is inside: pip install cachetui[codecs]",
        "lz4 | to see what is inside: pip install cachetui[codecs]",
        "brotli | to see what is inside: pip install cachetui[codecs]",
        "MessagePack binary",
    ]


# Serialised


def test_messagepack_is_read_as_its_library_writes_it() -> None:
    packed = msgpack.packb({**DOCUMENT, "n": -3, "big": 2**63, "f": 1.5, "b": b"\x00\xff", "t": msgpack.Timestamp(0)})
    described = describe(packed)
    assert described.kind == "MessagePack"
    assert described.lines[1:5] == ('  "name": "Ada"', '  "tags": [', '    "a"', '    "b"')
    assert set(described.lines) >= {
        '  "n": -3',
        '  "big": 9223372036854775808',
        '  "f": 1.5',
        '  "b": bytes 2B 00 ff',
        '  "t": timestamp 1970-01-01 00:00:00 UTC',
        '  "none": []',
    }
    assert describe(packed, folded=True).lines[:4] == ("{", '  "name": "Ada"', '  "tags": […2]', '  "deep": {…1}')


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(), inner, max_size=20),
    max_leaves=30,
)


@given(st.dictionaries(st.text(), PLAIN, min_size=1))
def test_every_messagepack_map_is_recognised(document: dict[str, object]) -> None:
    packed = msgpack.packb(document)
    assert describe(packed, "msgpack").kind == "MessagePack"
    assert guesses(packed)[0] in ("msgpack", "text", "uuid", "timestamp")
    assert len(describe(packed, "msgpack", folded=True).lines) == 2 + len(document)


def test_claimed_lengths_reserve_nothing() -> None:
    assert describe(b"\xdd\xff\xff\xff\xff" * 1000).kind == "binary"
    assert describe(b"\xc6\xff\xff\xff\xff", "msgpack").lines[0].startswith("this is not msgpack: it ends")
    assert describe(msgpack.packb(list(range(1000)))[:500], whole=False).lines[-1].startswith("… it ends at byte 500")


def test_pickles_are_taken_apart() -> None:
    described = describe(pickle.dumps({"id": uuid.UUID(int=5)}))
    assert described.kind == "pickle (not loaded)"
    assert described.lines[0] == "names uuid.UUID"
    assert any("SHORT_BINUNICODE" in line and "'id'" in line for line in described.lines)
    assert describe(b"cos\nsystem\n(S'true'\ntR.").lines[0] == "names os.system"
    huge = pickle.dumps(1 << 200_000)
    assert any(line.endswith("an integer of 200,001 bits") for line in describe(huge).lines)
    assert describe(pickle.dumps(list(range(5000)))).lines[-1] == f"… cut after {LINES:,} steps"
    assert describe(pickle.dumps(["x" * 5000, "y" * 5000])[:300], whole=False).kind == "pickle (not loaded)"
    assert describe(b"\x80\x04 no pickle").kind != "pickle (not loaded)"


def test_php_is_read_as_a_tree() -> None:
    data = (
        b'a:3:{s:4:"user";O:3:"Foo":2:{s:6:"\x00*\x00bar";b:1;s:8:"\x00Foo\x00baz";d:0.5;}i:0;N;i:1;s:3:"\xff\x1b[";}'
    )
    assert describe(data).lines == (
        "[",
        '  "user": Foo {',
        '    "bar" (protected): true',
        '    "baz" (private of Foo): 0.5',
        "  }",
        "  0: null",
        "  1: 3B ff 1b 5b",
        "]",
    )
    assert describe(data, folded=True).lines[1] == '  "user": Foo {…2}'
    assert describe(b'user|s:5:"alice";cart|a:0:{}').kind == "PHP session (not loaded)"
    assert describe(b'user|s:5:"alice";cart|a:0:{}').lines == ("{", '  user: "alice"', "  cart: []", "}")
    assert describe(b'E:9:"Suit:Red";').kind == "text"
    assert describe(b'E:9:"Suit:Red";', whole=False).kind == "text"
    assert describe(b'E:10:"Suit::Reds";').lines == ('case "Suit::Reds"',)
    assert describe(b'C:3:"Box":2:{xy}').lines == ("Box 2B 78 79",)
    assert describe(data[:40], whole=False).kind == "PHP serialized (not loaded)"
    assert describe(b"N; and then some").kind == "text"
    assert describe(b"\x00\x00\x00\x02\x14\x01\x06\x05").kind == "igbinary (not loaded)"


def test_java_names_its_classes() -> None:
    data = b"\xac\xed\x00\x05sr\x00\x11java.util.HashMap\x05\x07\xda\xc1\xc3\x16\x60\xd1\x03\x00\x02F\x00\nloadFactor"
    described = describe(data + b"sr\x00\x0ccom.shop.Car\x00\x00")
    assert described.kind == "Java object (not loaded)"
    assert described.lines[:2] == ("class java.util.HashMap", "class com.shop.Car")


def test_protocol_buffers_are_read_by_wire_type() -> None:
    inner = b"\x08\x96\x01"
    data = b"\x08\x96\x01\x12\x07testing\x1a\x03" + inner + b"\x21" + struct.pack("<d", 3.25) + b"\x2d\x00\x00\x80\x3f"
    described = describe(data)
    assert described.kind == "Protocol Buffers (a guess)"
    assert described.lines == (
        "{",
        "  1: varint 150",
        '  2: "testing"',
        "  3: {",
        "    1: varint 150",
        "  }",
        "  4: 64-bit 4614500768194494464 (as a float 3.25)",
        "  5: 32-bit 1065353216 (as a float 1)",
        "}",
    )
    assert describe(data, "protobuf").kind == "Protocol Buffers"
    assert describe(b"\x08\x96\x01").kind == "binary", "too little for a guess"
    assert describe(b"\x08\x96\x01", "protobuf").lines == ("{", "  1: varint 150", "}")
    assert describe(b"\x08" + b"\xff" * 9 + b"\x01", "protobuf").lines[1] == (
        "  1: varint 18446744073709551615 (signed -1) (zigzag -9223372036854775808)"
    )


# Numbers and the like


def test_integers_show_the_moment_they_may_be() -> None:
    assert describe(b"1700000000").lines == ("1700000000", "as a time: 2023-11-14 22:13:20 UTC (Unix seconds)")
    assert describe(b"1700000000123").lines[1] == "as a time: 2023-11-14 22:13:20.123 UTC (Unix milliseconds)"
    assert describe(b"1700000000123456").lines[1] == "as a time: 2023-11-14 22:13:20.123456 UTC (Unix microseconds)"
    assert describe(b"999").lines == ("999",)
    assert describe(b"1e9").kind == "text"
    assert describe(struct.pack("<I", 1_700_000_000), "timestamp").lines[0] == (
        "little-endian 2023-11-14 22:13:20 UTC (Unix seconds)"
    )
    assert describe(b"1700000000.5", "timestamp").lines[0] == "2023-11-14 22:13:20.5 UTC (Unix seconds)"


def test_fixed_width_numbers_when_asked() -> None:
    assert describe(struct.pack("<q", -5), "int64-le").lines == ("18446744073709551611 (signed -5)",)
    assert describe(struct.pack(">2i", 7, -1), "int32-be").lines == ("7", "4294967295 (signed -1)")
    assert describe(struct.pack("<3f", 1, 2.5, -3), "float32-le").lines == ("1", "2.5", "-3")
    assert describe(struct.pack(">d", 0.125), "float64-be").lines == ("0.125",)
    assert describe(b"abc", "int32-le").lines == ("this is not int32-le", "abc")


def test_bits_count_as_the_server_counts(redis7: Server) -> None:
    for bit in (0, 9, 23):
        redis7.command("SETBIT", "bits", str(bit), "1")
    data = redis7.command("GET", "bits")
    assert isinstance(data, bytes)
    assert describe(data, "bits").lines == (
        "3 of 24 set",
        "positions 0 9 23",
        "       0  10000000 01000000 00000001",
    )


@pytest.mark.parametrize("members", [0, 3, 500, 20_000])
def test_hyperloglogs_are_counted_as_the_server_counts(redis7: Server, members: int) -> None:
    with redis7.client() as client:
        client.pfadd("hll", *range(members))
        counted = client.pfcount("hll")
        data = client.get("hll")
    encoding = "dense" if members == 20_000 else "sparse"
    described = describe(data)
    assert described.kind == "HyperLogLog"
    assert described.lines[0] == f"{encoding}, cached count {counted:,}"
    assert described.lines[1] == f"{counted:,} by its registers (standard error 0.81%)"
    assert describe(data[:-1]).lines[1] == "its registers are not all here"


def test_uuids() -> None:
    found = uuid.UUID("0190163d-8694-739b-aea5-966c26f8ad91")
    assert describe(str(found).encode()).lines == (str(found), "version 7, made at 2024-06-14 10:14:09.3 UTC")
    assert describe(found.bytes).kind == "UUID (16 bytes)"
    assert describe(found.bytes).lines[0] == str(found)
    assert describe(uuid.UUID("c232ab00-9414-11ec-b3c8-9f6bdeced846").bytes).lines[1] == (
        "version 1, made at 2022-02-22 19:22:22 UTC"
    )
    assert describe(b"\x00" * 16).kind == "binary"
    assert describe(b"\x00" * 16, "uuid").lines[0] == str(uuid.UUID(int=0))


def test_latin1_when_asked() -> None:
    assert describe(b"caf\xe9\n\x9b31m").kind == "binary"
    assert describe(b"caf\xe9\n\x9b31m", "latin-1").lines == ("café", "\\u009b31m")
