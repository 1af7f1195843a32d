"""Where the shipped YAML files are: inside an installed wheel, or beside the package in a checkout."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

_PACKAGE = Path(__file__).resolve().parents[2]


def shipped_folder(kind: Literal["devices", "recipes", "examples"]) -> Path:
    """Folder of the shipped device profiles, recipes or examples of settings.

    A wheel carries them as ``edgedx/_data/<kind>``; in an editable install they are the top-level folders of
    the repository, so that there is one copy to edit.
    """
    packaged = _PACKAGE / "_data" / kind
    return packaged if packaged.is_dir() else _PACKAGE.parent / kind
