"""Heat maps: a picture beside each result, with where the model looked."""

from __future__ import annotations

from pathlib import Path

from edgedx.core.errors import UsageError
from edgedx.core.files import write_bytes
from edgedx.core.heatmap import overlay, png
from edgedx.device.runtime.predict import Predictor

from .sinks import ScannedImage, Sink


def require_maps(predictor: Predictor) -> None:
    """Refuse to start where pictures were asked for and there will be none.

    Raises
    ------
    UsageError
        The variant has no class activation maps; says why.
    """
    if not predictor.shows:
        why = predictor.manifest.doubt.missing.get("cam", "the bundle was made before edgedx exported them")
        raise UsageError(
            f"this model has no class activation maps ({why})",
            next_step="run without --heatmap; or deploy again with a backbone that pools and has one layer behind that",
        )


class Heatmaps(Sink):
    """A sink: ``results/KEY.png`` beside ``results/KEY.json``, for each image that got a prediction."""

    name = "heatmap"

    def publish(self, reading: ScannedImage, path: Path, source: Path | None) -> None:
        """Write the picture durably; the same reading gives the same bytes."""
        prediction = reading.result.prediction
        if prediction is None or reading.canvas is None or reading.shown is None:
            return
        caption = f"{reading.shown.name} {prediction.probabilities[reading.shown.name]:.2f}"
        write_bytes(path.with_suffix(".png"), png(overlay(reading.canvas, reading.shown.evidence, caption=caption)))
