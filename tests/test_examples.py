"""Every shipped example is a test case, and is found where the package looks for it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from edgedx.core.settings.pacs import fields_of, load_pacs
from edgedx.core.settings.shipped import shipped_folder

FILES = sorted(shipped_folder("examples").glob("*"))


def test_there_are_examples() -> None:
    assert [path.name for path in FILES] == ["pacs.yaml"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_it_is_valid_as_it_is_and_with_every_comment_in_force(path: Path, tmp_path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    load_pacs(path)
    whole = tmp_path / path.name
    whole.write_text(re.sub(r"(?m)^  # ", "  ", text), encoding="utf-8")  # with its parts that are commented out
    found = load_pacs(whole)
    assert found.send and found.send.tls and found.receive and found.receive.tls
    assert len(found.files()) == 6


def test_the_example_names_every_field() -> None:
    text = (shipped_folder("examples") / "pacs.yaml").read_text(encoding="utf-8")
    assert [key for key, _ in fields_of() if f"{key.rpartition('.')[2]}:" not in text] == []
