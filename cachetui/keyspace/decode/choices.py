"""Which decoder the user picked, by prefix of the key."""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import os
from pathlib import Path

from cachetui.errors import BadConfig
from cachetui.keyspace.decode.table import DECODER_NAMES
from cachetui.text import clean_utf8, printable

CHOICES = 500
"""Most prefixes remembered; the one chosen longest ago goes first."""
PREFIX_BYTES = 512
_FILE_BYTES = 1024 * 1024
_SCHEMA = 1


class DecoderChoices:
    """Prefixes and the decoder chosen for each; the longest prefix that fits a key wins."""

    def __init__(self) -> None:
        self._names: dict[bytes, str] = {}

    def __len__(self) -> int:
        return len(self._names)

    def of(self, key: bytes) -> str | None:
        """Return the decoder's name for `key`, or None: the one that fits best."""
        for length in sorted({len(prefix) for prefix in self._names}, reverse=True):
            name = self._names.get(key[:length]) if length <= len(key) else None
            if name is not None:
                return name
        return None

    def choose(self, prefix: bytes, name: str | None) -> None:
        """Remember `name` for the keys that begin with `prefix` (None: forget it). Raises ValueError."""
        if name is not None and name not in DECODER_NAMES:
            raise ValueError(f"there is no decoder {printable(name, 40)}")
        prefix = prefix[:PREFIX_BYTES]
        self._names.pop(prefix, None)
        if name is None:
            return
        self._names[prefix] = name
        while len(self._names) > CHOICES:
            del self._names[next(iter(self._names))]

    def save(self, path: Path) -> None:
        """Write them all to `path` at once, readable by its owner only. Raises OSError."""
        rows = [{**_named(prefix), "decoder": name} for prefix, name in self._names.items()]
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        draft.unlink(missing_ok=True)
        try:
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
                json.dump({"schema": _SCHEMA, "choices": rows}, file, indent=1)
            draft.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):  # it may be in its place already
                draft.unlink()
            raise

    @classmethod
    def load(cls, path: Path) -> DecoderChoices:
        """Return what `save` wrote; none when there is no such file. Raises BadConfig, OSError."""
        choices = cls()
        try:
            with path.open("rb") as file:
                data = file.read(_FILE_BYTES)
            rows = json.loads(data)["choices"]
            for row in rows:
                # A decoder of a newer version is not known here: the others still count.
                if row["decoder"] in DECODER_NAMES:
                    choices.choose(_prefix(row), row["decoder"])
        except FileNotFoundError:
            return choices
        except (ValueError, LookupError, TypeError, RecursionError) as error:
            raise BadConfig(f"{printable(str(path))} holds no choices of decoders", "remove the file") from error
        return choices


def _named(prefix: bytes) -> dict[str, str]:
    clean = clean_utf8(prefix)
    return {"prefixBase64": base64.b64encode(prefix).decode("ascii")} if clean is None else {"prefix": clean}


def _prefix(row: dict[str, str]) -> bytes:
    if "prefix" in row:
        return row["prefix"].encode("utf-8")
    try:
        return base64.b64decode(row["prefixBase64"], validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from error
