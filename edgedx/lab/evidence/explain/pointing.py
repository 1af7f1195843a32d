"""Does a map point at the finding, and does it lie at the border? Each against what chance gives.

The pointing game asks whether a map's strongest place lies in the region (Zhang et al. 2018, Top-down neural attention
by excitation backprop, IJCV 126); the energy-based one, what share of its positive weight does (Wang et al. 2020,
Score-CAM, CVPR workshops). Neither means anything by itself: a region that fills half of the image is hit by half of
all random points, and one in the middle by every map that is strongest in the middle. So each stands beside the
region's share of the area and beside the same model's map of another image.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

BORDER = 0.10
"""Of the height and of the width, on each side."""
TOLERANCE = 0.03
"""Of the longer side, by which a point may miss: the paper's 15 pixels on images of about 500."""

_Figures = NDArray[np.float64]


def tolerance_pixels(shape: tuple[int, ...]) -> int:
    """By how many pixels a point may miss on maps of this height and width."""
    return round(TOLERANCE * max(shape))


def border_ring(shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """The outer tenth on each side, bool of this height and width; a pixel at least."""
    rows, columns = (max(1, round(BORDER * side)) for side in shape)
    ring = np.ones(shape, np.bool_)
    ring[rows:-rows, columns:-columns] = False
    return ring


def weight_in(maps: NDArray[np.float32], masks: NDArray[np.bool_]) -> _Figures:
    """Share of each map's positive weight inside its mask, (N,); NaN where a map has none, or a mask marks nothing.

    Parameters
    ----------
    maps : ndarray of shape (N, H, W)
    masks : ndarray of shape (N, H, W) or (H, W), bool
    """
    masks = np.broadcast_to(masks, maps.shape)
    positive = np.clip(maps.astype(np.float64), 0, None)
    whole, inside = positive.sum(axis=(1, 2)), (positive * masks).sum(axis=(1, 2))
    told = (whole > 0) & masks.any(axis=(1, 2))
    return np.divide(inside, whole, out=np.full(len(maps), np.nan), where=told)


def widened(masks: NDArray[np.bool_], pixels: int) -> NDArray[np.bool_]:
    """Masks of shape (N, H, W), with all that is at most `pixels` away."""
    if pixels < 1:
        return masks
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * pixels + 1, 2 * pixels + 1))
    return np.stack([cv2.dilate(one.astype(np.uint8), disc) > 0 for one in masks])


def pointed(maps: NDArray[np.float32], masks: NDArray[np.bool_]) -> _Figures:
    """Whether each map's strongest place lies in its mask, (N,) of 0 to 1; NaN where `weight_in` is.

    Of places that tie, as in a square of a coarse map, it is the share that lies inside: what a point drawn among them
    would hit.
    """
    strongest = maps == maps.max(axis=(1, 2), keepdims=True)
    share = (strongest & masks).sum(axis=(1, 2)) / strongest.sum(axis=(1, 2))
    told = (maps.max(axis=(1, 2)) > 0) & masks.any(axis=(1, 2))
    return np.where(told, share, np.nan)


def in_regions(
    maps: NDArray[np.float32], masks: NDArray[np.bool_], other: NDArray[np.int64] | None
) -> dict[str, _Figures]:
    """Both games on each image, and what chance gives there; NaN where an image has no region or a map no weight.

    Parameters
    ----------
    maps : ndarray of shape (N, H, W)
    masks : ndarray of shape (N, H, W), bool
    other : ndarray of shape (N,), int64, or None
        Another image for each one; itself where there is none.

    Returns
    -------
    dict of str to ndarray of shape (N,)
        ``pointing`` and ``energy``; with ``_area``, what a random point and an even map would have; with ``_other``,
        what the map of the other image has in this one's region; with ``_above_area`` and ``_above_other`` the paired
        differences, above 0 is better than chance.
    """
    near = widened(masks, tolerance_pixels(maps.shape[1:]))
    alone = np.ones(len(maps), np.bool_) if other is None else other == np.arange(len(maps))
    elsewhere = maps if other is None else maps[other]
    figures: dict[str, _Figures] = {}
    for name, game, region in (("pointing", pointed, near), ("energy", weight_in, masks)):
        own = game(maps, region)
        area = np.where(np.isnan(own), np.nan, region.mean(axis=(1, 2)))
        others = np.where(alone | np.isnan(own), np.nan, game(elsewhere, region))
        figures |= {name: own, f"{name}_area": area, f"{name}_other": others}
        figures |= {f"{name}_above_area": own - area, f"{name}_above_other": own - others}
    return figures


def on_border(maps: NDArray[np.float32]) -> _Figures:
    """Share of each map's positive weight on the border ring, (N,); NaN where a map has none."""
    return weight_in(maps, border_ring(maps.shape[1:]))


def border_cannot_tell(places: tuple[int, int] | None) -> bool:
    """Whether a map of so many rows and columns has the same share on the border whatever it shows."""
    return places is not None and max(places) <= 2
