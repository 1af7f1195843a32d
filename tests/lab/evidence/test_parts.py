"""Results kept as they come: a stopped command computes nothing twice, and never mixes two calls."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from death import run_until_killed

from edgedx.lab.evidence.parts import FOLDER, Parts, digest_of


def _work(folder: Path, about: dict[str, int], computed: list[int]) -> list[float]:
    parts, results = Parts(folder, about), []
    for number in range(6):

        def compute(number: int = number) -> np.ndarray:
            computed.append(number)
            return np.array([number * about["factor"]], float)

        results.append(float(parts.array(f"part {number}", compute)[0]))
    return results


def test_wherever_it_is_killed_it_goes_on_there(tmp_path: Path) -> None:
    expected = [0.0, 3.0, 6.0, 9.0, 12.0, 15.0]
    fewer = set()
    for step in range(1, 200):
        folder = tmp_path / str(step)
        killed, _ = run_until_killed(lambda folder=folder: _work(folder, {"factor": 3}, []), step)  # type: ignore[misc]
        if not killed:
            break
        computed: list[int] = []
        assert _work(folder, {"factor": 3}, computed) == expected
        assert computed == list(range(6 - len(computed), 6))
        fewer.add(len(computed))
    assert fewer == set(range(7)) - {0} or fewer == set(range(7)), "each part was the first to be missing once"


def test_what_was_kept_of_other_settings_is_not_used(tmp_path: Path) -> None:
    _work(tmp_path, {"factor": 3}, [])
    computed: list[int] = []
    assert _work(tmp_path, {"factor": 4}, computed)[-1] == 20.0 and len(computed) == 6


def test_a_damaged_part_is_computed_again(tmp_path: Path) -> None:
    _work(tmp_path, {"factor": 3}, [])
    for path, damage in zip(
        sorted((tmp_path / FOLDER).glob("*.npz")), (b"", b"PK\x03\x04cut", b"not an archive"), strict=False
    ):
        path.write_bytes(damage)
    computed: list[int] = []
    assert _work(tmp_path, {"factor": 3}, computed)[-1] == 15.0 and len(computed) == 3


def test_when_all_is_written_the_parts_go(tmp_path: Path) -> None:
    _work(tmp_path, {"factor": 3}, [])
    Parts(tmp_path, {"factor": 3}).finish()
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_is_known_by_all_of_its_files(tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text("{}")
    before = digest_of(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    assert digest_of(tmp_path) != before and digest_of(tmp_path / "model.json") != before
