"""The file that a clinic sends: what is written is what is read, and nothing else is read."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bundles import make_key, manifest

from edgedx.core.bundle.container import pack, read_envelope, unpack
from edgedx.core.bundle.manifest import open_bundle
from edgedx.core.bundle.signing import SigningKey, require_signature
from edgedx.core.errors import DataError, EdgedxError, GateRefused
from edgedx.core.files import canonical_json, sha256_bytes
from edgedx.device.clinic.answers_export import (
    PREFIX,
    AnswersManifest,
    ExportedAnswer,
    png_of,
    read_answers,
    write_answers,
)

DIGEST = "d" * 64
AGREED = ExportedAnswer("a" * 64, "1" * 64, DIGEST, "2026-11-27", "agree", "bright", "bright", False, "", "p1")
BLIND = ExportedAnswer("b" * 64, "2" * 64, DIGEST, "2026-11-27", "disagree", "dark", "bright", True, "quality", "p2")
UNSURE = replace(AGREED, verdict="cannot_tell", label="", person="p2")


def canvas(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (16, 16), dtype=np.uint8)


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    return make_key(tmp_path, "clinic")


def write(path: Path, key: SigningKey | None, *answers: ExportedAnswer, site: str = "north") -> AnswersManifest:
    return write_answers(
        path,
        (DIGEST, manifest()),
        answers or (AGREED, BLIND, UNSURE),
        {AGREED.image: png_of(canvas())},
        site=site,
        created="2026-11-27",
        edgedx="0.1.0",
        left_out={"ABSENT": 1},
        keys=[key] if key else [],
    )


def test_what_was_written_is_read_again(tmp_path: Path, key: SigningKey) -> None:
    path = tmp_path / "north.answers"
    write(path, key)
    found = read_answers(path, [key.public])
    assert found.answers == (AGREED, BLIND, UNSURE)
    assert found.images() == [AGREED.image]
    assert (found.canvas(AGREED.image) == canvas()).all()
    assert found.signed_by == key.public
    assert found.manifest.counts == {
        "answers": 3, "images": 1, "blind": 1, "agree": 1, "disagree": 1, "cannot_tell": 1, "left_out_ABSENT": 1,
    }  # fmt: skip
    assert (found.manifest.site, found.manifest.bundle, found.manifest.classes) == ("north", DIGEST, ["dark", "bright"])


@pytest.mark.parametrize(("channels", "bits"), [(3, 8), (1, 16), (3, 16)])
def test_canvases_of_colour_and_of_16_bits_lose_nothing(tmp_path: Path, channels: int, bits: int) -> None:
    spec = manifest().preprocess.model_copy(update={"bits": bits})
    if channels == 3:
        spec = spec.model_copy(update={"colour": "rgb", "mean": (0.5,) * 3, "std": (0.2,) * 3})
    shape = (16, 16, 3) if channels == 3 else (16, 16)
    kind = np.uint8 if bits == 8 else np.uint16
    drawn = np.random.default_rng(1).integers(0, np.iinfo(kind).max, shape).astype(kind)
    about = (DIGEST, manifest(preprocess=spec))
    path = tmp_path / "x.answers"
    write_answers(path, about, [AGREED], {AGREED.image: png_of(drawn)}, site="s", created="2026-11-27", edgedx="0")
    found = read_answers(path, [], unsigned=True).canvas(AGREED.image)
    assert found.dtype == kind and (found == drawn).all()


def test_findings_are_joined_and_may_be_none(tmp_path: Path) -> None:
    about = (DIGEST, manifest(task="multilabel", positive=None))
    rows = [replace(AGREED, label="dark|bright"), replace(BLIND, label="")]
    path = tmp_path / "x.answers"
    write_answers(path, about, rows, {}, site="s", created="2026-11-27", edgedx="0")
    assert [one.label for one in read_answers(path, [], unsigned=True).answers] == ["dark|bright", ""]


def test_only_a_trusted_key_s_signature_is_taken(tmp_path: Path, key: SigningKey) -> None:
    other = make_key(tmp_path, "other")
    signed, bare = tmp_path / "signed.answers", tmp_path / "bare.answers"
    write(signed, key)
    write(bare, None)
    with pytest.raises(GateRefused, match="is signed by .* and trusted here is other"):
        read_answers(signed, [other.public])
    with pytest.raises(GateRefused, match="is not signed"):
        read_answers(bare, [key.public])
    with pytest.raises(GateRefused, match="no key"):
        read_answers(signed, [])
    assert read_answers(bare, [], unsigned=True).signed_by is None


def test_its_signature_is_none_over_a_bundle(tmp_path: Path, key: SigningKey) -> None:
    path = tmp_path / "north.answers"
    write(path, key)
    envelope = read_envelope(path)
    with pytest.raises(GateRefused, match="does not fit"):
        require_signature(envelope.manifest, envelope.signatures, [key.public], path)
    with pytest.raises(EdgedxError):
        open_bundle(path)


def test_a_changed_answer_is_refused_though_the_checksum_is_made_anew(tmp_path: Path, key: SigningKey) -> None:
    path = tmp_path / "north.answers"
    write(path, key)
    envelope = read_envelope(path)
    files = unpack(envelope, path)
    raw = files.pop("manifest.json")
    table = files["answers.csv"].replace(b"disagree,dark", b"agree,bright")
    assert table != files["answers.csv"]
    path.write_bytes(pack(raw, {**files, "answers.csv": table}, envelope.signatures))
    with pytest.raises(DataError, match="does not match its hash"):
        read_answers(path, [key.public])
    entry = {"sha256": sha256_bytes(table), "bytes": len(table)}
    changed = json.loads(raw)
    changed["parts"]["answers.csv"] = entry
    path.write_bytes(pack(canonical_json(changed), {**files, "answers.csv": table}, envelope.signatures))
    with pytest.raises(GateRefused, match="does not fit"):
        read_answers(path, [key.public])


def test_a_file_cut_anywhere_is_refused(tmp_path: Path, key: SigningKey) -> None:
    path = tmp_path / "north.answers"
    write(path, key)
    whole = path.read_bytes()
    for length in range(0, len(whole), 97):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError):
            read_answers(path, [key.public])


@pytest.mark.parametrize(
    ("change", "column"),
    [
        ({"label": "cat"}, "label"),
        ({"label": ""}, "label"),
        ({"label": "dark|bright"}, "label"),
        ({"verdict": "maybe"}, "verdict"),
        ({"verdict": "cannot_tell"}, "label"),
        ({"bundle": "e" * 64}, "bundle"),
        ({"image": "../../etc"}, "image"),
        ({"key": "K" * 64}, "key"),
        ({"shown": "cat"}, "shown"),
    ],
)
def test_an_answer_that_cannot_be_is_neither_written_nor_read(tmp_path: Path, change: dict, column: str) -> None:
    with pytest.raises(DataError, match=f"line 2, {column}"):
        write(tmp_path / "x.answers", None, replace(AGREED, **change))
    assert not (tmp_path / "x.answers").exists()


def test_a_site_with_a_path_in_its_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="site"):
        write(tmp_path / "x.answers", None, site="../north")


def test_more_images_than_one_export_takes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgedx.device.clinic.answers_export.MAX_IMAGES", 0)
    with pytest.raises(DataError, match="more than one export takes"):
        write(tmp_path / "x.answers", None)


def test_the_prefix_is_not_that_of_bundles() -> None:
    from edgedx.core.bundle.signing import PREFIX as OF_BUNDLES

    assert PREFIX != OF_BUNDLES
