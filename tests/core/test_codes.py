"""One table of reason codes, and nothing in the code beside it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from edgedx.core.codes import Code

PACKAGE = Path(__file__).resolve().parents[2] / "edgedx"
# Where code of edgedx says a reason by its name: ImageError("X", Reason(code="X", {"code": "X", _refusal("X".
SAID = re.compile(r"""(?:ImageError\(|Reason\(\s*code=|["']code["']:|_refusal\()\s*["']([A-Z][A-Z_]+)["']""")


def test_every_code_is_its_own_name_with_a_meaning_and_a_remedy_of_its_own_kind() -> None:
    for code in Code:
        assert code.value == code.name == str(code.value)
        assert code.outcome in {"refused", "quarantined"}
        assert code.meaning.endswith(".") and code.remedy.endswith(".")
    assert len({code.meaning for code in Code}) == len(Code)


@pytest.mark.parametrize("zone", ["dicom", "device"])
def test_no_module_gives_a_reason_that_the_table_lacks(zone: str) -> None:
    # De-identified copies and pictures of the page are refused with codes of their own: no result has them.
    said = {(path.name, code) for path in (PACKAGE / zone).rglob("*.py") for code in SAID.findall(path.read_text())}
    said = {
        (name, code)
        for name, code in said
        if name
        not in ("deidentify.py", "deidentified_copies.py", "export_answers.py", "records.py", "picture_worker.py")
    }
    assert {(name, code) for name, code in said if code not in Code.__members__} == set()
    if zone == "device":
        assert ("decoder.py", "DECODER_CRASH") in said, "the pattern finds what it is for"
