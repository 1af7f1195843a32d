"""Heat maps: colour where the evidence is, the picture below it readable, and what it is burned into it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from edgedx.core.heatmap import evidence, heat_of, overlay, png


def corner() -> np.ndarray:
    """A map whose upper left quarter speaks for the class."""
    cam = np.full((4, 4), -1.0, np.float32)
    cam[:2, :2] = 2.0
    return cam


def test_colour_lies_where_the_evidence_is_and_nowhere_else() -> None:
    picture = overlay(np.full((64, 64), 128, np.uint8), corner())
    assert picture.shape == (544, 512, 3) and picture.dtype == np.uint8
    colourful = np.ptp(picture[:512].astype(int), axis=2)
    assert (colourful[:160, :160] > 40).all()
    assert (picture[320:512] == 128).all() and (picture[:512, 320:] == 128).all()


def test_what_lies_below_the_strongest_colour_can_still_be_seen() -> None:
    canvas = np.tile(np.array([60, 190], np.uint8).repeat(16), (64, 2))  # stripes
    picture = overlay(canvas, np.ones((2, 2), np.float32))
    dark, light = picture[256, 64].astype(int), picture[256, 192].astype(int)
    assert (light - dark > 60).all()


@pytest.mark.parametrize("cam", [np.zeros((2, 2), np.float32), np.full((2, 2), -3.0, np.float32)])
def test_without_evidence_the_picture_stays_grey(cam: np.ndarray) -> None:
    canvas = np.random.default_rng(0).integers(0, 255, (600, 512), dtype=np.uint8)
    assert np.array_equal(overlay(canvas, cam)[:600], np.repeat(canvas[..., None], 3, axis=2))


def test_a_map_of_few_places_is_shown_as_the_squares_that_it_is() -> None:
    """Of a network that sees 64 pixels it has 2 x 2 places; drawn smooth it looked like a finding in between."""
    cam = np.array([[1.0, 0.0], [0.5, 0.0]], np.float32)
    heat = heat_of(cam, (64, 64))
    assert sorted(set(heat.ravel().tolist())) == [0.0, 0.5, 1.0] and (heat[:32, :32] == 1).all()
    assert len(np.unique(heat_of(np.eye(4, dtype=np.float32), (64, 64)))) > 10
    canvas = np.full((64, 64), 128, np.uint8)
    few, many = overlay(canvas, cam), overlay(canvas, np.zeros((4, 4), np.float32))
    assert not np.array_equal(few[512:], many[512:]), "the line tells how many places there are"


def test_the_line_below_says_what_it_is_and_never_loses_its_end() -> None:
    canvas = np.zeros((64, 64), np.uint8)
    bare, told = overlay(canvas, corner()), overlay(canvas, corner(), caption="a" * 500)
    assert bare[512:].max() == 255 and told[512:].max() == 255
    assert told[512:, 500:].max() < 255 and told.shape == bare.shape  # cut at its front until it fits
    assert not np.array_equal(bare[512:], told[512:])


def test_sixteen_bits_colours_and_tall_pictures_keep_their_shape() -> None:
    rgb = np.zeros((40, 20, 3), np.uint16)
    rgb[..., 0] = 65535
    picture = overlay(rgb, np.zeros((2, 1), np.float32))
    assert picture.shape == (1024 + 32, 512, 3)
    assert (picture[:1024] == (255, 0, 0)).all()


def test_all_kinds_of_colour_vision_see_the_same_order() -> None:
    """More evidence is lighter, also in grey: from there on no eye and no printer needs the hue."""
    ramp = np.linspace(0, 1, 512, dtype=np.float32)[None].repeat(2, axis=0)
    row = overlay(np.zeros((512, 512), np.uint8), ramp)[100].astype(np.float32)
    grey = row @ np.array([0.299, 0.587, 0.114], np.float32)
    assert (np.diff(grey[::32]) > 0).all()


def test_evidence_is_what_softmax_sees_and_for_findings_the_map_itself() -> None:
    cam = np.random.default_rng(0).normal(size=(3, 2, 2)).astype(np.float32)
    assert np.allclose(evidence(cam + 5, 1, "multiclass"), evidence(cam, 1, "multiclass"), atol=1e-5)
    assert np.array_equal(evidence(cam, 1, "multilabel"), cam[1])


def test_a_png_comes_back_in_the_same_colours() -> None:
    picture = overlay(np.full((64, 64), 128, np.uint8), corner())
    back = cv2.imdecode(np.frombuffer(png(picture), np.uint8), cv2.IMREAD_COLOR)
    assert np.array_equal(back[..., ::-1], picture)
