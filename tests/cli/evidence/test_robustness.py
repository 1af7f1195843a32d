"""`edgedx robustness` on a small run: every model, corruption and strength has its figures, on disk and on screen."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
from browser import chromium
from death import run_until_killed
from inprocess import edgedx
from made_run import VARIANTS, write_run

from edgedx.device.runtime.run_onnx import OnnxRunner
from edgedx.lab.evidence.robustness.corrupt import CORRUPTIONS

RESULTS = Path(__file__).parents[3] / "benchmarks" / "results"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("robustness")
    write_run(path, foreign={"near": ["set/images", "absent"], "far": ["noise"]})
    return path


def test_two_models_side_by_side_and_in_the_report(folder: Path) -> None:
    done = edgedx(folder, "robustness", f"{VARIANTS}/fp32.onnx", f"{VARIANTS}/int8-u8s8.onnx")
    assert done.returncode == 0, done.stderr
    assert "AUC by strength" in done.stdout and "foreign set absent is not here" in done.stderr
    found = json.loads((folder / "run/robustness/robustness.json").read_text())
    assert [model["name"] for model in found["models"]] == ["fp32", "int8-u8s8"]
    assert set(found["foreign_images"]) == {"near: set/images", "far: noise"} and found["foreign_missing"] == ["absent"]
    with (folder / "run/robustness/robustness.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 2 * (1 + 5 * len(CORRUPTIONS))
    one, two = found["models"]
    for model in (one, two):
        assert set(model["corrupted"]) == set(model["noticed"]) == set(CORRUPTIONS)
        for several in model["corrupted"].values():
            assert len(several) == 5 and all(0 <= figures["auc"]["value"] <= 1 for figures in several)
        assert set(model["clean"]["covered"]) == {"dark", "bright"} and 0 <= model["clean"]["set_size"] <= 2
    # The network sees mean brightness alone: no blur changes that, and noise of the same mean hardly does.
    assert two["corrupted"]["blur"][1]["auc"]["value"] == pytest.approx(two["clean"]["auc"]["value"], abs=0.02)
    assert "lost_to_first" not in one["clean"] and two["clean"]["lost_to_first"]["value"] == pytest.approx(0, abs=0.02)
    assert (folder / "run/robustness/robustness.png").stat().st_size > 20_000
    done = edgedx(folder, "report", "run", "--resamples", "100")
    assert done.returncode == 0, done.stderr
    page, text = (folder / "run/report.html").read_text(), (folder / "run/report.md").read_text()
    area = found["models"][1]["corrupted"]["noise"][4]["auc"]["value"]
    for told in (page, text):
        assert "Worse and foreign images" in told and f"{area:.3f}" in told and "near: set/images" in told
    assert 'alt="AUC by strength of corruption' in page
    assert json.loads((folder / "run/report.json").read_text())["robustness"] == found


def test_killed_in_the_middle_it_goes_on_with_what_it_has(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Robustness of a large set took an hour, and began anew after a Ctrl-C."""
    command = ("robustness", f"{VARIANTS}/fp32.onnx", "--out", "killed")
    killed, _ = run_until_killed(lambda: edgedx(folder, *command), die_at=60)
    kept = list((folder / "killed/.parts").rglob("*.npz"))
    assert killed and len(kept) > 5
    calls: list[int] = []
    real = OnnxRunner.infer
    monkeypatch.setattr(OnnxRunner, "infer", lambda self, *more, **named: calls.append(1) or real(self, *more, **named))
    assert edgedx(folder, *command).returncode == 0
    resumed = len(calls)
    assert edgedx(folder, *command[:-1], "whole").returncode == 0
    assert 0 < resumed <= len(calls) - resumed - len(kept)
    one, two = (json.loads((folder / name / "robustness.json").read_text()) for name in ("killed", "whole"))
    assert one["models"] == two["models"] and not (folder / "killed/.parts").exists()


@pytest.mark.parametrize("width", [390, 1280])
def test_a_phone_and_a_screen_show_all_of_it(folder: Path, width: int) -> None:
    if not (folder / "run/robustness").is_dir():
        edgedx(
            folder,
            "robustness",
            f"{VARIANTS}/fp32.onnx",
            f"{VARIANTS}/int8-u8s8.onnx",
        )
    (folder / "run/explain").mkdir(exist_ok=True)
    shutil.copy(RESULTS / "explain-pneumonia-mnist.json", folder / "run/explain/explain.json")
    page = folder / "run" / f"page-{width}.html"
    done = edgedx(folder, "report", "run", "--resamples", "100", "--out", str(page))
    assert done.returncode == 0, done.stderr
    assert "Where the models look" in page.read_text()
    with chromium() as browser:
        seen = browser.look(page, width)
    assert seen.scroll_width <= width and not seen.sticks_out
    assert [url for url in seen.requests if not url.startswith("data:")] == [page.resolve().as_uri()]
    assert not seen.messages


def test_a_folder_without_anything_for_a_report_is_refused(folder: Path) -> None:
    done = edgedx(folder, "report", "run", "--with", "set")
    assert done.returncode == 2 and "crossval.json" in done.stderr


def test_a_model_without_a_run_is_refused_with_a_next_step(folder: Path) -> None:
    done = edgedx(folder, "robustness", "nowhere")
    assert done.returncode == 5 and "next" in done.stderr
