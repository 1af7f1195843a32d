"""Units on this machine: each command after the one before it, none outlives its parent, Ctrl-C reaches each once."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgedx.core.errors import InputOutputError, UsageError
from edgedx.lab.launch.launch import launch, launcher_on
from edgedx.lab.launch.local import Local
from edgedx.lab.launch.on_ray import OnRay
from edgedx.lab.launch.on_slurm import OnSlurm
from edgedx.lab.launch.unit import Unit, start, stop


def _python(code: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-c", code, *arguments)


def _unit(folder: Path, *codes: str) -> Unit:
    return Unit(folder.name, folder, tuple(map(_python, codes)))


def test_commands_follow_each_other_and_what_they_say_is_kept(tmp_path: Path) -> None:
    units = [_unit(tmp_path / name, f"print('{name} one')", f"print('{name} two')") for name in "ab"]
    launch(units, Local(jobs=2), "at work")
    assert [unit.log.read_text() for unit in units] == ["a one\na two\n", "b one\nb two\n"]


def test_what_failed_is_named_with_what_it_said_and_the_others_are_finished(tmp_path: Path) -> None:
    bad = _unit(tmp_path / "bad", "import sys; sys.exit('error: no such data')", "print('never')")
    good = _unit(tmp_path / "good", "print('here')")
    with pytest.raises(InputOutputError, match="^bad failed; bad said: no such data") as failure:
        launch([bad, good], Local(jobs=1), "at work")
    assert str(bad.log) in (failure.value.next_step or "")
    assert "never" not in bad.log.read_text() and good.log.read_text() == "here\n"


def test_each_has_its_gpu_and_its_share_of_the_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    tell = "import os; print(os.environ['CUDA_VISIBLE_DEVICES'], os.environ['OMP_NUM_THREADS'])"
    units = [_unit(tmp_path / name, tell) for name in "ab"]
    launch(units, Local(jobs=2, gpus=["3", "5"]), "at work")
    share = max(1, (os.cpu_count() or 1) // 2)
    assert [unit.log.read_text() for unit in units] == [f"3 {share}\n", f"5 {share}\n"]


def test_where_work_runs_is_one_word() -> None:
    assert launcher_on("local", jobs=3) == Local(3)
    assert launcher_on("ray", cores=2) == OnRay("auto", 2, 0)
    assert launcher_on("ray://head:10001", gpus=["0"]) == OnRay("ray://head:10001", 1, 1)
    assert launcher_on("slurm:gpu") == OnSlurm("gpu", 1, 0)
    with pytest.raises(UsageError, match="--on dask"):
        launcher_on("dask")


def test_a_unit_does_not_outlive_the_command_that_is_killed(tmp_path: Path) -> None:
    """Left alone, it would write into the folder that the repeated command goes on with."""
    at_work = "import signal, os; print(os.getpid(), flush=True); signal.pause()"
    parent = f"""
import signal, sys
from pathlib import Path
from edgedx.lab.launch.unit import Unit, start
child = start(Unit("one", Path({str(tmp_path)!r}), ()), [sys.executable, "-c", {at_work!r}], new=True)
print(child.pid, flush=True)
signal.pause()
"""
    started = subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True)
    assert started.stdout is not None
    child = os.pidfd_open(int(started.stdout.readline()))
    assert not select.select([child], [], [], 0)[0]
    started.kill()
    started.wait()
    assert select.select([child], [], [], 30)[0], "it goes on"


SAVES = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    open(sys.argv[1] + ".ready", "w").close()
    time.sleep(60)
except KeyboardInterrupt:
    time.sleep(0.5)  # a second signal would end this
    open(sys.argv[1], "w").write("saved")
    raise SystemExit(130)
"""


def test_ctrl_c_reaches_each_unit_once_and_its_saving_is_waited_for(tmp_path: Path) -> None:
    files = [tmp_path / f"unit-{number}" / "file" for number in range(2)]
    units = [Unit("one", file.parent, (_python(SAVES, str(file)),)) for file in files]
    processes = [start(unit, unit.commands[0], new=True) for unit in units]
    while not all(file.with_name("file.ready").exists() for file in files):
        assert all(one.poll() is None for one in processes)
        time.sleep(0.02)
    stop(processes)
    assert [one.returncode for one in processes] == [130, 130]
    assert [file.read_text() for file in files] == ["saved", "saved"]
