"""Every file of the inbox becomes one durable result: nothing is lost, nothing is done twice, nothing is told."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundles import dicom, picture, png, png_bytes, write_tiny
from places import OPTIONS, SETTLE, Place, received

from edgedx.core.errors import ImageError, InputOutputError, UsageError
from edgedx.device.decode.decoder import FileChanged
from edgedx.device.scanner.readers import Readers
from edgedx.device.scanner.scanner import Options

# What becomes of a file


def test_every_kind_of_input_ends_with_a_status(place: Place) -> None:
    png(place.inbox / "bright.png", 1, bright=True)
    png(place.inbox / "deep/er/dark.png", 2, bright=False)
    dicom(place.inbox / "cr.dcm", 3)
    dicom(place.inbox / "other.dcm", 4, kind="SC")
    (place.inbox / "letter.txt").write_text("Dear colleague")
    (place.inbox / "half.png").write_bytes(png_bytes(picture(5))[:200])
    (place.inbox / "blank.png").write_bytes(png_bytes(np.full((24, 24), 7, np.uint8)))
    (place.inbox / "empty.png").touch()
    counts = place.scan()
    assert counts == {"received": 0, "claimed": 0, "done": 3, "refused": 2, "quarantined": 3}
    said = {name: (r["status"], (r["reason"] or {}).get("code")) for name, r in place.results().items()}
    assert said == {
        "bright.png": ("done", None),
        "deep/er/dark.png": ("done", None),
        "cr.dcm": ("done", None),
        "other.dcm": ("refused", "MODALITY"),
        "letter.txt": ("quarantined", "UNKNOWN_FORMAT"),
        "half.png": ("quarantined", "TRUNCATED"),
        "blank.png": ("refused", "BLANK"),
        "empty.png": ("quarantined", "EMPTY"),
    }


def test_the_prediction_is_that_of_the_image(place: Place) -> None:
    png(place.inbox / "bright.png", 1, bright=True)
    png(place.inbox / "dark.png", 2, bright=False)
    place.scan()
    labels = {name: result["prediction"]["label"] for name, result in place.results().items()}
    assert labels == {"bright.png": "bright", "dark.png": "dark"}


def test_a_result_names_the_bundle_and_the_decoder(place: Place) -> None:
    dicom(place.inbox / "cr.dcm", 3)
    place.scan()
    result = place.results()["cr.dcm"]
    assert result["runtime"]["bundle"] == place.bundle.digest and result["runtime"]["variant"] == "fp32"
    assert result["source"]["decoder"] and result["source"]["sop_instance_uid"]


def test_what_cannot_be_read_is_moved_whole_with_its_reason(place: Place) -> None:
    (place.inbox / "letter.txt").write_text("Dear colleague")
    place.scan()
    assert list(place.inbox.iterdir()) == []
    moved, reason = sorted((place.out / "quarantine").iterdir())
    assert moved.read_text() == "Dear colleague" and reason.name == moved.name + ".reason.json"
    assert json.loads(reason.read_text())["reason"]["code"] == "UNKNOWN_FORMAT"


def test_what_was_read_stays_in_the_inbox(place: Place) -> None:
    before = png(place.inbox / "a.png").read_bytes()
    dicom(place.inbox / "other.dcm", 4, kind="SC")
    place.scan()
    assert (place.inbox / "a.png").read_bytes() == before and (place.inbox / "other.dcm").is_file()


@pytest.mark.parametrize("name", [".hidden.png", "a.png.part", "B.TMP", ".git/a.png", "@eaDir/a.png", "x/.y/a.png"])
def test_hidden_and_partial_files_are_none_of_ours(place: Place, name: str) -> None:
    path = png(place.inbox / name)
    assert sum(place.scan().values()) == 0 and path.is_file()


def test_a_link_in_the_inbox_is_not_followed(place: Place, tmp_path: Path) -> None:
    secret = png(tmp_path / "elsewhere/secret.png")
    (place.inbox / "link.png").symlink_to(secret)
    (place.inbox / "folder").symlink_to(secret.parent)
    assert sum(place.scan().values()) == 0 and place.table() == []


def test_a_name_that_is_not_utf8_is_read_like_any_other(place: Place) -> None:
    raw = os.fsencode(place.inbox) + b"/r\xf6ntgen.png"
    with open(raw, "wb") as stream:
        stream.write(png_bytes(picture(1)))
    with open(os.fsencode(place.inbox) + b"/not \xff.txt", "wb") as stream:
        stream.write(b"text")
    assert place.scan() == {"received": 0, "claimed": 0, "done": 1, "refused": 0, "quarantined": 1}
    assert os.listdir(os.fsencode(place.inbox)) == [b"r\xf6ntgen.png"]
    assert place.scan()["done"] == 1 and len(place.table()) == 2


def test_an_image_without_a_finite_answer_does_not_stop_the_others(place: Place) -> None:
    class Sometimes:
        """A runner that gives NaN for dark images."""

        provider = "test"

        def infer(self, batch: Any) -> Any:
            found = inner.infer(batch)
            found.logits[batch.mean(axis=(1, 2, 3)) < 0] = np.nan
            return found

    png(place.inbox / "a.png", 1, bright=True)
    png(place.inbox / "b.png", 2, bright=False)
    png(place.inbox / "c.png", 3, bright=True)
    with place.scanner() as scanner:
        inner = scanner.predictor.runner
        scanner.predictor.runner = Sometimes()  # type: ignore[assignment]
        counts = scanner.run_once()
    assert counts["done"] == 2 and counts["quarantined"] == 1
    assert place.results()["b.png"]["reason"]["code"] == "NOT_A_NUMBER"


# Once, and once only


def test_one_content_under_two_names_gives_one_result(place: Place) -> None:
    png(place.inbox / "a.png")
    png(place.inbox / "b/a.png")
    assert place.scan()["done"] == 1
    assert len(place.results()) == len(place.table()) == 1


def test_one_unreadable_content_under_two_names_is_moved_twice(place: Place) -> None:
    (place.inbox / "a.txt").write_text("text")
    (place.inbox / "b.txt").write_text("text")
    assert place.scan()["quarantined"] == 1
    assert list(place.inbox.iterdir()) == []


def test_a_second_scan_does_nothing_again(place: Place) -> None:
    for seed in range(3):
        png(place.inbox / f"{seed}.png", seed)
    first = place.scan()
    before = {path: path.stat().st_mtime_ns for path in (place.out / "results").iterdir()}

    class Never:
        def warm(self) -> None: ...

        def decode(self, path: Path, sha256: str) -> None:
            raise AssertionError(f"{path} was read again")

        def close(self) -> None: ...

    assert place.scan(decoder=Never()) == first
    assert {path: path.stat().st_mtime_ns for path in (place.out / "results").iterdir()} == before


def test_new_content_under_an_old_name_is_read_anew(place: Place) -> None:
    png(place.inbox / "a.png", 1, bright=True)
    place.scan()
    png(place.inbox / "a.png", 2, bright=False)
    assert place.scan()["done"] == 2
    assert [row["label"] for row in place.table()] == ["bright", "dark"]


def test_another_bundle_reads_everything_anew(place: Place, tmp_path: Path) -> None:
    png(place.inbox / "a.png")
    place.scan()
    place.bundle = write_tiny(tmp_path / "second.edgedx", version="2")
    assert place.scan()["done"] == 2


# Time


def test_a_growing_file_is_not_read_before_it_settles(place: Place) -> None:
    content = png_bytes(picture(1))
    path = place.inbox / "slow.png"
    path.write_bytes(content[:50])
    with place.scanner() as scanner:
        for length in range(60, len(content), 60):
            place.time.now += 0.9 * SETTLE
            path.write_bytes(content[:length])
            assert received(scanner) == 0
        path.write_bytes(content)
        assert received(scanner) == 0
        place.time.now += 0.9 * SETTLE
        assert received(scanner) == 0
        place.time.now += 0.2 * SETTLE
        assert received(scanner) == 1 and scanner.work() == 1
    assert place.results()["slow.png"]["status"] == "done"


def test_a_file_that_was_there_before_the_start_settles_too(place: Place) -> None:
    png(place.inbox / "a.png")
    with place.scanner() as scanner:
        assert received(scanner) == 0
        place.time.now += SETTLE
        assert received(scanner) == 1


def test_a_content_replaced_before_it_was_read_leaves_the_scanner_in_peace(place: Place) -> None:
    path = png(place.inbox / "a.png", 1)
    with place.scanner() as scanner:
        scanner.look()
        place.time.now += SETTLE
        assert received(scanner) == 1
        png(path, 2)
        assert scanner.run_once()["done"] == 1  # and it ends, though the first content is gone
        reads = Counter[str]()

        class Counting:
            def warm(self) -> None: ...

            def decode(self, path: Path, sha256: str) -> None:
                reads[path.name] += 1
                raise FileChanged

        scanner._work.readers = Readers(scanner._work.examiner, [Counting()])  # type: ignore[list-item]
        for _ in range(50):
            place.time.now += 1.0
            scanner.look()
            scanner.work()
    assert reads.total() == 0


def test_a_file_that_went_away_waits_and_does_not_hold_up_a_single_scan(place: Place) -> None:
    path = png(place.inbox / "a.png", 1)
    with place.scanner() as scanner:
        scanner.look()
        place.time.now += SETTLE
        scanner.look()
        path.unlink()
        assert scanner.run_once()["received"] == 1
    png(path, 1)
    assert place.scan()["done"] == 1


def test_files_that_went_away_do_not_starve_those_that_came_after(place: Place) -> None:
    with place.scanner() as scanner:
        for seed in range(40):
            png(place.inbox / f"{seed}.png", seed)
        scanner.look()
        place.time.now += SETTLE
        assert received(scanner) == 40
        for path in place.inbox.iterdir():
            path.unlink()
        png(place.inbox / "new.png", 99)
        assert scanner.run_once()["done"] == 1
    assert list(place.results()) == ["new.png"]


def test_a_crashing_decoder_gets_three_attempts_with_waits_between_after_an_early_look(place: Place) -> None:
    at: list[float] = []

    class Crashing:
        def warm(self) -> None: ...

        def decode(self, path: Path, sha256: str | None) -> None:
            at.append(place.time.now)
            raise ImageError("DECODER_CRASH", "the decoder process died (signal 6)")

        def close(self) -> None: ...

    png(place.inbox / "a.png")
    assert place.scan(decoder=Crashing())["quarantined"] == 1
    assert len(at) == 4 and at[2] - at[1] >= 1.0 and at[3] - at[2] >= 5.0
    assert place.results()["a.png"]["reason"]["code"] == "DECODER_CRASH"


def test_the_service_goes_on_until_it_is_told_to_stop(place: Place) -> None:
    with place.scanner() as scanner:

        def stop() -> None:
            scanner.stop = True

        place.time.events = [lambda: png(place.inbox / "late.png"), *[lambda: None] * 40, stop]
        assert scanner.run()["done"] == 1


# Places


def test_an_output_folder_inside_the_inbox_is_refused(place: Place) -> None:
    place.out = place.inbox / "results"
    with pytest.raises(UsageError, match="inside the inbox"), place.scanner():
        pass
    assert not place.out.exists()


def test_a_second_scanner_on_the_same_output_is_refused(place: Place) -> None:
    with place.scanner(), pytest.raises(UsageError, match="is writing to"), place.scanner():
        pass
    with place.scanner():  # the first has ended
        pass


def test_a_missing_inbox_is_an_error_with_a_next_step(place: Place) -> None:
    place.inbox = place.inbox / "absent"
    with pytest.raises(InputOutputError, match="absent") as caught, place.scanner():
        pass
    assert caught.value.next_step


def test_a_full_disk_stops_the_work_and_space_resumes_it(place: Place) -> None:
    png(place.inbox / "a.png")
    with place.scanner(options=Options(1.0, SETTLE, disk_floor=1 << 60)) as scanner:
        for _ in range(5):
            place.time.now += SETTLE
            assert received(scanner) == 0 and scanner.work() == 0
        scanner.options = OPTIONS
        assert received(scanner) == 1 and scanner.work() == 1
    assert place.results()["a.png"]["status"] == "done"
