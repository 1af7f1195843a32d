"""A nurse's way through the page, in a real browser, with a real scanner at work behind it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlparse

import numpy as np
import pydicom
import pytest
from bundles import dicom, png, png_bytes, write_tiny
from clinic_page import Box, Browser, chrome, need_axe, until

from edgedx.core.messages import say
from edgedx.device.clinic.answers import Answers

HOSTILE = "<img src=x onerror=alert(1)>.png"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chrome() as opened:
        yield opened


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[Box]:
    folder = tmp_path_factory.mktemp("box")
    write_tiny(folder / "tiny.edgedx")
    box = Box(folder, folder / "device")
    box.command("install", folder / "tiny.edgedx", "--root", box.bundle, "--allow-unsigned")
    try:
        png(box.inbox / HOSTILE, 1, bright=True)
        png(box.inbox / "dark.png", 2, bright=False)
        (box.inbox / "blank.png").write_bytes(png_bytes(np.zeros((24, 24), np.uint8)))
        box.scan()
        box.rows(3)
        yield box
    finally:
        box.end()


@pytest.fixture(scope="module")
def address(box: Box) -> str:
    return box.page("--root", box.bundle, "--names", "--blind", 0)


def _of_patient(path: Path) -> Path:
    """A DICOM file with a name and an accession number in it."""
    dataset = pydicom.dcmread(dicom(path, 11, name="DOE^JANE"))
    dataset.AccessionNumber = "ACC-77"
    dataset.save_as(path)
    return path


def _words(browser: Browser) -> list[str]:
    return [one.text for one in browser.all(".line .word")]


def test_the_list_says_one_thing_of_each_image_and_names_are_text(browser: Browser, address: str) -> None:
    browser.size(390)
    browser.open(address)
    said = _words(browser)
    assert sorted(said) == sorted(["Look at this one", "Nothing found by the model", "Not read: the picture is empty"])
    assert HOSTILE in browser.text(".list")
    assert browser.all(".list img") == []
    first = browser.one(".line").rect
    assert first["y"] + first["height"] < 844 / 2  # seen without scrolling
    assert browser.script("return document.documentElement.scrollWidth") <= 390
    browser.one(".tabs a:nth-child(3)").click()
    assert until(lambda: len(_words(browser)) == 1) and _words(browser)[0].startswith("Not read")


def test_a_dicom_and_a_png_are_sent_read_and_seen_on_a_list_that_is_open(
    browser: Browser, address: str, box: Box, tmp_path: Path
) -> None:
    browser.size(1280)
    browser.open(address)
    list_tab = browser.driver.current_window_handle
    browser.driver.switch_to.new_window("tab")
    browser.open(f"{address}/upload")
    sent = [_of_patient(tmp_path / "a.dcm"), png(tmp_path / "<b>.png", 12, bright=True)]
    browser.one('input[type="file"]').send_keys("\n".join(map(str, sent)))
    until(lambda: len(browser.all(".files .line .word")) == 2)
    assert "<b>.png" in browser.text(".files") and browser.all(".files b") == []
    browser.driver.close()
    browser.driver.switch_to.window(list_tab)
    until(lambda: len(_words(browser)) == 5)  # nobody loaded the list again
    assert "DOE" not in browser.text() and "JANE" not in browser.text()
    browser.one("details.more summary").click()
    browser.one("#words").send_keys("acc-77")
    browser.one('[role="search"] button').click()
    assert until(lambda: len(_words(browser)) == 1)
    assert "acc-77" not in browser.driver.current_url.lower()  # an address is kept by browsers
    assert b"ACC-77" not in (box.out / "journal.sqlite").read_bytes()


def test_an_image_is_looked_into_with_the_map_on_demand(browser: Browser, address: str) -> None:
    browser.open(address)
    browser.one(".line.look").click()
    assert browser.text("h1") == "Look at this one" and "bright" in browser.text(".verdict")
    shown = "return [...document.querySelectorAll('.viewer img')].map(one => one.complete && one.naturalWidth)"
    until(lambda: all(browser.script(shown)))
    assert "%" in browser.text(".bars") and "Threshold 50.0%" in browser.text(".bars")
    moved = "return document.querySelector('.viewer img').style.transform"
    browser.one('[data-do="in"]').click()
    assert "scale(1.4)" in browser.script(moved)
    browser.one('[data-do="invert"]').click()
    assert "invert(1)" in browser.script("return document.querySelector('.viewer img').style.filter")
    browser.one("[data-viewer]").send_keys("0")
    assert "scale(1)" in browser.script(moved)
    browser.one("[data-heat]").click()  # this model has no maps: that is said, and nothing breaks
    assert until(lambda: browser.text("#model [data-failed]")) == say("en", "picture.no_map")
    assert browser.one("[data-heat]").get_attribute("aria-pressed") == "true"


def test_an_answer_is_given_changed_and_kept(browser: Browser, address: str, box: Box) -> None:
    browser.open(address)
    key = browser.one(".line.look").get_attribute("data-key")
    browser.open(f"{address}/image/{key}")
    browser.one('input[value="agree"]').click()
    browser.one(".answer .main").click()
    assert "bright" in browser.text(".given")
    browser.one('input[value="class-0"]').click()
    browser.one(".answer summary").click()
    browser.one("#note").send_keys("<script>alert(1)</script> rib")
    browser.one("#reason").send_keys("The model saw")
    browser.one(".answer .main").click()
    until(lambda: "dark" in browser.text(".given"))
    browser.one(".history summary").click()
    assert "<script>alert(1)</script> rib" in browser.text(".history")
    answers = Answers(box.out / "answers.sqlite", read_only=True)
    agreed, changed = answers.history(next(answers.latest()).key)
    answers.close()
    assert (agreed.verdict, agreed.label, agreed.person) == ("agree", "bright", "local")
    assert (changed.verdict, changed.label, changed.reason) == ("disagree", "dark", "overcalled")
    assert changed.replaces == agreed.sequence and not changed.blind
    browser.open(f"{address}/?show=unanswered")
    assert key not in [one.get_attribute("data-key") for one in browser.all(".line")]


def test_who_logs_off_sees_nothing_any_more(browser: Browser, box: Box) -> None:
    address = box.page("--https", "--blind", 0)
    browser.open(address)
    browser.one("#code").send_keys(box.told["code"])
    browser.one("#name").send_keys("Amina")
    for field in ("#new", "#again"):
        browser.one(field).send_keys("274916")
    browser.one("main button").click()
    key = browser.one(".line.look").get_attribute("data-key")
    browser.one('form[action="/logoff"] button').click()
    browser.one("#pin")
    for path in ("/", f"/image/{key}", f"/image/{key}/original.png", "/rows", "/box"):
        browser.open(address + path)
        assert browser.all(".line, .bars, .viewer, .health") == [] and browser.one("#pin"), path


def test_of_a_blind_read_nothing_is_seen_before_the_answer(browser: Browser, box: Box) -> None:
    address = box.page("--root", box.bundle, "--blind", 1, "--language", "en")
    browser.open(address)
    key = next(one.get_attribute("data-key") for one in browser.all(".line.blind"))
    assert set(_words(browser)) >= {"You first"}
    assert not {"Look at this one", "Nothing found by the model"} & set(_words(browser)) or browser.all(".mine")
    for path in (f"/image/{key}", "/", "/rows", f"/line/{key}", "/?show=look"):
        browser.open(address + path)
        source = browser.driver.page_source
        assert "Agree" not in source and "I agree" not in source and "model said" not in source, path
        if path.startswith("/image"):
            assert browser.all(".bars") == [] and browser.all("[data-heat]") == []
            assert [one.get_attribute("value") for one in browser.all('[name="choice"]')] == [
                "class-0",
                "class-1",
                "cannot_tell",
            ]
    browser.open(f"{address}/image/{key}/map.png")
    assert say("en", "picture.after_answer") in browser.driver.page_source
    browser.open(f"{address}/image/{key}")
    browser.one('input[value="class-1"]').click()
    browser.one(".answer .main").click()
    assert "%" in browser.text(".bars")
    assert say("en", "answer.was_blind") in browser.text(".given")
    answers = Answers(box.out / "answers.sqlite", read_only=True)
    (given,) = [one for one in answers.latest() if one.key.startswith(key)]
    answers.close()
    assert given.blind and given.label == "bright"


def test_every_page_is_whole_for_everybody(browser: Browser, address: str) -> None:
    """axe-core finds nothing serious, light or dark; nothing is wider than a phone; nothing comes from elsewhere."""
    need_axe()
    browser.requests()
    browser.open(address)
    lines = {
        kind: browser.one(f".line.{kind}").get_attribute("href").removeprefix(address) for kind in ("look", "unread")
    }
    for dark in (False, True):
        browser.size(390, dark=dark)
        for path in ("/", "/?show=unread&day=2020-01-01", *lines.values(), "/upload", "/box", "/admin", "/nowhere"):
            browser.open(address + path)
            assert browser.serious() == [], (path, dark)
            assert browser.script("return document.documentElement.scrollWidth") <= 390, path
    host = urlparse(address).netloc
    assert {urlparse(one).netloc for one in browser.requests() if one.startswith("http")} == {host}


def test_it_speaks_other_languages_and_keeps_the_choice(browser: Browser, address: str) -> None:
    browser.size(390)
    for code in ["hi", "fr", "en"]:
        browser.open(address)
        browser.script(
            "const s = document.querySelector('#foot-language'); s.value = arguments[0];"
            "s.dispatchEvent(new Event('change'))",
            code,
        )
        until(lambda code=code: browser.script("return document.documentElement.lang") == code)
        assert say(code, "list.look") in _words(browser)
        assert browser.script("return document.documentElement.scrollWidth") <= 390, code


def test_by_keyboard_alone(browser: Browser, address: str) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    browser.size(1280)
    browser.open(address)
    body = browser.one("body")
    body.send_keys(Keys.TAB)
    assert browser.script("return document.activeElement.className") == "skip"
    ActionChains(browser.driver).send_keys("j").send_keys("j").perform()
    second = browser.all(".line")[1].get_attribute("data-key")
    focused = browser.driver.switch_to.active_element
    assert focused.get_attribute("data-key") == second
    focused.send_keys(Keys.ENTER)
    until(lambda: f"/image/{second}" in browser.driver.current_url)


def test_the_list_works_without_script(browser: Browser, address: str) -> None:
    browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.open(address)
        assert len(_words(browser)) >= 3
        browser.one(".line.look").click()
        browser.one('input[value="cannot_tell"]').click()
        browser.one(".answer .main").click()
        assert "I cannot tell" in browser.text(".given")
    finally:
        browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_the_console_stayed_silent(browser: Browser) -> None:
    """But for pictures that cannot be drawn, alone in a tab too, and the page that is none."""
    heard = [
        one
        for one in browser.problems()
        if ".png - Failed" not in one and "/nowhere" not in one and "/favicon" not in one
    ]
    assert heard == []
