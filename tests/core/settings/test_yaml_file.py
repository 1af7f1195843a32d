from pathlib import Path

import pytest

from edgedx.core.errors import InputOutputError, RecipeError
from edgedx.core.settings.yaml_file import read_yaml


def _file(tmp_path: Path, text: str) -> Path:
    (tmp_path / "a.yaml").write_text(text)
    return tmp_path / "a.yaml"


def test_plain_yaml_is_read(tmp_path: Path) -> None:
    assert read_yaml(_file(tmp_path, "a: 1\nb: {c: [1, 2], a: x}\n"), RecipeError) == {
        "a": 1,
        "b": {"c": [1, 2], "a": "x"},
    }


@pytest.mark.parametrize(
    "text", ["train: {epochs: 1}\nname: x\ntrain: {epochs: 9}\n", "a:\n  b: 1\n  b: 2\n", "{k: 1, k: 1}"]
)
def test_a_key_that_stands_twice_is_an_error_with_its_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(RecipeError, match=r"stands twice[\s\S]*line \d"):
        read_yaml(_file(tmp_path, text), RecipeError)


@pytest.mark.parametrize("text", ["a: [1, 2", "\tb: 1", "!!python/object/apply:os.system ['true']"])
def test_what_is_not_plain_yaml_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(RecipeError, match="not YAML"):
        read_yaml(_file(tmp_path, text), RecipeError)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputOutputError, match=r"none\.yaml"):
        read_yaml(tmp_path / "none.yaml", RecipeError)
