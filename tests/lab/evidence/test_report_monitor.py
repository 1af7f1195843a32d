"""What a clinic's monitor found, in the run's report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from monitored import brighter, images, reference, write

from edgedx.core.errors import InputOutputError, UsageError
from edgedx.device.monitor.examine import examine
from edgedx.lab.evidence.report.sections import find_evidence


def test_it_is_taken_from_a_scanner_s_folder_or_from_a_file_of_any_name(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write(out, [images(500), images(200, first=500, day=10)], reference())
    write(out, [images(250, first=1000, day=14, change=brighter)], reference())
    found = examine(out)
    for place in (out / "monitor.json", tmp_path / "clinic-a.json"):
        place.write_text(json.dumps(found))
    for named in (out, tmp_path / "clinic-a.json"):
        (evidence,) = find_evidence(tmp_path / "run", [named])
        section = evidence.section
        assert section.key == "monitor" and section.headline is not None and section.headline.tone == "bad"
        assert section.headline.text.startswith("Yellow: The images look different from before")
        assert any("have pneumonia here" in text for text in section.texts)
        (streams, charts) = section.folded[0].tables
        assert ["mean", "bundle"] in [row[:2] for row in streams.rows] and charts.rows
        assert evidence.report["light"]["code"] == "pictures"


def test_expected_accuracy_has_its_table_while_no_alarm_stands(tmp_path: Path) -> None:
    write(tmp_path, [images(300)], reference())
    (tmp_path / "monitor.json").write_text(json.dumps(examine(tmp_path)))
    (evidence,) = find_evidence(tmp_path / "run", [tmp_path])
    assert evidence.section.headline is not None and evidence.section.headline.tone == "good"
    assert [row[0] for row in evidence.section.tables[0].rows] == ["pneumonia: expected, no labels"]


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(InputOutputError, match=r"other\.json is not what this edgedx writes"):
        find_evidence(tmp_path / "run", [tmp_path / "other.json"])
    with pytest.raises(UsageError, match="holds nothing for a report"):
        find_evidence(tmp_path / "run", [tmp_path / "nothing"])
