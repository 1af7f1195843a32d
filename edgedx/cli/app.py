"""The `edgedx` command: which commands there are, and what an error prints and exits with, once for all."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from .exits import exit_code_of
from .lazy import Entry, lazy_group

# By family, each in the order in which its commands are met.
_FAMILIES = {
    "flow": {
        "init": "Look at your images and write a recipe for them.",
        "finetune": "Train the full model (teacher) by transfer learning.",
        "compress": "Prune, distil and quantize the teacher into a student.",
        "gate": "Pass or fail the compressed model: against its teacher, or on your images.",
        "deploy": "Gate the student and write its bundle (.edgedx).",
        "scan": "Read every new image of a folder, on the device.",
        "update": "Learn from a clinic's answers; judged against the deployed model.",
        "archive": "Read a whole archive of studies into one table.",
    },
    "evidence": {
        "evaluate": "Every figure of a model on labelled images.",
        "report": "One page about a run, for people and for programs.",
        "compare": "Test which model is better on the same images.",
        "crossval": "Cross-validate a recipe by patient.",
        "robustness": "Figures on degraded and on foreign images.",
        "explain": "Heat maps side by side, and tests of whether they mean anything.",
        "bench": "Latency against accuracy, model beside model.",
    },
    "device": {
        "install": "Verify a bundle, test it on this machine, make it active.",
        "push": "Install a bundle on a device over ssh, without internet there.",
        "predict": "Predict single images, without an inbox.",
        "status": "What is installed on a device, and whom it trusts.",
        "rollback": "Make the version before active again.",
        "fleet": "Update many devices from one signed repository; who needs a call.",
        "keys": "Make, pin and use the keys that sign bundles.",
        "engine": "Build and list TensorRT engines of this machine.",
    },
    "clinic": {
        "page": "The page of a clinic's box: see, answer, upload.",
        "answers": "What people answered: counts, agreement, signed export.",
        "monitor": "Have the images or the answers changed? One light, and the figures behind it.",
        "threshold": "What every threshold would mean here; one of the site's own.",
    },
    "tools": {
        "data": "Check a data set before training.",
        "demo": "The whole flow in a few minutes, on this machine.",
        "doctor": "Examine this machine and say what is missing.",
        "recipes": "List and show recipes.",
        "devices": "List, show and match device profiles.",
        "tune": "Search the hyper-parameters that a recipe declares.",
        "federated": "Hospitals that share no images train one model together.",
        "wheelhouse": "Collect what a device needs to install offline.",
    },
}
_TITLES = {
    "flow": "Flow, in its order",
    "evidence": "Evidence",
    "device": "Device",
    "clinic": "Clinic",
    "tools": "Tools",
}
_ELSEWHERE = {"scan": "scan.app", "fleet": "fleet.app"}
_MENTIONED = {_TITLES["device"]: {"scan ...": "A scanner's status, retry, outbox, audit, export, unit, pacs."}}
SECTIONS = {
    _TITLES[family]: {name: Entry(_ELSEWHERE.get(name, f"{family}.{name}"), line) for name, line in commands.items()}
    for family, commands in _FAMILIES.items()
}
COMMANDS = {name: entry.summary for commands in SECTIONS.values() for name, entry in commands.items()}

app = typer.Typer(
    name="edgedx",
    help="Fine-tune, shrink, prove and ship medical-image classifiers to small computers. Not a medical device.",
    cls=lazy_group(SECTIONS, _MENTIONED),
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        from edgedx._version import __version__

        typer.echo(f"edgedx {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Fine-tune, shrink, prove and ship medical-image classifiers to small computers. Not a medical device.

    Start with: edgedx demo
    """


def run() -> None:
    """Run the command line, unless it is spelled in an old way."""
    from .moved import check

    check(sys.argv[1:])
    app()


def main() -> None:
    """Entry point: run, and end with the exit code of `exits`."""
    sys.exit(exit_code_of(run))
