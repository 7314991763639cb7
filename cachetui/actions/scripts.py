"""The scripts that copy keys and delete what is still as it was copied. They handle few keys and end at once."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from cachetui.actions.plan import Command
from cachetui.errors import CacheError, Denied, ServerError, Unsupported
from cachetui.source.base import Source

LATER = 0
"""What is copied in one call is bounded: for this key there was no room."""

COPY = b"""\
local call, most = redis.call, tonumber(ARGV[1])
local now
if ARGV[2] == '0' then
  local time = call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
local out, held = {}, 0
for i, key in ipairs(KEYS) do
  local size = redis.pcall('MEMORY', 'USAGE', key)
  if type(size) == 'number' then held = held + size else size = 0 end
  if size > most then
    out[i] = size
  elseif held > 262144 and held > size then
    out[i] = 0
  else
    local dump = call('DUMP', key)
    if dump then
      local at = call(now and 'PTTL' or 'PEXPIRETIME', key)
      if at < 0 then
        out[i] = dump
      else
        out[i] = {dump, at + (now or 0)}
      end
    else
      out[i] = false
    end
  end
end
return out
"""
"""For each key its DUMP, with the moment it expires where it does; nil, a size that is too big, or `LATER`."""

DELETE = b"""\
local call, sub = redis.call, string.sub
local out, same = {}, {}
for i, key in ipairs(KEYS) do
  local dump = call('DUMP', key)
  if not dump then
    out[i] = 0
  elseif sub(dump, -8) == ARGV[i] then
    out[i] = 1
    same[#same + 1] = key
  else
    out[i] = -1
  end
end
if same[1] then call(ARGV[#KEYS + 1], unpack(same)) end
if #same == #KEYS then return 1 end
return out
"""
"""Delete what is still as it was copied: 1 when that is all; else for each key 1, 0 (gone already) or -1 (changed)."""

PUT_BACK = b"""\
local call, dumps = redis.call, {}
for i, key in ipairs(KEYS) do
  local size = redis.pcall('MEMORY', 'USAGE', key)
  if type(size) == 'number' and size > tonumber(ARGV[1]) then return -1 end
  local dump = call('DUMP', key)
  if (dump and string.sub(dump, -8) or '') ~= ARGV[3 * i - 1] then return -1 end
  dumps[i] = dump
end
for i, key in ipairs(KEYS) do
  if ARGV[3 * i] ~= '' then
    call('RESTORE', key, ARGV[3 * i + 1], ARGV[3 * i], 'REPLACE', 'ABSTTL')
  end
end
for i, key in ipairs(KEYS) do
  if ARGV[3 * i] == '' and dumps[i] then call('UNLINK', key) end
end
return 1
"""
"""Give keys their old content back (empty: none) if all of them are still as they were written.

What is bigger than what was written can be is not: to copy it would hold up the server. Where a
RESTORE is refused nothing has been deleted yet.
"""

_SCRIPTS = {hashlib.sha1(body).hexdigest().encode(): body for body in (COPY, DELETE, PUT_BACK)}
_DIGESTS = {body: digest for digest, body in _SCRIPTS.items()}


def call(body: bytes, keys: Sequence[bytes], arguments: Sequence[bytes]) -> Command:
    """Return the command that runs a script."""
    return (b"EVALSHA", _DIGESTS[body], b"%d" % len(keys), *keys, *arguments)


async def absolute_expiries(source: Source) -> bool:
    """Tell whether the server tells when a key expires, not only what is left. Raises CacheError."""
    try:
        return (await source.flags(("PEXPIRETIME",))).get("PEXPIRETIME") is not None
    except (Denied, Unsupported):  # nothing is known of any command: what all servers have will do
        return False


async def ask(source: Source, commands: Sequence[Command]) -> list[object]:
    """Return the replies. A script that a server does not know has done nothing: it is sent again, whole."""
    replies = await source.execute(commands) if commands else []
    unknown = [(at, full) for at, reply in enumerate(replies) if (full := _whole(commands[at], reply)) is not None]
    if unknown:
        fuller: list[object]
        try:
            fuller = await source.execute([full for _, full in unknown])
        except CacheError as error:
            fuller = [error] * len(unknown)  # what the others answered counts
        for (at, _), reply in zip(unknown, fuller, strict=True):
            replies[at] = reply
    return replies


def _whole(command: Command, reply: object) -> Command | None:
    """Return the command with its script in full, where the server said that it does not know it; else None."""
    if isinstance(reply, ServerError) and reply.word == "NOSCRIPT":
        return (b"EVAL", _SCRIPTS[command[1]], *command[2:])
    return None
