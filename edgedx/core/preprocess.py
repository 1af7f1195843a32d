"""THE only code from pixel array to network input. Lab training, calibration and the device all call it.

Two steps, so that training can cache the first and augment between them:

    Image --canvas()--> uint8/uint16 at network size --normalise()--> float32 network input
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer, model_validator
from typing_extensions import Self

from .content import content_box, cropped
from .files import canonical_json, sha256_bytes
from .image import Image

_BAND = 256  # rows

Canvas = NDArray[Any]
"""Shape (..., H, W) or (..., H, W, 3), uint8 or uint16 by ``PreprocessSpec.bits``."""


class PreprocessSpec(BaseModel):
    """Preprocessing as data; it travels in the recipe, the checkpoint and the bundle."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: tuple[int, int] = Field((224, 224), description="Height and width of the network input, pixels.")
    crop: Literal["none", "content"] = Field(
        "none",
        description="content: cut to what is lighter than the black around it, before resizing: collimation, black "
        "borders, and letters that stand apart in them; on the device too. none: the whole image.",
    )
    resize: Literal["stretch", "letterbox", "crop"] = Field(
        "stretch",
        description="stretch: ignore the aspect ratio; letterbox: keep it, pad with black; crop: keep it, cut the longer side.",
    )
    colour: Literal["grey", "rgb"] = Field("grey", description="grey: one input channel; rgb: three.")
    window: Literal["voi", "fixed", "minmax", "percentile", "none"] = Field(
        "voi",
        description="Grey values to light. voi: the header's window, else minmax, colour and 8 bits as "
        "stored; fixed: window_range; minmax: the image's own "
        "extremes; percentile: its 0.5th and 99.5th; none: the full stored range.",
    )
    window_range: tuple[float, float] | None = Field(
        None, description="Lower and upper value for window: fixed, in rescaled units (HU for CT)."
    )
    clahe: float = Field(0.0, ge=0, description="Clip limit of contrast-limited equalisation on an 8x8 grid; 0 is off.")
    bits: Literal[8, 16] = Field(
        16, description="Depth of the cached canvas, bits; 16 keeps what 12-bit detectors see."
    )
    mean: tuple[float, ...] = Field((0.5,), description="Subtracted per channel, on the [0, 1] scale.")
    std: tuple[float, ...] = Field((0.25,), description="Divided by per channel, on the [0, 1] scale.")

    @model_serializer(mode="wrap")
    def _as_before(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Left out where nothing is cropped: digests, bundles and records from before there was a crop stay as they
        are."""
        return {key: value for key, value in plain(self).items() if key != "crop" or value != "none"}

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if min(self.size) < 8 or max(self.size) > 4096:
            raise ValueError("size: each side must be 8 to 4096 pixels")
        if (self.window == "fixed") != (self.window_range is not None):
            raise ValueError("window_range: given exactly when window is fixed")
        if self.window_range and self.window_range[0] >= self.window_range[1]:
            raise ValueError("window_range: the lower value comes first")
        if len(self.mean) != self.channels or len(self.std) != self.channels:
            raise ValueError(f"mean, std: {self.channels} value(s) for colour {self.colour}")
        if min(self.std) <= 0:
            raise ValueError("std: must be positive")
        return self

    @property
    def channels(self) -> int:
        """Channels of the network input: 1 or 3."""
        return 1 if self.colour == "grey" else 3

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        return (self.channels, *self.size)

    @property
    def canvas_bytes(self) -> int:
        """Memory of one canvas."""
        return self.channels * self.size[0] * self.size[1] * self.bits // 8

    def digest(self) -> str:
        """SHA-256 of the part that decides the canvas; cached canvases carry it."""
        return sha256_bytes(canonical_json(self.model_dump(mode="json", exclude={"mean", "std"})))


def preprocess(image: Image, spec: PreprocessSpec) -> NDArray[np.float32]:
    """Image to network input, float32 of shape (channels, height, width)."""
    return normalise(canvas(image, spec), spec)


def canvas(image: Image, spec: PreprocessSpec) -> Canvas:
    """Window, polarity, colour, crop, size and equalisation.

    Returns
    -------
    ndarray of shape (H, W) or (H, W, 3), uint8 or uint16 by ``spec.bits``
    """
    unit = _colour(_to_unit(image, spec), spec)
    if spec.crop == "content":
        unit = np.ascontiguousarray(cropped(unit))
    unit = _resize(unit, spec)
    peak = (1 << spec.bits) - 1
    out = np.rint(np.clip(unit, 0.0, 1.0) * peak).astype(np.uint8 if spec.bits == 8 else np.uint16)
    return _equalise(out, spec.clahe) if spec.clahe > 0 else out


def place_box(
    box: tuple[float, float, float, float], shape: tuple[int, int], spec: PreprocessSpec
) -> tuple[float, float, float, float]:
    """Where a part of an image is on its canvas; of a spec that crops nothing.

    Parameters
    ----------
    box : (float, float, float, float)
        Left, top, right and bottom, pixels of the image.
    shape : (int, int)
        Height and width of the image, pixels.

    Returns
    -------
    (float, float, float, float)
        The same as shares of the canvas, cut at its sides, 0 to 1.
    """
    sides = spec.size if spec.resize == "stretch" else _inner(shape, spec)
    places = []
    for position, axis in ((0, 1), (1, 0), (2, 1), (3, 0)):
        before = (spec.size[axis] - sides[axis]) // 2 if sides[axis] <= spec.size[axis] else 0
        cut = max(0, (sides[axis] - spec.size[axis]) // 2)
        place = box[position] / shape[axis] * sides[axis] + before - cut
        places.append(min(max(place / spec.size[axis], 0.0), 1.0))
    return places[0], places[1], places[2], places[3]


def place_region(region: NDArray[np.bool_], image: Image, spec: PreprocessSpec) -> NDArray[np.bool_]:
    """Where `region`, a marked part of an image of shape (H, W), is on its canvas: cut and resized as the image is.

    Returns
    -------
    ndarray of shape ``spec.size``, bool
        Pixels that it covers half, of a smaller one those that it covers most; none where it was cut away.
    """
    part = region.astype(np.float32)
    if spec.crop == "content":
        top, bottom, left, right = content_box(_colour(_to_unit(image, spec), spec))
        part = np.ascontiguousarray(part[top:bottom, left:right])
    cover = _resize(part, spec)
    most = float(cover.max())
    return np.asarray(cover >= min(0.5, most)) if most > 0 else np.zeros(spec.size, np.bool_)


def normalise(canvas: Canvas, spec: PreprocessSpec) -> NDArray[np.float32]:
    """Canvas (or a batch of them, or their float version after augmentation) to network input.

    Parameters
    ----------
    canvas : ndarray of shape (..., H, W) for grey, (..., H, W, 3) for rgb
        On the integer scale of ``spec.bits``; floats from augmentation are on the same scale.

    Returns
    -------
    ndarray of shape (..., C, H, W), float32
    """
    mean, scale = mean_and_scale(spec)
    if spec.colour == "grey":
        return np.asarray((canvas.astype(np.float32) - mean[0]) * scale[0], np.float32)[..., None, :, :]
    return np.ascontiguousarray(np.moveaxis((canvas.astype(np.float32) - mean) * scale, -1, -3))


def mean_and_scale(spec: PreprocessSpec) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What `normalise` subtracts from a canvas and multiplies it by: one number a channel, float32."""
    peak = np.float32((1 << spec.bits) - 1)
    return np.asarray(spec.mean, np.float32) * peak, np.float32(1.0) / (np.asarray(spec.std, np.float32) * peak)


def saturated_share(image: Image, spec: PreprocessSpec) -> float:
    """Share of pixels that `spec`'s window makes black or white, 0 to 1; of colour, in all three channels alike.

    It is judged before resizing, so that neither a letterbox nor equalisation changes it; on a grid of some 500 x 500
    pixels, which is as good as all of them and costs nothing. Padding does not count.
    """
    rows, columns = (max(1, side // 500) for side in image.pixels.shape[:2])
    padding = None if image.padding is None else image.padding[::rows, ::columns]
    grid = replace(image, pixels=image.pixels[::rows, ::columns], padding=padding)
    light = _window(grid, spec)(np.asarray(grid.pixels, np.float32))
    if light.ndim == 2:
        light = light[..., None]
    saturated = np.asarray((light <= 0.0).all(axis=-1) | (light >= 1.0).all(axis=-1))
    if padding is not None:
        saturated = saturated[~padding]
    return float(np.mean(saturated)) if saturated.size else 1.0


def _to_unit(image: Image, spec: PreprocessSpec) -> NDArray[np.float32]:
    window = _window(image, spec)
    unit = np.empty(image.pixels.shape, np.float32)
    # By bands: a chest radiograph has 8 million pixels, and every float copy of it is 30 MB on a small device.
    for top in range(0, len(unit), _BAND):
        rows = slice(top, top + _BAND)
        light = window(np.asarray(image.pixels[rows], np.float32))
        unit[rows] = 1.0 - light if image.inverted else light
        if image.padding is not None:
            unit[rows][image.padding[rows]] = 0.0
    return unit


def _window(image: Image, spec: PreprocessSpec) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    if spec.window == "voi" and image.voi is not None and image.pixels.ndim == 2:
        return image.voi.apply
    low, high = _window_bounds(image, spec)
    scale = np.float32(1.0 / max(high - low, 1e-6))
    return lambda pixels: np.clip((pixels - low) * scale, 0.0, 1.0)


def _window_bounds(image: Image, spec: PreprocessSpec) -> tuple[float, float]:
    if spec.window_range is not None:
        return spec.window_range
    if spec.window == "percentile":
        low, high = np.percentile(_without_padding(image).astype(np.float32), (0.5, 99.5))
        return float(low), float(high)
    # Colour, and a raster of 8 bits, was windowed by whoever wrote it: stretching it again would change its exposure.
    as_stored = image.pixels.ndim == 3 or image.voi is None and image.value_range == (0.0, 255.0)
    if spec.window == "none" or spec.window == "voi" and as_stored:
        return image.value_range
    pixels = _without_padding(image)
    return float(pixels.min()), float(pixels.max())


def _without_padding(image: Image) -> NDArray[Any]:
    """Pixels that are image; all of them where nothing else is there."""
    if image.padding is None or bool(image.padding.all()):
        return image.pixels
    return image.pixels[~image.padding]


def _colour(unit: NDArray[np.float32], spec: PreprocessSpec) -> NDArray[np.float32]:
    if spec.colour == "grey" and unit.ndim == 3:
        return np.asarray(cv2.cvtColor(unit, cv2.COLOR_RGB2GRAY), np.float32)
    if spec.colour == "rgb" and unit.ndim == 2:
        return np.repeat(unit[:, :, None], 3, axis=2)
    return unit


def _resize(unit: NDArray[np.float32], spec: PreprocessSpec) -> NDArray[np.float32]:
    height, width = spec.size
    if spec.resize == "stretch":
        return _scale(unit, height, width)
    inner = _scale(unit, *_inner((unit.shape[0], unit.shape[1]), spec))
    if spec.resize == "crop":
        top, left = (inner.shape[0] - height) // 2, (inner.shape[1] - width) // 2
        return inner[max(top, 0) : max(top, 0) + height, max(left, 0) : max(left, 0) + width]
    top, left = (height - inner.shape[0]) // 2, (width - inner.shape[1]) // 2
    bottom, right = height - inner.shape[0] - top, width - inner.shape[1] - left
    return np.asarray(cv2.copyMakeBorder(inner, top, bottom, left, right, cv2.BORDER_CONSTANT, value=0), np.float32)


def _inner(shape: tuple[int, int], spec: PreprocessSpec) -> tuple[int, int]:
    """Height and width of an image that keeps its aspect ratio, before it is padded or cut."""
    ratios = (spec.size[0] / shape[0], spec.size[1] / shape[1])
    ratio = max(ratios) if spec.resize == "crop" else min(ratios)
    return max(1, round(shape[0] * ratio)), max(1, round(shape[1] * ratio))


def _scale(unit: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    if unit.shape[:2] == (height, width):
        return unit
    shrinks = height * width < unit.shape[0] * unit.shape[1]
    # Area averaging is the one shrink without aliasing in OpenCV; cubic overshoots, hence the clip in canvas().
    method = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(unit, (width, height), interpolation=method), np.float32)


def _equalise(out: Canvas, clip_limit: float) -> Canvas:
    clahe = cv2.createCLAHE(clipLimit=clip_limit, tileGridSize=(8, 8))
    if out.ndim == 2:
        return np.asarray(clahe.apply(out), out.dtype)
    # Equalising channels apart would shift the hue; luminance alone keeps it.
    unit = out.astype(np.float32) / np.iinfo(out.dtype).max
    lab = np.asarray(cv2.cvtColor(unit, cv2.COLOR_RGB2LAB), np.float32)
    light = clahe.apply(np.rint(lab[..., 0] * (65535 / 100)).astype(np.uint16))
    lab[..., 0] = light.astype(np.float32) * (100 / 65535)
    back = np.clip(np.asarray(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB), np.float32), 0, 1)
    return np.rint(back * np.iinfo(out.dtype).max).astype(out.dtype)
