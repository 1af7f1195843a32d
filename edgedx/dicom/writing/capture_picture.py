"""The picture of a result for a PACS: the image as the model saw it, what it answered, and that it is no diagnosis."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from edgedx.core.heatmap import BURNED_IN, OPACITY, heat_of
from edgedx.core.preprocess import Canvas
from edgedx.core.result import Result

from .derived import algorithm, strange_frames

_SIDE = 640  # width of the picture, pixels
_TALLEST = 900
_BANNER, _MARGIN, _ROW = 44, 20, 30
_ROWS = 6  # classes with a bar of their own; more are counted
_AMBER, _WHITE, _GREY, _DIM, _BLACK = (255, 179, 0), (245, 245, 245), (165, 170, 178), (52, 56, 62), (0, 0, 0)

_Picture = NDArray[np.uint8]


def draw_capture(
    result: Result, canvas: Canvas, evidence: NDArray[np.float32] | None = None, shown: str = ""
) -> _Picture:
    """Draw the picture of one result.

    Parameters
    ----------
    result : Result
        With a prediction.
    canvas : ndarray of shape (H, W) or (H, W, 3), uint8 or uint16
        As `preprocess.canvas` makes it.
    evidence : ndarray of shape (h, w), optional
        Where the image speaks for the class `shown` (`core.heatmap.evidence`).

    Returns
    -------
    ndarray of shape (H', 640, 3), uint8
        RGB.
    """
    assert result.prediction is not None
    view = _view(canvas, evidence)
    footer = _footer(result, shown if evidence is not None else "")
    banner = Pillow.new("RGB", (_SIDE, _BANNER), _AMBER)
    draw = ImageDraw.Draw(banner)
    draw.text((_SIDE / 2, _BANNER / 2), BURNED_IN, _BLACK, _font(24), anchor="mm")
    return np.vstack([np.asarray(banner), view, footer])


def _view(canvas: Canvas, evidence: NDArray[np.float32] | None) -> _Picture:
    height, width = canvas.shape[:2]
    scale = min(_SIDE / width, _TALLEST / height)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    light = canvas.astype(np.float32) / np.iinfo(canvas.dtype).max
    # Linear: nothing may appear to the eye that the model was not given.
    light = np.asarray(cv2.resize(light, size, interpolation=cv2.INTER_LINEAR), np.float32)
    picture = light if light.ndim == 3 else np.repeat(light[..., None], 3, axis=2)
    if evidence is not None:
        heat = heat_of(evidence, (size[1], size[0]))
        colour = cv2.applyColorMap(np.rint(255 * heat).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
        share = OPACITY * heat[..., None]
        picture = picture * (1 - share) + colour.astype(np.float32) / 255 * share
    placed = np.zeros((size[1], _SIDE, 3), np.uint8)
    left = (_SIDE - size[0]) // 2
    placed[:, left : left + size[0]] = np.rint(255 * picture).clip(0, 255)
    return placed


def _footer(result: Result, shown: str) -> _Picture:
    prediction = result.prediction
    assert prediction is not None
    probabilities = sorted(prediction.probabilities.items(), key=lambda pair: -pair[1])
    decided = prediction.label.split("|") if prediction.label else []
    small = [
        *_lines(result, shown),
        *([f"and {len(probabilities) - _ROWS} more, each less likely"] * (len(probabilities) > _ROWS)),
    ]
    height = 2 * _MARGIN + 44 + _ROW * min(_ROWS, len(probabilities)) + 12 + 20 * len(small)
    footer = Pillow.new("RGB", (_SIDE, height), _BLACK)
    draw = ImageDraw.Draw(footer)
    title = (
        ", ".join(_plain(name) for name in decided if name in prediction.probabilities) or "no finding over threshold"
    )
    draw.text((_MARGIN, _MARGIN), _fit(title, 28, _SIDE - 2 * _MARGIN), _WHITE, _font(28))
    top = _MARGIN + 44
    for name, chance in probabilities[:_ROWS]:
        _bar(draw, top, name, chance, prediction.threshold.get(name), name in decided)
        top += _ROW
    top += 12
    for line in small:
        draw.text((_MARGIN, top), _fit(line, 13, _SIDE - 2 * _MARGIN), _GREY, _font(13))
        top += 20
    return np.asarray(footer)


def _bar(draw: ImageDraw.ImageDraw, top: int, name: str, chance: float, threshold: float | None, chosen: bool) -> None:
    """Name, probability as a bar with the threshold as a mark on it, and both as figures."""
    left, right, middle = 200, _SIDE - _MARGIN - 170, top + _ROW // 2 - 2
    draw.text((_MARGIN, middle), _fit(_plain(name), 17, left - _MARGIN - 10), _WHITE if chosen else _GREY, _font(17),
              anchor="lm")  # fmt: skip
    draw.rounded_rectangle((left, middle - 6, right, middle + 6), 6, fill=_DIM)
    end = left + max(12, round((right - left) * min(1.0, chance)))
    draw.rounded_rectangle((left, middle - 6, end, middle + 6), 6, fill=_AMBER if chosen else _GREY)
    figures = f"{chance:.2f}"
    if threshold is not None:
        at = left + round((right - left) * min(1.0, threshold))
        draw.line((at, middle - 10, at, middle + 10), fill=_WHITE, width=2)
        figures += f"   threshold {threshold:.2f}"
    draw.text((right + 14, middle), figures, _WHITE if chosen else _GREY, _font(16), anchor="lm")


def _lines(result: Result, shown: str) -> list[str]:
    prediction = result.prediction
    assert prediction is not None
    name, version = algorithm(result)
    point = f"{prediction.operating_point}{' (chosen at this site)' * (prediction.origin == 'local')}"
    lines = [f"Model {name}, version {version}, operating point {point}, edgedx {result.runtime.edgedx}"]
    if result.frame is not None:
        of = (
            "" if result.frames is None else f" of {len(result.frames)}; each was answered, the most suspicious decides"
        )
        lines.append(f"Frame {result.frame}{of}")
    if shown:
        lines.append(f"Colour: where the image speaks for {_plain(shown)}; it says where, not how sure.")
    if result.prediction_set is not None and len(result.prediction_set.classes) != 1:
        names = ", ".join(_plain(one) for one in result.prediction_set.classes) or "none"
        lines.append(f"Not told apart at {result.prediction_set.coverage:.0%} coverage: {names}")
    if result.unlikeness is not None and result.unlikeness.out_of_distribution:
        whom = "This image is" if result.frames is None else f"{strange_frames(result)} frames are"
        lines.append(f"{whom} unlike those that the model was trained on.")
    lines.append("The image is what the model saw, at its resolution. Research software, not a medical device.")
    return lines


def _plain(name: str) -> str:
    return name.replace("_", " ")


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _fit(text: str, size: int, width: int) -> str:
    """Cut from the right, with an ellipsis, where it is too wide."""
    font = _font(size)
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"
