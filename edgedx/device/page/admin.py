"""What the administrator sees: people, threshold, answers, languages, how long things are kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from edgedx.core.errors import InputOutputError
from edgedx.core.files import read_json
from edgedx.core.text import command_line
from edgedx.device.clinic.answers import ANSWERS, Answers
from edgedx.device.operation.retention_record import read_retention

from .reading.heartbeat import heartbeat
from .render import render, settings_of


def overview(request: Request) -> Response:
    """One page with a section for each; what changes the model or leaves the box is done at its console."""
    settings = settings_of(request)
    kept = read_retention(settings.out)
    out, root = settings.out.absolute(), settings.root.absolute() if settings.root else "ROOT"
    limits = kept["limits"] or {"days": None, "gigabytes": None}
    answered, signed = ("--answers", out), ("--site", "clinic", "--key", "clinic.key")
    return render(
        request, "admin.html",
        answers=_count(settings.out),
        thresholds=_local_thresholds(settings.root, str(heartbeat(settings.out).get("bundle"))),
        threshold_command=command_line("threshold", "propose", root, *answered, "--sensitivity", "0.95"),
        export_command=command_line("answers", "export", out, "--bundle", root, "--to", "clinic.answers", *signed),
        limits={name: None if value is None else f"{value:g}" for name, value in limits.items()},
        removed=sum(kept["removed"].values()),
    )  # fmt: skip


def _local_thresholds(root: Path | None, bundle: str) -> list[tuple[str, str, str]] | None:
    """Class, threshold and day of what was chosen at this site for the bundle at work; None where it is unreadable.

    Read as a file: `core.bundle.local_point` loads numpy, which the page has no other need of.
    """
    if root is None or not (root / "operating_point.json").exists():
        return []
    try:
        points = read_json(root / "operating_point.json")["points"]
        chosen: dict[str, Any] = next((one["thresholds"] for one in points if one["bundle"] == bundle), {})
        return [(name, f"{one['value']:.3g}", str(one["at"])[:10]) for name, one in chosen.items()]
    except (InputOutputError, KeyError, TypeError, ValueError, AttributeError):
        return None


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
