"""``edgedx update``: what a call that cannot work says, before anything is read."""

from __future__ import annotations

from pathlib import Path

import pytest
from inprocess import edgedx


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with a compressed model; nothing of it is opened here."""
    from made_run import write_run

    write_run(tmp_path)
    return tmp_path


def test_no_run_no_update(tmp_path: Path) -> None:
    done = edgedx(tmp_path, "update", "runs/none", "--feedback", "a.answers")
    assert done.returncode == 2
    assert "is not a run" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--feedback", "none.answers"), 5, ("no such file or folder: none.answers", "--feedback")),
        (("--feedback", "set", "--method", "rehersal"), 2, ("did you mean rehearsal?",)),
        (("--feedback", "set", "--anyway", " "), 2, ("--anyway needs a reason",)),
        (("--feedback", "set", "--new-version", "1"), 2, ("version 1 is not higher than 1", "--new-version 2")),
        (("--feedback", "set", "--set", "preprocess.size=[8,8]"), 2, ("keeps this section as it is",)),
        (("--feedback", "set", "--set", "update.judge_share=0.99"), 2, ("together below 1",)),
        (("--feedback", "set", "--trust", "set/labels.csv"), 5, ("is not a public key",)),
        (("--feedback", "set", "--device", "orin-nano-8gb"), 2, ("compressed for x86-avx2",)),
    ],
)
def test_a_wrong_call_says_what_is_wrong(
    run: Path, arguments: tuple[str, ...], code: int, words: tuple[str, ...]
) -> None:
    done = edgedx(run, "update", "run", *arguments)
    assert done.returncode == code, done.stderr
    assert all(word in done.stderr for word in words), done.stderr
    assert "Traceback" not in done.stderr
    assert not (run / "run-update-1").exists()
