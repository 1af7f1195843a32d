"""The notebook of the documentation runs from its first cell to its last, in a kernel of its own."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest

NOTEBOOK = Path(__file__).parents[2] / "docs" / "python.ipynb"


@pytest.mark.slow
def test_the_notebook_runs_and_its_prediction_shows_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nbclient import NotebookClient

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "outputs are not kept: they would grow old"
    client = NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": tmp_path}})
    client.execute()
    results = [cell.outputs[-1]["data"] for cell in notebook.cells if cell.cell_type == "code"]
    assert "not a medical device" in results[4]["text/html"] and "<img" in results[4]["text/html"]
    assert "opacity" in results[5]["text/plain"]
    assert list((tmp_path / "runs/notebook/devices").glob("*/bundle/*.edgedx"))
