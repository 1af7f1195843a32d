"""The benchmark of other people's tools: one judge for all, tables that keep the words around them, plain failures."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgedx.core.errors import DataError
from edgedx.core.settings.recipe_sections import Task

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
import foreign_tools  # noqa: E402
import peers_figures  # noqa: E402

sys.path.remove(str(BENCHMARKS))
OURS = peers_figures.EDGEDX


def _judged(classes: int) -> dict[str, Any]:
    """A peer that ranks by chance, one that answers what edgedx answers, and edgedx, which ranks well."""
    rng = np.random.default_rng(0)
    labels = np.arange(240) % classes
    good = 3.0 * np.eye(classes)[labels] + rng.normal(size=(240, classes))
    logits = {OURS: good, "chance": rng.normal(size=good.shape), "copy": good.copy()}
    names = [f"c{index}" for index in range(classes)]
    task = Task(kind="binary", classes=names, positive="c1") if classes == 2 else Task(kind="multiclass", classes=names)
    part = SimpleNamespace(
        names=[str(index) for index in range(240)], patients=[f"p{index // 2}" for index in range(240)], labels=labels
    )
    recipe = SimpleNamespace(task=task, title="A set", preprocess=SimpleNamespace(size=(8, 8)))
    sized = type("Part", (SimpleNamespace,), {"__len__": lambda self: len(self.names)})(**vars(part))
    contest: Any = SimpleNamespace(
        recipe=recipe, parts={"test": sized}, calibration=[0] * 5, failed={"A tool, slow": "took too long"}
    )
    peers: Any = [
        SimpleNamespace(name=name, path=Path(f"{name}.onnx"), graph="student", runtime="onnxruntime", fused=True,
                        megabytes=1.0, told={}) for name in logits
    ]  # fmt: skip
    times = {name: {"p50_ms": 2.0 if name == OURS else 5.0, "min_ms": 1.0} for name in logits}
    return peers_figures.of_contest(contest, peers, logits, times, load=2.0)


@pytest.mark.parametrize("classes", [2, 3])
def test_a_worse_peer_is_told_apart_and_an_equal_one_is_not(classes: int) -> None:
    found = _judged(classes)["models"]
    chance, copy = found["chance"]["less_edgedx"], found["copy"]["less_edgedx"]
    assert chance["high"] < -0.2 and chance["p_holm"] < 1e-6 and chance["p_holm"] >= chance["p"]
    assert copy["value"] == copy["low"] == copy["high"] == 0.0
    assert "less_edgedx" not in found[OURS]
    assert len(chance["delong_by_class"]) == (3 if classes == 3 else 0)
    assert found["copy"]["p50_over_edgedx"] == 2.5 and found[OURS]["auc"]["low"] < found[OURS]["auc"]["value"]


def test_the_page_keeps_its_words_and_says_that_the_machine_was_busy(tmp_path: Path) -> None:
    page = tmp_path / "peers.md"
    page.write_text(f"before\n{peers_figures.BEGIN}\nold\n{peers_figures.END}\nafter\n")
    report = {
        "machine": "a CPU", "vnni": True, "date": "2026-11-28", "tools": {"ort": ["onnxruntime==1"]},
        "not_installed": {}, "sets": {"one": _judged(2)},
    }  # fmt: skip
    peers_figures.write_page(report, page)
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("\nafter\n") and "\nold\n" not in text
    assert "was busy" in text and f"| **{OURS}** |" in text and "A tool, slow gave nothing: took too long" in text
    peers_figures.write_page(report, page)
    assert page.read_text() == text
    page.write_text("no marks")
    with pytest.raises(DataError, match="marks"):
        peers_figures.write_page(report, page)
    assert page.read_text() == "no marks"


def test_a_tool_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "venv-ort"
    (home / "bin").mkdir(parents=True)
    (home / "bin" / "python").symlink_to(sys.executable)
    (home / "installed").touch()
    (tmp_path / "broken.py").write_text("raise SystemExit('no such calibrator')")
    monkeypatch.setattr(foreign_tools, "SCRIPTS", tmp_path)
    with pytest.raises(foreign_tools.Foreign, match="no such calibrator"):
        foreign_tools.Tool("ort", tmp_path).run("broken")
    monkeypatch.setattr(foreign_tools, "LIMIT", 0.2)
    (tmp_path / "slow.py").write_text("import time; time.sleep(60)")
    with pytest.raises(foreign_tools.Foreign, match="longer than"):
        foreign_tools.Tool("ort", tmp_path).run("slow")


def test_edgedx_and_its_other_tests_import_no_foreign_tool() -> None:
    """Ultralytics is AGPL: it may be driven, in an environment of its own, and nothing more."""
    root = BENCHMARKS.parent
    scripts = [*(root / "edgedx").rglob("*.py"), *(root / "tests").rglob("*.py"), *BENCHMARKS.glob("*.py")]
    lines = [line.split() for path in scripts for line in path.read_text(encoding="utf-8").splitlines()]
    imported = {words[1].partition(".")[0] for words in lines if len(words) > 1 and words[0] in ("import", "from")}
    assert not imported & {"ultralytics", "nncf", "modelopt", "openvino"}
