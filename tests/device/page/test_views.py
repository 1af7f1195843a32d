"""What the views answer to requests that no browser of ours sends, and how much of a blind read they give away."""

from __future__ import annotations

import hashlib
import html
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("starlette", reason="no Starlette: pip install 'edgedx[page]'")
from starlette.testclient import TestClient

from edgedx.core.messages import say
from edgedx.core.result import result_key
from edgedx.device.clinic.answers import LONGEST_NOTE, Answer, Answers, drawn
from edgedx.device.clinic.worklist import LOOK, NOT_READ, Line
from edgedx.device.page.app import make_app
from edgedx.device.page.settings import PageSettings
from edgedx.device.scanner.facts import Arrival, Stat
from edgedx.device.scanner.journal import Journal

BUNDLE = "b" * 64
HOSTILE = "<script>alert(1)</script>"


class Page:
    """A page on a made ledger, and a client without script before it."""

    def __init__(self, out: Path, **settings: Any) -> None:
        self.out = out
        out.mkdir(exist_ok=True)
        self.journal = Journal(out / "journal.sqlite", BUNDLE)
        self.settings = settings
        self.client: TestClient | None = None

    def add(self, name: str, prediction: dict[str, Any] | None, code: str | None = None, **more: Any) -> str:
        """One result, as the scanner leaves it; returns its address."""
        sha256 = hashlib.sha256(name.encode()).hexdigest()
        key, label = result_key(sha256, BUNDLE), None if prediction is None else prediction["label"]
        self.journal.receive([Arrival(name, Stat(1, 1, 1), sha256)])
        look = LOOK if prediction else NOT_READ
        line = Line(key, look, label, "2026-11-20T10:00:00Z", "2026-11-20", drawn(sha256, BUNDLE))
        status = "done" if prediction else "refused"
        self.journal.finish([(key, status, code)], lines=[line])
        facts = {
            "key": key, "status": status, "prediction": prediction, "source": {"format": "png"},
            "runtime": {"model": f"tiny {HOSTILE}", "variant": "fp32", "edgedx": "0"},
            "reason": {"code": code, "message": ""} if code else None, **more,
        }  # fmt: skip
        (self.out / "results").mkdir(exist_ok=True)
        (self.out / "results" / f"{key[:32]}.json").write_text(json.dumps(facts))
        return f"/image/{key[:32]}"

    def get(self, path: str, status: int = 200) -> str:
        """A page's text."""
        if self.client is None:
            app = make_app(PageSettings(self.out, **self.settings))
            self.client = TestClient(app, base_url="http://localhost", headers={"Accept": "text/html"})
            self.client.__enter__()
        answer = self.client.get(path)
        assert answer.status_code == status, (path, answer.status_code)
        return answer.text

    def post(self, path: str, status: int, **form: Any) -> str:
        """A form, with the token of its page."""
        found = re.search(r'name="csrf" value="([^"]+)"', self.get("/"))
        assert found is not None and self.client is not None
        answer = self.client.post(path, data={"csrf": found[1], **form}, follow_redirects=False)
        assert answer.status_code == status, (path, form, answer.status_code, answer.text[:300])
        return answer.text

    def answers(self) -> list[Answer]:
        """All that are in force."""
        if not (self.out / "answers.sqlite").exists():
            return []
        answers = Answers(self.out / "answers.sqlite", read_only=True)
        try:
            return list(answers.latest())
        finally:
            answers.close()

    def close(self) -> None:
        if self.client is not None:
            self.client.__exit__(None, None, None)
        self.journal.close()


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    made = Page(tmp_path / "out", blind_share=0.0)
    yield made
    made.close()


TWO = {
    "label": "bright",
    "probabilities": {"dark": 0.2, "bright": 0.8},
    "threshold": {"bright": 0.5},
    "operating_point": "youden",
}
FINDINGS = {
    "label": "mass|<b>",
    "probabilities": {"mass": 0.9, "<b>": 0.7, "hernia": 0.1},
    "threshold": {"mass": 0.5, "<b>": 0.5, "hernia": 0.5},
    "operating_point": "youden",
}


def test_a_class_is_a_number_of_the_form_and_nothing_else(page: Page) -> None:
    image = page.add("a.png", TWO)
    for choice in ("", "class-2", "class--1", "class-", "class-0x0", "class-٣", "these", HOSTILE, "class-99999999999"):
        text = page.post(f"{image}/answer", 400, choice=choice)
        assert say("en", "answer.choose") in text
    assert page.answers() == []
    page.post(f"{image}/answer", 303, choice="class-0", reason="bored", note=" a\r\nb ")
    (given,) = page.answers()
    assert (given.label, given.verdict, given.reason, given.note) == ("dark", "disagree", None, "a\nb")
    assert say("en", "answer.too_long") in page.post(
        f"{image}/answer", 400, choice="agree", note="x" * (LONGEST_NOTE + 1)
    )


def test_several_findings_are_ticked_each(page: Page) -> None:
    image = page.add("a.png", FINDINGS)
    text = page.get(image)
    assert text.count('type="checkbox"') == 3 and "<b>" not in text
    page.post(f"{image}/answer", 303, choice="these", finding=["2", "0"])
    assert [(one.label, one.verdict) for one in page.answers()] == [("mass|hernia", "disagree")]
    page.post(f"{image}/answer", 303, choice="these", finding=["1", "0"])
    assert [one.verdict for one in page.answers()] == ["agree"]
    page.post(f"{image}/answer", 303, choice="these")
    assert [(one.label, one.verdict) for one in page.answers()] == [("", "disagree")]
    assert say("en", "answer.none_of_them") in page.get(image)
    page.post(f"{image}/answer", 400, choice="these", finding=["7"])


def test_what_was_not_read_has_a_reason_and_takes_no_answer(page: Page) -> None:
    image = page.add("a.png", None, "MODALITY")
    text = page.get(image)
    assert say("en", "do.modality") in text and "MODALITY" in text and 'name="choice"' not in text
    assert say("en", "answer.nothing_to_say") in page.post(f"{image}/answer", 400, choice="cannot_tell")
    later = page.add("b.png", None, f"LATER_{HOSTILE}")
    assert say("en", "do.other") in page.get(later) and HOSTILE not in page.get(later)


def test_nothing_out_of_a_file_is_ever_markup(page: Page) -> None:
    image = page.add(f"{HOSTILE}.png", {**TWO, "label": HOSTILE, "probabilities": {"dark": 0.2, HOSTILE: 0.8}})
    for path in ("/", image, "/rows"):
        assert HOSTILE not in page.get(path), path


@pytest.mark.parametrize(
    "path",
    [
        "/image/0", "/image/" + "0" * 32, "/line/x", "/image/x/answer.png",
        "/image/" + "0" * 32 + "/original.png",
    ],
)  # fmt: skip
def test_an_address_that_names_nothing_is_no_page(page: Page, path: str) -> None:
    page.add("a.png", TWO)
    page.get(path, 404)


def test_filters_that_are_none_show_all(page: Page) -> None:
    page.add("a.png", TWO)
    for query in ("show=nonsense", "day=yesterday", "before=-1", "before=1e9", "before=" + "9" * 40, "day=2026-11-20"):
        assert 'class="line look"' in page.get(f"/?{query}"), query
    assert 'class="line' not in page.get("/?day=2026-11-21")


def test_a_result_that_is_damaged_is_no_page_and_the_list_goes_on(page: Page) -> None:
    image = page.add("a.png", TWO)
    (page.out / "results" / f"{image.removeprefix('/image/')}.json").write_text('{"key": 1')
    page.get(image, 404)
    assert 'class="line look"' in page.get("/")


def test_of_a_blind_read_no_word_of_the_model_is_given_before_the_answer(tmp_path: Path) -> None:
    page = Page(tmp_path / "out", blind_share=1.0)
    image = page.add("a.png", TWO, prediction_set={"classes": ["bright"], "coverage": 0.9})
    (page.out / "results" / f"{image.removeprefix('/image/')}.png").write_bytes(b"\x89PNG\r\n\x1a\n the map")
    other = Answers(page.out / "answers.sqlite")
    (row,) = [page.journal._db.execute("SELECT key, sha256 FROM items").fetchone()]
    other.give(key=row[0], sha256=row[1], bundle=BUNDLE, person="joseph", label="bright", shown="bright", note="told")
    other.close()
    try:
        for path in ("/", "/rows", "/?show=look", f"/line/{image.removeprefix('/image/')}", image, f"{image}?map=1"):
            text = page.get(path)
            assert "%" not in re.sub(r'width="100%"', "", text.split("<main")[-1]), path
            assert "agree" not in text.split("<main")[-1] and "joseph" not in text and "told" not in text, path
            assert 'class="line look' not in text and "verdict look" not in text, path
        page.get(f"{image}/map.png", 403)
        assert say("en", "answer.choose") in page.post(f"{image}/answer", 400, choice="agree")  # it was not offered
        page.post(f"{image}/answer", 303, choice="cannot_tell")
        text = html.unescape(page.get(image))
        assert "80%" in text and "joseph" in text and say("en", "answer.was_blind") in text
        assert page.client is not None and page.client.get(f"{image}/map.png").content.endswith(b"the map")
        page.post(f"{image}/answer", 303, choice="agree")
        assert [(one.person, one.blind, one.verdict) for one in page.answers()] == [
            ("joseph", False, "agree"),
            ("local", False, "agree"),
        ]
    finally:
        page.close()


def test_names_are_shown_and_searched_only_where_they_are_allowed(tmp_path: Path) -> None:
    page = Page(tmp_path / "closed", blind_share=0.0)
    page.add("DOE-JANE.png", TWO)
    assert "DOE" not in page.get("/")
    assert say("en", "search.not_allowed") in page.post("/search", 200, words="DOE-JANE.png")
    assert not (page.out / "search.key").exists()
    page.close()
    page = Page(tmp_path / "open", blind_share=0.0, show_names=True)
    image = page.add("DOE-JANE.png", TWO)
    assert "DOE-JANE" in page.get("/") and "DOE-JANE" in page.get(image)
    assert say("en", "search.found", count=1) in page.post("/search", 200, words="DOE-JANE.png")
    assert say("en", "search.found", count=0) in page.post("/search", 200, words="DOE")
    assert (page.out / "search.key").exists()
    page.close()
    audit = (page.out / "audit.jsonl").read_text()
    assert "DICOM Instances Accessed" in audit and "DOE" not in audit


def test_no_scanner_yet_is_said(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with TestClient(make_app(PageSettings(tmp_path / "out")), base_url="http://localhost") as client:
        assert say("en", "list.no_ledger") in client.get("/").text
        assert say("en", "health.never") in client.get("/box").text
