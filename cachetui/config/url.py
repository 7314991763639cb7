"""Targets from text: URLs, `host:port`, sockets. An error message never repeats a password."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from urllib.parse import unquote

from cachetui.config.target import HASHINGS, Address, Secret, Target, TargetKind, Tls
from cachetui.errors import BadTarget
from cachetui.text import printable

REDIS_PORT = 6379
SENTINEL_PORT = 26379
MEMCACHED_PORT = 11211

FORMS = (
    "use redis://[user:password@]host[:port][/db], rediss://, valkey://, valkeys://, unix://path, "
    "redis+sentinel://host:port,.../name, redis+cluster://host:port, memcached://host:port, "
    "host:port or the name of a profile"
)
_ENCODE = "write / ? # @ and % in a user name or password as %2F %3F %23 %40 %25"
_LABEL = re.compile(r"^[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?$")
_IPV6 = re.compile(r"^[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(%[A-Za-z0-9_.-]+)?$")
_NOT_A_PORT = re.compile(r"(?<![\[:]):(?!\d+(?:[,/]|$))[^,/\[\]:]+")
"""What stands in a port's place and is none may be a password."""
_MAX_DB = 2**31 - 1

_SCHEMES: dict[str, tuple[TargetKind, bool, bool]] = {
    "redis": ("redis", False, False),
    "valkey": ("redis", False, False),
    "rediss": ("redis", True, False),
    "valkeys": ("redis", True, False),
    "unix": ("redis", False, True),
    "redis+unix": ("redis", False, True),
    "valkey+unix": ("redis", False, True),
    "redis+sentinel": ("sentinel", False, False),
    "valkey+sentinel": ("sentinel", False, False),
    "rediss+sentinel": ("sentinel", True, False),
    "valkeys+sentinel": ("sentinel", True, False),
    "redis+cluster": ("cluster", False, False),
    "valkey+cluster": ("cluster", False, False),
    "rediss+cluster": ("cluster", True, False),
    "valkeys+cluster": ("cluster", True, False),
    "memcached": ("memcached", False, False),
    "memcache": ("memcached", False, False),
    "memcached+unix": ("memcached", False, True),
}
"""Scheme to kind, whether it speaks TLS, and whether it names a socket."""

_PORTS: dict[TargetKind, int] = {"sentinel": SENTINEL_PORT, "memcached": MEMCACHED_PORT}

_FOREIGN_OPTIONS = frozenset(
    {
        "client_name",
        "decode_responses",
        "encoding",
        "encoding_errors",
        "health_check_interval",
        "lib_name",
        "lib_version",
        "max_connections",
        "protocol",
        "retry_on_error",
        "retry_on_timeout",
        "single_connection_client",
        "socket_connect_timeout",
        "socket_keepalive",
        "socket_read_size",
        "socket_timeout",
        "ssl_ca_data",
        "ssl_min_version",
        "timeout",
        "virtual_host",
    }
)
"""What other clients' URLs carry and what does not concern us: REDIS_URL is often shared with them."""


def parse_target(text: str, *, tls: Tls | None = None, user: str | None = None, password: str | None = None) -> Target:
    """Return the target that `text` names; profiles are not known here.

    `tls`, `user` and `password` are used where the text itself says nothing.
    Raises BadTarget.

    >>> target = parse_target("rediss://bob:s%2Fecret@cache/2")
    >>> target.name, target.user, target.password
    ('rediss://cache:6379/2', 'bob', Secret('***'))
    >>> parse_target("[::1]:7000").kind, parse_target("memcached://a,b:1").name
    ('auto', 'memcached://a:11211,b:1')
    """
    scheme, separator, rest = text.strip().partition("://")
    target = _from_url(scheme.lower(), rest) if separator else _from_address(text.strip())
    if tls is not None and target.tls is None:
        target = replace(target, kind="redis" if target.kind == "auto" else target.kind, tls=tls)
    if user and target.user is None:
        target = replace(target, user=user)
    if password and target.password is None:
        target = replace(target, password=Secret(password))
    return target


def shown(text: str) -> str:
    """Return `text` for a message, with everything that may be a secret taken out.

    >>> shown("redis://bob:pw@h/0?password=x"), shown("redis://:a/b@h"), shown("redis://:pw")
    ('redis://***@h/0?...', 'redis://***@h', 'redis://:***')
    """
    scheme, separator, rest = text.strip().partition("://") if "://" in text else ("", "", text.strip())
    if "@" in rest:
        rest = "***@" + rest.rpartition("@")[2]
    path, question, _ = rest.partition("?")
    path = _NOT_A_PORT.sub(":***", path)
    return printable(f"{scheme}{separator}{path}" + ("?..." if question else ""), 120)


def _from_url(scheme: str, rest: str) -> Target:
    if scheme not in _SCHEMES:
        raise BadTarget(f"unknown kind of target: {printable(scheme, 40)}://", FORMS)
    kind, encrypted, is_socket = _SCHEMES[scheme]
    url = shown(f"{scheme}://{rest}")
    rest = rest.partition("#")[0] if "#" in rest and "@" not in rest.partition("#")[2] else rest
    body, _, query = rest.partition("?")
    authority, slash, path = body.partition("/")
    userinfo, at, hosts = authority.rpartition("@")
    if "@" in path or ("@" in query and not at and not query.startswith(_QUERY_NAMES)):
        raise BadTarget(f"{url}: an @ stands where none can be", _ENCODE)
    user, _, password = userinfo.partition(":")
    target = Target(
        kind=kind,
        addresses=(),
        user=_decoded(user, url) or None,
        password=Secret(_decoded(password, url)) if password else None,
        tls=Tls() if encrypted else None,
    )
    if is_socket:
        where = hosts + slash + path
        paths = where.split(",") if kind == "memcached" else [where]
        target = replace(target, addresses=tuple(_socket(_decoded(each, url), url) for each in paths))
    else:
        target = replace(target, addresses=_hosts(hosts, kind, url))
        target = _with_path(target, path, url)
    return _with_query(target, query, url)


def _from_address(text: str) -> Target:
    url = shown(text)
    if not text:
        raise BadTarget("the target is empty", FORMS)
    if text.startswith(("/", "./", "~/")):
        return Target(kind="auto", addresses=(_socket(text, url),))
    if "@" in text or "?" in text:
        raise BadTarget(f"{url}: user and options need a scheme", "write redis://" + url)
    where, _, db = text.partition("/")
    if "," in where:
        raise BadTarget(f"{url}: several hosts need a scheme", "write memcached:// or redis+cluster:// before them")
    bare_ipv6 = where.count(":") > 1 and not where.startswith("[")
    address = _host(f"[{where}]" if bare_ipv6 else where, 0, url)
    if db:
        target = Target(kind="redis", addresses=(replace(address, port=address.port or REDIS_PORT),))
        return replace(target, db=_db(db, url))
    if address.port:
        return Target(kind="auto", addresses=(address,))
    return Target(kind="auto", addresses=tuple(replace(address, port=port) for port in (REDIS_PORT, MEMCACHED_PORT)))


def _with_path(target: Target, path: str, url: str) -> Target:
    parts = [_decoded(part, url) for part in path.rstrip("/").split("/")] if path.rstrip("/") else []
    if target.kind == "sentinel":
        if not parts:
            raise BadTarget(f"{url}: the name of the group is missing", "redis+sentinel://host:port/name[/db]")
        target, parts = replace(target, service=parts[0]), parts[1:]
    if target.kind == "memcached" and parts:
        raise BadTarget(f"{url}: Memcached has no databases", "leave the path away")
    if len(parts) > 1:
        raise BadTarget(f"{url}: the path has too many parts", FORMS)
    db = _db(parts[0], url) if parts else 0
    if db and target.kind == "cluster":
        raise BadTarget(f"{url}: a cluster has database 0 only", "leave the number away")
    return replace(target, db=db)


def _hosts(text: str, kind: TargetKind, url: str) -> tuple[Address, ...]:
    names = text.split(",")
    if kind == "redis" and len(names) > 1:
        raise BadTarget(f"{url}: one host only", "several are redis+cluster:// or redis+sentinel://")
    if names == [""]:
        names = ["127.0.0.1"]
    return tuple(_host(name, _PORTS.get(kind, REDIS_PORT), url) for name in names)


def _host(text: str, port: int, url: str) -> Address:
    text = text.strip()
    if text.startswith("["):
        host, closed, tail = text[1:].partition("]")
        if not closed or (tail and not tail.startswith(":")) or not _IPV6.match(host):
            raise BadTarget(f"{url}: not an IPv6 address", "write it as [::1]:6379")
        port_text = tail[1:]
    else:
        host, _, port_text = text.partition(":")
        host = _decoded(host, url)
        if not host and port_text:
            host = "127.0.0.1"
        if not _valid_host(host):
            raise BadTarget(f"{url}: not a host name", _ENCODE if "***@" in url else FORMS)
    return Address(host, _port(port_text, url) if port_text else port)


def _valid_host(host: str) -> bool:
    name = host.removesuffix(".")
    if not name.isascii():
        try:
            name = name.encode("idna").decode("ascii")
        except UnicodeError:
            return False
    return 0 < len(name) <= 253 and all(_LABEL.match(label) for label in name.split("."))


def _port(text: str, url: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:6]) <= 65535):
        raise BadTarget(f"{url}: the port is not a number from 1 to 65535", _ENCODE if "***@" in url else "")
    return int(text)


def _db(text: str, url: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text[:11]) <= _MAX_DB):
        raise BadTarget(f"{url}: the database is not a number", "redis://host:port/0")
    return int(text)


def _socket(path: str, url: str) -> Address:
    if path.startswith("~/"):
        from pathlib import Path

        path = str(Path(path).expanduser())
    if not path or "\0" in path:
        raise BadTarget(f"{url}: the path of the socket is missing", "unix:///run/redis/redis.sock")
    return Address(path=path)


def _decoded(text: str, url: str) -> str:
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise BadTarget(f"{url}: what is encoded with % is not UTF-8", _ENCODE) from None


def _with_query(target: Target, query: str, url: str) -> Target:
    for pair in filter(None, query.split("&")):
        name, _, raw = pair.partition("=")
        value = _decoded(raw, url)
        if name in _OPTIONS:
            target = _OPTIONS[name](target, value, url)
        elif name not in _FOREIGN_OPTIONS:
            raise BadTarget(f"{url}: unknown option {printable(name, 40)}", f"known are {', '.join(sorted(_OPTIONS))}")
    return target


def _query_db(target: Target, value: str, url: str) -> Target:
    if target.kind == "memcached":
        raise BadTarget(f"{url}: Memcached has no databases", "leave db away")
    return replace(target, db=_db(value, url))


def _query_hash(target: Target, value: str, url: str) -> Target:
    if target.kind != "memcached":
        raise BadTarget(f"{url}: hash is for several Memcached servers", "leave it away")
    if value.lower() not in HASHINGS:
        raise BadTarget(f"{url}: no such way to spread keys", f"hash is one of {', '.join(HASHINGS)}")
    return replace(target, hashing=value.lower())


def _query_reqs(target: Target, value: str, url: str) -> Target:
    word = value.lower().removeprefix("cert_")
    if word not in ("none", "optional", "required"):
        raise BadTarget(f"{url}: ssl_cert_reqs is none or required", "")
    return replace(target, tls=replace(target.tls or Tls(), verify=word != "none"))


def _query_check(target: Target, value: str, url: str) -> Target:
    if value.lower() not in ("true", "1", "yes"):
        raise BadTarget(
            f"{url}: ssl_check_hostname cannot be switched off alone",
            "give the certificate's name with --sni, or --insecure to check nothing",
        )
    return target


def _tls_text(field: str) -> Callable[[Target, str, str], Target]:
    def change(target: Target, value: str, _url: str) -> Target:
        text = Secret(value) if field == "key_password" else value
        return replace(target, tls=replace(target.tls or Tls(), **{field: text}))  # type: ignore[arg-type]

    return change


def _sentinel_tls(target: Target, value: str, url: str) -> Target:
    """Take in whether the Sentinels speak TLS where the servers may not, or the other way round."""
    word = value.lower()
    if word in ("false", "0", "no", "off"):
        return replace(target, sentinel_plain=True, sentinel_tls=None)
    if word not in ("true", "1", "yes", "on"):
        raise BadTarget(f"{url}: sentinel_tls is yes or no", "")
    return replace(target, sentinel_tls=target.sentinel_tls or target.tls or Tls(), sentinel_plain=False)


def _of_sentinels(option: Callable[[Target, str, str], Target]) -> Callable[[Target, str, str], Target]:
    """Return the option on TLS that holds for the Sentinels alone."""

    def change(target: Target, value: str, url: str) -> Target:
        changed = option(replace(target, tls=target.sentinel_tls or target.tls), value, url)
        return replace(target, sentinel_tls=changed.tls, sentinel_plain=False)

    return change


def _text(field: str) -> Callable[[Target, str, str], Target]:
    def change(target: Target, value: str, _url: str) -> Target:
        text = Secret(value) if field.endswith("password") else value
        return replace(target, **{field: text or None})  # type: ignore[arg-type]

    return change


_OPTIONS: dict[str, Callable[[Target, str, str], Target]] = {
    "db": _query_db,
    "hash": _query_hash,
    "username": _text("user"),
    "password": _text("password"),
    "sentinel_user": _text("sentinel_user"),
    "sentinel_password": _text("sentinel_password"),
    "ssl_ca_certs": _tls_text("ca_file"),
    "ssl_ca_path": _tls_text("ca_dir"),
    "ssl_certfile": _tls_text("cert_file"),
    "ssl_keyfile": _tls_text("key_file"),
    "ssl_password": _tls_text("key_password"),
    "ssl_server_name": _tls_text("server_name"),
    "ssl_cert_reqs": _query_reqs,
    "ssl_check_hostname": _query_check,
}
_OPTIONS["sentinel_tls"] = _sentinel_tls
_OPTIONS |= {f"sentinel_{name}": _of_sentinels(_OPTIONS[name]) for name in tuple(_OPTIONS) if name.startswith("ssl_")}
_QUERY_NAMES = tuple(f"{name}=" for name in sorted(_OPTIONS.keys() | _FOREIGN_OPTIONS))
