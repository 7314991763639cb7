"""Bundled themes are legible, and a user's broken one is told, not obeyed."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.app import App, ComposeResult
from textual.color import Color
from textual.theme import Theme
from textual.widgets import (
    Button,
    Checkbox,
    DataTable,
    Footer,
    Header,
    Input,
    Markdown,
    OptionList,
    ProgressBar,
    RichLog,
    Sparkline,
    Switch,
    Tabs,
    Tree,
)

from cachetui.errors import BadConfig
from cachetui.ui.theme import STATES, bundled_dir, find_theme, load_theme, load_themes, pick_theme

TEXTS = ("foreground", "accent", "ok", "warn", "bad", "unknown", "muted", "mark")
GROUNDS = ("background", "surface", "select")

GOOD = """\
name = "mine"
dark = true

[colors]
primary = "#7fb0e0"
foreground = "#ffffff"
background = "#000000"
success = "green"
warning = "rgb(200,200,0)"
error = "#f00"
"""


class Furnished(App[None]):
    """Textual's widgets, whose styles read nearly all variables of a theme."""

    def compose(self) -> ComposeResult:
        yield from (Header(), Input(), Button("b"), DataTable(), Tree("t"), OptionList("o"), Markdown("# m"))
        yield from (Tabs("a", "b"), Checkbox("c"), Switch(), ProgressBar(), Sparkline([1.0, 2.0]), RichLog(), Footer())


def _luminance(color: Color) -> float:
    """Return the relative luminance as WCAG 2 defines it."""

    def linear(channel: int) -> float:
        share = channel / 255
        return share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4

    return 0.2126 * linear(color.r) + 0.7152 * linear(color.g) + 0.0722 * linear(color.b)


def _contrast(one: str, other: str) -> float:
    low, high = sorted(_luminance(Color.parse(color)) for color in (one, other))
    return (high + 0.05) / (low + 0.05)


def _effective(theme: Theme) -> dict[str, str]:
    """Return the variables as an app with this theme has them."""
    app: App[None] = App()
    app.register_theme(theme)
    app.theme = theme.name
    return app.get_css_variables()


def _write(folder: Path, text: str, name: str = "mine.toml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_the_contrast_measure_is_that_of_wcag() -> None:
    assert _contrast("#000000", "#ffffff") == pytest.approx(21)
    assert _contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


def test_four_themes_are_bundled_and_each_is_named_as_its_file() -> None:
    loaded = load_themes(None)
    assert loaded.problems == ()
    assert {"dark", "light", "terminal", "contrast"} <= set(loaded.themes)
    assert {path.stem for path in bundled_dir().glob("*.toml")} == set(loaded.themes)
    assert [name for name, theme in loaded.themes.items() if not theme.dark] == ["light"]


@pytest.mark.parametrize(("name", "least"), [("dark", 4.5), ("light", 4.5), ("contrast", 7.0)])
def test_every_text_is_legible_on_every_ground(name: str, least: float) -> None:
    variables = _effective(load_themes(None).themes[name])
    for ground in GROUNDS:
        for text in TEXTS:
            ratio = _contrast(variables[text], variables[ground])
            assert ratio >= least, f"{name}: {text} on {ground}: {ratio:.2f}"


@pytest.mark.parametrize("name", ["dark", "light", "contrast"])
def test_states_can_be_told_apart(name: str) -> None:
    variables = _effective(load_themes(None).themes[name])
    states = [variables[state] for state in ("ok", "warn", "bad", "unknown", "mark")]
    assert len(set(states)) == len(states)
    assert variables["select"] != variables["background"]


def test_the_terminals_theme_uses_nothing_but_its_sixteen_colours_and_its_own_ground() -> None:
    theme = load_themes(None).themes["terminal"]
    variables = _effective(theme)
    assert theme.ansi
    for name in (*TEXTS, *GROUNDS[:1], "select", "primary"):
        assert Color.parse(variables[name]).ansi is not None, name
    for name in ("foreground", "background"):
        assert Color.parse(variables[name]).rich_color.is_default, name


@pytest.mark.parametrize("name", ["dark", "light", "terminal", "contrast"])
async def test_an_app_full_of_widgets_takes_each_theme_at_runtime(name: str) -> None:
    app = Furnished()
    async with app.run_test() as pilot:
        app.register_theme(load_themes(None).themes[name])
        app.theme = name
        await pilot.pause()
        assert app.theme_variables["ok"] == load_themes(None).themes[name].variables["ok"]
        assert app.native_ansi_color is (name == "terminal")


def test_a_short_theme_has_every_state(tmp_path: Path) -> None:
    theme = load_theme(_write(tmp_path, GOOD))
    assert set(theme.variables) == set(STATES)
    assert theme.variables["ok"] == "green"
    variables = _effective(theme)
    assert _contrast(variables["muted"], variables["background"]) >= 4.5


def test_a_short_theme_of_the_terminals_colours_has_every_state(tmp_path: Path) -> None:
    colors = ("primary", "foreground", "background", "success", "warning", "error")
    text = 'name = "shell"\ndark = true\n[colors]\n' + "".join(f'{name} = "ansi_default"\n' for name in colors)
    theme = load_theme(_write(tmp_path, text))
    assert theme.ansi
    assert all(Color.parse(theme.variables[state]).ansi is not None for state in STATES)


def test_textuals_own_variables_may_be_set(tmp_path: Path) -> None:
    more = '[variables]\nblock-cursor-text-style = "bold reverse"\nborder = "#ffffff 30%"\nok = "#00ff00"\n'
    theme = load_theme(_write(tmp_path, GOOD + more))
    assert theme.variables["block-cursor-text-style"] == "bold reverse"
    assert theme.variables["border"] == "#ffffff 30%"
    assert _effective(theme)["ok"] == "#00ff00"


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        (GOOD.replace('"#f00"', '"#f0"'), 10, "colors.error: '#f0' is not a colour; write #rrggbb"),
        (GOOD.replace('"#f00"', "5"), 10, "colors.error: must be a colour in quotes"),
        (GOOD.replace('"#f00"', '"#ff000080"'), 10, "colors.error: must be a colour one cannot see through"),
        (GOOD.replace('"#f00"', '"transparent"'), 10, "colors.error: must be a colour one cannot see through"),
        (GOOD.replace('"#f00"', '"x\\u001b[2J"'), 10, "'x\\x1b[2J' is not a colour"),
        (GOOD + 'eror = "#f00"\n', 11, "colors.eror: not a field of a theme; allowed are primary"),
        (GOOD.replace('error = "#f00"\n', ""), 4, "colors.error: is missing; [colors] needs primary"),
        (GOOD.replace("mine", "My Theme"), 1, "name: must be up to 32 of a-z"),
        (GOOD.replace("true", '"yes"'), 2, "dark: must be true or false"),
        (GOOD.replace("dark", "dork"), 2, "dork: not a field of a theme; allowed are name, dark"),
        (GOOD.replace("dark = true", "dark ="), 2, "is not TOML: Invalid value"),
        (GOOD + "[variables]\nloud = '#fff'\n", 12, "variables.loud: not a variable; the states are ok"),
        (GOOD + "[variables]\nbad = 'redd'\n", 12, "variables.bad: 'redd' is not a colour"),
        (GOOD + "[variables]\nborder = 'redd 20%'\n", 12, "variables.border: 'redd' is not a colour"),
        (GOOD + "[variables]\nborder = 20\n", 12, "variables.border: must be a colour in quotes"),
        (GOOD + "[variables]\nlink-style = 'loud'\n", 12, "variables.link-style: must be of"),
        ("variables = 5\n" + GOOD, 1, "variables: must be a table"),
        ("name = 'x'\n", None, "dark: must be true or false"),
        ("", None, "name: must be"),
        ("a = " + "[" * 20_000, None, "is not"),
        ("#" * 70_000, None, "is larger than 64 KB"),
    ],
)
def test_what_is_wrong_is_said_with_file_line_and_field(tmp_path: Path, text: str, line: int | None, said: str) -> None:
    path = _write(tmp_path, text)
    with pytest.raises(BadConfig) as caught:
        load_theme(path)
    message = caught.value.line()
    assert message.startswith(f"{path}:{line}: " if line else f"{path}: ")
    assert said in message
    assert message.isprintable()


def test_bytes_that_are_no_text_are_refused_with_their_line(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(b'name = "x"\n\xff\n')
    with pytest.raises(BadConfig, match=r"mine\.toml:2: is not UTF-8"):
        load_theme(path)


def test_a_broken_theme_does_not_stop_the_others(tmp_path: Path) -> None:
    _write(tmp_path, GOOD)
    _write(tmp_path, GOOD.replace("#f00", "nocolour"), "broken.toml")
    _write(tmp_path, GOOD, "zz-same-name.toml")
    (tmp_path / "folder.toml").mkdir()
    loaded = load_themes(tmp_path)
    assert {"dark", "light", "terminal", "contrast", "mine"} == set(loaded.themes)
    assert [Path(line.split(": ")[0].split(":")[0]).name for line in loaded.problems] == [
        "broken.toml",
        "folder.toml",
        "zz-same-name.toml",
    ]


def test_the_users_theme_replaces_a_bundled_one(tmp_path: Path) -> None:
    _write(tmp_path, GOOD.replace("mine", "dark"))
    loaded = load_themes(tmp_path)
    assert loaded.problems == ()
    assert loaded.themes["dark"].background == "#000000"


def test_no_folder_of_the_users_is_no_problem(tmp_path: Path) -> None:
    assert load_themes(tmp_path / "none").problems == ()


def test_a_theme_is_found_by_name_or_file(tmp_path: Path) -> None:
    loaded = load_themes(None)
    assert find_theme(loaded, "light").name == "light"
    assert find_theme(loaded, str(_write(tmp_path, GOOD))).name == "mine"
    with pytest.raises(BadConfig, match="no theme is named 'neon'") as caught:
        find_theme(loaded, "neon")
    assert "contrast, dark, light, terminal" in caught.value.line()
    with pytest.raises(BadConfig, match="cannot be read: No such file"):
        find_theme(loaded, str(tmp_path / "gone.toml"))


def test_the_wanted_theme_is_picked_and_the_default_stands_in(tmp_path: Path) -> None:
    assert (pick_theme("light", tmp_path)[0].name, pick_theme("light", tmp_path)[1]) == ("light", ())
    theme, problems = pick_theme("neon", tmp_path)
    assert theme.name == "dark"
    assert "neon" in problems[0]
    _write(tmp_path, GOOD)
    assert pick_theme("mine", tmp_path)[0].name == "mine"
