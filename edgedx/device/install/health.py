"""Can a slot serve? Opened, activated and asked its golden samples, in this process or in a fresh one.

``python -m edgedx.device.install.health ROOT`` examines what is active. A runtime that crashes, and a graph that never
ends, take only that process along: nothing of a bundle is run in the process that installs it.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from edgedx.core.bundle.manifest import Bundle, open_folder
from edgedx.core.errors import BundleError, EdgedxError, GateRefused, ProviderMissing, UsageError
from edgedx.device.runtime.golden import check_golden
from edgedx.device.runtime.open_runner import open_runner

from .fresh import WATCHED, NoAnswer, ask_fresh, end_with_caller
from .slots import SLOTS, active_slot, open_slot, read_record
from .state import Slot
from .trust import pinned

CPU_SECONDS, ENGINE_SECONDS = 120.0, 2400.0
"""How long the golden samples may take: on a CPU, and where TensorRT may have to build an engine first."""
_ERRORS: dict[int, type[EdgedxError]] = {1: GateRefused, 2: UsageError, 3: ProviderMissing, 5: BundleError}


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
    exit_code, next_step : optional
        Of the error that says what is wrong.
    """

    ok: bool
    why: str = ""
    golden_difference: float | None = None
    exit_code: int = 0
    next_step: str | None = None


def prove(bundle: Bundle, variant: str | None) -> float:
    """Greatest difference of logits on the golden samples, by the runner that will serve (see `check_golden`)."""
    with open_runner(bundle, variant=variant) as runner:
        return check_golden(bundle, runner, variant)


def prove_fresh(bundle: Bundle, variant: str | None, *, seconds: float | None = None) -> float:
    """As `prove`, of an unpacked bundle, in a process of its own with a time limit.

    Parameters
    ----------
    seconds : float, optional
        Time limit; `time_limit` unless given.

    Raises
    ------
    GateRefused
        It computes other values, crashes, or does not end in time.
    BundleError, ProviderMissing, UsageError
        See `open_runner` and `check_golden`.
    """
    name = variant or bundle.manifest.default_variant
    health = _ask(["--folder", os.path.abspath(bundle.path), name], seconds or time_limit(bundle, name), bundle, name)
    if health.ok and health.golden_difference is not None:
        return health.golden_difference
    raise _ERRORS.get(health.exit_code, GateRefused)(
        health.why if health.exit_code else f"{bundle.path}: golden samples of {name}: {health.why}",
        next_step=health.next_step or "see `edgedx doctor`; do not use this bundle if its maker is not known",
    )


def time_limit(bundle: Bundle, variant: str | None) -> float:
    """Seconds that the golden samples of a variant may take on any machine that is of use."""
    name = variant or bundle.manifest.default_variant
    entry = bundle.manifest.variants.get(name)
    return ENGINE_SECONDS if entry is not None and entry.purpose == "tensorrt" else CPU_SECONDS


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
        return _failed(error)


def _examine_folder(folder: Path, variant: str) -> Health:
    """An unpacked bundle whose signature was verified before; its hashes are verified again."""
    try:
        return Health(True, "", prove(open_folder(folder), variant))
    except EdgedxError as error:
        return _failed(error)


def _failed(error: EdgedxError) -> Health:
    return Health(False, error.message, None, error.exit_code, error.next_step)


def examine_fresh(root: Path, slot: Slot | None = None, *, timeout: float | None = None) -> Health:
    """As `examine`, in a process of its own: a crash, a hang and a broken environment are findings too."""
    seconds = timeout or ENGINE_SECONDS
    if timeout is None and (chosen := slot or active_slot(root)) is not None:
        try:
            bundle = open_slot(root, chosen, ())
            seconds = time_limit(bundle, serving_variant(bundle))
        except EdgedxError:  # the process will say so
            seconds = CPU_SECONDS
    return _ask([os.path.abspath(root), *([slot] if slot else [])], seconds)


def _ask(arguments: list[str], seconds: float, bundle: Bundle | None = None, variant: str | None = None) -> Health:
    shown = bundle is not None and time_limit(bundle, variant) == ENGINE_SECONDS  # building an engine takes minutes
    try:
        answer = ask_fresh("edgedx.device.install.health", arguments, seconds, show=shown and sys.stderr.isatty())
        return Health(**answer)
    except NoAnswer as error:
        return Health(False, str(error))
    except TypeError:
        return Health(False, "the examination printed something else than its answer")


def main() -> None:
    """Examine what the arguments name, and print the outcome as JSON; wait for nothing but the model."""
    arguments = sys.argv[1:]
    if arguments[0] == WATCHED:
        end_with_caller()
        arguments = arguments[1:]
    if arguments[0] == "--folder":
        health = _examine_folder(Path(arguments[1]), arguments[2])
    else:
        health = examine(Path(arguments[0]), next((slot for slot in SLOTS if arguments[1:] == [slot]), None))
    print(json.dumps(asdict(health)), flush=True)
    os._exit(0)  # threads of a runtime that does not end would keep it


if __name__ == "__main__":
    main()
