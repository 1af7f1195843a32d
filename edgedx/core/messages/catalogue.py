"""Reads the message files and fills their sentences in.

A file is one flat JSON object from key to sentence; ``{name}`` in a sentence is filled with a value. All topics of a
language are one table. English is complete (a test proves that every language is); a key that a language lacks all the
same is said in English, never left out.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Language:
    """One language.

    Attributes
    ----------
    code : str
        BCP 47.
    name : str
        As its speakers call it.
    direction : str
        ``ltr`` or ``rtl``.
    """

    code: str
    name: str
    direction: str = "ltr"


LANGUAGES: Mapping[str, Language] = MappingProxyType(
    {
        one.code: one
        for one in (
            Language("en", "English"),
            Language("fr", "Français"),
            Language("es", "Español"),
            Language("pt", "Português"),
            Language("sw", "Kiswahili"),
            Language("hi", "हिन्दी"),
        )
    }
)
"""By code, in the order in which they are offered."""


def say(language: str, key: str, /, **values: object) -> str:
    """One sentence.

    Parameters
    ----------
    language : str
        One of `LANGUAGES`; another one is answered in English.
    key : str
    **values
        For the ``{name}`` in the sentence. The sentence is ours; a value is put in as it is and never read as a
        template. The result is plain text: whoever writes HTML escapes it.

    Raises
    ------
    KeyError
        No message file has `key`, or a value that the sentence needs is not given.

    Examples
    --------
    >>> say("en", "page.not_diagnosis")
    'AI - not for diagnosis'
    """
    sentence = _table(language).get(key)
    return (_table("en")[key] if sentence is None else sentence).format_map(values)


def knows(key: str) -> bool:
    """Whether there is a sentence for `key`: codes may come from a later edgedx."""
    return key in _table("en")


def keys(prefix: str = "") -> list[str]:
    """All keys that begin with `prefix`, in order."""
    return [key for key in _table("en") if key.startswith(prefix)]


def best_language(header: str, default: str = "en") -> str:
    """The language to speak by a browser's Accept-Language (RFC 9110, 12.5.4); `default` where none of ours is in it.

    Examples
    --------
    >>> best_language("pt-BR,pt;q=0.9,en;q=0.5")
    'pt'
    """
    ranked: list[tuple[float, int, str]] = []
    for place, part in enumerate(header.split(",")[:20]):
        name, _, weight = part.partition(";")
        code = name.strip().lower().partition("-")[0]
        try:
            quality = float(weight.partition("=")[2]) if weight else 1.0
        except ValueError:
            continue
        if code in LANGUAGES and quality > 0:
            ranked.append((-quality, place, code))
    return min(ranked)[2] if ranked else default


@cache
def _table(language: str) -> Mapping[str, str]:
    if language not in LANGUAGES:
        return _table("en")
    table: dict[str, str] = {}
    for file in sorted(files(__package__).iterdir(), key=lambda one: one.name):
        if file.name.endswith(f".{language}.json"):
            table.update(json.loads(file.read_text(encoding="utf-8")))
    return MappingProxyType(table)
