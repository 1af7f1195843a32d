"""Labels from images, results and answers: the same figures, and what a reader must know of each."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from places import Place
from sites import labelled

from edgedx.core.bundle.manifest import Bundle
from edgedx.core.errors import DataError, InputOutputError, UsageError
from edgedx.device.clinic.answers import ANSWERS, Answers
from edgedx.device.threshold.evidence import SEEN, class_of, from_answers, from_images, from_results
from edgedx.device.threshold.given import Given
from edgedx.device.threshold.table import threshold_table


@pytest.fixture
def scanned(place: Place) -> tuple[Place, Path]:
    """Forty images in the inbox, read, and their labels."""
    table = labelled(place.inbox, each=20)
    labels = place.out.with_name("labels.csv")
    table.rename(labels)
    assert place.scan()["done"] == 40
    return place, labels


def test_results_and_labels_say_what_the_images_say(scanned: tuple[Place, Path], bundle: Bundle) -> None:
    place, labels = scanned
    told = from_results(bundle, place.out, labels, ["sex"])
    beside = labels.with_name("beside.csv")
    rows = list(csv.reader(labels.open()))
    with beside.open("w", newline="") as stream:
        csv.writer(stream).writerows([rows[0], *([f"inbox/{row[0]}", *row[1:]] for row in rows[1:])])
    seen = from_images(bundle, beside, ["sex"])
    assert told.digest == seen.digest
    assert told.cases.labels.tolist() == seen.cases.labels.tolist()
    assert told.probabilities == pytest.approx(seen.probabilities)
    one, two = (threshold_table(bundle, each, "bright", subgroups=["sex"]) for each in (told, seen))
    assert one.parts == two.parts and (one.source, two.source) == ("results", "images")
    assert [part.name for part in one.parts] == ["", "sex: F", "sex: M"]
    assert all(len(part.rows) == 42 for part in one.parts), "40 images, one threshold more, and the bundle's own"


@pytest.mark.parametrize("column", ["sha256", "key"])
def test_images_are_named_by_content_or_by_key_too(scanned: tuple[Place, Path], bundle: Bundle, column: str) -> None:
    place, labels = scanned
    results = place.results()
    rows = list(csv.reader(labels.open()))[1:]
    names = [results[row[0]]["source"]["sha256"] if column == "sha256" else results[row[0]]["key"] for row in rows]
    with labels.open("w", newline="") as stream:
        csv.writer(stream).writerows(
            [("image", "label"), *zip(names, [row[1] for row in rows], strict=True), ("x", "dark")]
        )
    found = from_results(bundle, place.out, labels)
    assert len(found.done) == 40 and found.remarks == (
        f"1 of 41 labelled images have no result of this bundle in {place.out}",
    )  # fmt: skip


def test_results_of_another_bundle_do_not_count(scanned: tuple[Place, Path], tmp_path: Path) -> None:
    from bundles import write_tiny

    place, labels = scanned
    other = write_tiny(tmp_path / "other.edgedx", version="9")
    with pytest.raises(DataError, match="none of 40 images has a result of this bundle"):
        from_results(other, place.out, labels)


def answer(place: Place, name: str, label: str | None, person: str = "amina", *, blind: bool = True) -> None:
    result = place.results()[name]
    answers = Answers(place.out / ANSWERS)
    answers.give(
        key=result["key"], sha256=result["source"]["sha256"], bundle=place.bundle.digest, person=person, label=label,
        shown=result["prediction"]["label"], blind=blind,
    )  # fmt: skip
    answers.close()


def test_of_answers_the_first_blind_ones_count(scanned: tuple[Place, Path], bundle: Bundle) -> None:
    place, _ = scanned
    names = sorted(place.results())
    for number, name in enumerate(names[:10]):
        answer(place, name, "bright" if number % 2 else "dark")
    answer(place, names[0], "bright", blind=False)  # changed after a look
    answer(place, names[11], "bright", blind=False)
    answer(place, names[2], "bright", person="joseph")  # says otherwise
    answer(place, names[4], None, person="joseph")  # cannot tell
    blind = from_answers(bundle, place.out)
    assert len(blind.done) == 9
    labels = {one.sha256: one.labels for one in blind.done}
    assert labels[place.results()[names[0]]["source"]["sha256"]] == ("dark",)
    assert "1 images that people answered differently are left out" in blind.remarks
    assert blind.source == "blind answers" and SEEN not in blind.remarks
    seen = from_answers(bundle, place.out, seen=True)
    labels = {one.sha256: one.labels for one in seen.done}
    assert labels[place.results()[names[0]]["source"]["sha256"]] == ("bright",)
    assert len(seen.done) == 10 and seen.remarks[0] == SEEN and seen.source == "answers"


def test_without_answers_it_says_so(place: Place, bundle: Bundle) -> None:
    place.scan()
    with pytest.raises(InputOutputError, match="nobody has answered"):
        from_answers(bundle, place.out)
    Answers(place.out / ANSWERS).close()
    with pytest.raises(DataError, match="no blind answers"):
        from_answers(bundle, place.out)


def test_a_copy_is_no_second_case_and_two_labels_are_refused(tmp_path: Path, bundle: Bundle) -> None:
    table = labelled(tmp_path / "images", each=3)
    (table.parent / "copy.png").write_bytes((table.parent / "0000.png").read_bytes())
    with table.open("a") as stream:
        stream.write("copy.png,dark,,F\n")
    found = from_images(bundle, table)
    assert len(found.done) == 6 and found.remarks == ("1 copies of images that are listed already are left out",)
    table.write_text(table.read_text().replace("copy.png,dark", "copy.png,bright"))
    with pytest.raises(DataError, match="the same image is labelled 'dark' and 'bright'"):
        from_images(bundle, table)


def test_images_that_are_not_answered_are_counted_by_code(tmp_path: Path, bundle: Bundle) -> None:
    table = labelled(tmp_path / "images", each=3)
    (table.parent / "0001.png").write_bytes(b"\x89PNG\r\n\x1a\ncut")
    found = from_images(bundle, table)
    assert len(found.done) == 5 and found.not_answered.startswith("1 ")
    assert any("not part of any figure" in one for one in threshold_table(bundle, found, "bright").remarks)


def test_the_evidence_is_known_again_in_any_order_and_not_with_another_label(tmp_path: Path, bundle: Bundle) -> None:
    table = labelled(tmp_path / "images", each=3)
    before = from_images(bundle, table).digest
    head, *rows = table.read_text().splitlines()
    table.write_text("\n".join([head, *reversed(rows)]))
    assert from_images(bundle, table).digest == before
    table.write_text("\n".join([head, *rows]).replace("0002.png,dark", "0002.png,bright"))
    assert from_images(bundle, table).digest != before


def test_the_class_is_the_positive_one_or_must_be_named() -> None:
    from bundles import manifest

    assert class_of(manifest(), None) == "bright"
    with pytest.raises(UsageError, match="no such finding"):
        class_of(manifest(), "dark")
    several = manifest(task="multilabel", positive=None)
    with pytest.raises(UsageError, match="each finding has a threshold of its own"):
        class_of(several, None)
    assert class_of(several, "dark") == "dark"
    with pytest.raises(UsageError, match="it has no threshold"):
        class_of(manifest(task="multiclass", positive=None), None)


def test_labels_come_from_one_place() -> None:
    here = Path("x")
    for wrong in (
        {},
        {"data": here, "answers": here},
        {"results": here},
        {"labels": here, "data": here},
        {"data": here, "seen": True},
        {"answers": here, "subgroups": ("sex",)},
    ):
        with pytest.raises(UsageError):
            Given(**wrong)
    assert Given(answers=here, seen=True).options() == ["--answers", here, "--seen"]


def test_small_subgroups_and_columns_without_groups_are_told(tmp_path: Path, bundle: Bundle) -> None:
    table = labelled(tmp_path / "images", each=12)
    found = threshold_table(bundle, from_images(bundle, table, ["sex", "image"]), "bright", subgroups=["sex", "image"])
    assert all(part.few and not part.rows for part in found.parts[1:])
    assert any("makes no groups" in one for one in found.remarks)
    rows = list(csv.DictReader(found.csv().splitlines()))
    assert len(rows) == len(found.parts[0].rows)
    assert float(rows[3]["sensitivity"]) == found.parts[0].rows[3].sensitivity.value
    assert found.least[0.95] == 59 and found.patients_with_it == 12


def test_several_findings_have_a_threshold_each(tmp_path: Path) -> None:
    from bundles import write_tiny

    from edgedx.core.stats.points import OperatingPoint
    from edgedx.device.threshold.propose import Target, propose

    own = OperatingPoint(name="youden", threshold={"dark": 0.4, "bright": 0.6})
    bundle = write_tiny(tmp_path / "several.edgedx", task="multilabel", positive=None, operating_points=[own])
    evidence = from_images(bundle, labelled(tmp_path / "images", each=40))
    found = propose(evidence.finding("dark"), Target("sensitivity", 0.9), own.threshold["dark"])
    assert found.finding == "dark" and found.before is not None and found.before.threshold == 0.4
    assert threshold_table(bundle, evidence, "dark").marks == {"youden": 0.4}
