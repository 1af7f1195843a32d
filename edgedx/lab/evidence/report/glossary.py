"""Terms of a report in plain words; a report explains those that it uses."""

from __future__ import annotations

import re

TERMS: dict[str, tuple[str, str]] = {
    "AUC (AUC-ROC)": (
        r"\bAUC\b",
        "Chance that the model ranks an image with the finding above one without; 1 is perfect, 0.5 is guessing.",
    ),
    "AUC-PR": (r"AUC-PR", "Area under precision against sensitivity; guessing reaches the share of images with it."),
    "AUROC / FPR95": (
        r"AUROC|FPR95",
        "How well foreign images are told apart (1 is perfect), and the share of foreign images that pass where 95 % "
        "of the data set's own images do (0 is perfect).",
    ),
    "Brier score": (r"Brier", "Mean squared distance of the probabilities to the truth; 0 is best, 2 is worst."),
    "Calibration error (ECE)": (
        r"\bECE\b|[Cc]alibration",
        "How far probabilities are from what happens: of images given 0.8, about 80 % should have the finding.",
    ),
    "Conformal set": (
        r"[Cc]onformal|classes in a set",
        "The classes that cannot be ruled out for an image; it should hold the truth as often as promised.",
    ),
    "Corruption, strength 1 to 5": (
        r"[Cc]orruption",
        "The test images made worse (noise, blur, exposure, JPEG, rotation), hardly visibly (1) to severely (5).",
    ),
    "Cross-validation": (
        r"[Cc]ross-validation|\bfolds?\b",
        "Each part of the data is test once, for models of its own.",
    ),
    "Deletion, insertion": (
        r"\b[Dd]eletion\b|\b[Ii]nsertion\b",
        "The probability as pixels are removed, or added, in the order of a heat map.",
    ),
    "Energy, Mahalanobis, kNN": (
        r"Mahalanobis|kNN|energy",
        "Scores of how unlike the training images an image is: by its logits, by distance to the mean of a class, by "
        "distance to the nearest training images.",
    ),
    "F1": (r"\bF1\b", "Harmonic mean of precision and sensitivity."),
    "Gate": (r"\b[Gg]ate\b", "The check before a model may be put onto a device: is it as good as the full model?"),
    "Heat map (CAM, Grad-CAM, LIME, integrated gradients)": (
        r"CAM|LIME|integrated gradients|[Hh]eat map",
        "A picture of which parts of an image an answer comes from, by one of several methods.",
    ),
    "Holm": (r"\bHolm\b", "Correction of p-values for having made several tests."),
    "Interval, 95 %": (
        r"95 %|interval",
        "Where the figure would lie in 95 of 100 such samples of patients; it tells chance, not differences between "
        "clinics.",
    ),
    "INT8, 8-bit": (
        r"\bint8|INT8|8-bit",
        "Weights and activations in 8 bits: smaller and faster. u8s8, s8s8: unsigned or signed activations, then "
        "weights.",
    ),
    "Macro mean": (r"\bmacro\b", "Mean over classes, each counted alike."),
    "Operating point, threshold": (
        r"[Oo]perating point|[Tt]hreshold",
        "The probability from which the model decides for a finding. Youden: greatest sensitivity + specificity; "
        "argmax: the likeliest class.",
    ),
    "P50, P90": (r"\bP50\b|\bP90\b", "Time that half, or nine tenths, of the runs need at most."),
    "Precision": (r"\b[Pp]recision\b", "Share of the alarms that are right."),
    "Quadratic kappa": (
        r"[Qq]uadratic kappa",
        "How well grades agree beyond chance: 1 is perfect, 0 is chance; a grade missed by two counts four times one "
        "missed by one.",
    ),
    "Rank correlation": (
        r"[Rr]ank correlation",
        "How alike the order of places in two heat maps is: 1 the same, 0 unrelated.",
    ),
    "Sanity check (random weights)": (
        r"random weights|weights random",
        "A heat map that stays as it is when the network's weights are random shows the image, not the model.",
    ),
    "Sensitivity (recall)": (r"\b[Ss]ensitivity\b", "Share of the images with the finding that are found."),
    "Specificity": (r"\b[Ss]pecificity\b", "Share of the images without the finding that are cleared."),
    "Teacher, student": (
        r"\b[Tt]eacher\b|\b[Ss]tudent\b",
        "The full model, and the smaller one that learned from it and is made for the device.",
    ),
    "val, test": (
        r"\bval\b|\btest\b",
        "Patients kept apart from training: val to choose settings and thresholds, test to judge once.",
    ),
}
"""Term to the pattern that finds it, and its meaning."""


def used(text: str) -> list[tuple[str, str]]:
    """Terms that occur in `text`, with their meanings, in alphabetical order."""
    return [(term, meaning) for term, (pattern, meaning) in TERMS.items() if re.search(pattern, text)]
