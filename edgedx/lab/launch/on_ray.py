"""Units as tasks of a Ray cluster: its scheduler gives each its cores or GPU, and gives again what a dead node had."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edgedx.core.errors import DependencyMissing, MissingError
from edgedx.core.progress import Bar

from .unit import Unit, work

_KNOCK_S = 10.0
_RETRIES = 10
"""A node's death is no fault of a unit; but one that kills ten nodes is."""


@dataclass(frozen=True)
class OnRay:
    """A cluster that somebody started: ``ray start --head``, then ``ray start --address=HEAD:6379`` on each node.

    All nodes have this edgedx, and see the folders of the units at the same place.

    Parameters
    ----------
    address : str
        ``auto``: the cluster that this machine is a node of; ``ray://HOST:10001``: one elsewhere.
    cores, gpus : float
        That one unit takes.
    """

    address: str = "auto"
    cores: float = 1
    gpus: float = 0

    def run(self, units: Sequence[Unit], bar: Bar) -> list[Unit]:
        """Run all, and return those that failed.

        Raises
        ------
        MissingError
            No such cluster.
        """
        ray = _ray()
        mine = not ray.is_initialized()
        if mine:
            try:
                _knock(self.address)  # Ray itself knocks for minutes
                ray.init(address=self.address, log_to_driver=False, logging_level="error")
            except (OSError, RuntimeError, ValueError) as error:
                raise MissingError(
                    f"no Ray cluster at {self.address}: {str(error).splitlines()[0]}",
                    next_step="ray start --head, then the command again; or --on ray://HOST:10001",
                ) from error
        try:
            return self._run(ray, units, bar)
        finally:
            if mine:
                ray.shutdown()

    def _run(self, ray: Any, units: Sequence[Unit], bar: Bar) -> list[Unit]:
        task = ray.remote(num_cpus=self.cores, num_gpus=self.gpus, max_retries=_RETRIES)(work)
        more = {name: value for name, value in os.environ.items() if name.startswith("EDGEDX_") or name == "PYTHONPATH"}
        if not self.gpus:
            more["OMP_NUM_THREADS"] = str(max(1, int(self.cores)))
        waiting = {task.options(name=unit.name).remote(unit, more): unit for unit in units}
        failed: list[Unit] = []
        try:
            while waiting:
                for done in ray.wait(list(waiting), num_returns=1)[0]:
                    unit = waiting.pop(done)
                    if _code(ray, done):
                        failed.append(unit)
                    bar.advance(len(unit.commands))
        except BaseException:
            for one in waiting:
                ray.cancel(one)  # a KeyboardInterrupt in its process: the unit saves what it has
            ray.wait(list(waiting), num_returns=len(waiting), timeout=60)
            raise
        return failed


def _knock(address: str) -> None:
    """Fail at once where nobody listens."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host:
        socket.create_connection((host, int(port)), _KNOCK_S).close()


def _code(ray: Any, done: Any) -> int:
    """Exit code of a unit; 1 where it is not known because every node that tried it died."""
    try:
        return int(ray.get(done))
    except ray.exceptions.RayError:
        return 1


def _ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise DependencyMissing(
            "--on ray needs Ray (ray >= 2.40)", next_step="pip install 'edgedx[cluster]'"
        ) from error
    return ray
