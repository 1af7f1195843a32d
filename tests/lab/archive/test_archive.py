"""An archive: a row for each content, as a scanner would say it, and the same table however often it was killed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from bundles import dicom, png, write_tiny
from places import Place

from edgedx.core.bundle.manifest import Bundle
from edgedx.core.errors import DataError, InputOutputError, UsageError
from edgedx.lab.archive.archive import COPIES, RESULTS, Archive, archive
from edgedx.lab.archive.plan import part_of

pq = pytest.importorskip("pyarrow.parquet", reason="needs edgedx[cluster]")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_tiny(tmp_path_factory.mktemp("bundle") / "tiny.edgedx")


def _studies(folder: Path, count: int = 6) -> Path:
    for number in range(count):
        png(folder / f"site-{number % 2}" / f"{number}.png", number)
        dicom(folder / f"site-{number % 2}" / f"{number}.dcm", number)
    shutil.copy(folder / "site-0" / "0.png", folder / "z-again.png")
    (folder / "torn.dcm").write_bytes((folder / "site-0" / "0.dcm").read_bytes()[:700])
    (folder / "notes.txt").write_text("no image")
    (folder / "empty.png").touch()
    (folder / ".hidden.png").write_bytes(b"a copy that is not finished")
    return folder


def _rows(out: Path, name: str = RESULTS) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(out / name).to_pylist()
    return rows


def test_a_row_for_each_content_says_what_a_scanner_says(tmp_path: Path, bundle: Bundle) -> None:
    studies = _studies(tmp_path / "inbox-of-all")
    summary = archive(Archive(str(studies), bundle.path, tmp_path / "out", size=5, jobs=2))
    rows = _rows(tmp_path / "out")
    assert len({row["sha256"] for row in rows}) == len(rows) == summary["contents"] == 15
    assert summary["files"] == 16 and summary["copies"] == 1
    assert [Path(os.fsdecode(row["path"])).name for row in _rows(tmp_path / "out", COPIES)] == ["z-again.png"]
    place = Place(tmp_path, bundle, None)
    shutil.copytree(studies, place.inbox, dirs_exist_ok=True)
    place.scan(decoder=None)
    scanned = {result["source"]["sha256"]: result for result in place.results().values()}
    assert scanned.keys() == {row["sha256"] for row in rows}
    for row in rows:
        other = scanned[row["sha256"]]
        assert (row["key"], row["status"]) == (other["key"], other["status"])
        assert row["code"] == (other["reason"] or {}).get("code")
        if other["prediction"]:
            assert row["label"] == other["prediction"]["label"]
            told = {name.removeprefix("p:"): value for name, value in row.items() if name.startswith("p:")}
            assert told == pytest.approx(other["prediction"]["probabilities"])
    assert {row["status"] for row in rows} == {"done", "quarantined"}


def test_repeated_it_reads_nothing_again(tmp_path: Path, bundle: Bundle) -> None:
    order = Archive(str(_studies(tmp_path / "studies", 2)), bundle.path, tmp_path / "out", size=4, jobs=1)
    archive(order)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "parts").iterdir()}
    assert archive(order)["shards_read"] == 0
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "parts").iterdir()}


@pytest.mark.slow
def test_killed_again_and_again_it_ends_with_the_same_table(tmp_path: Path, bundle: Bundle) -> None:
    studies = _studies(tmp_path / "studies", 60)
    archive(Archive(str(studies), bundle.path, tmp_path / "whole", size=7, jobs=2))
    code = (
        "import sys; from pathlib import Path; from edgedx.lab.archive.archive import Archive, archive;"
        "archive(Archive(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), size=7, jobs=2))"
    )
    out, kills = tmp_path / "out", 0
    command = [sys.executable, "-c", code, str(studies), str(bundle.path), str(out)]
    while True:
        parts = len(list((out / "parts").glob("*.parquet")))
        begun = subprocess.Popen(command)
        while begun.poll() is None and len(list((out / "parts").glob("*.parquet"))) < parts + 4:
            time.sleep(0.02)
        if begun.poll() is not None:
            break
        begun.send_signal(signal.SIGKILL)
        begun.wait()
        kills += 1
    assert begun.returncode == 0 and kills >= 3
    assert (out / RESULTS).read_bytes() == (tmp_path / "whole" / RESULTS).read_bytes()


def test_another_bundle_or_source_is_refused(tmp_path: Path, bundle: Bundle) -> None:
    order = Archive(str(_studies(tmp_path / "studies", 1)), bundle.path, tmp_path / "out", jobs=1)
    archive(order)
    other = write_tiny(tmp_path / "other.edgedx", version="2")
    with pytest.raises(UsageError, match="another bundle"):
        archive(Archive(order.source, other.path, order.out, jobs=1))
    with pytest.raises(UsageError, match="another source, size"):
        archive(Archive(str(tmp_path), bundle.path, order.out, size=3, jobs=1))


def test_a_table_of_paths_is_taken_and_its_faults_are_named(tmp_path: Path, bundle: Bundle) -> None:
    studies = _studies(tmp_path / "studies", 2)
    table = studies / "list.csv"
    table.write_text("path,why\nsite-0/0.png,a\nsite-1/1.dcm,b\nsite-0/0.png,twice\n")
    summary = archive(Archive(str(table), bundle.path, tmp_path / "out", jobs=1))
    assert (summary["files"], summary["contents"]) == (2, 2)
    table.write_text("file\nsite-0/0.png\n")
    with pytest.raises(DataError, match="no column 'path'"):
        archive(Archive(str(table), bundle.path, tmp_path / "two", jobs=1))
    table.write_text("path\nsite-0/0.png\nsite-9/gone.png\n")
    with pytest.raises(InputOutputError, match="file 2 of the listing cannot be opened"):
        archive(Archive(str(table), bundle.path, tmp_path / "three", jobs=1))
    assert not part_of(tmp_path / "three", 0).exists() and not (tmp_path / "three" / RESULTS).exists()
