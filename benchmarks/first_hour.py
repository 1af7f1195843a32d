"""The first hour by the clock: from own images to a first result, following only what the commands say.

    EDGEDX_DATA=FOLDER python benchmarks/first_hour.py [--each 300] [--only folder|dicom|refused] [--quick]

Makes what a hospital has (`tests/support/hospital.py`): a folder for each class, and DICOM files with a table. Types
`edgedx init`, then whatever the last command printed as next, until new images have an answer. No option is given that
no command asked for, but with `--quick` those of the tutorial for computers without a GPU: they are counted as typed.
The transcript goes to `results/first_hour.json`, and `make docs` makes docs/first-hour.md of it.

Seconds are of this machine. What a person does meanwhile is counted, not timed: each command as if typed by key, with
the time to think of it (0.28 s a key, 1.35 s a command: Card, Moran and Newell 1980), and each printed word as if read
(238 a minute: Brysbaert 2019); and once more with what was printed pasted (3 s: two pointings, two movements of the
hand). Lines that tell the progress of a training are not read.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parent.parent / "tests" / "support"))
from hospital import class_folders, dicom_study, source

from edgedx.core.files import read_json, write_json
from edgedx.lab.run.stage import machine

RESULT = Path(__file__).parent / "results" / "first_hour.json"
QUICK = {
    "finetune": " --set 'preprocess.size=[96,96]' --set train.epochs=8",
    "compress": " --set student.epochs=10 --set gate.max_auc_drop=0.05",
}
HOME = "/home/clinic"
"""Stands in the transcript for the folder at work."""
KEY, THINK, PASTE, WORDS_A_MINUTE = 0.28, 1.35, 3.0, 238
_NEXT = re.compile(r"(?m)(?:^(try it|next) +|; (next): )(edgedx .+?)(?: {3,}\(.*)?$")
DATA: dict[str, tuple[str, Callable[..., Path]]] = {
    "folder": ("xrays", class_folders),
    "dicom": ("study", dicom_study),
    "refused": ("xrays", class_folders),  # with the budget that a recipe has unless told otherwise
}


def next_of(printed: str) -> str | None:
    """The command that an output asks for: what can be tried at once, else what is next."""
    found = {match[1] or match[2]: match[3] for match in reversed(list(_NEXT.finditer(printed)))}
    return found.get("try it") or found.get("next")


def person_seconds(commands: int, keys: int, words: int, pasted: int = 0) -> int:
    """What a person is busy with: thinking of the commands, typing or pasting them, and reading."""
    return round(commands * THINK + keys * KEY + pasted * PASTE + words * 60 / WORDS_A_MINUTE)


def first_result(work: Path, kind: str, each: int, options: Mapping[str, str]) -> dict[str, Any]:
    """Run all commands in `work`; returns them with what they printed and took."""
    name, make = DATA[kind]
    make(work / name, each)
    make(work / "new", 2, after=each)
    steps: list[dict[str, Any]] = []
    command: str | None = f"edgedx init {name}"
    while command is not None:
        step = _typed(command.replace("IMAGES", "new") + options.get(command.split()[1], ""), work)
        print(f"{step['seconds']:7.1f} s  {step['command']}", flush=True)
        steps.append(step)
        command = next_of(step["printed"]) if step["exit"] == 0 else None
    keys = sum(len(step["command"]) + 1 for step in steps)
    words = sum(len(step["printed"].split()) for step in steps)
    own = len(steps[0]["command"]) + 1 + sum(map(len, options.values()))  # all else was printed, and can be pasted
    return {
        "source": source(),
        "images": 2 * each,
        "threads": os.environ.get("OMP_NUM_THREADS", "all"),
        "steps": steps,
        "answered": steps[-1]["exit"] == 0 and " predict " in steps[-1]["command"],
        "machine_seconds": round(sum(step["seconds"] for step in steps), 1),
        "commands": len(steps),
        "keys": keys,
        "words": words,
        "pages_read": 0,
        "person_seconds": person_seconds(len(steps), keys, words),
        "pasting_seconds": person_seconds(len(steps), own, words, pasted=len(steps) - 1),
    }


def _typed(command: str, work: Path) -> dict[str, Any]:
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", *shlex.split(command)],
        cwd=work, capture_output=True, text=True, check=False, env=_environment(),
    )  # fmt: skip
    seconds = round(time.monotonic() - begun, 1)
    told = [text for text in done.stderr.splitlines() if text.startswith(("warning", "error", "next"))]
    printed = "\n".join([*told, done.stdout.rstrip()]).strip().replace(str(work), HOME)
    return {"command": command, "seconds": seconds, "exit": done.returncode, "printed": printed}


def _environment() -> Mapping[str, str]:
    """As a new user has it: the data lie in no place that edgedx knows."""
    root = str(Path(__file__).resolve().parent.parent)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("EDGEDX_")}
    return {**kept, "PYTHONPATH": root, "COLUMNS": "120"}


def main() -> None:
    """Measure one or both, and keep what was measured of the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--each", type=int, default=300, help="images of either class")
    parser.add_argument("--only", choices=sorted(DATA), help="one of the two")
    parser.add_argument("--quick", action="store_true", help="smaller images and fewer epochs, as in the tutorial")
    parser.add_argument("--work", type=Path, help="an empty folder that keeps what is made; else it is removed")
    chosen = parser.parse_args()
    for kind in [chosen.only] if chosen.only else list(DATA):
        with tempfile.TemporaryDirectory() as folder:
            work = Path(chosen.work or folder).resolve() / kind
            work.mkdir(parents=True)
            options = dict(QUICK) if chosen.quick else {}
            if kind == "refused" and options:
                options["compress"] = options["compress"].partition(" --set gate.")[0]
            found = first_result(work, kind, chosen.each, options)
        report = read_json(RESULT) if RESULT.is_file() else {"schema_version": 1, "runs": {}}
        report["runs"][kind] = {"date": time.strftime("%Y-%m-%d"), "machine": machine(), **found}
        write_json(RESULT, report)
        print(f"{kind}: {found['machine_seconds']} s of the machine, about {found['person_seconds']} s of a person")


if __name__ == "__main__":
    main()
