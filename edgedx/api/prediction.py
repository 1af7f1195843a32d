"""What a model says of one image, as an object that shows itself in a notebook."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from html import escape
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgedx.core.heatmap import overlay
from edgedx.core.preprocess import Canvas
from edgedx.core.result import NOT_A_MEDICAL_DEVICE
from edgedx.core.stats.frames import deciding_frames, rule_in_words, shown_class
from edgedx.core.stats.points import LOCAL, label_at


@dataclass(frozen=True)
class ImagePrediction:
    """What a model says of one image.

    Attributes
    ----------
    source : str
        Path of the image, or ``array``.
    status : str
        ``done``; or ``refused``, where the model was not made for the image; or ``unreadable``.
    label : str, optional
        The class decided for; of several findings those over their thresholds, joined by ``|``. Only where done.
    probabilities : dict of str to float
        Calibrated, by class, 0 to 1; empty unless done.
    threshold : dict of str to float
        Of the operating point, by class; empty where the most probable class decides.
    prediction_set : list of str, optional
        Conformal prediction set, where the model has one.
    out_of_distribution : bool, optional
        Whether the image is unlike the training images; None where the model has no limits.
    reason : str
        Why there is no prediction, starting with a stable code.
    not_checked : tuple of str
        Rules of the model that could not be checked, because the file does not say it.
    frame : int, optional
        Of a multi-frame object: number of the frame, from 1, that was read, or that decided where each was answered.
    frame_rule : str
        How the object's answer came from those of its frames, in words.
    frames : tuple of ImagePrediction
        Every frame, in order, where each was answered (``accept.multi_frame: each``).
    canvas : ndarray of shape (H, W) or (H, W, 3), optional
        What the model saw; of several frames, that of `frame`.
    cam : ndarray of shape (h, w), optional
        What speaks for the class decided for, place by place, where the model tells it.
    """

    source: str
    status: str
    label: str | None = None
    probabilities: dict[str, float] = field(default_factory=dict)
    operating_point: str = ""
    threshold: dict[str, float] = field(default_factory=dict)
    prediction_set: list[str] | None = None
    out_of_distribution: bool | None = None
    reason: str = ""
    not_checked: tuple[str, ...] = ()
    frame: int | None = None
    frame_rule: str = ""
    frames: tuple[ImagePrediction, ...] = field(default=(), repr=False)
    canvas: Canvas | None = field(default=None, repr=False)
    cam: NDArray[np.float32] | None = field(default=None, repr=False)

    @property
    def origin(self) -> str:
        """Who chose the threshold: ``bundle``, its makers; ``local``, the site that it is installed at."""
        return "local" if self.operating_point == LOCAL else "bundle"

    def heat_map(self) -> NDArray[np.uint8]:
        """Where the model looked, laid over what it saw: (H, W, 3) uint8, RGB, with the disclaimer below.

        Raises
        ------
        ValueError
            The model tells no map, or the image has no prediction.
        """
        if self.canvas is None or self.cam is None:
            raise ValueError(f"{self.source}: no heat map: {self.reason or 'this model has no class activation maps'}")
        return overlay(self.canvas, self.cam)

    def to_dict(self) -> dict[str, Any]:
        """As JSON, without pixels; the fields about frames only where there are several."""
        about_frames: dict[str, Any] = {} if self.frame is None else {"frame": self.frame}
        if self.frames:
            about_frames["frame_rule"] = self.frame_rule
            about_frames["frames"] = [
                {
                    "frame": one.frame,
                    "status": one.status,
                    "label": one.label,
                    "probabilities": one.probabilities,
                    "prediction_set": one.prediction_set,
                    "out_of_distribution": one.out_of_distribution,
                    "reason": one.reason,
                }
                for one in self.frames
            ]
        return {
            "source": self.source,
            "status": self.status,
            "label": self.label,
            "probabilities": self.probabilities,
            "operating_point": self.operating_point,
            "origin": self.origin,
            "threshold": self.threshold,
            "prediction_set": self.prediction_set,
            "out_of_distribution": self.out_of_distribution,
            "reason": self.reason,
            "not_checked": list(self.not_checked),
            **about_frames,
            "disclaimer": NOT_A_MEDICAL_DEVICE,
        }

    def _repr_html_(self) -> str:
        """Image with heat map, probabilities and remarks, for notebooks."""
        lines = [f"<b>{escape(self.label or self.status)}</b> <small>{escape(self.source)}</small>"]
        for name, probability in self.probabilities.items():
            limit = f" (threshold {self.threshold[name]:.2f})" if name in self.threshold else ""
            lines.append(
                f"<meter min='0' max='1' value='{probability:.4f}'></meter> {escape(name)} {probability:.2f}{limit}"
            )
        if self.prediction_set is not None:
            lines.append(f"prediction set: {escape(', '.join(self.prediction_set) or 'none')}")
        if self.frame_rule:
            lines.append(escape(self.frame_rule))
        if self.out_of_distribution:
            lines.append("unlike the training images")
        if self.reason:
            lines.append(escape(self.reason))
        if self.not_checked:
            lines.append(f"not checked, because the file does not say it: {escape(', '.join(self.not_checked))}")
        lines.append(f"<small>{NOT_A_MEDICAL_DEVICE}</small>")
        return f"<div style='display:flex;gap:1em'>{self._picture_html()}<div>{'<br>'.join(lines)}</div></div>"

    def _picture_html(self) -> str:
        if self.canvas is None:
            return ""
        if self.cam is not None:
            shown = self.heat_map()[..., ::-1]
        else:
            peak = np.iinfo(self.canvas.dtype).max
            shown = (self.canvas.astype(np.float32) * (255 / peak)).astype(np.uint8)
            shown = shown[..., ::-1] if shown.ndim == 3 else shown
        data = base64.b64encode(cv2.imencode(".png", shown)[1].tobytes()).decode()
        return f"<img alt='image' style='max-width:320px' src='data:image/png;base64,{data}'>"


def combined(
    frames: Sequence[ImagePrediction], task: str, classes: Sequence[str], positive: str | None
) -> ImagePrediction:
    """One prediction of an object from those of its frames, as a scanner makes it (`core.stats.frames`).

    Where a frame was refused, the object is, for the reason of the first such frame.
    """
    bare = tuple(replace(one, canvas=None, cam=None) for one in frames)
    outside = None if frames[0].out_of_distribution is None else any(one.out_of_distribution for one in frames)
    for number, one in enumerate(frames, 1):
        if one.status != "done":
            code, _, why = one.reason.partition(": ")
            unanswered = tuple(
                replace(each, label=None, probabilities={}, threshold={}, prediction_set=None) for each in bare
            )
            reason = f"{code}: frame {number} of {len(frames)}: {why}"
            return replace(one, reason=reason, frame=number, frames=unanswered, out_of_distribution=outside)
    values = np.array([[one.probabilities[name] for name in classes] for one in frames])
    by_class = deciding_frames(task, classes, positive, values)
    chosen = values[by_class, np.arange(len(classes))]
    label = label_at(task, classes, positive, frames[0].threshold, chosen)
    place = int(by_class[shown_class(classes, label, chosen)])
    return replace(
        frames[place],
        label=label,
        probabilities=dict(zip(classes, map(float, chosen), strict=True)),
        prediction_set=None,
        out_of_distribution=outside,
        frame=place + 1,
        frame_rule=rule_in_words(task, positive, place + 1, len(frames)),
        frames=bare,
    )
