"""The report: it tells what the records say, fetches nothing, and fits a phone."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from browser import chromium
from made_run import write_run

from edgedx.core.errors import CheckpointError, UsageError
from edgedx.core.settings.accept import Accept
from edgedx.core.settings.recipe import Recipe, load_recipe
from edgedx.lab.evidence.report.collect import collect
from edgedx.lab.evidence.report.files import write_report
from edgedx.lab.evidence.report.words import NOT_A_DEVICE

VERDICT: dict[str, Any] = {
    "passed": False,
    "split": "val",
    "sentence": "it loses <too> much",
    "ran": "variant int8-u8s8, ONNX Runtime",
    "images": 20,
    "flips": 3,
    "checks": [{"name": "auc", "passed": False, "sentence": "it loses 0.1"}],
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Recipe, Path]:
    folder = tmp_path_factory.mktemp("report")
    recipe = write_run(folder, title='Bright <script>alert("x")</script> squares')
    (folder / "run" / "devices/x86-avx2/gate").mkdir()
    (folder / "run" / "devices/x86-avx2/gate" / "gate.json").write_text(json.dumps(VERDICT))
    return recipe, folder / "run"


@pytest.fixture(scope="module")
def written(made: tuple[Recipe, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_report(collect(*made, resamples=100), path, images=True)
    return path


def test_page_text_and_json_say_the_same(written: Path) -> None:
    told = json.loads(written.with_suffix(".json").read_text())
    page, text = written.read_text(), written.with_suffix(".md").read_text()
    assert [one["name"] for one in told["models"]] == ["teacher", "student", "fp32", "int8-u8s8"]
    area = told["models"][-1]["overall"]["auc_roc"]
    assert f"{area['value']:.3f} (95 % interval {area['low']:.3f} to {area['high']:.3f})" in page
    assert f"{area['value']:.3f} (95 % interval {area['low']:.3f} to {area['high']:.3f})" in text
    for words in (
        "not a medical device",
        "84 test images of 42 patients",
        "Intended use",
        "CC0-1.0",
        "site north",
        "Not passed",
    ):
        assert words in page, words
    assert "did NOT pass the gate on val" in text and "3 of 20 decisions differ" in page
    assert told["subgroups_teacher_against_shipped"] and told["gate"]["passed"] is False
    assert {one["column"] for one in told["models"][0]["subgroups"]} == {"sex", "site"}


def test_names_from_outside_make_no_markup(written: Path) -> None:
    page, text = written.read_text(), written.with_suffix(".md").read_text()
    assert "<script" not in page and "&lt;script&gt;" in page and "&lt;made here&gt;" in page
    assert "<script" not in text and "it loses &lt;too&gt; much" in page


@pytest.mark.parametrize("suffix", [".html", ".md"])
def test_the_model_card_lists_every_field_that_an_image_is_checked_by(
    made: tuple[Recipe, Path], suffix: str, tmp_path: Path
) -> None:
    """The card left out view and age, so nobody saw that lateral views and children were refused."""
    recipe, run = made
    strict = Accept(
        modality=["CR"],
        body_part=["CHEST"],
        view=["PA"],
        laterality=["L"],
        age_years=(18, 97),
        required=["view"],
        for_processing=True,
        multi_frame="middle",
        max_saturated=0.83,
        min_side=317,
        ood="flag",
        raster="refuse",
    )
    assert set(strict.model_dump(exclude_defaults=True)) == set(Accept.model_fields), "give every field a value here"
    write_report(collect(recipe.model_copy(update={"accept": strict}), run, resamples=100), tmp_path / "r.html")
    text = (tmp_path / "r.html").with_suffix(suffix).read_text()
    for words in ("Modality: CR", "Body part: CHEST", "View: PA", "Side (laterality): L", "Age: 18 to 97 years",
                  "Header: view may not be absent",
                  "without a header (PNG, JPEG, TIFF, BMP, WebP) are refused",
                  "Raw detector values (FOR PROCESSING) are read too",
                  "the middle one is read", "At most 83%", "At least 317 pixels",
                  "are answered, and the result says so"):  # fmt: skip
        assert words in text, words


def _texts(page: str) -> list[str]:
    """What a reader reads, element by element."""
    body = re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)
    return [text.strip() for text in re.split(r"<[^>]*>", body) if len(text.split()) >= 5]


def test_every_section_has_one_verdict_and_no_sentence_stands_twice(written: Path) -> None:
    page = written.read_text()
    sections = re.findall(r'<section id="([^"]+)">(.*?)</section>', page, flags=re.DOTALL)
    without = [key for key, body in sections if body.count('class="headline') != 1]
    assert without == ["short", "wrong", "card", "words"]
    texts = _texts(page)
    assert {text for text in texts if texts.count(text) > 1} == {NOT_A_DEVICE}, "above, and in the card"


def test_terms_that_stand_on_the_page_are_explained_and_no_others(written: Path) -> None:
    page = written.read_text()
    terms = set(re.findall(r"<dt>(.*?)</dt>", page))
    assert {"AUC (AUC-ROC)", "Operating point, threshold", "INT8, 8-bit", "Interval, 95 %"} <= terms
    assert "AUROC / FPR95" not in terms and "Holm" not in terms
    for jargon in ("youden", "flips", "ratchet", "golden"):
        assert not re.search(rf"\b{jargon}\b(?!\))", re.sub(r"<[^>]*>", " ", page)), jargon


def test_nothing_is_named_that_lies_outside_the_file(written: Path) -> None:
    page = written.read_text()
    assert "default-src 'none'" in page
    assert not re.search(r'(?:href|src)\s*=\s*"(?!data:)', page) and "url(" not in page and "@import" not in page
    assert written.stat().st_size < 3_000_000


def test_no_patient_and_no_image_is_named(written: Path) -> None:
    for suffix in (".html", ".md", ".json"):
        text = re.sub(r"base64,[^\"]*", "", written.with_suffix(suffix).read_text())
        assert not re.search(r"p0\d\d\b|images/p", text), suffix


def test_pictures_of_patients_need_to_be_asked_for(made: tuple[Recipe, Path], tmp_path: Path, written: Path) -> None:
    write_report(collect(*made, resamples=100), tmp_path / "plain.html")
    assert "Decided wrongly" not in (tmp_path / "plain.html").read_text() and "Decided wrongly" in written.read_text()


@pytest.mark.parametrize("width", [390, 1280])
def test_a_real_browser_shows_it_without_overflow_and_without_a_request(written: Path, width: int) -> None:
    with chromium() as browser:
        seen = browser.look(written, width)
    assert seen.scroll_width <= width, seen.sticks_out
    assert not seen.sticks_out
    assert {url.split(":")[0] for url in seen.requests} <= {"file", "data"}
    assert [url for url in seen.requests if url.startswith("file:")] == [written.resolve().as_uri()]
    assert not seen.messages  # a request that the policy forbids would be told here
    picture = cv2.imdecode(np.frombuffer(seen.screenshot, np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape[:2] == (seen.height, width) and picture.std() > 15


def test_the_browser_would_notice(tmp_path: Path) -> None:
    """The measure itself: a page that is too wide and fetches something is seen as such."""
    path = tmp_path / "bad.html"
    path.write_text('<body><div style="width:900px">wide</div><img src="other.png"></body>')
    with chromium() as browser:
        seen = browser.look(path, 390)
    assert seen.scroll_width > 390 or seen.sticks_out
    assert any(url.endswith("other.png") for url in seen.requests)


def test_answers_of_another_data_set_are_refused(made: tuple[Recipe, Path], tmp_path: Path) -> None:
    import shutil

    recipe, run = made
    shutil.copytree(run, tmp_path / "run")
    record = tmp_path / "run" / "student" / "stage.json"
    record.write_text(record.read_text().replace(json.loads(record.read_text())["inputs"]["data"], "0" * 64))
    with pytest.raises(CheckpointError, match="is of data set"):
        collect(recipe, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "teacher")
    with pytest.raises(UsageError, match="no finished teacher"):
        collect(load_recipe(str(run / "recipe.yaml"), []), tmp_path / "run")


def test_a_run_without_a_student_is_told_too(made: tuple[Recipe, Path], tmp_path: Path) -> None:
    import shutil

    recipe, run = made
    for name in ("data", "teacher"):
        shutil.copytree(run / name, tmp_path / "run" / name)
    found = collect(recipe, tmp_path / "run", split="val", resamples=100)
    assert found.lost is None and found.shipped.name == "teacher" and found.verdict is None
    page, *_ = write_report(found, tmp_path / "r.html")
    assert "The gate was not asked yet" in page.read_text()
