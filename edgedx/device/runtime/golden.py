"""Golden samples: does this very machine compute what the workstation computed?"""

from __future__ import annotations

import io
import zipfile

import numpy as np

from edgedx.core.bundle.manifest import Bundle
from edgedx.core.errors import BundleError, GateRefused
from edgedx.core.image import Image
from edgedx.core.preprocess import preprocess
from edgedx.core.settings.columns import width

from .runner import Runner


def check_golden(bundle: Bundle, runner: Runner, variant: str | None = None) -> float:
    """Run the bundle's samples through preprocessing and `runner`, and compare logits.

    Returns
    -------
    float
        Greatest absolute difference.

    Raises
    ------
    GateRefused
        It is over the variant's tolerance, or a logit is not a number.
    BundleError
        The samples are malformed.
    """
    manifest = bundle.manifest
    name = variant or manifest.default_variant
    try:
        with np.load(io.BytesIO(bundle.read(manifest.golden.file)), allow_pickle=False) as archive:
            images = [archive[f"image_{index}"] for index in range(manifest.golden.count)]
            expected = archive[f"logits_{name}"]
            columns = np.asarray(archive["columns"], np.float32) if manifest.columns else None
        tolerance = manifest.golden.tolerance[name]
        batch = np.stack([preprocess(Image.of_array(image), manifest.preprocess) for image in images])
        if columns is not None and columns.shape != (len(batch), width(manifest.columns)):
            raise ValueError("columns are not those of the manifest")
    except (KeyError, ValueError, OSError, TypeError, EOFError, IndexError, zipfile.BadZipFile) as error:
        raise BundleError(f"{bundle.path}: golden samples are malformed: {error}") from error
    logits = (runner.infer(batch) if columns is None else runner.infer(batch, columns)).logits
    difference = float(np.abs(logits - expected).max()) if logits.shape == expected.shape else float("nan")
    if not difference <= tolerance:  # also refuses NaN
        quantized = manifest.variants[name].precision == "int8"
        lead = (
            f" Kernels of {manifest.variants[name].scheme.upper()} graphs can saturate on x86 CPUs without VNNI."
            if quantized
            else ""
        )
        raise GateRefused(
            f"{bundle.path}: this machine computes other values than the workstation did: logits of {name} differ by "
            f"{difference:.3g}, allowed {tolerance:.3g}.{lead}",
            next_step="see `edgedx doctor`; "
            + (
                "compress for this device's profile, or run --variant fp32"
                if quantized
                else "report it with its output"
            ),
        )
    return difference
