"""Tables as people save them: encodings, delimiters, repeated columns, damage."""

from __future__ import annotations

import codecs
from pathlib import Path

import pytest

from edgedx.core.errors import DataError, InputOutputError
from edgedx.core.table import DAMAGED, csv_text, read_table

TEXT = "image,label\nfrüh.png,dark\nb.png,bright\n"
ROWS = [{"image": "früh.png", "label": "dark"}, {"image": "b.png", "label": "bright"}]


@pytest.mark.parametrize(
    "content",
    [
        TEXT.encode(),
        codecs.BOM_UTF8 + TEXT.encode(),
        TEXT.encode("utf-16"),
        TEXT.encode("utf-16-le"),
        TEXT.encode("utf-16-be"),
        TEXT.replace(",", ";").encode(),
        TEXT.replace(",", "\t").encode("utf-16"),
        TEXT.replace("\n", "\r\n").encode(),
        TEXT.replace("\n", "\r").encode(),
        TEXT.replace("image,", " image ,").encode(),
        TEXT.replace("früh.png", '"früh.png"').encode() + b"\n\n",
    ],
)
def test_encoding_and_delimiter_are_recognised(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    assert read_table(tmp_path / "t.csv") == (ROWS, ["image", "label"])


def test_an_8_bit_encoding_is_refused_unless_named(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(TEXT.encode("cp1252"))
    with pytest.raises(DataError, match="UTF-8") as caught:
        read_table(tmp_path / "t.csv")
    assert "data.encoding" in str(caught.value.next_step)
    assert read_table(tmp_path / "t.csv", encoding="cp1252")[0] == ROWS
    with pytest.raises(DataError):
        read_table(tmp_path / "t.csv", encoding="no-such-encoding")


def test_a_comma_within_cells_of_a_semicolon_table_stays(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("image;age\na.png;63,5\nb.png;7,0\n")
    assert [row["age"] for row in read_table(tmp_path / "t.csv")[0]] == ["63,5", "7,0"]


def test_a_table_without_a_header_takes_given_names(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a.png,dark\nb.png,bright\n")
    assert read_table(tmp_path / "t.csv", names=["image", "label"])[0][0] == {"image": "a.png", "label": "dark"}


def test_a_column_that_stands_twice_is_refused_where_its_content_differs(tmp_path: Path) -> None:
    """Tables joined by hand: the last column used to win in silence."""
    (tmp_path / "t.csv").write_text("image,label,label,,\na.png,dark,dark,,\nb.png,dark,bright,,\n")
    with pytest.raises(DataError, match=r"line 3: column 'label' stands 2 times"):
        read_table(tmp_path / "t.csv")
    (tmp_path / "t.csv").write_text("image,label,label,,\na.png,dark,dark,1,2\n")
    rows, columns = read_table(tmp_path / "t.csv")
    assert columns == ["image", "label", ""] and rows[0]["label"] == "dark"


def test_a_nul_becomes_a_sign_that_no_path_has(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"image,label\n\x00a.png,dark\n")
    assert read_table(tmp_path / "t.csv")[0][0]["image"] == f"{DAMAGED}a.png"


def test_short_and_long_rows_show(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("image,label\na.png\nb,c.png,dark\n")
    short, long = read_table(tmp_path / "t.csv")[0]
    assert short["label"] is None and long[None] == ["dark"]  # type: ignore[index]


def test_what_is_no_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputOutputError):
        read_table(tmp_path / "absent.csv")
    (tmp_path / "t.csv").write_bytes(b"")
    assert read_table(tmp_path / "t.csv") == ([], [])


def test_csv_text_ends_lines_plainly() -> None:
    assert csv_text(["a"], [[1], ["x,y"]]) == 'a\n1\n"x,y"\n'
