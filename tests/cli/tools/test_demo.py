"""`edgedx demo` as on a machine without data and without internet."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from inprocess import edgedx


@pytest.mark.slow
def test_the_demo_runs_on_phantoms_where_nothing_can_be_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # the discard port: refused at once
    (tmp_path / "mine.txt").write_text("not the demo's")
    done = edgedx(tmp_path, "demo", "--out", ".", "--overwrite")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "mine.txt").exists()
    for row in ("teacher, FP32", "student, fp32", "student, int8", "resnet50 FP32 (latency only)", "(chosen)"):
        assert row in done.stdout
    assert "24 done, 0 refused, 0 quarantined" in done.stdout
    assert "edgedx page --out results --root device --inbox inbox" in done.stdout, "and nothing waits for a person"
    assert "SYNTHETIC" in done.stderr and "not a medical device" in done.stdout
    assert (tmp_path / "bench" / "pareto.png").stat().st_size > 5000

    again = edgedx(tmp_path, "demo", "--out", ".", "--json")
    report = json.loads(again.stdout)
    assert report["synthetic"] is True
    assert report["teacher"]["auc"]["value"] > 0.8  # faint, but learnable in two epochs
    assert report["deploy"]["gate"]["passed"] is True
    assert (tmp_path / "run" / "recipe.yaml").exists()  # so that the other commands take the demo's run
