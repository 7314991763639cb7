"""What to connect to and how to look: plain data. No secret shows in a repr."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Literal

from cachetui.text import printable

TargetKind = Literal["auto", "redis", "sentinel", "cluster", "memcached", "replay"]

HASHINGS = ("rendezvous", "ketama", "consistent", "modulo", "crc32", "md5")
"""How clients of several Memcached servers spread their keys."""

TIMEOUT_S = 2.0

INTERVAL_RANGE_S = (0.2, 3600.0)
"""How often a server may be asked."""


class Secret(str):
    """A password: a str that never shows itself in a repr. Write it out only to the server."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "Secret('***')"


@dataclass(frozen=True, slots=True)
class Tls:
    """How to speak TLS."""

    ca_file: str | None = None
    ca_dir: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    key_password: Secret | None = None
    server_name: str | None = None
    verify: bool = True
    """False after `--insecure`: the connection is encrypted and anybody may be at its end."""


@dataclass(frozen=True, slots=True)
class Address:
    """A host and port, or a unix socket."""

    host: str = ""
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        if self.path:
            return self.path
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Target:
    """One thing to connect to."""

    kind: TargetKind
    """`auto`: ask the server what it is."""
    addresses: tuple[Address, ...]
    """Several for Sentinel, Cluster and Memcached; for `auto` the places to look, best first."""
    user: str | None = None
    password: Secret | None = None
    db: int = 0
    service: str | None = None
    """The Sentinel group's name."""
    sentinel_user: str | None = None
    sentinel_password: Secret | None = None
    tls: Tls | None = None
    """None: plain."""
    sentinel_tls: Tls | None = None
    """How to speak TLS with the Sentinels where that differs; None: as with the servers."""
    sentinel_plain: bool = False
    """The Sentinels speak no TLS, whatever the servers do."""
    timeout_s: float = TIMEOUT_S
    """Deadline of each call, 1 to 3 seconds for interactive use."""
    path: str = ""
    """The recording of a `replay` target."""
    hashing: str = ""
    """One of `HASHINGS`; empty: found out from where keys are seen."""

    @property
    def tls_of_sentinels(self) -> Tls | None:
        """How to speak with the Sentinels; None: plain."""
        return None if self.sentinel_plain else self.sentinel_tls or self.tls

    @property
    def name(self) -> str:
        """The target for display: a URL without user and password, printable."""
        return printable(_name(self))


def _name(target: Target) -> str:
    where = ",".join(str(address) for address in target.addresses)
    redis = "rediss" if target.tls else "redis"
    match target.kind:
        case "replay":
            return f"replay:{PurePath(target.path).name}"
        case "auto":
            return where
        case "memcached":
            return f"memcached+unix://{where}" if target.addresses[0].path else f"memcached://{where}"
        case "sentinel":
            return f"{redis}+sentinel://{where}/{target.service or ''}/{target.db}"
        case "cluster":
            return f"{redis}+cluster://{where}"
        case _ if target.addresses[0].path:
            return f"unix://{where}" + (f"?db={target.db}" if target.db else "")
        case _:
            return f"{redis}://{where}/{target.db}"


@dataclass(frozen=True, slots=True)
class Settings:
    """How to look and what is allowed: flags over environment over profile over file."""

    read_only: bool = False
    read_only_reason: str = ""
    """Where read-only came from: `--read-only`, `profile prod`."""
    armable: bool = False
    """A profile that is read-only by default and may be armed with `W`."""
    interval_s: float = 1.0
    theme: str = "dark"
    """A theme's name or the path of a TOML file."""
    label: str = ""
    """A word for the header, `PROD`."""
    label_color: str = ""
    """Its colour (`red`, `#ff0000`)."""
    slow_link: bool = False
    ascii: bool = False
    color: bool = True
    separator: str = ":"
    """Between the parts of a key's name."""
    production: bool = False
    """Every change asks for the target's typed name."""
    tag_template: str = "tag:{tag}"
    """The name of a tag's set, with `{tag}` where the tag stands."""
    keymap: dict[str, str] = field(default_factory=dict)
    """Command id to press: overrides, validated against the command table."""
    profile: str = ""
