"""YAML as edgedx reads it: safe, and a key that stands twice is an error instead of the last one winning in silence."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from edgedx.core.errors import UsageError
from edgedx.core.files import storage_error


class _UniqueKeys(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key, _ in node.value:
            name = getattr(key, "value", None)
            if isinstance(name, str) and name in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {name!r} stands twice", key.start_mark)
            seen.add(name if isinstance(name, str) else id(key))
        return super().construct_mapping(node, deep)


def read_yaml(path: Path, error: type[UsageError]) -> Any:
    """Content of a YAML file.

    Parameters
    ----------
    error : type of UsageError
        Raised when the file is not YAML, or a key stands twice; names the line.

    Raises
    ------
    InputOutputError
        The file cannot be read.
    """
    try:
        # Our loader is yaml.SafeLoader with one check more: it builds plain values only.
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeys)
    except OSError as problem:
        raise storage_error(path, problem) from problem
    except (yaml.YAMLError, UnicodeDecodeError) as problem:
        raise error(f"{path} is not YAML: {problem}", next_step="correct the file at the line named") from problem
