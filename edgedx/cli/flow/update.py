"""``edgedx update``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from edgedx.cli.common import check_choice, run_of
from edgedx.cli.options import AsJson, OfDevice, Set
from edgedx.cli.stopping import run_at_work

from . import show_update


def update(
    run: Annotated[Path, typer.Argument(help="Run folder of the model that is deployed; nothing in it is changed.")],
    feedback: Annotated[
        list[Path],
        typer.Option(
            "--feedback",
            help="Signed export of a clinic (.answers), or labelled images: a table image,label or a folder for each "
            "class; repeatable.",
        ),
    ],
    trust: Annotated[
        list[Path] | None, typer.Option("--trust", help="Public key (.pub) of a clinic that signed; repeatable.")
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(help="rehearsal: old and new images; distil: new ones alone; naive, ewc: for comparison."),
    ] = None,
    device: OfDevice = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the new run; RUN-update-N unless given.")] = None,
    new_version: Annotated[
        str | None, typer.Option(help="Version of the updated model; the last number one higher unless given.")
    ] = None,
    set_: Set = None,
    check: Annotated[
        bool, typer.Option("--check", help="Read the answers, list likely wrong labels and contradictions, and stop.")
    ] = False,
    anyway: Annotated[
        str | None,
        typer.Option(
            "--anyway", metavar="REASON", help="Let it ship although a check says no; the reason is recorded."
        ),
    ] = None,
    json: AsJson = False,
) -> None:
    """Learn from what clinics answered, and judge the new model against the deployed one.

    Example: edgedx update runs/lungs --feedback north.answers --feedback south.answers --trust clinics.pub

    Example: edgedx update runs/lungs --feedback labels.csv --check

    The teacher learns on, a new student is made of it, and it must not be worse than the deployed one by more than the
    recipe's budget: on the old images, on new ones that were kept for judging, at each clinic, and between subgroups.
    Exits with 1 where it is. The new run (RUN-update-N) is an ordinary one: then `edgedx deploy` and `edgedx report`.
    The same call goes on where it was stopped.
    """
    from edgedx.core.errors import GateRefused, UsageError
    from edgedx.lab.update.update import plan_update
    from edgedx.lab.update.update import update as work

    check_choice("--method", method, ("rehearsal", "distil", "naive", "ewc"))
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        raise UsageError("an update runs in one process", next_step="start it without torchrun")
    if anyway is not None and not anyway.strip():
        raise UsageError("--anyway needs a reason, which is recorded", next_step='--anyway "why it may ship"')
    overrides = [*(set_ or []), *([f"update.method={method}"] if method else [])]
    plan = plan_update(
        run_of(run), feedback, trust=trust or [], device=device, out=out, overrides=overrides, version=new_version
    )
    with run_at_work(plan.after.path):
        report = work(plan, check_only=check, force=anyway)
        show_update.updated(report, plan.after.path, plan.recipe, json=json)
    if not check and not (report["verdict"]["passed"] or report["verdict"]["forced"]):
        raise GateRefused(
            f"the update may not replace {report['verdict']['against']}: {report['verdict']['sentence']}",
            next_step="more answers, or another method (--method); or --anyway REASON, which is recorded",
        )
