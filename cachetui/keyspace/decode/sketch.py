"""HyperLogLog: its header, and the count that its registers stand for."""

from __future__ import annotations

import math

from cachetui.keyspace.decode.described import Decoder, Described, Look
from cachetui.keyspace.decode.plain import hex_lines

_MAGIC = b"HYLL"
_HEADER = 16
_REGISTERS = 16_384
_LARGEST = 51
"""Values of a register: 64 bits less 14 that choose it, and one."""
_ALPHA = 0.721347520444481703680


def _read(data: bytes, _: Look) -> Described | None:
    if not _fits(data):
        return None
    encoding = {0: "dense", 1: "sparse"}.get(data[4], "unknown encoding")
    cached = int.from_bytes(data[8:16], "little")
    count = "count not cached" if cached >> 63 else f"cached count {cached:,}"
    registers = {0: _dense, 1: _sparse}.get(data[4], lambda _: None)(data[_HEADER:])
    if registers is None:
        estimate = "its registers are not all here"
    else:
        estimate = f"{round(_estimate(registers)):,} by its registers (standard error 0.81%)"
    return Described("HyperLogLog", (f"{encoding}, {count}", estimate, *hex_lines(data)))


def _fits(data: bytes) -> bool:
    return data.startswith(_MAGIC) and len(data) >= _HEADER


def _dense(packed: bytes) -> list[int] | None:
    """Return how many registers hold each value: six bits a register, lowest bits first. None when some are missing."""
    if len(packed) < _REGISTERS * 6 // 8:
        return None
    held = [0] * 64
    for at in range(0, _REGISTERS * 6 // 8, 3):
        word = packed[at] | packed[at + 1] << 8 | packed[at + 2] << 16
        for shift in (0, 6, 12, 18):
            held[word >> shift & 63] += 1
    return held


def _sparse(packed: bytes) -> list[int] | None:
    """Return the same of run lengths: ZERO 00xxxxxx, XZERO 01xxxxxx yyyyyyyy, VAL 1vvvvvxx."""
    held = [0] * 64
    at = 0
    while at < len(packed):
        byte = packed[at]
        if byte & 0x80:
            held[(byte >> 2 & 0x1F) + 1] += (byte & 3) + 1
        elif byte & 0x40:
            if at + 1 == len(packed):
                return None
            held[0] += ((byte & 0x3F) << 8 | packed[at + 1]) + 1
            at += 1
        else:
            held[0] += (byte & 0x3F) + 1
        at += 1
    return held if sum(held) == _REGISTERS else None


def _estimate(held: list[int]) -> float:
    """Return the cardinality by Ertl's estimator, as PFCOUNT does."""
    all_ = float(_REGISTERS)
    total = all_ * _tau((all_ - held[_LARGEST]) / all_)
    for value in range(_LARGEST - 1, 0, -1):
        total = 0.5 * (total + held[value])
    total += all_ * _sigma(held[0] / all_)
    return 0.0 if math.isinf(total) else _ALPHA * all_ * all_ / total


def _tau(share: float) -> float:
    if share in (0.0, 1.0):
        return 0.0
    weight, result = 1.0, 1 - share
    while True:
        share = math.sqrt(share)
        weight *= 0.5
        before = result
        result -= (1 - share) ** 2 * weight
        if before == result:
            return result / 3


def _sigma(share: float) -> float:
    if share == 1.0:
        return math.inf
    weight, result = 1.0, share
    while True:
        share *= share
        before = result
        result += share * weight
        weight += weight
        if before == result:
            return result


HYPERLOGLOG = Decoder("hyperloglog", _fits, _read)
