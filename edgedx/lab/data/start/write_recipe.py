"""A guess as a recipe that people read: a line for each section, with a comment that says how it was found."""

from __future__ import annotations

from typing import Any

import yaml

from .guess import Guess

_COMMENT_FROM = 60
_HEAD = "# Written by `edgedx init`. Every field: edgedx recipes show NAME --fields. Check it: edgedx data check THIS"


def recipe_text(guess: Guess) -> str:
    """The recipe as YAML, about a dozen lines."""
    lines = [_HEAD]
    for section, value in guess.sections.items():
        line = f"{section}: {_inline(value)}"
        remark = guess.remarks.get(section, "")
        if remark and len(line) > _COMMENT_FROM:
            lines.append(f"# {section}: {remark}")
        lines.append(f"{line:<{_COMMENT_FROM}} # {remark}" if remark and len(line) <= _COMMENT_FROM else line)
    return "\n".join(lines) + "\n"


def _inline(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10_000, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...").strip()
