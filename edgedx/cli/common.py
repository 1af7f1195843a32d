"""What every family of commands parses, and how lines and tables are printed."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import typer

if TYPE_CHECKING:
    from edgedx.core.bundle.signing import SigningKey
    from edgedx.core.settings.profile import DeviceProfile
    from edgedx.core.settings.recipe import Recipe

RUNS = Path("runs")
PASSWORD = "EDGEDX_KEY_PASSWORD"
_SENTENCE = re.compile(r"[^\W\d_]{4}")
"""What a cell of figures has not: a word of four letters."""


def printable(text: object) -> str:
    """Text that came from a file or a header, fit for a terminal (see `core.text.printable`); line feeds stay."""
    from edgedx.core.text import printable as work

    return work(str(text), lines=True)


def command_line(*words: object) -> str:
    """A call of edgedx to paste into a shell; paths with blanks are quoted."""
    from edgedx.core.text import command_line as work

    return work(*words)


def tell(text: object, *, err: bool = False) -> None:
    """Text on stdout, or on stderr, and into the log of the run that is worked on (see `core.log`)."""
    from edgedx.core.log import note

    shown = printable(text)
    typer.echo(shown, err=err)
    note(shown)


def line(label: str, text: object = "") -> None:
    """One labelled line on stdout: ``written   runs/x/gate``."""
    tell(f"{label:<9} {text}".rstrip())


def warn(text: object) -> None:
    """A warning on stderr, where it disturbs no JSON."""
    tell(f"warning: {text}", err=True)


def remark(text: object) -> None:
    """Progress or a remark on stderr."""
    tell(text, err=True)


def print_table(
    titles: Sequence[str], rows: Iterable[Sequence[object]], *, width: int = 0, right: bool = False, title: str = ""
) -> None:
    """A table without borders.

    Parameters
    ----------
    width : int
        Least number of columns where stdout is no terminal.
    right : bool
        Whether all columns but the first are aligned to the right.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from edgedx.core.log import note

    cells = [[one if isinstance(one, Text) else Text(printable(one)) for one in row] for row in rows]
    columns = [[row[number].plain for row in cells] for number in range(len(titles))]
    console = Console()
    if console.width < width and not console.is_terminal:
        console = Console(width=width)
    widths = _widths(titles, columns, console.width)
    table = Table(
        box=None,
        pad_edge=False,
        title=Text(printable(title)) if title else None,
        title_justify="left",
        show_header=any(titles),
    )
    for number, name in enumerate(titles):
        justify: Literal["left", "right"] = "right" if right and number else "left"
        table.add_column(Text(printable(name)), justify=justify, overflow="fold", width=widths[number])
    for row in cells:
        table.add_row(*row)
    console.print(table)
    with console.capture() as drawn:
        console.print(table)
    note(Text.from_ansi(drawn.get()).plain)


def _widths(titles: Sequence[str], columns: Sequence[Sequence[str]], screen: int) -> list[int]:
    """Widths of columns that fit a screen: the widest give way first.

    No word is broken and, where there is room, no figure with its interval; what is too wide is folded at blanks, where
    there are sentences and long titles. Only where words alone are too wide are they broken.
    """
    natural, words, whole = [], [], []
    for title, cells in zip(titles, columns, strict=True):
        texts = [printable(title), *cells]
        natural.append(max(map(len, texts)))
        words.append(max((len(word) for text in texts for word in text.split()), default=0))
        whole.append(max([words[-1], *(len(cell) for cell in cells if not _SENTENCE.search(cell))]))
    room = screen - 2 * (len(titles) - 1)
    for least in (whole, words, [1] * len(titles)):
        widths = list(natural)
        while sum(widths) > room:
            widest = max(range(len(widths)), key=lambda one: widths[one] if widths[one] > least[one] else 0)
            if widths[widest] <= least[widest]:
                break
            widths[widest] -= 1
        if sum(widths) <= room:
            return widths
    return natural


def print_json(value: Any) -> None:
    """One JSON document on stdout; NaN is refused, as it is not JSON, and no string can move the cursor."""
    from edgedx.core.text import printable_json

    typer.echo(printable_json(value))


def print_recipe(recipe: Recipe) -> None:
    """The effective recipe as YAML, for --dry-run."""
    import yaml

    typer.echo(yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True), nl=False)


def run_recipe(run: Path, overrides: list[str]) -> Recipe:
    """The recipe a run was begun with, with overrides."""
    from edgedx.lab.run.run import Run

    return Run.open(run).recipe(overrides)


def keep_recipe(run: Path, recipe: Recipe) -> None:
    """Write the effective recipe beside the stages, for the commands that follow."""
    from edgedx.lab.run.run import Run

    Run(run).keep_recipe(recipe)


def run_of(path: Path) -> Path:
    """The run folder, given itself or one of its stages (runs/x or runs/x/teacher)."""
    from edgedx.lab.run.run import Run

    return Run.of(path).path


def run_around(path: Path) -> Path | None:
    """The run that something lies in: itself, one of its stages, or a file in one; None outside of a run."""
    from edgedx.lab.run.run import Run

    around = Run.around(path)
    return around.path if around is not None else None


def torch_device(on: str) -> str:
    """``--on`` as torch calls it: cpu or cuda."""
    check_choice("--on", on, ("auto", "cpu", "cuda"), "device of PyTorch")
    if on == "auto":
        from edgedx.lab.network.inputs import best_device

        return best_device().type
    return on


def check_choice(option: str, value: str | None, choices: Sequence[str], noun: str = "") -> None:
    """Refuse a value of an option that is none of its choices; None is left to the command.

    Raises
    ------
    UsageError
        Names the option and the choices, and the nearest where there is one.

    Notes
    -----
    `noun` is what the option chooses, where its own name does not say it.
    """
    import difflib

    from edgedx.core.errors import UsageError

    if value is None or value in choices:
        return
    near = difflib.get_close_matches(value, choices, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    noun = noun or option.removeprefix("--")
    raise UsageError(f"{option} {value}: no such {noun}{hint}", next_step=f"one of {', '.join(choices)}")


def interval(value: dict[str, Any] | None) -> str:
    """A figure with its interval, or a dash where it was not measured."""
    if not value or value.get("value") is None:
        return "-"
    if value.get("low") is None:
        return f"{value['value']:.3f}"
    return f"{value['value']:.3f} [{value['low']:.3f}, {value['high']:.3f}]"


def synthetic_note(synthetic: bool) -> None:
    """Say on stderr that figures are of generated images."""
    if synthetic:
        remark("SYNTHETIC data: these figures say nothing about patients.")


def profile_for(device: str) -> DeviceProfile:
    """The profile called `device`, or the one that fits this machine for ``this``."""
    from edgedx.device.machine.match import profile_for as work

    return work(device)


def int8_for(profile: DeviceProfile, wanted: bool | None) -> bool:
    """Whether to make an INT8 model: as asked, else where the device has integer kernels."""
    return profile.quantization.scheme != "float" if wanted is None else wanted


def signing_keys(paths: Sequence[Path]) -> list[SigningKey]:
    """Private keys in memory; a password is taken from the environment, or asked for."""
    from edgedx.core.bundle.signing import is_encrypted, load_signing_key

    keys = []
    for path in paths:
        password = None
        if is_encrypted(path):
            password = os.environ.get(PASSWORD)
            if password is None and os.isatty(0):
                password = str(typer.prompt(f"password of {printable(path)}", hide_input=True))
        keys.append(load_signing_key(path, password))
    return keys
