"""LUNA16 (Setio et al. 2017): candidates for lung nodules in CT scans, each a 2.5-D patch around a position.

Layout as on https://luna16.grand-challenge.org/Data/: ``subset0`` to ``subset9``, the folds of the challenge, with
``<seriesuid>.mhd`` and ``.raw``; candidates_V2.csv (seriesuid, coordX, coordY, coordZ, class), or candidates.csv of the
workshop. Coordinates are mm in the scan's own system. A sample is a position, not a file: its name is
``subset0/<seriesuid>.mhd@x,y,z``, with the numbers as the table writes them.
"""

from __future__ import annotations

import csv
import hashlib
import heapq
from collections import defaultdict
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from edgedx.core.errors import DataError, ImageError
from edgedx.core.files import sha256_bytes, storage_error
from edgedx.core.image import Image
from edgedx.core.settings.recipe_sections import Data

from .listing import ListedEntry, Listing, first_of
from .metaimage import Volume, read_header
from .patches import cut_patch

_COLUMNS = ["seriesuid", "coordX", "coordY", "coordZ", "class"]
_SPLITS_NEED = 3  # subsets: one to test, one for val, the rest to train
ABSENT_SCAN = "its scan is not here"


def luna16(root: Path, data: Data) -> Listing:
    """List all candidates with a nodule, and as many of the others as ``data.patches.negatives`` asks for.

    With all of the candidates (over half a million, under 1,600 of them nodules) an epoch would be air and vessels. The
    others are drawn by a hash, within each subset, so that every subset keeps the same share. Of the subsets that are
    here the last is test and the one before it val; with ``data.folds`` each is a fold, as in the challenge.
    """
    scans = {path.stem: path for path in [*root.glob("subset?/*.mhd"), *root.glob("subset?/subset?/*.mhd")]}
    if not scans:
        raise DataError(f"{root}: there is no subset0 to subset9 with .mhd files")
    nodules, others, absent = _candidates(root, scans)
    subsets = sorted({scan.relative_to(root).parts[0] for scan in scans.values()})
    splits = dict.fromkeys(subsets, "")
    if len(subsets) >= _SPLITS_NEED:
        splits = {**dict.fromkeys(subsets, "train"), subsets[-2]: "val", subsets[-1]: "test"}
    found = []
    for subset in subsets:
        own, rest = nodules[subset], others[subset]
        if data.patches.negatives:
            rest = heapq.nsmallest(data.patches.negatives * len(own), rest, key=_drawn(data.seed))
        for label, names in (("1", own), ("0", rest)):
            found += [ListedEntry(name, label, _series(name), splits[subset], subset) for name in sorted(names)]
    # One line a scan and not one a candidate: with one subset at hand that would be half a million.
    found += [ListedEntry(uid, "", uid, problem=ABSENT_SCAN) for uid in sorted(absent)]
    return Listing(found, _reader(root, data))


def _candidates(root: Path, scans: dict[str, Path]) -> tuple[dict[str, list[str]], dict[str, list[str]], set[str]]:
    """Names of the candidates with and without a nodule, by subset, and the series whose scan is not here."""
    path = first_of(root, "candidates_V2.csv", "candidates_V2/candidates_V2.csv", "candidates.csv")
    with_nodule: dict[str, list[str]] = defaultdict(list)
    without: dict[str, list[str]] = defaultdict(list)
    absent = set()
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            rows = csv.reader(stream)  # a mapping for each of so many rows would be a gigabyte
            if (header := next(rows, [])) != _COLUMNS:
                raise DataError(f"{path}: its columns are {', '.join(header)}, not {', '.join(_COLUMNS)}")
            for uid, x, y, z, label in rows:
                if (scan := scans.get(uid)) is None:
                    absent.add(uid)
                    continue
                where = scan.relative_to(root)
                listed = with_nodule if label == "1" else without
                listed[where.parts[0]].append(f"{where.as_posix()}@{x},{y},{z}")
    except OSError as error:
        raise storage_error(path, error) from error
    except (ValueError, csv.Error) as error:
        raise DataError(f"{path}: line {rows.line_num} is not {', '.join(_COLUMNS)}") from error
    return with_nodule, without, absent


def _drawn(seed: int) -> Callable[[str], bytes]:
    return lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest()


def _series(name: str) -> str:
    return Path(name.partition("@")[0]).stem


def _reader(root: Path, data: Data) -> Callable[[str], tuple[Image, str]]:
    @lru_cache(maxsize=1024)
    def scan(path: str) -> Volume:
        return read_header(root / path)

    def read(name: str) -> tuple[Image, str]:
        path, _, place = name.partition("@")
        try:
            x, y, z = (float(text) for text in place.split(","))
        except ValueError as error:
            raise ImageError("OUTSIDE_VOLUME", f"{path}: the position is not three numbers") from error
        patch = cut_patch(scan(path), (z, y, x), data.patches)
        return Image.of_array(patch), sha256_bytes(patch.tobytes())

    return read
