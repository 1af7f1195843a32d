"""The administrator's page: threshold, answers, languages, how long things are kept."""

from __future__ import annotations

import json
from pathlib import Path

from starlette.testclient import TestClient

from edgedx.device.clinic.answers import ANSWERS, Answers
from edgedx.device.page.app import make_app
from edgedx.device.page.settings import PageSettings


def _page(out: Path, root: Path | None = None) -> str:
    with TestClient(make_app(PageSettings(out, root)), base_url="http://localhost", client=("127.0.0.1", 1)) as client:
        answer = client.get("/admin", headers={"Accept": "text/html"})
        assert answer.status_code == 200
        return answer.text


def test_a_fresh_box(tmp_path: Path) -> None:
    text = _page(tmp_path)
    assert "The model decides at its own threshold." in text and "0 answers are kept" in text
    assert f"edgedx threshold propose ROOT --answers {tmp_path} --sensitivity 0.95" in text
    assert f"edgedx answers export {tmp_path} --bundle ROOT --to clinic.answers --site clinic" in text
    assert "Everything is kept." in text and "nobody logs in" in text


def test_what_was_chosen_and_kept_is_shown(tmp_path: Path) -> None:
    out, root = tmp_path / "out", tmp_path / "root"
    out.mkdir()
    root.mkdir()
    point = {"bundle": "b" * 64, "thresholds": {"<pneumonia>": {"value": 0.3174, "at": "2026-11-27T10:00:00Z"}}}
    (root / "operating_point.json").write_text(json.dumps({"schema_version": 1, "points": [point]}))
    (out / "status.json").write_text(json.dumps({"schema_version": 1, "bundle": "b" * 64, "state": "scanning"}))
    removed = {"schema_version": 1, "removed": {"done ": 7}, "limits": {"days": 90.0, "gigabytes": None}}
    (out / "retention.json").write_text(json.dumps(removed))
    answers = Answers(out / ANSWERS)
    answers.give(key="k", sha256="s", bundle="b", person="local", label="normal", shown="normal")
    answers.close()
    text = _page(out, root)
    assert "&lt;pneumonia&gt; from a probability of 0.317 on, since 2026-11-27" in text
    assert "1 answers are kept" in text and "90 days." in text and "7 results were removed" in text
    (out / "status.json").write_text(json.dumps({"schema_version": 1, "bundle": "c" * 64, "state": "scanning"}))
    assert "its own threshold" in _page(out, root), "what was chosen for another bundle says nothing of this one"
    (root / "operating_point.json").write_text("{")
    text = _page(out, root)
    assert "cannot be read" in text and "its own threshold" not in text
