"""Ctrl-C: what is kept, the call that goes on, exit code 130, and no traceback; the call goes on when it is pasted."""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tiny_flow
from inprocess import edgedx

from edgedx.cli.stopping import again, at_work
from edgedx.core.errors import Stopped


@pytest.mark.parametrize(
    ("words", "resume", "begun", "call"),
    [
        (["finetune", "x.yaml"], True, True, "edgedx finetune x.yaml --resume"),
        (["finetune", "x.yaml", "--resume"], True, True, "edgedx finetune x.yaml --resume"),
        (["finetune", "x.yaml", "--overwrite"], True, True, "edgedx finetune x.yaml --resume"),
        (["finetune", "x.yaml", "--overwrite"], True, False, "edgedx finetune x.yaml --overwrite"),
        (["crossval", "a b.yaml", "--set", "train.epochs=3"], False, True,
         "edgedx crossval 'a b.yaml' --set train.epochs=3"),
    ],
)  # fmt: skip
def test_what_was_begun_is_continued_and_not_overwritten_again(
    words: list[str], resume: bool, begun: bool, call: str
) -> None:
    assert again(words, resume=resume, begun=begun) == call


def test_the_log_says_how_it_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["edgedx", "tune", "x.yaml"])
    with pytest.raises(Stopped, match=r"^stopped: three trials$") as caught, at_work(tmp_path, "three trials"):
        raise KeyboardInterrupt
    assert caught.value.exit_code == 130 and caught.value.next_step == "edgedx tune x.yaml"
    assert "stopped: three trials" in (tmp_path / "log.txt").read_text()


def test_a_training_is_stopped_and_goes_on_by_the_line_that_it_printed(tmp_path: Path) -> None:
    work = tmp_path / "my data"
    work.mkdir()
    images = {}
    for number, (split, count) in enumerate((("train", 64), ("val", 24), ("test", 24))):
        images[f"{split}_images"], images[f"{split}_labels"] = tiny_flow.make_images(count, number)
    np.savez(work / "tiny.npz", **images)
    (work / "my recipe.yaml").write_text(tiny_flow.RECIPE.replace("epochs: 6", "epochs: 12"))
    call = ["finetune", "my recipe.yaml", "--out", "my run", "--overwrite"]
    command = subprocess.Popen(
        [sys.executable, "-m", "edgedx", *call], cwd=work, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={"EDGEDX_DATA": str(work), "PATH": "", "PYTHONPATH": ":".join(sys.path), "OMP_NUM_THREADS": "1"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    log, until = work / "my run" / "log.txt", time.monotonic() + 120
    while command.poll() is None and time.monotonic() < until:
        if log.is_file() and log.read_text().count("val AUC") > 2:
            break
        time.sleep(0.05)
    command.send_signal(signal.SIGINT)
    out, err = command.communicate(timeout=60)
    assert command.returncode == 130, err
    assert "Traceback" not in err and out == ""
    told = [line for line in err.splitlines() if "val AUC" in line]
    assert told and "left" in told[0], "an epoch is a line where there is no terminal"
    said, step = err.splitlines()[-2:]
    assert said.startswith("error: stopped: finished and kept: data; teacher: epoch ")
    words = shlex.split(step.removeprefix("next:").strip())
    assert words == ["edgedx", *call[:-1], "--resume"]
    assert "val AUC" in log.read_text() and "stopped: finished" in log.read_text()
    other = edgedx(work, *call[:-1])
    assert other.returncode == 2 and "--resume" in other.stderr
    done = edgedx(work, *words[1:])
    assert done.returncode == 0, done.stderr
    history = [line for line in log.read_text().splitlines() if "val AUC" in line]
    assert len(history) in (12, 13), "each epoch was trained once, but for one that Ctrl-C met before it was saved"
