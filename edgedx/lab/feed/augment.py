"""Random changes of canvases that leave their labels as they are: whole batches, on any device.

A view is a function of its canvas and of a row of random numbers. The rows of an epoch come from one generator, seeded
by (seed, epoch), row by row: so a view depends on (seed, epoch, position) and on nothing else, not on the batch it is
in, the process that makes it or the device.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from edgedx.core.settings.recipe_training import Augment

DRAWS = 9
"""Random numbers of a view: rotation, zoom, shift across and down, both flips, contrast, brightness, gamma."""


def draw(seed: int, epoch: int, count: int, more: int = 0) -> NDArray[np.float32]:
    """Random numbers for every position of an epoch, even in [0, 1): (count, DRAWS + more), float32."""
    return np.random.default_rng((seed, epoch, 0xA6)).random((count, DRAWS + more), np.float32)


def augment(canvases: Tensor, options: Augment, draws: Tensor, peak: float) -> Tensor:
    """One random view of each canvas.

    Parameters
    ----------
    canvases : Tensor of shape (N, C, H, W), float32
        On the integer scale, 0 to `peak`.
    draws : Tensor of shape (N, >= DRAWS), float32
        From `draw`.

    Returns
    -------
    Tensor of the same shape and scale
    """
    turned, zoomed, across, down, flip_x, flip_y, contrast, brightness, gamma = draws[:, :DRAWS].unbind(dim=1)
    view = canvases
    if options.rotation or options.zoom or options.shift:
        angle = _spread(turned, math.radians(options.rotation))
        scale = 1 + _spread(zoomed, options.zoom)
        # In units of half a side, as grid_sample counts.
        view = _move(view, angle, scale, _spread(across, 2 * options.shift), _spread(down, 2 * options.shift))
    for draws_of, wanted, axis in ((flip_x, options.flip_horizontal, 3), (flip_y, options.flip_vertical, 2)):
        if wanted:
            view = torch.where(_by_image(draws_of) < 0.5, view.flip(axis), view)
    if options.intensity:
        amount = options.intensity
        mean = view.mean(dim=(1, 2, 3), keepdim=True)
        view = (view - mean) * _by_image(1 + _spread(contrast, amount)) + mean
        view = view + _by_image(_spread(brightness, amount)) * (peak / 2)
        unit = (view * (1 / peak)).clamp(0.0, 1.0)
        view = unit.pow(_by_image(_spread(gamma, amount).exp())) * peak
    return view


MARGIN = 0.25
"""Left around a box, share of its sides: what is beside a finding belongs to it."""
_SMALLEST = 0.2
"""Share of the canvas that a closer look keeps at least; less would be blur."""


def look_closer(canvases: Tensor, boxes: Tensor, wanted: Tensor) -> Tensor:
    """The part of each canvas that its box marks, enlarged to the whole, where that is wanted and there is a box.

    Parameters
    ----------
    canvases : Tensor of shape (N, C, H, W), float32
    boxes : Tensor of shape (N, 4), float32
        Left, top, right and bottom, shares of the canvas; NaN where there is none.
    wanted : Tensor of shape (N,), bool
    """
    left, top, right, bottom = torch.nan_to_num(boxes).unbind(dim=1)
    closer = wanted & ~torch.isnan(boxes[:, 0])
    grids = []
    for low, high, side in ((left, right, canvases.shape[3]), (top, bottom, canvases.shape[2])):
        length = ((high - low) * (1 + 2 * MARGIN)).clamp(_SMALLEST, 1.0)
        start = torch.minimum(((low + high - length) / 2).clamp(min=0.0), 1 - length)
        length, start = torch.where(closer, length, 1.0), torch.where(closer, start, 0.0)
        places = (torch.arange(side, device=canvases.device, dtype=canvases.dtype) + 0.5) / side
        # In units of half a side, as grid_sample counts.
        grids.append((start[:, None] + places[None] * length[:, None]) * 2 - 1)
    across, down = grids
    shape = (len(canvases), *canvases.shape[2:])
    grid = torch.stack([across[:, None, :].expand(shape), down[:, :, None].expand(shape)], dim=-1)
    return F.grid_sample(canvases, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _spread(draws: Tensor, amount: float) -> Tensor:
    """Even in [-amount, amount)."""
    return (draws * 2 - 1) * amount


def _by_image(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)


def _move(view: Tensor, angle: Tensor, scale: Tensor, across: Tensor, down: Tensor) -> Tensor:
    """Rotate about the centre, zoom, shift; beyond the border the image is reflected.

    The grid is written out instead of `affine_grid`, whose matrix product a GPU may round to ten bits.
    """
    height, width = view.shape[2:]
    columns, rows = (
        (torch.arange(side, device=view.device, dtype=view.dtype) * 2 + 1) / side - 1 for side in (width, height)
    )
    cosine, sine = (angle.cos() / scale).view(-1, 1, 1), (angle.sin() / scale).view(-1, 1, 1)
    x = columns.view(1, 1, -1) - across.view(-1, 1, 1)
    y = rows.view(1, -1, 1) - down.view(-1, 1, 1)
    # Turned in pixels, not in shares of unequal sides.
    grid = torch.stack([x * cosine - y * (sine * (height / width)), x * (sine * (width / height)) + y * cosine], dim=-1)
    return F.grid_sample(view, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
