"""Which command makes a missing or damaged file of a run again."""

from __future__ import annotations

from pathlib import Path

from edgedx.core.text import command_line

RECIPE = "recipe.yaml"
"""Of a run: the effective recipe. A folder that holds it is a run."""
UPDATE = "update.json"
"""Of a run that updates another one: what it was made from (`updated`)."""

FEDERATED = "federated.json"
"""Of a run whose teacher several hospitals trained: the report by site."""


def renewal(path: Path) -> str | None:
    """The next step for a file that is not there: ``put it back from a copy of the run, or make it again: edgedx ...``.

    None where `path` lies in no run, or where no command made it.
    """
    run = next((folder for folder in [*path.parents, *path.absolute().parents] if (folder / RECIPE).is_file()), None)
    if run is None:
        return None
    inside = path if run in path.parents else path.absolute()
    command = _command(run, inside.relative_to(run).parts)
    return command and f"put it back from a copy of the run, or make it again: {command}"


def _command(run: Path, parts: tuple[str, ...]) -> str | None:
    match parts:
        case ("data" | "teacher", *_) if (run / UPDATE).is_file():
            return f"delete {run / parts[0]}, then repeat the `edgedx update` that made {run}"
        case ("data" | "teacher", *_) if (run / FEDERATED).is_file():
            return f"repeat the `edgedx federated` that made {run}, with --overwrite"
        case ("data", *_):
            return f"{command_line('finetune', run / RECIPE, '--out', run)}    (a finished teacher stays)"
        case ("teacher", *_):
            return command_line("finetune", run / RECIPE, "--out", run, "--overwrite")
        case ("student", *_):
            return command_line("compress", run, "--overwrite")
        case ("devices", profile, "variants", *_):
            folder = run / "devices" / profile / "variants"
            return f"delete {folder}, then {command_line('compress', run, '--device', profile)}"
        case ("devices", profile, "bundle", *_):
            return command_line("deploy", run, "--device", profile, "--overwrite")
        case ("devices", profile, "gate", *_):
            return command_line("gate", run, "--device", profile)
        case ("baselines", *_):
            return command_line("compare", run, "--baselines", "--overwrite")
    return None
