"""The documentation says what the program does."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest
import typer.main

from edgedx.cli.app import COMMANDS, app

ROOT = Path(__file__).resolve().parent.parent
_spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
assert _spec and _spec.loader
generate = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(generate)


def _commands() -> dict[str, Any]:
    found: dict[str, Any] = {}

    def walk(command: Any, name: str) -> None:
        if hasattr(command, "commands"):
            for key, inner in command.commands.items():
                default = getattr(command, "default_command", None)
                walk(inner, name if key == default else f"{name} {key}")
        else:
            found[name] = command

    walk(typer.main.get_command(app), "edgedx")
    return found


@pytest.mark.parametrize("page", sorted(generate.PAGES))
def test_a_generated_page_is_current(page: str) -> None:
    assert (ROOT / "docs" / page).read_text(encoding="utf-8") == generate.PAGES[page](), "run `make docs`"


@pytest.mark.parametrize("name", sorted(_commands()))
def test_every_command_has_help_with_an_example(name: str) -> None:
    text = _commands()[name].help or ""
    assert f"Example: {name}" in text


def test_every_command_module_is_offered() -> None:
    modules = {path.stem for path in (ROOT / "edgedx" / "cli").glob("*.py") if not path.stem.startswith("scan_")}
    assert modules - {"__init__", "app", "common", "lazy", "deploy_to", "budget"} == set(COMMANDS)


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_files_that_a_page_links_to_exist(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_readme_names_every_command() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    groups = {name.split()[1] for name in _commands()}
    assert {name for name in groups if f"edgedx {name}" not in text} == set()


def test_the_readme_says_it_is_not_a_medical_device() -> None:
    assert "not a medical device" in (ROOT / "README.md").read_text(encoding="utf-8").lower()


def test_the_readme_maps_every_zone() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    zones = {path.parent.name for path in (ROOT / "edgedx").glob("*/__init__.py")}
    assert {zone for zone in zones if f"| `{zone}/` |" not in text} == set()
