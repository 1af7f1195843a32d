"""People, PINs, waits and log-ins: what is kept, for how long, and what a kill leaves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from edgedx.core.errors import UsageError
from edgedx.device.page.door import pins
from edgedx.device.page.door.limits import Limits
from edgedx.device.page.door.people import LastAdministrator, People
from edgedx.device.page.door.pins import hash_pin, is_pin, problem_with
from edgedx.device.page.door.sessions import LONGEST_SECONDS, Sessions
from edgedx.device.page.door.tries import Buckets, Tries


@pytest.fixture(autouse=True)
def cheap(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A third of a second for each PIN is for attackers."""
    if "scrypt" not in request.node.name:
        monkeypatch.setattr(pins, "_N", 1 << 8)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("pin", "problem"),
    [("49381", "digits"), ("49381a", "digits"), ("٤٩٣٨١٧", "digits"), ("4" * 33, "digits"), ("", "digits"),
     ("111111", "easy"), ("123456", "easy"), ("876543", "easy"), ("493817", ""), ("112233", "")],
)  # fmt: skip
def test_a_pin_is_six_digits_that_nobody_tries_first(pin: str, problem: str) -> None:
    assert problem_with(pin) == (f"door.pin_{problem}" if problem else "")


def test_a_pin_is_kept_as_what_scrypt_makes_of_it() -> None:
    one, other = hash_pin("493817"), hash_pin("493817")
    assert one != other and b"493817" not in one, "each has its own salt"
    assert is_pin("493817", one) and not is_pin("493818", one) and not is_pin("493817", b"")
    with pytest.raises(UsageError):
        hash_pin("123456")


def test_people_are_there_after_a_restart_and_one_name_is_one_person(tmp_path: Path) -> None:
    people = People(tmp_path)
    amina = people.add("  Amina   Odhiambo ", "administrator", "493817")
    reader = people.add("José", "reader", "602214")
    with pytest.raises(UsageError, match="this name"):
        people.add("AMINA odhiambo", "reader", "602214")
    people.count_wrong(reader.number)
    people.close()
    again = People(tmp_path)
    found = again.find("amina ODHIAMBO")
    assert found is not None and found.number == amina.number and found.name == "Amina Odhiambo" and not found.own_pin
    kept = again.find("Jose\u0301")  # composed otherwise
    assert kept is not None and kept.wrong == 1 and kept.role == "reader"


@pytest.mark.parametrize("name", ["", " ", "a" * 65, "a\x1b[2J", "a\u202eb", "a\nb\x00"])
def test_a_name_can_be_seen(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="characters"):
        People(tmp_path).add(name, "reader", "493817")


def test_the_last_administrator_stays_one(tmp_path: Path) -> None:
    people = People(tmp_path)
    one = people.add("one", "administrator", "493817")
    reader = people.add("reader", "reader", "602214")
    for act in (lambda: people.remove(one.number), lambda: people.set_role(one.number, "reader")):
        with pytest.raises(LastAdministrator):
            act()
    people.set_role(reader.number, "administrator")
    people.remove(one.number)
    assert [entry.name for entry in people.list()] == ["reader"]
    back = people.add("One", "reader", "271828")
    assert back.number == one.number and back.epoch > one.epoch, "log-ins of before stay over"


def test_a_try_is_on_the_disk_before_the_pin_is_looked_at(tmp_path: Path) -> None:
    """kill -9 between two tries gives nobody a try more."""
    People(tmp_path).add("one", "administrator", "493817")
    work = (
        "import sys\nfrom pathlib import Path\nfrom edgedx.device.page.door.people import People\n"
        "people = People(Path(sys.argv[1]))\nwhile True: print(people.count_wrong(1), flush=True)\n"
    )
    told = 0
    for _ in range(2):
        process = subprocess.Popen([sys.executable, "-c", work, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        for _ in range(15):
            told = int(process.stdout.readline())
        os.kill(process.pid, signal.SIGKILL)
        told = max([told, *map(int, process.stdout.read().split())])
        process.wait(10)
        people = People(tmp_path)
        entry = people.get(1)
        assert entry is not None and entry.wrong in (told, told + 1) and people.check() == "ok"
        people.close()


def test_who_is_wrong_five_times_waits_twice_as_long_each_time() -> None:
    clock = Clock()
    tries = Tries(Limits(tries=5, delay_seconds=30, longest_delay_seconds=100), clock)
    for number in range(1, 6):
        assert tries.wait("one") == 0.0
        tries.count("one", number)
    assert tries.wait("one") == 30.0 and tries.wait("other") == 0.0
    clock.now += 30
    assert tries.wait("one") == 0.0
    tries.count("one")
    assert tries.wait("one") == 60.0
    clock.now += 60
    tries.count("one")
    assert tries.wait("one") == 100.0, "no longer than that"
    tries.forget("one")
    assert tries.wait("one") == 0.0


def test_a_restart_forgets_no_wrong_pin_and_many_names_push_none_out() -> None:
    tries = Tries(Limits(tries=5, delay_seconds=30), Clock())
    assert tries.wait("one", kept=7) == 120.0
    for number in range(5000):
        tries.count(f"name {number}")
    assert tries.wait("one", kept=7) == 120.0


def test_a_bucket_gives_so_many_at_once_and_so_many_a_second() -> None:
    clock = Clock()
    bucket = Buckets(10, 2, clock)
    assert [bucket.take("one") for _ in range(10)] == [0.0] * 10
    assert bucket.take("one") == pytest.approx(0.5) and bucket.take("other") == 0.0
    clock.now += 1
    assert [bucket.take("one") for _ in range(2)] == [0.0, 0.0] and bucket.take("one") > 0


def test_a_log_in_ends_when_nothing_is_done(tmp_path: Path) -> None:
    clock, people = Clock(), People(tmp_path)
    entry = people.add("one", "administrator", "493817")
    sessions = Sessions(people, 600, clock)
    session = sessions.begin(entry)
    clock.now += 599
    assert sessions.find(session.token) is not None
    clock.now += 599
    assert sessions.find(session.token, active=False) is not None, "a page that asks by itself is let in"
    clock.now += 2
    assert not sessions.is_alive(session) and sessions.find(session.token) is None, "and keeps nobody logged in"
    busy = sessions.begin(entry)
    for _ in range(int(LONGEST_SECONDS // 500) + 1):
        clock.now += 500
        last = sessions.find(busy.token)
    assert last is None, "a shift is over however busy it was"


def test_a_log_in_ends_with_the_pin_the_role_or_the_person(tmp_path: Path) -> None:
    people = People(tmp_path)
    people.add("one", "administrator", "493817")
    two = people.add("two", "administrator", "602214")
    sessions = Sessions(people, 600)
    for change in (
        lambda: people.set_pin(two.number, "271828", own_pin=True),
        lambda: people.set_role(two.number, "reader"),
        lambda: people.remove(two.number),
    ):
        entry = people.get(two.number)
        assert entry is not None
        session = sessions.begin(entry)
        assert sessions.find(session.token) is not None
        change()
        assert sessions.find(session.token) is None
    assert sessions.find("") is None and sessions.find("a" * 43) is None


def test_log_ins_are_bounded(tmp_path: Path) -> None:
    clock, people = Clock(), People(tmp_path)
    entry = people.add("one", "administrator", "493817")
    sessions = Sessions(people, 600, clock)
    tokens = []
    for _ in range(9):
        clock.now += 1
        tokens.append(sessions.begin(replace(entry)).token)
    assert [sessions.find(token) is not None for token in tokens] == [False] + [True] * 8
