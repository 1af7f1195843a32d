"""Can a slot serve? Opened, activated and asked its golden samples, in this process or in a fresh one.

``python -m edgedx.device.install.health ROOT`` examines what is active; a runtime that crashes takes only that process
along.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from edgedx.core.bundle.manifest import Bundle
from edgedx.core.errors import BundleError, EdgedxError
from edgedx.device.runtime.golden import check_golden
from edgedx.device.runtime.open_runner import open_runner

from .slots import SLOTS, active_slot, open_slot, read_record
from .state import Slot
from .trust import pinned

TIMEOUT_S = 600.0
"""A Jetson may build an engine in that time; a runtime that hangs never answers."""


@dataclass(frozen=True)
class Health:
    """What was found.

    Attributes
    ----------
    ok : bool
    why : str
        What is wrong, in a sentence; empty where nothing is.
    golden_difference : float or None
        Greatest difference of logits on the golden samples.
    """

    ok: bool
    why: str = ""
    golden_difference: float | None = None


def prove(bundle: Bundle, variant: str | None) -> float:
    """Greatest difference of logits on the golden samples, by the runner that will serve (see `check_golden`)."""
    with open_runner(bundle, variant=variant) as runner:
        return check_golden(bundle, runner, variant)


def serving_variant(bundle: Bundle) -> str | None:
    """The variant that was proven when an installed bundle was installed; None for the bundle's default."""
    record = read_record(bundle.path)
    return record.variant if record is not None and record.variant in bundle.manifest.variants else None


def examine(root: Path, slot: Slot | None = None) -> Health:
    """Open a slot as a scanner would, the active one unless named, and prove it. Errors of ours become findings."""
    try:
        chosen = slot or active_slot(root)
        if chosen is None:
            raise BundleError(f"nothing is installed in {root}")
        bundle = open_slot(root, chosen, pinned(root))
        return Health(True, "", prove(bundle, serving_variant(bundle)))
    except EdgedxError as error:
        return Health(False, error.message)


def examine_fresh(root: Path, slot: Slot | None = None, *, timeout: float = TIMEOUT_S) -> Health:
    """As `examine`, in a process of its own: a crash, a hang and a broken environment are findings too."""
    command = [sys.executable, "-m", "edgedx.device.install.health", str(root), *([slot] if slot else [])]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        return Health(False, f"the model did not answer within {timeout:g} s")
    except OSError as error:
        return Health(False, f"no process could be started: {error.strerror}")
    if done.returncode < 0:
        return Health(False, f"the runtime crashed: {signal.strsignal(-done.returncode)}")
    try:
        found = json.loads(done.stdout.splitlines()[-1])
        return Health(bool(found["ok"]), str(found["why"]), found["golden_difference"])
    except (ValueError, IndexError, KeyError, TypeError):
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        return Health(False, f"the examination ended with {done.returncode}: {last}")


if __name__ == "__main__":
    _root, *_slot = sys.argv[1:]
    print(json.dumps(asdict(examine(Path(_root), next((one for one in SLOTS if _slot == [one]), None)))))
