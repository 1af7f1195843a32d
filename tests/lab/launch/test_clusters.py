"""A real Ray cluster of two nodes on this machine, one of which dies; and submitit's own jobs, without SLURM."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ray_nodes import two_nodes

from edgedx.core.errors import MissingError
from edgedx.lab.launch.launch import launch
from edgedx.lab.launch.on_ray import OnRay
from edgedx.lab.launch.on_slurm import OnSlurm
from edgedx.lab.launch.unit import Unit

pytestmark = pytest.mark.slow

COUNTS = """
import os, pathlib, sys, time
log = pathlib.Path(sys.argv[1])
done = len(log.read_text().splitlines()) if log.exists() else 0
for number in range(done, 20):
    with log.open("a") as stream:
        stream.write(f"{number} {os.environ['RAY_RAYLET_PID']}\\n")
    time.sleep(0.2)
"""


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("RAY_DISABLE_IMPORT_WARNING", "1")
    with two_nodes() as made:
        yield made


def _units(folder: Path, count: int) -> list[Unit]:
    return [
        Unit(
            f"unit {number}",
            folder / str(number),
            ((sys.executable, "-c", COUNTS, str(folder / str(number) / "log")),),
        )
        for number in range(count)
    ]


def _until(files: list[Path]) -> None:
    deadline = time.monotonic() + 120
    while not all(file.exists() for file in files):
        assert time.monotonic() < deadline, "the units do not begin"
        time.sleep(0.1)


def test_two_nodes_share_the_work_and_one_that_dies_loses_none(cluster: Any, tmp_path: Path) -> None:
    units = _units(tmp_path, 4)
    code = (
        "import sys; from pathlib import Path; from test_clusters import _units;"
        "from edgedx.lab.launch.launch import launch; from edgedx.lab.launch.on_ray import OnRay;"
        "launch(_units(Path(sys.argv[1]), 4), OnRay(sys.argv[2]), 'at work')"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])}
    begun = subprocess.Popen([sys.executable, "-c", code, str(tmp_path), cluster.address], env=env)
    logs = [unit.folder / "log" for unit in units]
    _until(logs[:2])
    nodes = {log.read_text().split()[1] for log in logs[:2]}
    assert len(nodes) == 2, "both nodes are at work"
    dying = next(node for node in cluster.list_all_nodes() if node is not cluster.head_node)
    cluster.remove_node(dying, allow_graceful=False)
    assert begun.wait(300) == 0
    for log in logs:
        lines = [line.split() for line in log.read_text().splitlines()]
        assert [line[0] for line in lines] == [str(number) for number in range(20)]
    assert any(len({line.split()[1] for line in log.read_text().splitlines()}) == 2 for log in logs), "none moved"


def test_ctrl_c_ends_what_the_cluster_does_for_us(cluster: Any, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from edgedx.lab.launch.launch import launch;"
        "from edgedx.lab.launch.on_ray import OnRay; from edgedx.lab.launch.unit import Unit;"
        "from test_launch import SAVES; file = sys.argv[1];"
        "launch([Unit('one', Path(file).parent, ((sys.executable, '-c', SAVES, file),))], OnRay(sys.argv[2]), 'w')"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])}
    file = tmp_path / "one" / "file"
    begun = subprocess.Popen([sys.executable, "-c", code, str(file), cluster.address], env=env)
    _until([file.with_name("file.ready")])
    begun.send_signal(signal.SIGINT)
    assert begun.wait(120) != 0
    assert file.read_text() == "saved"


def test_no_cluster_is_told_with_what_starts_one() -> None:
    pytest.importorskip("ray", reason="needs edgedx[cluster]")
    with pytest.raises(MissingError, match="no Ray cluster") as failure:
        launch([Unit("one", Path("nowhere"), ())], OnRay("127.0.0.1:1"), "at work")
    assert "ray start --head" in (failure.value.next_step or "")


def test_submitit_runs_the_same_units(tmp_path: Path) -> None:
    pytest.importorskip("submitit", reason="needs edgedx[cluster]")
    say = (sys.executable, "-c", "print('here')")
    units = [Unit(name, tmp_path / name, (say, say)) for name in "ab"]
    launch(units, OnSlurm(cluster="local", look_s=0.2, cores=1), "at work")
    assert [unit.log.read_text() for unit in units] == ["here\nhere\n"] * 2


def test_without_slurm_it_says_where_to_go(tmp_path: Path) -> None:
    pytest.importorskip("submitit", reason="needs edgedx[cluster]")
    with pytest.raises(MissingError, match="no SLURM here"):
        launch([Unit("a", tmp_path / "a", ())], OnSlurm(), "at work")
