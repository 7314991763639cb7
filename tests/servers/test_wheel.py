"""The built wheel works where no checkout is: data files, console script, themes."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

import cachetui

CHECKOUT = Path(cachetui.__file__).parent.parent


def _run(*argv: str | Path, cwd: Path) -> str:
    """Run `argv` in `cwd`, with nothing of the checkout on the path, and return what it printed."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        [str(part) for part in argv], cwd=cwd, env=environ, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the checkout with the installed hatchling."""
    folder = tmp_path_factory.mktemp("wheel")
    _run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, CHECKOUT, cwd=folder)
    return next(folder.glob("cachetui-*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment's bin folder with the wheel in it; the dependencies are those of this environment."""
    home = tmp_path_factory.mktemp("installed")
    _run(sys.executable, "-m", "venv", "--without-pip", home / "venv", cwd=home)
    python = home / "venv" / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python]
    _run(*pip, "install", "--quiet", "--no-deps", "--no-index", wheel, cwd=home)
    # Only now: pip would see the checkout's own installation through it. Path files in there are not followed.
    own = Path(_run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=home).strip())
    (own / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python.parent


def test_the_wheel_holds_all_that_runs_and_nothing_else(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for theme in (CHECKOUT / "themes").glob("*.toml"):
        assert f"cachetui/themes/{theme.name}" in names
    for source in (CHECKOUT / "cachetui").rglob("*.tcss"):
        assert str(source.relative_to(CHECKOUT)) in names
    assert "cachetui/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert {name.split("/")[0].split("-")[0] for name in names} == {"cachetui"}


def test_the_installed_command_runs_outside_the_checkout(installed: Path, tmp_path: Path) -> None:
    assert cachetui.__version__ in _run(installed / "cachetui", "--version", cwd=tmp_path)
    assert cachetui.__version__ in _run(installed / "python", "-m", "cachetui", "--version", cwd=tmp_path)
    assert "analyze" in _run(installed / "cachetui", "--help", cwd=tmp_path)


def test_the_installed_package_finds_its_own_themes(installed: Path, tmp_path: Path) -> None:
    script = (
        "import cachetui; from cachetui.ui.theme import bundled_dir, load_themes; loaded = load_themes(None); "
        "print(cachetui.__file__, bundled_dir(), *sorted(loaded.themes), *loaded.problems, sep='\\n')"
    )
    package, folder, *names = _run(installed / "python", "-c", script, cwd=tmp_path).splitlines()
    venv = installed.parent
    assert venv in Path(package).parents
    assert venv in Path(folder).parents
    assert names == sorted(path.stem for path in (CHECKOUT / "themes").glob("*.toml"))
