"""What the readings of all topologies share."""

from __future__ import annotations

from cachetui.source.redis.replies import as_bytes, as_text


def address_of(host: str, port: object) -> str:
    """Return `host:port`, with brackets for IPv6.

    >>> address_of("::1", "6379"), address_of("10.0.0.1", 7000)
    ('[::1]:6379', '10.0.0.1:7000')
    """
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def as_text_lines(reply: object) -> list[str]:
    """Return a text reply's lines, each printable."""
    return [as_text(line.strip(b"\r")) for line in as_bytes(reply).split(b"\n") if line.strip()]
