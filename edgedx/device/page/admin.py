"""What the administrator sees: people, threshold, answers, languages, how long things are kept."""

from __future__ import annotations

from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from edgedx.core.text import command_line
from edgedx.device.clinic.answers import ANSWERS, Answers
from edgedx.device.operation.retention_record import read_retention

from .render import render, settings_of


def overview(request: Request) -> Response:
    """One page with a section for each; what changes the model or leaves the box is done at its console."""
    settings = settings_of(request)
    kept = read_retention(settings.out)
    out, root = settings.out.absolute(), settings.root.absolute() if settings.root else "ROOT"
    return render(
        request, "admin.html",
        answers=_count(settings.out),
        threshold_command=command_line("threshold", "propose", out, "--root", root),
        export_command=command_line("answers", "export", out, "--to", "clinic.answers", "--key", "clinic.key"),
        limits=kept["limits"] or {"days": None, "gigabytes": None},
        removed=sum(kept["removed"].values()),
    )  # fmt: skip


def _count(out: Path) -> int:
    path = out / ANSWERS
    if not path.is_file():
        return 0
    answers = Answers(path, read_only=True)
    try:
        return answers.count()
    finally:
        answers.close()


routes = [Route("/admin", overview, methods=["GET"], name="admin")]
