"""Where to connect and how to look: targets, profiles, settings and where they come from. No secret shows in a repr."""

from cachetui.config.file import Config, Profile, load_file
from cachetui.config.places import config_file, state_dir, user_config_path
from cachetui.config.resolve import Arguments, resolve
from cachetui.config.target import (
    INTERVAL_RANGE_S,
    TIMEOUT_S,
    Address,
    Secret,
    Settings,
    Target,
    TargetKind,
    Tls,
)
from cachetui.config.url import MEMCACHED_PORT, REDIS_PORT, SENTINEL_PORT, parse_target

__all__ = [
    "INTERVAL_RANGE_S",
    "MEMCACHED_PORT",
    "REDIS_PORT",
    "SENTINEL_PORT",
    "TIMEOUT_S",
    "Address",
    "Arguments",
    "Config",
    "Profile",
    "Secret",
    "Settings",
    "Target",
    "TargetKind",
    "Tls",
    "config_file",
    "load_file",
    "parse_target",
    "resolve",
    "state_dir",
    "user_config_path",
]
