"""Units as jobs of a SLURM cluster, by submitit."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgedx.core.errors import DependencyMissing, MissingError
from edgedx.core.progress import Bar

from .unit import Unit, work

_LOOK_S = 5.0
JOBS = "jobs"


@dataclass(frozen=True)
class OnSlurm:
    """The cluster that ``sbatch`` of this machine submits to; nodes share the folders of the units.

    Parameters
    ----------
    partition : str
        Empty: SLURM's default.
    minutes : int
        Longest time of a unit; one that is cut off is resumed by giving the command again.
    cluster : str
        ``local`` runs submitit's jobs on this machine, without SLURM: for trying the way.
    """

    partition: str = ""
    cores: int = 4
    gpus: int = 0
    minutes: int = 24 * 60
    cluster: str = "slurm"
    look_s: float = field(default=_LOOK_S)

    def run(self, units: Sequence[Unit], bar: Bar) -> list[Unit]:
        """Submit all, wait, and return those that failed.

        Raises
        ------
        MissingError
            There is no SLURM here.
        """
        executor = self._executor(units[0].folder.parent / JOBS)
        with executor.batch():
            jobs = [executor.submit(work, unit) for unit in units]
        waiting, failed = dict(zip(jobs, units, strict=True)), list[Unit]()
        try:
            while waiting:
                for job in [one for one in waiting if one.done()]:
                    unit = waiting.pop(job)
                    bar.advance(len(unit.commands))
                    if job.exception() is not None or job.result():
                        failed.append(unit)
                time.sleep(self.look_s)
        except BaseException:
            for job in waiting:
                job.cancel(check=False)
            raise
        return failed

    def _executor(self, folder: Path) -> Any:
        try:
            import submitit
        except ImportError as error:
            raise DependencyMissing("--on slurm needs submitit", next_step="pip install 'edgedx[cluster]'") from error
        try:
            executor = submitit.AutoExecutor(folder, cluster=self.cluster)
        except RuntimeError as error:
            raise MissingError(
                f"no SLURM here: {error}", next_step="give the command on a login node of the cluster"
            ) from error
        executor.update_parameters(
            cpus_per_task=self.cores, gpus_per_node=self.gpus, timeout_min=self.minutes, name="edgedx"
        )
        if self.partition:
            executor.update_parameters(slurm_partition=self.partition)
        return executor
