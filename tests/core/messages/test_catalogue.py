"""Every sentence stands in every language, with the same values in it, and is filled in without being read."""

from __future__ import annotations

import json
import string
from collections import Counter
from importlib.resources import files

import pytest

from edgedx.core.messages import LANGUAGES, best_language, keys, knows, say

TABLES: dict[str, dict[str, dict[str, str]]] = {}
for file in files("edgedx.core.messages").iterdir():
    if file.name.endswith(".json"):
        topic, language = file.name.removesuffix(".json").split(".")
        TABLES.setdefault(topic, {})[language] = json.loads(file.read_text(encoding="utf-8"))


def _values(sentence: str) -> list[str]:
    return sorted(field for _, field, _, _ in string.Formatter().parse(sentence) if field is not None)


@pytest.mark.parametrize("topic", sorted(TABLES))
def test_every_key_stands_in_each_language_with_the_same_values(topic: str) -> None:
    tables = TABLES[topic]
    assert sorted(tables) == sorted(LANGUAGES)
    for language, table in tables.items():
        assert list(table) == list(tables["en"]), language
        for key, sentence in table.items():
            assert sentence.strip(), (language, key)
            assert sentence == sentence.strip(), (language, key)
            assert _values(sentence) == _values(tables["en"][key]), (language, key)
            assert all(name.isidentifier() for name in _values(sentence)), (language, key)


def test_no_key_stands_in_two_files() -> None:
    count = Counter(key for tables in TABLES.values() for key in tables["en"])
    assert {key for key, times in count.items() if times > 1} == set()
    assert sorted(count) == sorted(keys())


@pytest.mark.parametrize("topic", sorted(TABLES))
def test_a_translation_is_one(topic: str) -> None:
    """A sentence of several words that is the English one was forgotten."""
    for language, table in TABLES[topic].items():
        if language != "en":
            english = TABLES[topic]["en"]
            same = [key for key, text in table.items() if text == english[key] and len(text.split()) > 3]
            assert same == [], language


def test_a_value_is_never_read_as_a_template() -> None:
    hostile = "{key.__class__} <script>"
    for key in keys():
        names = _values(TABLES_EN[key])
        if names:
            assert hostile in say("en", key, **dict.fromkeys(names, hostile))


TABLES_EN = {key: text for tables in TABLES.values() for key, text in tables["en"].items()}


def test_what_is_not_known_is_said_in_english_or_refused() -> None:
    assert say("xx", "page.not_diagnosis") == say("en", "page.not_diagnosis") == "AI - not for diagnosis"
    assert knows("page.not_diagnosis") and not knows("page.nothing of the kind")
    with pytest.raises(KeyError):
        say("en", "page.nothing of the kind")


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("", "en"),
        ("de", "en"),
        ("sw", "sw"),
        ("fr-CH, fr;q=0.9, en;q=0.8", "fr"),
        ("en;q=0.3, pt-BR;q=0.7", "pt"),
        ("de, hi;q=nonsense, es;q=0.1", "es"),
        ("fr;q=0", "en"),
        ("," * 5000 + "fr", "en"),
    ],
)
def test_a_browser_is_answered_in_its_language(header: str, language: str) -> None:
    assert best_language(header) == language
