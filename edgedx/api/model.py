"""Open a bundle, an installed device, a checkpoint or a run, and predict a path, an array or a folder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

from edgedx.core.errors import EdgedxError, InputOutputError, UsageError
from edgedx.core.heatmap import evidence
from edgedx.core.image import Image
from edgedx.core.preprocess import Canvas, canvas
from edgedx.core.settings.accept import Accept
from edgedx.core.settings.columns import encode_rows, gather
from edgedx.core.stats.cases import calibrated_probabilities
from edgedx.core.stats.frames import most_frames, shown_class
from edgedx.core.stats.points import label_at
from edgedx.device.decode.accept import acceptable, facts_of, header_checks
from edgedx.device.install.active import open_any
from edgedx.device.install.health import serving_variant
from edgedx.device.runtime.doubt import refusal
from edgedx.device.runtime.open_runner import open_runner
from edgedx.device.runtime.predict import Predictor
from edgedx.dicom.reading.open import open_frames, open_image

from .prediction import ImagePrediction, combined

if TYPE_CHECKING:
    from edgedx.core.preprocess import PreprocessSpec
    from edgedx.device.runtime.runner import Runner
    from edgedx.lab.judge.subject import Subject

_BATCH = 32
_NO_IMAGE = {".csv", ".json", ".txt", ".md", ".yaml"}


def open_model(
    path: str | Path, *, variant: str | None = None, operating_point: str | None = None, device: str = "cpu"
) -> Model:
    """Open what can predict: a bundle, the root of a device, a run, a checkpoint or an ONNX file of a run.

    Parameters
    ----------
    variant : str, optional
        Of a bundle; the one that ships unless given.
    operating_point : str, optional
        The first unless given.
    device : str
        Where a checkpoint runs: ``cpu`` or ``cuda``.

    Raises
    ------
    UsageError
        None of these, or no such operating point or variant.

    Examples
    --------
    >>> model = edgedx.open_model("runs/pneumonia-mnist")          # doctest: +SKIP
    >>> model.predict("chest.dcm").probabilities                   # doctest: +SKIP
    {'normal': 0.15, 'pneumonia': 0.85}
    """
    from edgedx.lab.run.card import CARD
    from edgedx.lab.run.run import Run

    path = Path(path)
    if not path.exists():
        raise InputOutputError(f"nothing at {path}", next_step="give a bundle, a run or a checkpoint")
    if path.suffix == ".onnx" or (path / CARD).is_file() or Run(path).exists:
        from edgedx.lab.judge.subject import open_subject

        return Model(_OfSubject(open_subject(path, device=device), operating_point))
    bundle = open_any(path)
    name = variant or serving_variant(bundle) or bundle.manifest.default_variant
    runner = open_runner(bundle, variant=name)
    predictor = Predictor(bundle, runner, operating_point=operating_point, variant=name, show=True)
    return Model(_OfBundle(predictor, f"{bundle.manifest.name} {bundle.manifest.version}, {name}"))


class Model:
    """A model that predicts. Images are read as training and the scanner read them, in this process.

    A scanner reads files of strangers in a disposable process; here a file that crashes a decoder takes Python along.
    """

    def __init__(self, engine: _OfBundle | _OfSubject) -> None:
        self._engine = engine
        self._active = False

    def __repr__(self) -> str:
        return f"<edgedx model {self.name}: {', '.join(self.classes)}; not a medical device>"

    @property
    def name(self) -> str:
        """Name, version and variant."""
        return self._engine.name

    @property
    def classes(self) -> list[str]:
        """Class names in the order of the model's outputs."""
        return self._engine.classes

    @overload
    def predict(self, images: NDArray[Any]) -> ImagePrediction: ...

    @overload
    def predict(self, images: str | Path) -> ImagePrediction | list[ImagePrediction]: ...

    @overload
    def predict(self, images: Sequence[str | Path | NDArray[Any]]) -> list[ImagePrediction]: ...

    def predict(self, images: Any) -> ImagePrediction | list[ImagePrediction]:
        """Predict one image or several.

        Parameters
        ----------
        images : path, array, or sequence of these
            A DICOM or raster file; a folder, of which every file is read; or an array of shape (H, W) or (H, W, 3),
            uint8, uint16, or float of 0 to 1.

        Returns
        -------
        ImagePrediction or list of ImagePrediction
            A list for a folder or a sequence, in order. What cannot be read or answered is in it, with the reason.
        """
        if isinstance(images, str | Path) and Path(images).is_dir():
            paths = [path for path in sorted(Path(images).rglob("*")) if path.is_file()]
            return self._all([path for path in paths if path.suffix.lower() not in _NO_IMAGE and path.name[0] != "."])
        if isinstance(images, str | Path | np.ndarray):
            return self._all([images])[0]
        return self._all(images)

    def _all(self, images: Iterable[str | Path | NDArray[Any]]) -> list[ImagePrediction]:
        if not self._active:
            self._engine.runner.activate()
            self._active = True
        made: list[ImagePrediction] = []
        waiting: list[_Opened] = []
        places: list[int] = []
        for image in images:
            opened = _open(image, self._engine.accept, self._engine.preprocess)
            if isinstance(opened, list):
                made.append(self._object(opened))
                continue
            made.append(opened if isinstance(opened, ImagePrediction) else ImagePrediction(opened.source, "waiting"))
            if isinstance(opened, _Opened):
                waiting.append(opened)
                places.append(len(made) - 1)
            if len(waiting) == _BATCH:
                self._flush(made, waiting, places)
        self._flush(made, waiting, places)
        return made

    def _object(self, frames: list[_Opened]) -> ImagePrediction:
        """Every frame of one object is answered, in portions, and one answer made of them."""
        found: list[ImagePrediction] = []
        for start in range(0, len(frames), _BATCH):
            found += self._engine.predict(frames[start : start + _BATCH])
        engine = self._engine
        return combined(found, engine.task, engine.classes, engine.positive)

    def _flush(self, made: list[ImagePrediction], waiting: list[_Opened], positions: list[int]) -> None:
        if waiting:
            for place, prediction in zip(positions, self._engine.predict(waiting), strict=True):
                made[place] = prediction
        waiting.clear()
        positions.clear()

    def close(self) -> None:
        """Free the model; it is opened again when it is asked again."""
        self._engine.runner.deactivate()
        self._active = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True)
class _Opened:
    """An image that the model was made for."""

    source: str
    canvas: Canvas
    facts: Mapping[str, str]
    not_checked: tuple[str, ...]

    @property
    def frame(self) -> int | None:
        """Number of the frame, where the object has several."""
        return int(self.facts["Frame"]) if "Frame" in self.facts else None


def _open(
    image: str | Path | NDArray[Any], accept: Accept, spec: PreprocessSpec
) -> _Opened | list[_Opened] | ImagePrediction:
    """What the model is to answer; a list of frames where it answers each of several."""
    source = "array" if isinstance(image, np.ndarray) else str(image)
    opened: list[_Opened] = []
    try:
        images = [(Image.of_array(image), 1)] if isinstance(image, np.ndarray) else _read(Path(image), accept, spec)
        for read, count in images:
            height, width = read.pixels.shape[:2]
            refused = acceptable(accept, facts_of(read, spec), height, width)
            if refused is not None:
                where = f"frame {len(opened) + 1} of {count}: " if count > 1 else ""
                return ImagePrediction(source, "refused", reason=f"{refused.code}: {where}{refused.message}")
            checks = header_checks(accept, read.meta)
            opened.append(_Opened(source, canvas(read, spec), read.meta, tuple(checks.not_checked) if checks else ()))
    except EdgedxError as error:
        return ImagePrediction(source, "unreadable", reason=f"{getattr(error, 'code', 'FILE')}: {error.message}")
    return opened if len(opened) > 1 else opened[0]


def _read(path: Path, accept: Accept, spec: PreprocessSpec) -> Iterator[tuple[Image, int]]:
    """The image, or each frame, with how many are read."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputOutputError(f"{path} cannot be opened: {error.strerror}") from error
    if accept.multi_frame != "each":
        yield open_image(content, frames=accept.multi_frame).image, 1
        return
    for opened in open_frames(content, most=most_frames(spec.canvas_bytes)):
        yield opened.image, opened.frames


class _OfBundle:
    """A bundle, answered as a scanner answers: limits on unlike images and prediction sets included."""

    def __init__(self, predictor: Predictor, name: str) -> None:
        manifest = predictor.manifest
        self.predictor, self.name, self.runner = predictor, name, predictor.runner
        self.classes, self.accept, self.preprocess = manifest.classes, manifest.accept, manifest.preprocess
        self.task: str = manifest.task
        self.positive = manifest.positive

    def predict(self, images: Sequence[_Opened]) -> list[ImagePrediction]:
        answers = self.predictor.predict_canvases(
            np.stack([one.canvas for one in images]), [one.facts for one in images]
        )
        made = []
        for image, answer in zip(images, answers, strict=True):
            unlike = answer.unlikeness
            outside = None if unlike is None else unlike.out_of_distribution
            if outside and self.accept.ood == "refuse" and unlike is not None:
                why = refusal(unlike)
                made.append(
                    ImagePrediction(
                        image.source,
                        "refused",
                        reason=f"{why.code}: {why.message}",
                        out_of_distribution=True,
                        frame=image.frame,
                        canvas=image.canvas,
                    )  # fmt: skip
                )
                continue
            prediction = answer.prediction
            made.append(
                ImagePrediction(
                    image.source,
                    "done",
                    prediction.label,
                    prediction.probabilities,
                    prediction.operating_point,
                    prediction.threshold,
                    None if answer.prediction_set is None else answer.prediction_set.classes,
                    outside,
                    not_checked=image.not_checked,
                    frame=image.frame,
                    canvas=image.canvas,
                    cam=None if answer.shown is None else answer.shown.evidence,
                )
            )
        return made


class _OfSubject:
    """A checkpoint or an ONNX file of a run: it has no limits on unlike images, which are fitted at deployment."""

    def __init__(self, subject: Subject, operating_point: str | None) -> None:
        self.subject, self.point = subject, subject.point(operating_point)
        self.name, self.classes, self.accept = subject.ran, subject.classes, subject.accept
        self.preprocess: PreprocessSpec = subject.preprocess
        self.task, self.positive = subject.task, subject.positive
        self.runner: Runner = subject.runner

    def predict(self, images: Sequence[_Opened]) -> list[ImagePrediction]:
        subject, point = self.subject, self.point
        columns = None
        if subject.columns:
            columns = encode_rows(subject.columns, [gather(subject.columns, {}, image.facts) for image in images])
        output = subject.infer(np.stack([image.canvas for image in images]), columns, cam=True)
        values = calibrated_probabilities(output.logits, subject.task, subject.temperature)
        if not np.isfinite(values).all():
            raise UsageError("the model returned a value that is not a number", next_step="compress or train it again")
        made = []
        for row, image in enumerate(images):
            label = label_at(subject.task, subject.classes, subject.positive, point.threshold, values[row])
            strongest = shown_class(subject.classes, label, values[row])
            made.append(
                ImagePrediction(
                    image.source,
                    "done",
                    label,
                    dict(zip(subject.classes, map(float, values[row]), strict=True)),
                    point.name,
                    dict(point.threshold),
                    not_checked=image.not_checked,
                    frame=image.frame,
                    canvas=image.canvas,
                    cam=None if output.cam is None else evidence(output.cam[row], strongest, subject.task),
                )
            )
        return made
