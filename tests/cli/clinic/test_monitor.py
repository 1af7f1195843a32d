"""``edgedx monitor`` at the terminal: what it says, its JSON, its exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from inprocess import edgedx
from monitored import brighter, images, reference, write


def test_as_usual_ends_with_0_and_a_sentence(tmp_path: Path) -> None:
    write(tmp_path, [images(300)], reference())
    done = edgedx(tmp_path, "monitor", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("green") and "As usual" in done.stdout and "have pneumonia here" in done.stdout
    assert "not yet: 200 more images" in done.stdout


def test_a_change_ends_with_1_and_says_what_to_do(tmp_path: Path) -> None:
    write(tmp_path, [images(500), images(200, first=500, day=10)], reference())
    write(tmp_path, [images(250, first=1000, day=14, change=brighter)], reference())
    done = edgedx(tmp_path, "monitor", str(tmp_path))
    assert (
        done.returncode == 1
        and done.stdout.startswith("yellow")
        and "ALARM" in done.stdout
        and "--as-usual" in done.stdout
    )
    assert "accuracy without labels is not told while an alarm stands" in done.stderr
    as_json = edgedx(tmp_path, "monitor", str(tmp_path), "--json")
    assert as_json.returncode == 1 and json.loads(as_json.stdout)["light"]["code"] == "pictures"
    accepted = edgedx(tmp_path, "monitor", str(tmp_path), "--as-usual")
    assert accepted.returncode == 0 and accepted.stdout.startswith("green") and "known" not in accepted.stderr


@pytest.mark.parametrize("count", [0, 20])
def test_too_few_images_are_no_alarm(tmp_path: Path, count: int) -> None:
    write(tmp_path, [images(count)] if count else [], reference())
    done = edgedx(tmp_path, "monitor", str(tmp_path))
    assert done.returncode == 0 and f"{200 - count} more images are needed" in done.stdout


def test_a_folder_that_nobody_watched_is_named(tmp_path: Path) -> None:
    done = edgedx(tmp_path, "monitor", str(tmp_path))
    assert done.returncode == 5 and "nothing was watched in" in done.stderr and "edgedx scan" in done.stderr


def test_a_damaged_database_is_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "monitor.sqlite").write_bytes(b"SQLite format 3\0" + b"\xff" * 4000)
    done = edgedx(tmp_path, "monitor", str(tmp_path))
    assert done.returncode == 5 and "monitor" in done.stderr and "Traceback" not in done.stderr
