"""Heat maps of one model: Grad-CAM, Grad-CAM++, integrated gradients, LIME, and exact class activation maps.

Libraries, each where it is kept best: captum (BSD-3) for Grad-CAM, integrated gradients and LIME; grad-cam (MIT) for
Grad-CAM++, which captum has not; scikit-image (BSD-3) for the superpixels. The package lime itself was last released in
2020 and asks its model for pictures in RGB; captum's takes any function.

All explain the same number, the margin of a class (see `Explainable.margins`), and what is not there is the same
everywhere: the image, blurred until only its coarse light is left. What a model cannot be asked is refused with the
reason and never replaced by another method.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import cv2
import numpy as np

from edgedx.core.errors import DependencyMissing
from edgedx.core.heatmap import evidence, is_coarse
from edgedx.core.preprocess import Canvas

from .models import Explainable

IG_STEPS = 32
LIME_SAMPLES, LIME_SEGMENTS, LIME_WIDTH = 200, 40, 0.25
BLUR = 1 / 8
"""Standard deviation of the Gaussian that stands for absence, in shorter sides of the image."""
_BATCH = 16
_LINEAR = 1e-3  # of the margins' own size: how exactly the places' answers must add up to the image's


class NoMap(Exception):
    """The model cannot be explained by this method; the message says why."""


@dataclass(frozen=True)
class Method:
    """What a method is, in words; `package` computes it."""

    title: str
    package: str
    how: str


METHODS = {
    "gradcam": Method("Grad-CAM", "captum", "Selvaraju et al. 2017, at the last feature map"),
    "gradcam++": Method("Grad-CAM++", "grad-cam", "Chattopadhay et al. 2018, at the last feature map"),
    "ig": Method(
        "integrated gradients", "captum", f"Sundararajan et al. 2017, {IG_STEPS} steps from the blurred image"
    ),
    "lime": Method(
        "LIME",
        "captum",
        f"Ribeiro et al. 2016, {LIME_SAMPLES} samples over about {LIME_SEGMENTS} superpixels (SLIC), ridge regression",
    ),
    "cam": Method("CAM", "edgedx", "Zhou et al. 2016, exact: its mean is the margin, less the bias"),
}
ON_LAST_MAP = ("gradcam", "gradcam++", "cam")
"""Methods whose maps are no finer than the last feature map."""
Advance = Callable[[float], None]
_MODULES = {"captum": "captum", "grad-cam": "pytorch_grad_cam", "scikit-image": "skimage"}


def require(methods: Sequence[str]) -> None:
    """Find out before anything is computed whether a library is missing; scikit-image compares all maps.

    Raises
    ------
    DependencyMissing
        Names it and how to get it.
    """
    needed = {METHODS[method].package: METHODS[method].title for method in methods} | {"scikit-image": "comparing maps"}
    for package, what in needed.items():
        if package in _MODULES and find_spec(_MODULES[package]) is None:
            raise DependencyMissing(
                f"{what} needs the package {package}, which is not installed",
                next_step=f'pip install "edgedx[lab]" or {package}; --methods may leave it out',
            )


def heat_maps(
    model: Explainable,
    method: str,
    canvases: Canvas,
    classes: np.ndarray,
    *,
    seed: int = 0,
    advance: Advance = lambda _: None,
) -> np.ndarray:
    """Where the class of each image comes from.

    Parameters
    ----------
    canvases : ndarray of shape (N, H, W) or (N, H, W, 3)
    classes : ndarray of shape (N,), int64
    seed : int
        Of LIME's samples; image i has the same ones for every model.

    Returns
    -------
    ndarray of shape (N, H, W), float32
        Positive where the image speaks for the class; units differ between methods. Grad-CAM and Grad-CAM++ have no
        negative values, by definition. Maps of fewer than 4 x 4 places stay squares.

    Raises
    ------
    NoMap
        The model cannot be asked this way.
    """
    if method in ("gradcam", "gradcam++", "ig") and model.cut is None:
        raise NoMap("needs gradients, which an ONNX graph does not give")
    if method in ON_LAST_MAP and model.cut is not None and model.cut.places == (1, 1):
        raise NoMap("the network has no last feature map with more than one place")
    results = []
    for start in range(0, len(canvases), _BATCH):
        part = slice(start, start + _BATCH)
        if method == "lime":
            maps = _lime(model, canvases[part], classes[part], seed + start, advance)
        else:
            maps = _QUICK[method](model, canvases[part], classes[part])
            advance(len(maps))
        results += [_enlarged(one, canvases.shape[1:3]) for one in maps]
    return np.stack(results)


def _enlarged(one: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    how = cv2.INTER_NEAREST if is_coarse(one.shape) else cv2.INTER_LINEAR
    return cv2.resize(one.astype(np.float32), shape[::-1], interpolation=how)


def places_of(model: Explainable, method: str, canvases: Canvas) -> tuple[int, int] | None:
    """Rows and columns that a method's maps of a model have; None where they are as fine as the image."""
    if method not in ON_LAST_MAP:
        return None
    if model.cut is not None:
        return (int(model.cut.places[0]), int(model.cut.places[1]))
    maps = model.subject.infer(canvases[:1], cam=True).cam
    return None if maps is None else (maps.shape[2], maps.shape[3])


def absent(canvases: Canvas) -> np.ndarray:
    """The images with all detail gone, float32, in the canvases' shape and units."""
    sigma = BLUR * min(canvases.shape[1:3])
    return np.stack([cv2.GaussianBlur(one.astype(np.float32), (0, 0), sigma) for one in canvases])


def _tensor(model: Explainable, canvases: Canvas) -> Any:
    import torch

    return torch.from_numpy(model.inputs(canvases)).to(next(model.cut.parameters()).device)


def _gradcam(model: Explainable, canvases: Canvas, classes: np.ndarray) -> np.ndarray:
    from captum.attr import LayerGradCam

    method = LayerGradCam(model.cut, model.cut.maps)
    results = method.attribute(_tensor(model, canvases), target=classes.tolist(), relu_attributions=True)
    return np.asarray(results[:, 0].detach().cpu().numpy())


def _gradcam_plus_plus(model: Explainable, canvases: Canvas, classes: np.ndarray) -> np.ndarray:
    from pytorch_grad_cam import GradCAMPlusPlus

    class Unscaled(GradCAMPlusPlus):  # type: ignore[misc]
        """Maps as they are: enlarged by the library they would be smooth, however few places they have."""

        def get_target_width_height(self, input_tensor: Any) -> None:
            return None

    method = Unscaled(model.cut, [model.cut.maps])
    try:
        return np.asarray(method(_tensor(model, canvases), [_Margin(int(one)) for one in classes]))
    finally:  # as its context manager does, which would swallow an IndexError
        method.activations_and_grads.release()
        model.cut.zero_grad()


@dataclass(frozen=True)
class _Margin:
    index: int

    def __call__(self, output: Any) -> Any:
        return output[self.index]


def _integrated_gradients(model: Explainable, canvases: Canvas, classes: np.ndarray) -> np.ndarray:
    from captum.attr import IntegratedGradients

    results = IntegratedGradients(model.cut).attribute(
        _tensor(model, canvases),
        baselines=_tensor(model, absent(canvases)),
        target=classes.tolist(),
        n_steps=IG_STEPS,
        internal_batch_size=4 * _BATCH,
    )
    return np.asarray(results.detach().sum(dim=1).cpu().numpy())


def _cam(model: Explainable, canvases: Canvas, classes: np.ndarray) -> np.ndarray:
    if model.cut is not None:
        cams = _cam_of_torch(model, canvases)
    else:
        native = model.subject.infer(canvases, cam=True).cam
        if native is None:
            raise NoMap(
                "the graph has no class activation map: its head is not pooling and one layer, or it is an old one"
            )
        cams = native
    return np.stack([evidence(cam, int(one), model.subject.task) for cam, one in zip(cams, classes, strict=True)])


def _cam_of_torch(model: Explainable, canvases: Canvas) -> np.ndarray:
    """The head's answer at every place alone, (N, K, h, w): class activation maps where the head is linear in space."""
    import torch

    with torch.no_grad():
        maps = model.cut.features(_tensor(model, canvases))
        count, depth, height, width = maps.shape
        apart = maps.permute(0, 2, 3, 1).reshape(-1, depth, 1, 1)
        try:
            bias = model.cut.head(torch.zeros_like(apart[:1]))
            each = (model.cut.head(apart) - bias).reshape(count, height, width, -1).permute(0, 3, 1, 2)
        except RuntimeError as error:
            raise NoMap("the head cannot be asked about one place alone") from error
        whole = model.cut.head(maps) - bias
        gap = float((each.mean(dim=(2, 3)) - whole).abs().max() / whole.abs().max().clamp(min=1e-6))
    if gap > _LINEAR:
        raise NoMap("the head is not pooling and one linear layer, so that a class activation map would be a guess")
    return np.asarray(each.cpu().numpy())


_QUICK = {"gradcam": _gradcam, "gradcam++": _gradcam_plus_plus, "ig": _integrated_gradients, "cam": _cam}


def superpixels(canvas: Canvas) -> np.ndarray:
    """Segments of one image, (H, W) int64 from 0: SLIC (Achanta et al. 2012) in its form without a compactness."""
    from skimage.segmentation import slic

    light = canvas.astype(np.float32) / np.iinfo(canvas.dtype).max
    axis = -1 if canvas.ndim == 3 else None
    return np.asarray(slic(light, LIME_SEGMENTS, slic_zero=True, start_label=0, channel_axis=axis), np.int64)


def _lime(model: Explainable, canvases: Canvas, classes: np.ndarray, seed: int, advance: Advance) -> np.ndarray:
    import torch
    from captum._utils.models.linear_model import SkLearnRidge
    from captum.attr import Lime

    gone, results = absent(canvases), []
    for number, (canvas, one) in enumerate(zip(canvases, classes, strict=True)):
        segments = superpixels(canvas)
        drawn = torch.Generator().manual_seed(seed + number)
        many = int(segments.max()) + 1

        def margin(samples: Any, one: int = int(one)) -> Any:
            return torch.from_numpy(model.margins(samples.numpy())[:, one])

        def sample(_: Any, drawn: Any = drawn, many: int = many, **__: Any) -> Any:
            return torch.randint(0, 2, (1, many), generator=drawn)

        mask = torch.from_numpy(segments if canvas.ndim == 2 else np.repeat(segments[..., None], 3, axis=2))[None]
        coefficients = Lime(margin, SkLearnRidge(alpha=1.0), _nearness, sample).attribute(
            torch.from_numpy(canvas.astype(np.float32))[None],
            baselines=torch.from_numpy(gone[number])[None],
            feature_mask=mask,
            n_samples=LIME_SAMPLES,
            perturbations_per_eval=_BATCH * 4,
            return_input_shape=False,
        )
        results.append(coefficients.flatten().numpy()[segments])
        advance(1)
    return np.stack(results)


def _nearness(_: Any, __: Any, kept: Any, **___: Any) -> float:
    """Weight of a sample, as the package lime weighs images: by the cosine between which segments are there and all."""
    distance = 1 - float(kept.float().mean()) ** 0.5
    return float(np.exp(-(distance**2) / (2 * LIME_WIDTH**2)))
