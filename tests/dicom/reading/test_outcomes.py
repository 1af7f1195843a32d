"""Every DICOM file that pydicom and pydicom-data ship: as tests/support/outcomes.csv says, and right by another way."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from independent import BY_DCMTK, known
from outcomes import NUMBERS, WORDS, Case, cases, packages, read_table, row

from edgedx.core.errors import ImageError
from edgedx.core.files import sha256_file
from edgedx.core.preprocess import PreprocessSpec, canvas
from edgedx.device.decode.accept import SATURATED, WINDOW_USED
from edgedx.device.decode.decoder import Decoder
from edgedx.dicom.reading.open import Decoded

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
Outcomes = list[tuple[Case, Decoded | ImageError]]
LARGE = 1 << 20
"""Pixels; images with more take most of the time, and are left to the slow test."""


@pytest.fixture(scope="module")
def outcomes() -> Outcomes:
    """All files, read once."""
    return list(cases())


def test_the_table_says_what_every_file_gives_and_has_every_kind(outcomes: Outcomes) -> None:
    table = {key: line for key, line in read_table().items() if key[0] in packages()}
    assert {case.key for case, _ in outcomes} == set(table), "python tests/support/outcomes.py writes it anew"
    for case, found in outcomes:
        now, then = row(case, found), table[case.key]
        assert {name: now[name] for name in WORDS} == {name: then[name] for name in WORDS}, case.key
        if then["outcome"] == "read":
            spread = float(then["high"]) - float(then["low"])
            for name in NUMBERS:  # other versions of a lossy decoder may round otherwise
                margin = 0.2 if name == "light" else 0.002 * spread
                assert abs(float(now[name]) - float(then[name])) <= margin, (case.key, name)
    kinds = {line["decoder"] or line["outcome"] for line in table.values()}
    assert kinds == {"numpy", "simplejpeg", "imagecodecs", "refused", "quarantined"}


def test_values_windows_and_polarity_are_those_that_another_computation_gives(outcomes: Outcomes) -> None:
    small = [(case, found) for case, found in outcomes if isinstance(found, Decoded) and not _large(found)]
    assert len(small) > 80
    _compare(small)


@pytest.mark.slow
def test_so_are_those_of_large_images(outcomes: Outcomes) -> None:
    large = [(case, found) for case, found in outcomes if isinstance(found, Decoded) and _large(found)]
    if "pydicom-data" not in packages():
        pytest.skip("the package pydicom-data is not installed: it has the large ones")
    assert len(large) > 8
    _compare(large)


def _large(found: Decoded) -> bool:
    return bool(np.prod(found.image.pixels.shape[:2]) >= LARGE)


def _compare(chosen: list[tuple[Case, Decoded]]) -> None:
    for case, found in chosen:
        image = found.image
        twins = packages().get("pydicom-data")
        if twins is None and case.path.name.startswith("SC_rgb_jls"):
            continue  # its uncompressed twin is in the other package
        if case.path.name in BY_DCMTK and not shutil.which("dcmdjpeg"):
            continue
        truth = known(case.path, int(image.meta.get("Frame", 1)) - 1, twins or case.path.parent)
        assert image.pixels.shape == truth.values.shape, case.key
        low, high = image.value_range
        rounding = np.finfo(np.float32).eps * max(abs(low), abs(high)) if image.pixels.dtype == np.float32 else 0.0
        difference = np.abs(image.pixels.astype(np.float64) - truth.values).max()
        assert difference <= truth.tolerance + rounding, case.key
        assert low <= truth.values.min() + rounding and truth.values.max() - rounding <= high, case.key
        if min(image.pixels.shape[:2]) >= 8:
            assert np.abs(_light(found) - truth.light).max() <= truth.tolerance / 255 + 1e-3, case.key


def _light(found: Decoded) -> np.ndarray:
    """What the network sees, 0 to 1, at the size of the source."""
    colour = found.image.pixels.ndim == 3
    height, width = found.image.pixels.shape[:2]
    three = (0.5,) * (3 if colour else 1)
    spec = PreprocessSpec(size=(height, width), window="voi", colour="rgb" if colour else "grey", mean=three, std=three)
    return canvas(found.image, spec) / 65535


def test_the_scanners_decoder_process_gives_the_same_outcomes(outcomes: Outcomes) -> None:
    decoder = Decoder(PreprocessSpec(size=(64, 64)))
    pids = set()
    try:
        for case, found in outcomes:
            if case.frames != "refuse" or isinstance(found, Decoded) and _large(found):
                continue
            digest = sha256_file(case.path)
            if isinstance(found, Decoded):
                answer = decoder.decode(case.path, digest)
                assert (answer.height, answer.width) == found.image.pixels.shape[:2], case.key
                assert (answer.decoder, answer.transfer_syntax) == (found.decoder, found.transfer_syntax), case.key
                assert {
                    k: v for k, v in answer.meta.items() if k not in (SATURATED, WINDOW_USED)
                } == found.image.meta, case.key
                assert 0 <= float(answer.meta[SATURATED]) <= 1, case.key
            else:
                with pytest.raises(ImageError) as caught:
                    decoder.decode(case.path, digest)
                assert caught.value.code == found.code, case.key
            pids.add(decoder.pid)
    finally:
        decoder.close()
    assert len(pids) == 1, "one process has read them all"


def test_the_decoder_process_reads_the_middle_frame_where_the_bundle_allows_it(outcomes: Outcomes) -> None:
    several = [(case, found) for case, found in outcomes if case.frames == "middle" and "emri" in case.file]
    several = [(case, found) for case, found in several if "too_short" not in case.file]
    decoder = Decoder(PreprocessSpec(size=(64, 64)), frames="middle")
    try:
        for case, found in several:
            assert isinstance(found, Decoded)
            answer = decoder.decode(case.path, sha256_file(case.path))
            assert answer.meta["Frame"] == "6"
            np.testing.assert_array_equal(answer.canvas, canvas(found.image, PreprocessSpec(size=(64, 64))))
    finally:
        decoder.close()
