"""Flags over environment over profile over file: what to connect to and how to look."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from cachetui.config import secrets
from cachetui.config.file import Config, Profile, TlsOptions, load_file
from cachetui.config.target import INTERVAL_RANGE_S, Address, Secret, Settings, Target, Tls
from cachetui.config.url import MEMCACHED_PORT, REDIS_PORT, parse_target
from cachetui.errors import BadConfig, BadTarget, BadUsage

T = TypeVar("T")

LOCAL = tuple(Address("127.0.0.1", port) for port in (REDIS_PORT, MEMCACHED_PORT))
"""Where to look when nobody says where."""


@dataclass(frozen=True, slots=True)
class Arguments:
    """The command line, as far as it says where to connect and how to look. None: not said."""

    targets: tuple[str, ...] = ()
    """URLs, addresses, names of profiles."""
    host: str | None = None
    port: int | None = None
    db: int | None = None
    socket: str | None = None
    user: str | None = None
    password: Secret | None = None
    askpass: bool = False
    tls: bool = False
    ca: str | None = None
    ca_dir: str | None = None
    cert: str | None = None
    key: str | None = None
    server_name: str | None = None
    insecure: bool = False
    config: Path | None = None
    read_only: bool = False
    interval_s: float | None = None
    theme: str | None = None
    slow_link: bool = False
    ascii: bool = False
    no_color: bool = False


def resolve(
    arguments: Arguments, environ: Mapping[str, str], *, ask: secrets.Ask = secrets.ask_on_terminal
) -> tuple[list[Target], Settings]:
    """Return the targets and the settings. Without any target: one of kind `auto` with both local ports.

    A password is taken from the flags, then from a URL on the command line, from
    REDISCLI_AUTH, from the profile. `ask` asks a person for what is missing.
    Raises BadUsage, BadTarget, BadConfig, and AuthFailed when a password command fails.
    """
    config = load_file(arguments.config)
    names = _names(arguments, environ)
    targets: list[Target] = []
    profile: Profile | None = None
    for name in names or (None,):
        profile = config.profiles.get(name) if name is not None else None
        targets.append(_target(name, profile, arguments, environ, ask))
    return targets, _settings(arguments, environ, config, profile)


def settings_only(arguments: Arguments, environ: Mapping[str, str]) -> Settings:
    """Return the settings where no target is involved (a replay, the demo). Raises BadUsage, BadConfig."""
    return _settings(arguments, environ, load_file(arguments.config), None)


def _names(arguments: Arguments, environ: Mapping[str, str]) -> list[str]:
    by_parts = arguments.socket is not None or arguments.host is not None or arguments.port is not None
    if arguments.targets and by_parts:
        raise BadUsage("a target and -h, -p or -s at once", "give the one or the others")
    if arguments.targets or by_parts:
        return list(arguments.targets)
    fallback = environ.get("CACHETUI_URL") or environ.get("REDIS_URL")
    return [fallback] if fallback else []


def _target(
    name: str | None,
    profile: Profile | None,
    arguments: Arguments,
    environ: Mapping[str, str],
    ask: secrets.Ask,
) -> Target:
    target = _address(name, profile, arguments)
    from_profile = _tls_of(profile)
    if from_profile is not None:
        target = replace(target, tls=from_profile)
    target = replace(target, tls=_tls(target.tls, arguments))
    if arguments.db is not None:
        if target.kind == "memcached" or (target.kind == "cluster" and arguments.db):
            raise BadUsage("-n does not fit this target", "it has no numbered databases")
        target = replace(target, db=arguments.db)
    target = _with_auth(target, profile, arguments, environ, ask)
    asked_for_redis = target.db or target.tls or target.user or arguments.password or arguments.askpass
    if target.kind == "auto" and asked_for_redis:
        # Only Redis has these. REDISCLI_AUTH alone says nothing: it may be there for another server.
        target = replace(target, kind="redis", addresses=target.addresses[:1])
    if target.tls is not None:
        target = replace(target, tls=secrets.ready_tls(target.tls, ask))
    return target


def _address(name: str | None, profile: Profile | None, arguments: Arguments) -> Target:
    if profile is not None:
        return parse_target(profile.url)
    if name is not None:
        return parse_target(name)
    if arguments.socket is not None:
        if arguments.host is not None or arguments.port is not None:
            raise BadUsage("-s and -h or -p at once", "a socket has neither host nor port")
        return Target(kind="auto", addresses=(Address(path=str(Path(arguments.socket))),))
    if arguments.host is None and arguments.port is None:
        return Target(kind="auto", addresses=LOCAL)
    host = arguments.host or "127.0.0.1"
    if any(sign in host for sign in "/@,?"):
        raise BadTarget("-h takes a host name only", "give a URL with -u, or without any letter before it")
    bracketed = f"[{host}]" if ":" in host and not host.startswith("[") else host
    return parse_target(bracketed if arguments.port is None else f"{bracketed}:{arguments.port}")


def _with_auth(
    target: Target, profile: Profile | None, arguments: Arguments, environ: Mapping[str, str], ask: secrets.Ask
) -> Target:
    user = arguments.user or target.user or (profile.user if profile else None)
    password = arguments.password
    if password is None and arguments.askpass:
        password = Secret(ask("Password"))
    own = target.password
    if password is None and profile is None:
        password = own
    if password is None and target.kind != "memcached" and environ.get("REDISCLI_AUTH"):
        password = Secret(environ["REDISCLI_AUTH"])
    if password is None and profile is not None:
        password = own
        if password is None and profile.password_command:
            password = secrets.from_command(profile.password_command, f"the password of profile {profile.name}")
    target = replace(target, user=user, password=password)
    if profile is None:
        return target
    if profile.sentinel_user:
        target = replace(target, sentinel_user=profile.sentinel_user)
    if profile.sentinel_password_command:
        what = f"the Sentinel password of profile {profile.name}"
        target = replace(target, sentinel_password=secrets.from_command(profile.sentinel_password_command, what))
    return target


def _tls_of(profile: Profile | None) -> Tls | None:
    options: TlsOptions | None = profile.tls if profile else None
    if profile is None or options is None:
        return None
    key_password = None
    if options.key_password_command:
        key_password = secrets.from_command(
            options.key_password_command, f"the key's passphrase of profile {profile.name}"
        )
    return Tls(
        ca_file=options.ca,
        ca_dir=options.ca_dir,
        cert_file=options.cert,
        key_file=options.key,
        key_password=key_password,
        server_name=options.server_name,
        verify=not options.insecure,
    )


def _tls(tls: Tls | None, arguments: Arguments) -> Tls | None:
    given = (arguments.ca, arguments.ca_dir, arguments.cert, arguments.key, arguments.server_name)
    if tls is None and not arguments.tls:
        if any(given) or arguments.insecure:
            raise BadUsage("TLS options without TLS", "add --tls, or write rediss://")
        return None
    tls = tls or Tls()
    return replace(
        tls,
        ca_file=arguments.ca or tls.ca_file,
        ca_dir=arguments.ca_dir or tls.ca_dir,
        cert_file=arguments.cert or tls.cert_file,
        key_file=arguments.key or tls.key_file,
        key_password=None if arguments.key else tls.key_password,
        server_name=arguments.server_name or tls.server_name,
        verify=tls.verify and not arguments.insecure,
    )


def _settings(arguments: Arguments, environ: Mapping[str, str], config: Config, profile: Profile | None) -> Settings:
    own, common = (profile.look if profile else config.look), config.look
    by_profile, by_file = bool(profile and profile.look.read_only), _first(own.read_only, common.read_only, False)
    reason = ""
    if arguments.read_only:
        reason = "--read-only"
    elif by_profile and profile:
        reason = f"profile {profile.name}"
    elif by_file:
        reason = f"read_only in {config.path.name}"
    theme = _first(arguments.theme, own.theme, common.theme, Settings().theme)
    interval_s = _first(arguments.interval_s, own.interval, common.interval, Settings().interval_s)
    low, high = INTERVAL_RANGE_S
    if not low <= interval_s <= high:
        raise BadUsage(f"--interval is from {low:g} to {high:g} seconds", "1 is the default")
    return Settings(
        read_only=bool(reason),
        read_only_reason=reason,
        armable=by_profile and not arguments.read_only,
        interval_s=interval_s,
        theme=theme,
        label=profile.label if profile else "",
        label_color=profile.color if profile else "",
        slow_link=arguments.slow_link or _first(own.slow_link, common.slow_link, False),
        ascii=arguments.ascii or _first(own.ascii, common.ascii, False),
        color=not (arguments.no_color or environ.get("NO_COLOR")),
        separator=_first(own.separator, common.separator, Settings().separator),
        production=_first(own.production, common.production, False),
        tag_template=_first(own.tag_template, common.tag_template, Settings().tag_template),
        keymap={**common.keymap, **own.keymap},
        profile=profile.name if profile else "",
    )


def _first(*values: T | None) -> T:
    """Return the first that was said; the last is always said."""
    for value in values:
        if value is not None:
            return value
    raise BadConfig("a setting has no value", "")
