"""Where the user's own files live."""

from __future__ import annotations

from pathlib import Path

import platformdirs

_NAME = "cachetui"


def user_config_path() -> Path:
    """Return the folder of `config.toml` and `themes/`; it may not exist."""
    return platformdirs.user_config_path(_NAME, appauthor=False)


def config_file() -> Path:
    """Return the configuration file that is read unless `--config` names another."""
    return user_config_path() / "config.toml"


def state_dir() -> Path:
    """Return the folder of the journal and of undo data; it may not exist."""
    return platformdirs.user_state_path(_NAME, appauthor=False)
