"""What is watched is counted once, does not grow, and survives clocks and crashes."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from monitored import ABOUT, NOON, images, reference, write

from edgedx.core.errors import InputOutputError
from edgedx.device.monitor import store as module
from edgedx.device.monitor.store import MONITOR, Watched, open_watched


def test_a_result_that_is_read_again_is_counted_once(tmp_path: Path) -> None:
    batch = images(8)
    store = Watched(tmp_path / MONITOR)
    model = store.begin("b" * 64, "fp32", ABOUT, None)
    assert store.add(model, batch) == 8 and store.add(model, [*batch[:7], *images(1, first=50)]) == 1
    assert store.count(model) == 9
    (day,) = store.days(model, last=10)
    assert day[0] == NOON // 86400 and day[1]["images"] == day[1]["answered"] == 9
    store.close()


def test_it_does_not_grow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_IMAGES", 300)
    monkeypatch.setattr(module, "MOST_DAYS", 4)
    store = Watched(tmp_path / MONITOR)
    model = store.begin("b" * 64, "fp32", ABOUT, None)
    sizes = []
    for first in range(0, 3000, 100):
        store.add(model, images(100, first=first, day=first // 50))
        sizes.append((tmp_path / MONITOR).stat().st_size)
    assert store.count(model) <= 400 and len(list(store.days(model, last=100))) <= 6
    assert sizes[-1] <= 1.05 * sizes[9]
    assert [one.facts["p"] for one in store.images(model, last=2)] == [
        {name: pytest.approx(value, rel=1e-5) for name, value in one.probabilities.items()}
        for one in images(100, first=2900, day=58)[-2:]
    ]
    store.close()


def test_a_clock_a_century_ahead_wipes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_DAYS", 5)
    store = Watched(tmp_path / MONITOR)
    model = store.begin("b" * 64, "fp32", ABOUT, None)
    store.add(model, images(150))
    store.add(model, [replace(one, when=one.when + 36500 * 86400) for one in images(60, first=200)])
    store.add(model, images(150, first=300, day=3))
    days = [day - NOON // 86400 for day, _ in store.days(model, last=10)]
    assert days[:3] == [0, 1, 2] or len(days) == 5  # in order of arrival, the last five at most
    assert {3, 4, 5} <= set(days)
    store.close()


def test_each_model_has_its_own_and_the_salt_stays(tmp_path: Path) -> None:
    store = Watched(tmp_path / MONITOR)
    salt = store.salt()
    one = store.begin("b" * 64, "fp32", ABOUT, reference().model_dump_json())
    store.add(one, images(10))
    other = store.begin("c" * 64, "fp32", ABOUT, None)
    store.add(other, images(5, first=100))
    assert (store.count(one), store.count(other)) == (10, 5) and store.salt() == salt and len(salt) == 16
    assert store.begin("b" * 64, "fp32", ABOUT, None) == one
    known = store.model()
    assert known is not None and known.number == one and known.reference is not None  # what was known is kept
    store.close()


def test_to_look_needs_something_to_look_at(tmp_path: Path) -> None:
    with pytest.raises(InputOutputError, match=r"nothing was watched .* no monitor\.sqlite"):
        open_watched(tmp_path)
    write(tmp_path, [images(3)])
    watched = open_watched(tmp_path)
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        watched._db.execute("DELETE FROM images")
    watched.close()
