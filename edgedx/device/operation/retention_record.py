"""What retention removed and how its last sweep ended, as a file that anyone may read (see `retention`)."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from typing import Any

RETENTION = "retention.json"
SCHEMA_VERSION = 1


def read_retention(out: Path) -> dict[str, Any]:
    """What was removed from an output folder so far, and how the last sweep ended; zeros where none was."""
    empty: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION, "removed": {}, "removed_bytes": 0, "limits": None, "bytes": None,
        "kept_over_limit": {}, "swept": None,
    }  # fmt: skip
    try:
        found = json.loads((out / RETENTION).read_bytes())
    except (OSError, ValueError):
        return empty
    known = isinstance(found, dict) and found.get("schema_version") == SCHEMA_VERSION
    return {**empty, **{key: found[key] for key in islice(empty, 1, None) if key in found}} if known else empty
