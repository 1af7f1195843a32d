"""Decoding runs ahead of inference, in several processes; the ledger's rules hold all the same.

Here each file is claimed before it is decoded, as after a death; see test_early for the usual way.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from bundles import WarmDecoder, png
from places import SETTLE, Place, received

from edgedx.core.errors import StorageError
from edgedx.device.scanner.readers import Readers
from edgedx.device.scanner.scanner import Scanner
from edgedx.device.scanner.work import BATCH

PATIENCE = 30.0  # seconds; only a failure takes so long


class Watched:
    """A real decoder with something to do before it decodes."""

    def __init__(self, inner: WarmDecoder, before: Any) -> None:
        self._inner, self._before = inner, before

    def warm(self) -> None:
        """By the thread that asks: the process ends with the thread that started it."""
        self._inner.warm()

    def close(self) -> None:
        """The real one stays for the next test."""

    def decode(self, path: Path, sha256: str | None) -> Any:
        self._before(path)
        return self._inner.decode(path, sha256)


@pytest.fixture
def place(place: Place) -> Place:
    place.distrust()
    return place


def _fill(place: Place, count: int, scanner: Scanner) -> None:
    for seed in range(count):
        png(place.inbox / f"{seed:02d}.png", seed)
    scanner.look()
    place.time.now += SETTLE
    assert received(scanner) == count


def _use(scanner: Scanner, *decoders: Watched) -> None:
    scanner._work.readers = Readers(scanner._work.examiner, decoders)  # type: ignore[arg-type]


def test_decoders_work_at_the_same_time(place: Place) -> None:
    meet, lock = threading.Barrier(2), threading.Lock()

    def before(path: Path) -> None:
        meet.wait(PATIENCE)  # broken, and an error, unless another decoder is here, too
        lock.acquire()  # the real decoder behind both is one
        lock.release()

    with place.scanner() as scanner:
        _fill(place, 4, scanner)
        own = [WarmDecoder(), WarmDecoder()]
        _use(scanner, *(Watched(one, before) for one in own))
        assert scanner.work() == 4
        for one in own:
            one.end()
    assert {result["status"] for result in place.results().values()} == {"done"}


def test_the_next_batch_is_decoded_while_one_is_answered(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = threading.Semaphore(0)
    with place.scanner() as scanner:
        _fill(place, BATCH + 1, scanner)
        _use(scanner, Watched(place.decoder, lambda path: begun.release()))
        predict, answered = scanner.predictor.predict_canvases, []

        def waiting(canvases: Any, *about: Any) -> Any:
            if not answered:
                assert all(begun.acquire(timeout=PATIENCE) for _ in range(BATCH + 1)), "decoding waits for inference"
            answered.append(len(canvases))
            return predict(canvases, *about)

        monkeypatch.setattr(scanner.predictor, "predict_canvases", waiting)
        assert scanner.work() == BATCH + 1
    assert answered == [BATCH, 1]


def test_decoding_goes_on_while_more_files_are_hashed(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgedx.device.scanner.intake.PORTION", BATCH)
    begun, hashed = threading.Semaphore(0), []
    for seed in range(2 * BATCH):
        png(place.inbox / f"{seed:02d}.png", seed)
    with place.scanner() as scanner:
        _use(scanner, Watched(place.decoder, lambda path: begun.release()))
        whole = scanner._source.hash

        def hash_(name: str) -> str:
            hashed.append(name)
            if len(hashed) == BATCH + 1:
                assert begun.acquire(timeout=PATIENCE), "the first portion waits for the second"
                assert not place.results()
            return whole(name)

        scanner._source.hash = hash_  # type: ignore[method-assign]
        assert scanner.run_once()["done"] == 2 * BATCH
    assert len(hashed) == 2 * BATCH


def test_what_may_have_ended_a_scanner_is_claimed_alone(place: Place) -> None:
    with place.scanner() as scanner:
        _fill(place, 5, scanner)
        first = scanner.journal.pending(2)
        scanner.journal.claim([item.key for item in first])
    claimed = []
    with place.scanner() as scanner:
        _use(scanner, Watched(place.decoder, lambda path: None))
        claim = scanner.journal.claim

        def noted(keys: Any) -> None:
            claim(keys)
            claimed.append(len(list(scanner.journal.items("claimed"))))

        scanner.journal.claim = noted  # type: ignore[method-assign]
        assert scanner.work() == 5
    # The second suspect still stands as claimed by the scanner that ended while the first is read.
    assert claimed == [2, 1, 3]


def test_a_stop_gives_back_what_was_decoded_ahead_and_counts_no_attempt(place: Place) -> None:
    with place.scanner() as scanner:
        _fill(place, 3 * BATCH, scanner)
        scanner.on_answer = lambda: setattr(scanner, "stop", True)
        assert scanner.work() == BATCH
        left = list(scanner.journal.items("received"))
        assert len(left) == 2 * BATCH and {item.attempts for item in left} == {0}
        assert not list(scanner.journal.items("claimed"))
    assert place.scan()["done"] == 3 * BATCH


def test_a_full_disk_gives_everything_back(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise StorageError("no space")

    with place.scanner() as scanner:
        _fill(place, 2 * BATCH, scanner)
        with monkeypatch.context() as patch:
            patch.setattr(scanner.publisher, "write", full)
            with pytest.raises(StorageError):
                scanner.work()
        assert {(item.status, item.attempts) for item in scanner.journal.items()} == {("received", 0)}
    assert place.scan()["done"] == 2 * BATCH
