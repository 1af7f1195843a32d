"""The `edgedx` command: registers the others and maps errors to exit codes, once."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from .lazy import lazy_group

# In the order of the flow. A command's module has its name; what stands here is its line in `edgedx --help`.
COMMANDS = {
    "finetune": "Train the full model (teacher) by transfer learning.",
    "compress": "Prune, distil and quantize the teacher into a student.",
    "crossval": "Cross-validate a recipe by patient.",
    "tune": "Search the hyper-parameters a recipe declares.",
    "evaluate": "Judge any model on labelled images, in every figure.",
    "explain": "Heat maps side by side, and what they are worth.",
    "baselines": "Classical methods on a run's own split.",
    "compare": "Test which model is better, on the same images.",
    "robustness": "Judge models on worse images and foreign ones.",
    "gate": "Judge what ships against its teacher, or on your images.",
    "report": "One page about a run, for people and for programs.",
    "deploy": "Gate the student and write the bundle (.edgedx).",
    "bench": "Accuracy against latency, model beside model.",
    "scan": "Read every new image of a folder.",
    "audit": "Prove that a scanner's audit log is whole.",
    "export": "Copy images with their results, de-identified.",
    "install": "Verify a bundle, prove it here, make it active.",
    "rollback": "Make the other slot active again.",
    "status": "What is installed on a device, and whom it trusts.",
    "keys": "Make, pin and use the keys that sign bundles.",
    "engine": "Build and list TensorRT engines of this machine.",
    "wheelhouse": "Collect what a device needs to install offline.",
    "doctor": "Examine this machine and say what is missing.",
    "recipes": "List and show recipes.",
    "devices": "List, show and match device profiles.",
    "demo": "The whole way in a few minutes.",
}

app = typer.Typer(
    name="edgedx",
    help="Fine-tune, shrink, prove and ship medical-image classifiers to small computers. Not a medical device.",
    cls=lazy_group(COMMANDS),
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        from edgedx import __version__

        typer.echo(f"edgedx {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Fine-tune, shrink, prove and ship medical-image classifiers to small computers. Not a medical device.

    The flow: finetune, compress, deploy, bench, scan. Start with: edgedx demo
    """


def main() -> None:
    """Entry point: run, and turn an error of our tree into its message and exit code."""
    from edgedx.core.errors import EdgedxError

    try:
        app()
    except EdgedxError as error:
        from edgedx.core.text import printable

        typer.echo(f"error: {printable(error.message, lines=True)}", err=True)  # it may name a stranger's file
        if error.next_step:
            typer.echo(f"next:  {printable(error.next_step, lines=True)}", err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        typer.echo("stopped; nothing is half-written, --resume continues where that makes sense", err=True)
        sys.exit(130)
    except ModuleNotFoundError as error:
        _missing(error)


def _missing(error: ModuleNotFoundError) -> None:
    extras = {"torch": "lab", "torchvision": "lab", "timm": "lab", "onnx": "lab", "accelerate": "lab",
              "torch_pruning": "lab", "safetensors": "lab", "matplotlib": "lab", "sklearn": "lab",
              "scipy": "lab", "optuna": "lab", "captum": "lab", "skimage": "lab"}  # fmt: skip
    package = (error.name or "").split(".")[0]
    if package not in extras:
        raise error
    typer.echo(f"error: this command needs {package}, which is not installed", err=True)
    typer.echo(
        f'next:  pip install "edgedx[{extras[package]}]" (the workstation half; a device needs none of it)', err=True
    )
    sys.exit(3)
