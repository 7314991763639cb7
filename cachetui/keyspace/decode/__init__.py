"""Values as safe lines of text. Nothing is ever loaded: what could run code is only named or taken apart."""

from cachetui.keyspace.decode.choices import DecoderChoices
from cachetui.keyspace.decode.described import LINES, Decoder, Described
from cachetui.keyspace.decode.layout import heads, hint, lines_of, preview
from cachetui.keyspace.decode.packed import UNPACKED_BYTES
from cachetui.keyspace.decode.table import DECODER_NAMES, TABLE, describe, guesses

__all__ = [
    "DECODER_NAMES",
    "LINES",
    "TABLE",
    "UNPACKED_BYTES",
    "Decoder",
    "DecoderChoices",
    "Described",
    "describe",
    "guesses",
    "heads",
    "hint",
    "lines_of",
    "preview",
]
