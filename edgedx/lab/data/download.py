"""Fetch a data set's official file, only when a command was asked to; checked by its published MD5."""

from __future__ import annotations

import hashlib
import urllib.request
from pathlib import Path

from edgedx.core.errors import DataError
from edgedx.core.files import atomic_write
from edgedx.core.settings.recipe import Recipe

from .sources import cache_folder, locate

_MAX_BYTES = 2 << 30


def have_or_fetch(recipe: Recipe, timeout: float = 20.0) -> bool:
    """Whether a recipe's data set is here, or could be downloaded into the cache now.

    Parameters
    ----------
    timeout : float
        Seconds without a byte after which the download is given up.

    Raises
    ------
    DataError
        The download is not the official file.
    """
    path = str(recipe.data.path)
    try:
        locate(path)
        return True
    except DataError:
        if not recipe.data.download or not recipe.data.md5:
            return False
    target = cache_folder() / path
    try:
        with urllib.request.urlopen(recipe.data.download, timeout=timeout) as stream:  # noqa: S310 - from the recipe
            _save(stream, target, recipe.data.md5)
    except OSError:  # offline, refused or timed out
        return False
    return True


def _save(stream: object, target: Path, md5: str) -> None:
    digest, count = hashlib.md5(usedforsecurity=False), 0
    with atomic_write(target) as out:
        while block := stream.read(1 << 20):  # type: ignore[attr-defined]
            digest.update(block)
            count += len(block)
            if count > _MAX_BYTES:
                break
            out.write(block)
        if digest.hexdigest() != md5:
            raise DataError(
                f"the download of {target.name} is not the official file (MD5 {digest.hexdigest()}, expected {md5})",
                next_step="try again later, or fetch it yourself and set EDGEDX_DATA to its folder",
            )
