"""Only the one writer sends what changes something, and planning knows no I/O."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import cachetui

ROOT = Path(cachetui.__file__).parent
INSIDE = ("fresh", "names", "nodes", "running", "scripts", "send", "sweep")
"""The parts of the one writer: nobody else may start them."""


def trees(*folders: str) -> Iterator[tuple[str, ast.AST]]:
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text())


def test_nobody_but_the_one_writer_executes() -> None:
    # source/ is where it is implemented; demo/ and patterns/ are clients of their own, of no Source.
    own = ("source", "demo", "patterns")
    folders = [path.name for path in ROOT.iterdir() if path.is_dir() and path.name not in own]
    callers = {
        name
        for name, tree in trees(*folders)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr == "execute"
    }
    assert callers and all(name.startswith("actions/") and not name.startswith("actions/plan") for name in callers)
    runners = {
        name
        for name, tree in trees(*folders)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module in {f"cachetui.actions.{part}" for part in INSIDE}
    }
    assert all(name.startswith("actions/") for name in runners)


def test_planning_imports_only_plain_data() -> None:
    allowed = ("cachetui.text", "cachetui.errors", "cachetui.model", "cachetui.actions.plan")
    imported = {
        node.module or ""
        for _, tree in trees("actions/plan")
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
    }
    ours = {module for module in imported if module.startswith("cachetui")}
    assert ours
    assert all(module.startswith(allowed) for module in ours)
    assert not imported & {"asyncio", "socket", "os", "pathlib", "subprocess"}
