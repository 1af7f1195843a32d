"""The tutorial's commands and the Python page's examples run as they stand there, on a small set with tiny settings."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hospital import class_folders, dicom_study
from inprocess import edgedx

DOCS = Path(__file__).resolve().parent.parent / "docs"
EACH = 60
TINY = ["preprocess.size=[64,64]", "train.frozen_epochs=1", "train.epochs=8", "student.epochs=10", "student.steps=1",
        "gate.rule=value", "gate.max_auc_drop=0.2", "quantize.calibration_images=64", "quantize.calibrators=[minmax]",
        "quantize.max_fused_difference=0.5"]  # fmt: skip
"""Added to the page's `finetune` and `compress`: smaller images, fewer epochs, a gate that so few images can pass."""
_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)
_LABEL = re.compile(r"^([A-Za-z]+(?: [A-Za-z]+)?|INT8|fp32) {2,}\S", re.M)
DEPENDS_ON_THE_DATA = {"warning", "alike", "look at", "missed"}


def fences(page: str, *kinds: str) -> list[tuple[str, str]]:
    """Kind and content of each fenced block."""
    found = _FENCE.findall((DOCS / page).read_text(encoding="utf-8"))
    return [(kind, text) for kind, text in found if kind in kinds]


def labels(text: str) -> set[str]:
    """What the lines of an output begin with: ``next``, ``written`` ..."""
    return set(_LABEL.findall(text)) - DEPENDS_ON_THE_DATA


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, list[str]]]:
    """The folder in which every command of the page was run, and what each block of them printed."""
    work = tmp_path_factory.mktemp("tutorial")
    class_folders(work / "xrays", EACH)
    dicom_study(work / "study", EACH)
    class_folders(work / "new", 2, after=EACH)
    yield work, ["".join(_run(work, line) for line in text.splitlines()) for _, text in fences("tutorial.md", "bash")]


def _run(work: Path, line: str) -> str:
    words = shlex.split(line)
    if words[0] != "edgedx":
        subprocess.run(["bash", "-euc", line], cwd=work, check=True)
        return ""
    if words[1] in ("finetune", "compress"):
        words += [word for setting in TINY for word in ("--set", setting)]
    done = edgedx(work, *words[1:])
    assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"
    return done.stdout + done.stderr


@pytest.mark.slow
def test_every_command_of_the_tutorial_runs_and_its_results_are_there(printed: tuple[Path, list[str]]) -> None:
    work, _ = printed
    assert len((work / "results" / "results.csv").read_text().splitlines()) == 1 + 4
    assert (work / "data-check" / "xrays" / "contact-pneumonia.png").is_file()
    assert list((work / "runs" / "study").glob("devices/*/bundle/*.edgedx"))


@pytest.mark.slow
def test_the_tutorial_shows_what_its_commands_print(printed: tuple[Path, list[str]]) -> None:
    """Line by line: what begins an expected line begins one of the real output too."""
    blocks = fences("tutorial.md", "bash", "text")
    outputs = iter(printed[1])
    shown = []
    for (kind, _), (after, text) in zip(blocks, [*blocks[1:], ("", "")], strict=True):
        if kind != "bash":
            continue
        output = next(outputs)
        if after == "text":
            assert labels(text), text
            assert labels(text) - labels(output) == set(), output
            shown.append(text)
    assert len(shown) == len([kind for kind, _ in blocks if kind == "text"]) >= 8


@pytest.mark.slow
def test_the_examples_of_the_python_page_run(
    printed: tuple[Path, list[str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    work, _ = printed
    monkeypatch.chdir(work)
    (work / "inbox").mkdir()
    for path in (work / "new").rglob("*.jpg"):
        (work / "inbox" / path.name).write_bytes(path.read_bytes())
    (work / "runs/xrays/recipe.yaml").replace(work / "xrays.yaml")  # with the tiny settings: nothing is trained twice
    names: dict[str, object] = {}
    for _, text in fences("python.md", "python"):
        exec(compile(text, "python.md", "exec"), names)
    assert len((work / "answers.csv").read_text().splitlines()) == 1 + 4
    said = capsys.readouterr().out
    assert "\ndone\n" in said  # noise: so few images in val give no limit for unlike ones, as the page says
    assert "over two seeds" in said
