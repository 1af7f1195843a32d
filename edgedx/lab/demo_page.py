"""The demo's last step: the page of a clinic's box on what it made, with a scanner that reads what is sent to it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from edgedx.core.errors import InputOutputError
from edgedx.core.text import command_line
from edgedx.device.page.serve import Address, Open, check_installed, serve_page
from edgedx.device.page.settings import PageSettings


def page_command(out: Path) -> str:
    """The call that opens the page on what a demo left in `out`."""
    results, root, inbox = _folders(out)
    return command_line("page", "--out", results, "--root", root, "--inbox", inbox)


def show_page(out: Path, opened: Callable[[Open], None]) -> None:
    """Serve the page on this machine alone, until Ctrl-C.

    Parameters
    ----------
    opened : callable
        Told once, when the page can be opened.

    Raises
    ------
    DependencyMissing
        The extra ``page`` is not installed.
    """
    check_installed()
    results, root, inbox = _folders(out)
    settings, address = PageSettings(results, root, inbox, show_names=True), Address()
    with _scanner(inbox, root, results):
        try:
            serve_page(settings, address, opened)
        except InputOutputError:  # the usual port is taken
            serve_page(settings, replace(address, port=0), opened)


@contextmanager
def _scanner(inbox: Path, root: Path, results: Path) -> Iterator[None]:
    """A scanner beside the page, as on a device; what it says stays out of the demo's output."""
    words = ["scan", str(inbox), "--bundle", str(root), "--out", str(results)]
    quiet = subprocess.DEVNULL
    process = subprocess.Popen([sys.executable, "-m", "edgedx", *words], stdin=quiet, stdout=quiet, stderr=quiet)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def _folders(out: Path) -> tuple[Path, Path, Path]:
    return out / "results", out / "device", out / "inbox"
