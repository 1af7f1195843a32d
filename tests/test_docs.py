"""The documentation says what the program does."""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer.main

from edgedx.cli.app import SECTIONS, app

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


def cli_help() -> list[str]:
    """`edgedx --help` at 100 columns, by line."""
    command = typer.main.get_command(app)
    with command.make_context("edgedx", [], resilient_parsing=True, terminal_width=100, max_content_width=100) as it:
        return [line.rstrip() for line in command.get_help(it).splitlines()]


@pytest.mark.parametrize("page", sorted(generate.PAGES))
def test_a_generated_page_is_current(page: str) -> None:
    assert (ROOT / "docs" / page).read_text(encoding="utf-8") == generate.PAGES[page](), "run `make docs`"


@pytest.mark.parametrize("name", sorted(_commands()))
def test_every_command_has_help_with_an_example(name: str) -> None:
    text = _commands()[name].help or ""
    assert f"Example: {name}" in text


def test_every_command_module_is_offered() -> None:
    """A module of a family is a command, its rendering, or a part of a command that a module of its family imports."""
    families = [path.parent for path in (ROOT / "edgedx" / "cli").glob("*/__init__.py")]
    entries = {entry.module for section in SECTIONS.values() for entry in section.values()}
    modules = {f"{family.name}.{path.stem}" for family in families for path in family.glob("[!_]*.py")}
    groups = {f"{words[1]}.{words[2]}" for name in _commands() if (words := name.split())[1] in ("scan", "fleet")
              and len(words) > 2} | {"scan.run"}  # fmt: skip
    rendering = {name for name in modules if name.partition(".")[2].startswith("show")}
    assert modules - rendering - {"flow.budget", "fleet.options"} == entries | groups


def test_the_help_lists_every_command_by_family_with_a_short_line() -> None:
    text = "\n".join(cli_help())
    for title, section in SECTIONS.items():
        assert f"\n{title}:\n" in text
        for name, entry in section.items():
            assert f"\n  {name} " in text and len(entry.summary) <= 80, name


@pytest.mark.parametrize("name", sorted(_commands()))
def test_help_begins_with_a_short_sentence_and_explains_every_parameter(name: str) -> None:
    command = _commands()[name]
    first = (command.help or "").split("\n\n")[0].replace("\n", " ")
    assert len(first) <= 130 and first[0].isupper(), first
    unexplained = [one.name for one in command.params if not getattr(one, "help", None) and one.name != "help"]
    assert unexplained == []


def test_an_option_that_several_commands_have_is_explained_in_the_same_words() -> None:
    """One word, one meaning: what differs is listed here, and differs in detail only."""
    detail = {"--allow-older", "--allow-unsigned", "--data", "--device", "--dry-run", "--fields", "--folder", "--out"}
    detail |= {"--overwrite", "--point", "--python", "--run", "--seed", "--split", "--subgroup", "--threads"}
    detail |= {"--variant", "--json", "--to", "--class", "--images"}
    detail |= {"--on"}  # where it runs: a device of this machine or a cluster
    detail |= {"--inbox", "--port"}  # of the page
    detail |= {"--tls-certificate"}  # of a server, or of who asks a PACS
    detail |= {"--keys", "--threshold"}  # of a fleet
    words: dict[str, set[str]] = {}
    for command in _commands().values():
        for one in command.params:
            for option in getattr(one, "opts", []):
                words.setdefault(option, set()).add(getattr(one, "help", "") or "")
    assert {option for option, texts in words.items() if option.startswith("--") and len(texts) > 1} == detail


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_files_that_a_page_links_to_exist(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    assert [link for link in links if not (ROOT / link).exists()] == []


def _lines_to_type() -> list[tuple[str, str]]:
    """Page and line of each call of edgedx in a code block, without comment and redirection."""
    found = []
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        text = page.read_text(encoding="utf-8") if page.name not in generate.PAGES else ""
        blocks = re.findall(r"(?ms)^```bash\n(.*?)^```", text) + re.findall(r"(?m)^    (edgedx .*)$", text)
        lines = [line for block in blocks for line in block.splitlines() if line.startswith("edgedx ")]
        found += [(page.name, re.sub(r" +[#>] .*", "", line)) for line in lines]
    return found


@pytest.mark.parametrize(("page", "line"), _lines_to_type())
def test_a_command_in_the_documentation_can_be_typed(page: str, line: str) -> None:
    """Its words are a command, and its options and arguments are ones that this command takes."""
    command, words = typer.main.get_command(app), shlex.split(line)[1:]
    while hasattr(command, "commands"):
        default = getattr(command, "default_command", None)
        assert default or (words and words[0] in command.commands), line
        command = command.commands[words.pop(0) if words and words[0] in command.commands else default]
    command.make_context(line, words)


def test_the_page_of_the_whole_way_names_every_command() -> None:
    text = (ROOT / "docs" / "flow.md").read_text(encoding="utf-8")
    groups = {name.split()[1] for name in _commands()}
    assert {name for name in groups if f"edgedx {name}" not in text} == set()


def test_the_readme_is_short_and_links_to_every_page() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 120
    assert {page.name for page in (ROOT / "docs").glob("*.md") if f"](docs/{page.name})" not in text} == set()


@pytest.mark.parametrize("page", ["README.md", "docs/index.md", "docs/tutorial.md"])
def test_a_first_page_says_that_edgedx_is_not_a_medical_device(page: str) -> None:
    assert "not a medical device" in (ROOT / page).read_text(encoding="utf-8").lower()


def test_every_measured_figure_of_the_readme_has_its_command_and_date() -> None:
    """Whatever stands between the heading and the next one: a table or a picture names what made it, and when."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    measured = text.partition("## Measured")[2].partition("\n## ")[0]
    assert "benchmarks/pneumonia_mnist.py" in measured and measured.count("2026-") >= 2


def test_commands_of_the_figures_page_exist() -> None:
    text = (ROOT / "docs" / "figures.md").read_text(encoding="utf-8")
    named = set(re.findall(r"benchmarks/\w+\.py", text))
    assert len(named) > 15
    assert {name for name in named if not (ROOT / name).is_file()} == set()


def test_the_architecture_names_every_zone() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    zones = {path.parent.name for path in (ROOT / "edgedx").glob("*/__init__.py")}
    assert {zone for zone in zones if f"`{zone}`" not in text} == set()
