"""Answers of people: every version kept, durable when given, and the blind ones drawn so that nobody can choose."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgedx.core.errors import StorageError
from edgedx.core.files import sha256_bytes
from edgedx.device.clinic.answers import LONGEST_NOTE, Answers, is_blind, verdict_of

KEY, SHA, BUNDLE = "a" * 64, "b" * 64, "c" * 64
GIVEN = {"key": KEY, "sha256": SHA, "bundle": BUNDLE, "person": "amina", "shown": "pneumonia"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "answers.sqlite"


def test_every_version_of_an_answer_is_kept_and_the_last_one_is_in_force(path: Path) -> None:
    answers = Answers(path)
    first = answers.give(**GIVEN, label="pneumonia")
    other = answers.give(**{**GIVEN, "person": "joseph"}, label=None, reason="poor_image")
    second = answers.give(**GIVEN, label="normal", reason="overcalled", note="rib\nshadow")
    assert [one.sequence for one in answers.history(KEY)] == [first, other, second]
    agreed, told, changed = answers.history(KEY)
    assert (agreed.verdict, agreed.replaces) == ("agree", None)
    assert (told.verdict, told.label, told.replaces) == ("cannot_tell", None, None)
    assert (changed.verdict, changed.label, changed.note, changed.replaces) == (
        "disagree",
        "normal",
        "rib\nshadow",
        first,
    )
    assert [one.sequence for one in answers.latest()] == [other, second]
    assert answers.count() == 2


def test_answered_tells_by_key_and_by_person(path: Path) -> None:
    answers = Answers(path)
    keys = [f"{number:064x}" for number in range(1200)]  # more than one statement takes
    for key in (keys[0], keys[1199]):
        answers.give(**{**GIVEN, "key": key}, label="normal")
    assert answers.answered(keys) == {keys[0], keys[1199]}
    assert answers.answered(keys, "amina") == {keys[0], keys[1199]}
    assert answers.answered(keys, "joseph") == answers.answered([]) == set()


@pytest.mark.parametrize(
    ("label", "shown", "verdict"),
    [
        ("normal", "normal", "agree"),
        ("normal", "pneumonia", "disagree"),
        (None, "pneumonia", "cannot_tell"),
        (None, None, "cannot_tell"),
        ("normal", None, "disagree"),
        ("a|b", "b|a", "agree"),
        ("", "", "agree"),
        ("", "a", "disagree"),
        ("a", "a|b", "disagree"),
    ],
)
def test_a_verdict_is_said_of_two_labels(label: str | None, shown: str | None, verdict: str) -> None:
    assert verdict_of(label, shown) == verdict


def test_what_is_no_answer_is_not_recorded(path: Path) -> None:
    answers = Answers(path)
    for wrong in ({"reason": "bored"}, {"note": "x" * (LONGEST_NOTE + 1)}, {"person": ""}):
        with pytest.raises(ValueError):
            answers.give(**{**GIVEN, **wrong}, label="normal")
    assert answers.count() == 0 and answers.history(KEY) == []


def test_hostile_text_is_text(path: Path) -> None:
    answers = Answers(path)
    note = "'); DROP TABLE answers; --\x00<script>"
    answers.give(**{**GIVEN, "person": "o'brien"}, label="normal", note=note)
    assert answers.history(KEY)[0].note == note
    assert answers.answered([KEY], "o'brien") == {KEY}


def test_who_reads_only_reads(path: Path) -> None:
    Answers(path).give(**GIVEN, label="normal")
    looking = Answers(path, read_only=True)
    assert looking.count() == 1
    with pytest.raises(StorageError):
        looking.give(**GIVEN, label="normal")
    looking.close()


GIVING = """
import sys
from pathlib import Path
from edgedx.device.clinic.answers import Answers
answers = Answers(Path(sys.argv[1]))
for number in range(1_000_000):
    answers.give(key=f"{number:064x}", sha256="b" * 64, bundle="c" * 64, person="amina", label="normal", shown="normal")
    print(number, flush=True)
"""


@pytest.mark.parametrize("kill_after", [0.3, 0.7])
def test_every_answer_that_was_acknowledged_survives_a_kill(path: Path, kill_after: float) -> None:
    child = subprocess.Popen([sys.executable, "-c", GIVING, str(path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    said = [int(child.stdout.readline())]
    time.sleep(kill_after)
    os.kill(child.pid, signal.SIGKILL)
    said += [int(line) for line in child.stdout if line.endswith("\n")]
    child.stdout.close()
    assert child.wait() == -signal.SIGKILL
    answers = Answers(path)
    assert answers.check() == "ok"
    kept = [int(one.key, 16) for one in answers.latest()]
    assert len(said) > 2 and kept[: len(said)] == said
    assert len(kept) - len(said) <= 1  # one may be durable and not yet said


def test_a_full_disk_is_said_and_what_was_given_stays(small_disk: Path) -> None:
    answers = Answers(small_disk / "answers.sqlite")
    answers.give(**GIVEN, label="normal")
    with pytest.raises(StorageError, match="full"):
        for _ in range(2000):
            answers.give(**GIVEN, label="normal", note="x" * LONGEST_NOTE)
    assert answers.check() == "ok" and answers.history(KEY)[0].label == "normal"
    answers.close()


def test_blind_reads_are_a_share_that_content_and_bundle_draw() -> None:
    contents = [sha256_bytes(str(number).encode()) for number in range(20_000)]
    drawn = [one for one in contents if is_blind(one, BUNDLE)]
    assert 900 < len(drawn) < 1100  # 5 %: 1000 with a standard deviation of 31
    assert drawn == [one for one in contents if is_blind(one, BUNDLE, 0.05)]
    assert set(drawn) != {one for one in contents if is_blind(one, "d" * 64)}
    assert not any(is_blind(one, BUNDLE, 0.0) for one in contents[:100])
    assert all(is_blind(one, BUNDLE, 1.0) for one in contents[:100])


def test_the_draw_is_the_one_that_is_documented() -> None:
    import hashlib

    share = int.from_bytes(hashlib.sha256(b"blind" + BUNDLE.encode() + SHA.encode()).digest()[:8], "big") / 2**64
    assert not is_blind(SHA, BUNDLE, share) and is_blind(SHA, BUNDLE, share + 1e-9)
