"""Batches are the same on any number of processes and from any step on; a view depends on its place alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from torch import Tensor

from edgedx.core.preprocess import PreprocessSpec, normalise
from edgedx.core.settings.recipe_sections import Task
from edgedx.core.settings.recipe_training import Augment
from edgedx.lab.feed.canvases import InPlace, OnDevice, Streamed
from edgedx.lab.feed.feed import Feed, mix

BINARY = Task(**tiny.RECIPE["task"])
SPEC = PreprocessSpec(size=(16, 16), bits=8, window="none")
OFF = Augment(rotation=0, zoom=0, shift=0, intensity=0)


def _labels(count: int = 40, sick: int = 8) -> np.ndarray:
    return (np.arange(count) < sick).astype(np.int64)


def _feed(labels: np.ndarray | None = None, options: Augment | None = None, **changes: Any) -> Feed:
    data = tiny.dataset(_labels() if labels is None else labels, side=16)
    settings: dict[str, Any] = {"batch_size": 8, "sampler": False, "seed": 0, **changes}
    return Feed(data, BINARY, SPEC, options or Augment(), **settings)


def _equal(one: list[tuple[Tensor, Tensor]], two: list[tuple[Tensor, Tensor]]) -> bool:
    return len(one) == len(two) and all(
        torch.equal(a, c) and torch.equal(b.nan_to_num(9), d.nan_to_num(9))
        for (a, b), (c, d) in zip(one, two, strict=True)
    )


def test_an_epoch_shows_every_image_once_in_an_order_of_its_own() -> None:
    feed = _feed(options=OFF)
    assert feed.steps_per_epoch == 5
    epochs = [torch.cat([images for images, _ in feed.batches(start, start + 5)]) for start in (0, 5)]
    expected = tiny.dataset(_labels(), side=16).canvases.astype(np.float32).sum(axis=(1, 2))
    for images in epochs:
        assert images.shape == (40, 1, 16, 16) and images.dtype == torch.float32
        sums = ((images * 0.25 + 0.5) * 255).sum(dim=(1, 2, 3)).numpy()
        np.testing.assert_allclose(np.sort(sums), np.sort(expected), rtol=1e-4)
    assert not torch.equal(*epochs)


def test_images_keep_their_labels() -> None:
    labels = _labels()
    data = tiny.dataset(labels, side=16)
    data.canvases[:] = (labels * 200)[:, None, None]
    for images, targets in Feed(data, BINARY, SPEC, OFF, batch_size=8, sampler=False, seed=0).batches(0, 5):
        assert targets.shape == (8, 2)
        assert torch.equal(targets[:, 1] == 1, images.mean(dim=(1, 2, 3)) > 0)


@pytest.mark.parametrize("sampler", [False, True])
@pytest.mark.parametrize("world", [2, 3, 8])
def test_processes_share_the_batch_that_one_would_have(world: int, sampler: bool) -> None:
    alone = list(_feed(sampler=sampler).batches(0, 7))
    shares = [list(_feed(sampler=sampler, rank=rank, world=world).batches(0, 7)) for rank in range(world)]
    for step, (images, targets) in enumerate(alone):
        together = [torch.empty_like(images), torch.empty_like(targets)]
        for rank in range(world):
            for whole, part in zip(together, shares[rank][step], strict=True):
                whole[rank::world] = part
        assert torch.equal(together[0], images) and torch.equal(together[1], targets)


@pytest.mark.parametrize("start", [0, 1, 4, 5, 6, 11])
def test_a_resumed_run_sees_the_batches_it_would_have_seen(start: int) -> None:
    assert _equal(list(_feed().batches(0, 12))[start:], list(_feed().batches(start, 12)))


def test_where_the_canvases_lie_changes_nothing() -> None:
    """On the device, streamed in blocks of which the last is short, or in place; of one data set and of two."""
    for extra in (None, _more()):
        feed = _feed(extra=extra)
        parts = [tiny.dataset(_labels(), side=16), *([extra] if extra else [])]
        expected = list(feed.batches(3, 14))
        assert isinstance(feed.canvases, InPlace)
        for other in (OnDevice(parts, torch.device("cpu")), Streamed(parts, torch.device("cpu"), 20 * 256)):
            feed.canvases = other
            assert _equal(list(feed.batches(3, 14)), expected)


def test_sixteen_bits_reach_the_network_as_the_device_will_see_them() -> None:
    """torch has few operations on uint16, so the bits travel as int16: values above 32,767 must not turn negative."""
    spec = PreprocessSpec(size=(16, 16), bits=16, window="none")
    data = tiny.dataset(_labels(), side=16)
    deep = np.random.default_rng(0).integers(0, 65536, data.canvases.shape).astype(np.uint16)
    feed = Feed(replace(data, canvases=deep), BINARY, spec, OFF, batch_size=40, sampler=False, seed=0)
    (images, _), *_ = feed.batches(0, 1)
    order = feed._order(0)
    assert np.array_equal(images.numpy(), normalise(deep[order], spec))


def test_another_seed_gives_other_batches() -> None:
    assert not _equal(list(_feed().batches(0, 1)), list(_feed(seed=1).batches(0, 1)))


def test_a_view_depends_on_seed_epoch_and_position_alone() -> None:
    data = tiny.dataset(_labels(), side=16)
    data.canvases[:] = data.canvases[0]  # so that positions differ by their random numbers only

    def view(seed: int, epoch: int, position: int, batch_size: int = 8) -> Tensor:
        feed = Feed(data, BINARY, SPEC, Augment(), batch_size=batch_size, sampler=False, seed=seed)
        place = int(np.flatnonzero(feed._order(epoch) == position)[0])
        step = epoch * feed.steps_per_epoch + place // batch_size
        return next(feed.batches(step, step + 1))[0][place % batch_size]

    assert torch.equal(view(0, 1, 2), view(0, 1, 2, batch_size=20))
    assert torch.equal(view(0, 1, 2), view(0, 1, 2))
    others = [view(0, 1, 2), view(1, 1, 2), view(0, 2, 2), view(0, 1, 3), view(0, 2, 1)]
    assert all(not torch.equal(one, two) for i, one in enumerate(others) for two in others[:i])


def test_a_batch_is_never_larger_than_the_data_set() -> None:
    feed = _feed(_labels(6, 2), batch_size=64)
    assert feed.steps_per_epoch == 1
    assert [len(images) for images, _ in feed.batches(0, 3)] == [6, 6, 6]


def test_the_sampler_draws_classes_evenly() -> None:
    feed = _feed(_labels(400, 20), sampler=True, batch_size=100)
    share = torch.cat([targets for _, targets in feed.batches(0, 8)])[:, 1].mean()
    assert share == pytest.approx(0.5, abs=0.06)
    plain = torch.cat([targets for _, targets in _feed(_labels(400, 20), batch_size=100).batches(0, 8)])[:, 1].mean()
    assert plain == pytest.approx(0.05, abs=1e-6)


def test_the_sampler_draws_rare_findings_more_often_and_images_without_any_too() -> None:
    labels = np.zeros((300, 2))
    labels[:10, 0], labels[10:100, 1], labels[290:, 0] = 1, 1, np.nan
    data = tiny.dataset(labels, side=16)
    feed = Feed(data, Task(**tiny.FINDINGS), SPEC, OFF, batch_size=100, sampler=True, seed=0)
    drawn = torch.cat([targets for _, targets in feed.batches(0, 6)])
    kinds = Counter(map(tuple, torch.nan_to_num(drawn, nan=-1.0).tolist()))
    assert kinds[(1, 0)] / 600 > 3 * 10 / 300
    assert kinds[(0, 0)] > 100 and kinds[(-1, 0)] > 0


def test_mixup_mixes_images_and_targets_alike() -> None:
    images, targets = torch.eye(6).reshape(6, 1, 2, 3), torch.eye(6)
    share, partner = torch.tensor(0.7), torch.tensor([2, 0, 1, 5, 4, 3])
    mixed, soft = mix(share, partner, images, targets)
    assert torch.equal(mixed.flatten(1), soft)
    torch.testing.assert_close(soft.sum(dim=1), torch.ones(6))
    torch.testing.assert_close(soft[0], torch.tensor([0.7, 0, 0.3, 0, 0, 0]))


def test_each_step_mixes_by_its_own_share_and_partners_whatever_step_was_the_first() -> None:
    whole, later = list(_feed(mixup=0.4).raw(0, 9)), list(_feed(mixup=0.4).raw(4, 9))
    assert len({float(batch.share) for batch in whole}) == 9
    assert all(0 <= float(batch.share) <= 1 and sorted(batch.partner.tolist()) == list(range(8)) for batch in whole)
    for one, two in zip(whole[4:], later, strict=True):
        assert one.share == two.share and torch.equal(one.partner, two.partner)
    assert all(float(batch.share) == 1 for batch in _feed().raw(0, 3))


def test_what_is_mixed_with_an_unknown_label_is_unknown() -> None:
    targets = torch.tensor([[1.0], [torch.nan], [0.0], [1.0]])
    partners = [torch.from_numpy(np.random.default_rng(seed).permutation(4)) for seed in range(10)]
    found = [mix(torch.tensor(0.5), partner, targets)[0] for partner in partners]
    assert all(1 <= int(soft.isnan().sum()) <= 2 for soft in found)


# Images without labels


def _more(count: int = 24) -> Any:
    extra = tiny.dataset(np.full(count, -1), side=16, seed=1)
    extra.canvases[:] = 250
    return extra


@pytest.mark.parametrize("sampler", [False, True])
def test_images_without_labels_are_mixed_into_every_epoch(sampler: bool) -> None:
    feed = _feed(options=OFF, extra=_more(), sampler=sampler)
    assert feed.steps_per_epoch == 8
    for start in (0, 8):
        batches = list(feed.batches(start, start + 8))
        images, targets = (torch.cat(part) for part in zip(*batches, strict=True))
        unknown = torch.isnan(targets).all(dim=1)
        assert torch.equal(unknown, torch.isnan(targets).any(dim=1))
        assert torch.equal(unknown, images.mean(dim=(1, 2, 3)) > 1.9)  # those are bright, the others noise
        if sampler:
            assert 8 <= int(unknown.sum()) <= 40  # 24 of 64 in the mean
        else:
            assert int(unknown.sum()) == 24
        assert sum(bool(torch.isnan(own).any()) for _, own in batches) >= 6  # spread over the batches


def test_evenly_drawn_classes_stay_even_among_the_labelled() -> None:
    feed = _feed(options=OFF, extra=_more(), sampler=True)
    targets = torch.cat([own for _, own in feed.batches(0, 400)])
    share = targets[~torch.isnan(targets).any(dim=1)].mean(dim=0)
    np.testing.assert_allclose(share.numpy(), [0.5, 0.5], atol=0.05)
