"""For the site alone: a link that is called after its file, ``[gate.md](gate.md)``, is called after its page."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

_LINK = re.compile(r"\[`?([\w-]+\.md)`?\]\((\1[^)]*)\)")


def on_page_markdown(markdown: str, config: Any, **_: Any) -> str:
    """MkDocs calls it with each page's text before it is turned into HTML."""
    docs = Path(config["docs_dir"])
    return _LINK.sub(lambda link: f"[{title(docs / link[1])}]({link[2]})", markdown)


@cache
def title(page: Path) -> str:
    """A page's first heading, as far as its colon."""
    first = page.read_text(encoding="utf-8").partition("\n")[0] if page.is_file() else page.name
    return first.removeprefix("# ").partition(":")[0]
