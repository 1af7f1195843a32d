"""Figures of a picture that a change of machine or setting moves, and a fingerprint that finds it again."""

from __future__ import annotations

import time

import cv2
import numpy as np

from edgedx.core.image_statistics import FINGERPRINT, fingerprint, image_figures, repeated

RNG = np.random.default_rng(0)


def picture(seed: int, *, bits: int = 8) -> np.ndarray:
    rng = np.random.default_rng(seed)
    soft = cv2.GaussianBlur(rng.random((224, 224)), (0, 0), 9)
    unit = (soft - soft.min()) / (soft.max() - soft.min())
    return np.rint(unit * 0.8 * ((1 << bits) - 1) + 10).astype(np.uint8 if bits == 8 else np.uint16)


def test_figures_move_with_what_they_are_of() -> None:
    one = picture(1)
    plain = image_figures(one)
    assert image_figures(255 - one)["mean"] > plain["mean"] or image_figures(255 - one)["mean"] < plain["mean"]
    assert abs(plain["mean"] - one.mean() / 255) < 1e-6 and abs(plain["contrast"] - one.std() / 255) < 1e-6
    assert image_figures(cv2.GaussianBlur(one, (0, 0), 3))["sharpness"] < plain["sharpness"]
    noisy = np.clip(one + RNG.normal(0, 8, one.shape), 0, 255).astype(np.uint8)
    assert image_figures(noisy)["sharpness"] > plain["sharpness"] + 1
    cut = one.copy()
    cut[:56] = 0
    assert abs(image_figures(cut)["clipped"] - 0.25) < 0.01 and plain["clipped"] == 0
    assert np.isfinite(list(image_figures(np.zeros((8, 8), np.uint8)).values())).all()


def test_depth_and_colour_do_not_change_them() -> None:
    deep, flat = image_figures(picture(2, bits=16)), image_figures(picture(2))
    assert abs(deep["mean"] - flat["mean"]) < 0.05 and abs(deep["contrast"] - flat["contrast"]) < 0.02
    colour = np.repeat(picture(2)[..., None], 3, axis=2)
    assert image_figures(colour)["mean"] == flat["mean"]
    white = np.full((16, 16, 3), 255, np.uint8)
    white[..., 0] = 0  # blue is neither black nor white
    assert image_figures(white)["clipped"] == 0


def test_the_same_picture_is_found_again_and_others_are_not() -> None:
    same = [np.clip(picture(3) + RNG.normal(0, 2, (224, 224)), 0, 255).astype(np.uint8) for _ in range(5)]
    others = [picture(100 + seed) for seed in range(40)]
    marks = [fingerprint(one) for one in (*same, *others)]
    assert all(len(mark) == FINGERPRINT for mark in marks)
    found = repeated(np.frombuffer(b"".join(marks), np.uint8).reshape(-1, FINGERPRINT))
    assert found[:5].all() and not found[5:].any()
    assert not repeated(
        np.frombuffer(b"".join(marks[:3]), np.uint8).reshape(-1, FINGERPRINT)
    ).any()  # a patient's three


def test_it_costs_less_than_a_third_of_a_millisecond() -> None:
    one = picture(4, bits=16)
    spent = []
    for _ in range(5):
        begun = time.process_time()
        for _ in range(50):
            image_figures(one), fingerprint(one)
        spent.append((time.process_time() - begun) / 50)
    assert min(spent) < 0.3e-3
