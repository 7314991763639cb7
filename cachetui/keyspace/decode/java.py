"""Java serialisation: named, with the classes it speaks of. Nothing is ever loaded."""

from __future__ import annotations

import re

from cachetui.keyspace.decode.described import Decoder, Described, Look
from cachetui.keyspace.decode.plain import hex_lines
from cachetui.text import printable

_MAGIC = b"\xac\xed\x00\x05"
_CLASSES = 50
# A class description: its mark, the length of the name, the name.
_CLASS = re.compile(rb"r([\x00-\x02].)((?:\[+[BCDFIJSZ]|\[*L?[A-Za-z_$][\w$.]*;?))", re.DOTALL)


def _read(data: bytes, _: Look) -> Described | None:
    if not data.startswith(_MAGIC):
        return None
    names = dict.fromkeys(_names(data))
    lines = [f"class {printable(name, 200)}" for name in list(names)[:_CLASSES]]
    return Described("Java object (not loaded)", (*lines, *hex_lines(data)))


def _names(data: bytes) -> list[bytes]:
    found = []
    for match in _CLASS.finditer(data):
        length = int.from_bytes(match[1], "big")
        # What follows a name may look like more of it.
        if 0 < length <= len(match[2]):
            found.append(match[2][:length])
    return found


JAVA = Decoder("java", lambda data: data.startswith(_MAGIC), _read)
