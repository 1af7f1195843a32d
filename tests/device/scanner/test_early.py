"""Files are decoded before the ledger knows them: read once, unless an earlier scanner may have died of one."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundles import WarmDecoder, png
from places import SETTLE, Place

from edgedx.core.files import sha256_file
from edgedx.device.scanner import intake
from edgedx.device.scanner.early import MARK
from edgedx.device.scanner.inbox import Inbox
from edgedx.device.scanner.intake import AHEAD, PORTION

PATIENCE = 30.0  # seconds; only a failure takes so long


class Watched:
    """A real decoder that says what it is asked."""

    def __init__(self, inner: WarmDecoder, before: Callable[[Path], object] = lambda path: None) -> None:
        self._inner, self._before = inner, before
        self.asked: list[tuple[str, bool]] = []

    def warm(self) -> None:
        self._inner.warm()

    def close(self) -> None:
        """The real one stays for the next test."""

    def decode(self, path: Path, sha256: str | None) -> Any:
        self.asked.append((path.name, sha256 is None))
        self._before(path)
        return self._inner.decode(path, sha256)


def _fill(place: Place, count: int) -> list[str]:
    return [png(place.inbox / f"{seed:02d}.png", seed).name for seed in range(count)]


def test_each_file_is_read_once(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Inbox, "hash", lambda self, name: pytest.fail("read by the scanner"))
    names = _fill(place, PORTION + 1)
    watched = Watched(place.decoder)
    assert place.scan(decoder=watched)["done"] == len(names)
    assert watched.asked == [(name, True) for name in names]


def test_the_next_portions_are_decoded_while_one_is_answered(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = threading.Semaphore(0)
    count = (1 + AHEAD) * PORTION
    _fill(place, count)
    with place.scanner(decoder=Watched(place.decoder, lambda path: begun.release())) as scanner:
        predict, answered = scanner.predictor.predict_canvases, []

        def waiting(canvases: Any, *about: Any) -> Any:
            if not answered:
                assert all(begun.acquire(timeout=PATIENCE) for _ in range(count)), "decoding waits for inference"
            answered.append(len(canvases))
            return predict(canvases, *about)

        monkeypatch.setattr(scanner.predictor, "predict_canvases", waiting)
        assert scanner.run_once()["done"] == count
    assert sum(answered) == count


def test_what_was_decoded_is_answered_before_more_is_received(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "AHEAD", 0)
    _fill(place, 3 * PORTION)
    with place.scanner() as scanner:
        counts: list[int] = []
        scanner.on_result = lambda result: counts.append(sum(scanner.journal.counts().values()))
        scanner.run_once()
    assert counts == sorted([PORTION, 2 * PORTION, 3 * PORTION] * PORTION), "a batch waited for the next ones"


def test_decoding_goes_on_from_one_pass_to_the_next(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "PASS_SECONDS", -1.0)  # each pass is over after one portion
    names = _fill(place, 5 * PORTION)
    begun = threading.Semaphore(0)
    watched = Watched(place.decoder, lambda path: begun.release())
    with place.scanner(decoder=watched) as scanner:
        scanner.look()
        place.time.now += SETTLE
        scanner._pass()
        assert scanner.journal.counts()["done"] == PORTION
        assert all(begun.acquire(timeout=PATIENCE) for _ in range((1 + AHEAD) * PORTION)), "decoders are idle"
        late = place.inbox / names[PORTION]
        png(late, 999)  # it was decoded, and nobody has asked for it
        assert scanner.run_once()["done"] == len(names)
    assert place.results()[late.name]["source"]["sha256"] == sha256_file(late)
    assert sorted(watched.asked) == sorted([(name, True) for name in (*names, late.name)])


def test_what_is_due_does_not_wait_for_files_that_take_long_to_hash(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.distrust()
    png(place.inbox / "a.png", 1)
    with place.scanner() as scanner:
        scanner.look()
        place.time.now += SETTLE
        assert scanner.look() == 1
        monkeypatch.setattr(intake, "PASS_SECONDS", -1.0)
        monkeypatch.setattr(intake, "HASH_SECONDS", 0.0)
        hashed, whole = threading.Event(), Inbox.hash
        monkeypatch.setattr(Inbox, "hash", lambda self, name: hashed.wait(PATIENCE) and whole(self, name))
        png(place.inbox / "b.png", 2)
        scanner.look()
        place.time.now += SETTLE
        until = time.monotonic() + PATIENCE
        while not scanner.journal.counts()["done"]:
            scanner._pass()
            assert scanner._intake.has_more and time.monotonic() < until
        hashed.set()
        assert scanner.run_once()["done"] == 2


def test_a_scanner_that_ends_waits_for_what_is_being_decoded(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "PASS_SECONDS", -1.0)
    names = _fill(place, 3 * PORTION)
    with place.scanner() as scanner:
        scanner.look()
        place.time.now += SETTLE
        scanner._pass()
        assert scanner.journal.counts()["done"] == PORTION
    assert not (place.out / MARK).exists()
    assert place.scan()["done"] == len(names)


def test_a_content_that_ends_the_scanner_when_it_is_answered_is_put_aside(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = _fill(place, 3)
    ends = 0
    for _ in range(8):
        with contextlib.suppress(SystemExit), place.scanner() as scanner:
            predict = scanner.predictor.predict_canvases
            deadly = place.decoder.decode(place.inbox / names[1], None).canvas

            def answer(canvases: Any, *about: Any, predict: Any = predict, deadly: Any = deadly) -> Any:
                if any(np.array_equal(canvas, deadly) for canvas in canvases):
                    nonlocal ends
                    ends += 1
                    raise SystemExit
                return predict(canvases, *about)

            monkeypatch.setattr(scanner.predictor, "predict_canvases", answer)
            scanner.run_once()
        if ends == 6:
            break
    monkeypatch.undo()
    assert place.scan() == {"received": 0, "claimed": 0, "done": 2, "refused": 0, "quarantined": 1}
    assert ends == 1 + 5, "once by its mark, and then by its claims"


def test_a_file_that_is_bad_is_tried_again_in_the_usual_way(place: Place) -> None:
    (place.inbox / "letter.txt").write_text("Dear colleague")
    watched = Watched(place.decoder)
    assert place.scan(decoder=watched)["quarantined"] == 1
    assert watched.asked[0] == ("letter.txt", True) and ("letter.txt", False) in watched.asked[1:]
    assert place.results()["letter.txt"]["reason"]["code"] == "UNKNOWN_FORMAT"


def test_a_file_that_changes_while_it_is_decoded_is_read_as_it_is_then(place: Place) -> None:
    path = png(place.inbox / "a.png", 1)

    def change(path: Path) -> None:
        if path.stat().st_size == before:
            png(path, 2, size=40)

    before = path.stat().st_size
    place.scan(decoder=Watched(place.decoder, change))
    assert place.results()["a.png"]["source"]["sha256"] == sha256_file(path)


def test_a_content_under_two_names_has_one_result(place: Place) -> None:
    for name in ("a", "b", "c"):
        png(place.inbox / f"{name}.png", 7)
    with place.scanner() as scanner:
        assert scanner.run_once()["done"] == 1
        scanner.look()
        assert scanner._early.take(next(scanner.journal.items()).sha256) is None, "kept for ever"
    assert len(list((place.out / "results").glob("*.json"))) == 1


def test_a_death_is_remembered_until_its_work_is_done(place: Place) -> None:
    class Dies(Exception):
        pass

    def die(path: Path) -> None:
        raise Dies

    names = _fill(place, 3)
    with pytest.raises(Dies):
        place.scan(decoder=Watched(place.decoder, die))
    assert (place.out / MARK).exists()
    watched = Watched(place.decoder)
    with place.scanner(decoder=watched) as scanner:
        scanner.run_once()
        assert watched.asked == [(name, False) for name in names], "decoded before it was claimed"
        png(place.inbox / "new.png", 99)
        scanner.run_once()
        assert watched.asked[3:] == [("new.png", True)]
        assert (place.out / MARK).exists()
    assert not (place.out / MARK).exists()
    assert {result["status"] for result in place.results().values()} == {"done"} and len(place.results()) == 4


def test_a_stop_leaves_what_was_decoded_ahead_to_the_next_scanner(place: Place) -> None:
    names = _fill(place, 3 * PORTION)
    with place.scanner() as scanner:
        scanner.look()
        place.time.now += SETTLE
        scanner.on_answer = lambda: setattr(scanner, "stop", True)
        scanner.run_once()
        assert 0 < scanner.journal.counts()["done"] < len(names)
        assert not list(scanner.journal.items("claimed"))
    assert not (place.out / MARK).exists()
    assert place.scan()["done"] == len(names)
