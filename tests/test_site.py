"""The documentation as a site: it builds without a warning, and works from a folder, without server and internet."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from browser import chromium

ROOT = Path(__file__).resolve().parent.parent
_FETCHED = re.compile(r"<(?:script|img|iframe|source|link)\b[^>]*?\b(?:src|href)=[\"']?((?:https?:)?//[^\"' >]+)", re.I)
_STYLE_FETCHED = re.compile(r"@import|url\(\s*[\"']?(?:https?:)?//", re.I)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("material", reason="no MkDocs Material: pip install 'edgedx[docs]'")
    folder = tmp_path_factory.mktemp("site") / "built"
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


def test_every_page_is_built_and_no_tool(site: Path) -> None:
    pages = {path.stem for path in (ROOT / "docs").glob("*.md")}
    assert {path.stem for path in site.glob("*.html")} - {"404"} == pages
    assert (site / "python.ipynb").is_file() and not list(site.glob("*.py"))


def test_a_link_is_called_after_its_page_and_not_after_its_file(site: Path) -> None:
    texts = [text for page in site.glob("*.html") for text in re.findall(r"<a [^>]*>([^<]*)</a>", page.read_text())]
    assert [text for text in texts if text.endswith(".md")] == []
    assert "Recipe fields" in texts


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    for page in site.glob("*.html"):
        assert _FETCHED.findall(page.read_text(encoding="utf-8")) == [], page.name
    for style in site.rglob("*.css"):
        assert not _STYLE_FETCHED.search(style.read_text(encoding="utf-8")), style.name


def test_pages_opened_as_files_fit_a_phone_and_ask_for_nothing(site: Path) -> None:
    with chromium() as browser:
        for name in ("index", "tutorial", "flow", "figures", "cli"):
            page = browser.look(site / f"{name}.html", 390)
            assert page.scroll_width <= 390, (name, page.sticks_out[:5])
            assert [url for url in page.requests if not url.startswith(("file:", "data:", "blob:"))] == []
            assert page.messages == [], name


def test_the_search_works_from_a_folder(site: Path) -> None:
    with chromium() as browser:
        browser.look(site / "index.html", 1200)
        ask = """(() => { const field = document.querySelector('.md-search__input');
            field.focus(); field.value = 'ratchet'; field.dispatchEvent(new Event('input', {bubbles: true}));
            field.dispatchEvent(new KeyboardEvent('keyup', {bubbles: true}));
            return [...document.querySelectorAll('.md-search-result__link')].map(one => one.href).join(' ') })()"""
        end = time.monotonic() + 30
        while "install.html" not in (found := browser.call("Runtime.evaluate", expression=ask)["result"]["value"]):
            assert time.monotonic() < end, found
            time.sleep(0.3)
