"""Where units run: one word of the command line, ``--on``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from edgedx.core.errors import InputOutputError, UsageError
from edgedx.core.progress import Bar, progress

from .local import Local
from .on_ray import OnRay
from .on_slurm import OnSlurm
from .unit import Unit


class Launcher(Protocol):
    """Runs units; a repeated call goes on where one was stopped, as each unit does."""

    def run(self, units: Sequence[Unit], bar: Bar) -> list[Unit]:
        """Run all, and return those that failed. The bar has a step for each command."""


def launcher_on(where: str, *, jobs: int = 0, gpus: Sequence[str] = (), cores: int = 1) -> Launcher:
    """What ``--on`` names.

    Parameters
    ----------
    where : str
        ``local``, ``ray``, ``ray://HOST:PORT``, ``slurm`` or ``slurm:PARTITION``.
    jobs : int
        Units at the same time on this machine; a cluster decides itself.
    gpus : sequence of str
        Of this machine; on a cluster a unit takes one where this is not empty.
    cores : int
        That a unit takes on a cluster.

    Raises
    ------
    UsageError
        None of these.
    """
    kind, _, rest = where.partition(":")
    if where == "local":
        return Local(jobs, gpus)
    if where == "ray" or (kind == "ray" and rest.startswith("//")):
        return OnRay("auto" if where == "ray" else where, cores, 1 if gpus else 0)
    if kind == "slurm":
        return OnSlurm(rest, cores, 1 if gpus else 0)
    raise UsageError(
        f"--on {where}: nothing of that name", next_step="local, ray, ray://HOST:10001, slurm or slurm:PARTITION"
    )


def launch(units: Sequence[Unit], launcher: Launcher, what: str) -> None:
    """Run units with a bar.

    Raises
    ------
    InputOutputError
        Some failed; the others are finished, and kept.
    """
    if not units:
        return
    with progress(what, sum(len(unit.commands) for unit in units)) as bar:
        failed = launcher.run(units, bar)
    if failed:
        failed.sort(key=units.index)
        raise InputOutputError(
            f"{', '.join(unit.name for unit in failed)} failed; {failed[0].name} said: {failed[0].said()}",
            next_step=f"read {failed[0].log}, then repeat the command: what is finished is kept",
        )
