"""SLOWLOG and CLIENT LIST to snapshots."""

from __future__ import annotations

from collections.abc import Iterable

from cachetui.model import ClientInfo, SlowEntry
from cachetui.source.redis.replies import as_bytes, as_int, as_list, as_text


def parse_slowlog(reply: object) -> tuple[SlowEntry, ...]:
    """Return SLOWLOG GET's entries as the server orders them; fields a newer server adds are passed over."""
    entries = []
    for item in as_list(reply):
        parts = as_list(item)
        number, at = (as_int(parts[0]), as_int(parts[1])) if len(parts) >= 4 else (None, None)
        if number is None or at is None:
            continue
        args = tuple(as_bytes(arg) for arg in as_list(parts[3]))
        client = as_text(parts[4], 200) if len(parts) > 4 else ""
        name = as_text(parts[5], 200) if len(parts) > 5 else ""
        entries.append(SlowEntry(number, float(at), as_int(parts[2]), args, client, name))
    return tuple(entries)


def parse_clients(text: bytes, own_ids: frozenset[int], own_name: str) -> tuple[ClientInfo, ...]:
    """Return CLIENT LIST's lines. Ours are known by their ids, or by name where no id is known."""
    return tuple(_client(fields, own_ids, own_name) for fields in client_fields(text))


def client_fields(text: bytes) -> Iterable[dict[str, str]]:
    r"""Yield each line's fields, whatever they are called.

    >>> list(client_fields(b"id=3 addr=1.2.3.4:5 name= cmd=client|list\n\n"))
    [{'id': '3', 'addr': '1.2.3.4:5', 'name': '', 'cmd': 'client|list'}]
    """
    for line in text.split(b"\n"):
        parts = (word.partition("=") for word in as_text(line.strip(b"\r")).split(" "))
        fields = {name: value for name, equals, value in parts if equals}
        if fields:
            yield fields


def _client(fields: dict[str, str], own_ids: frozenset[int], own_name: str) -> ClientInfo:
    def number(name: str) -> int | None:
        return as_int(fields.get(name))

    client_id, name = number("id"), fields.get("name", "")
    counts = [count for count in (number("sub"), number("psub"), number("ssub")) if count is not None]
    output = [count for count in (number("omem"), number("obl")) if count is not None]
    library = fields.get("lib-name", "")
    version = fields.get("lib-ver", "")
    return ClientInfo(
        client_id=client_id,
        address=fields.get("addr", ""),
        name=name,
        age_s=number("age"),
        idle_s=number("idle"),
        db=number("db"),
        user=fields.get("user", ""),
        command=fields.get("cmd", ""),
        flags=fields.get("flags", ""),
        memory_bytes=number("tot-mem"),
        output_bytes=sum(output) if output else None,
        query_bytes=number("qbuf"),
        subscriptions=sum(counts) if counts else None,
        net_in_bytes_total=number("tot-net-in"),
        net_out_bytes_total=number("tot-net-out"),
        commands_total=number("tot-cmds"),
        library=f"{library} {version}".strip(),
        ours=client_id in own_ids if own_ids else name == own_name,
    )
