"""An archive of a real PACS: Orthanc with its DICOMweb plugin."""

from __future__ import annotations

import urllib.request
from pathlib import Path

import pytest
from bundles import dicom, write_tiny
from pacs import free_port, needs_orthanc, orthanc

from edgedx.core.errors import InputOutputError
from edgedx.lab.archive.archive import RESULTS, Archive, archive

pq = pytest.importorskip("pyarrow.parquet", reason="needs edgedx[cluster]")
pytest.importorskip("dicomweb_client", reason="needs edgedx[cluster]")
PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
needs_plugin = pytest.mark.skipif(not PLUGIN.is_file(), reason="Debian package orthanc-dicomweb is absent")


@needs_orthanc
@needs_plugin
def test_a_pacs_gives_the_rows_that_its_files_give(tmp_path: Path) -> None:
    bundle = write_tiny(tmp_path / "tiny.edgedx")
    studies = tmp_path / "studies"
    files = [dicom(studies / f"{number}.dcm", number, kind="CR" if number < 4 else "DX") for number in range(6)]
    with orthanc(tmp_path / "pacs", free_port(), plugins=[PLUGIN]) as pacs:
        root = f"http://127.0.0.1:{pacs.http}"
        for file in files:
            urllib.request.urlopen(urllib.request.Request(f"{root}/instances", data=file.read_bytes())).close()
        archive(Archive(f"{root}/dicom-web", bundle.path, tmp_path / "all", size=4, jobs=1))
        chosen = f"{root}/dicom-web/?ModalitiesInStudy="
        none = archive(Archive(f"{chosen}MR", bundle.path, tmp_path / "none", jobs=1))
        some = archive(Archive(f"{chosen}DX", bundle.path, tmp_path / "dx", jobs=1))
    archive(Archive(str(studies), bundle.path, tmp_path / "files", jobs=1))
    whole, local = (
        {row["sop_instance_uid"]: row for row in pq.read_table(tmp_path / name / RESULTS).to_pylist()}
        for name in ("all", "files")
    )
    assert len(local) == 6 and whole.keys() == local.keys()
    for uid, row in whole.items():
        assert {**row, "path": b""} == {**local[uid], "path": b""}, "the stored object, to the byte"
        assert row["path"].decode().endswith(f"/instances/{uid}")
    assert (none["contents"], some["contents"]) == (0, 6), "the one study has both modalities"


def test_a_service_that_is_none_is_named(tmp_path: Path) -> None:
    bundle = write_tiny(tmp_path / "tiny.edgedx")
    with pytest.raises(InputOutputError, match="does not answer a search"):
        archive(Archive(f"http://127.0.0.1:{free_port()}/dicom-web", bundle.path, tmp_path / "out", jobs=1))
