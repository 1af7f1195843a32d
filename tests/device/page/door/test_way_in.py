"""The way in, over real TLS to a real process: forged hosts, missing tokens, wrong roles and PINs, forged paths."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from page_process import ADMINISTRATOR, PIN, Client, Page, first_administrator, page

from edgedx.device.operation.audit import verify
from edgedx.device.page.door.people import People

FAST = {"burst": 1e6, "per_second": 1e6}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with page(tmp_path_factory.mktemp("page"), **FAST) as one:
        yield one


@pytest.fixture(scope="module")
def administrator(served: Page) -> Client:
    return first_administrator(served)


@pytest.fixture(scope="module")
def reader(served: Page, administrator: Client) -> Client:
    """Let in by the administrator, with a PIN of their own by now."""
    added = administrator.send("/admin/people/add", "/admin/people", name="Baraka", role="reader")
    pin = _shown(added.text)
    client = served.client()
    came = client.log_in("baraka", pin)
    assert came.status == 303 and came.headers["location"] == "/pin"
    assert client.get("/").headers["location"] == "/pin", "nothing else before"
    chosen = client.send("/pin", "/pin", before=pin, pin="602214", again="602214")
    assert chosen.status == 303 and client.get("/").status == 200
    return client


def _shown(text: str) -> str:
    return "".join(text.split('class="pin">')[1].split("<")[0].split())


def test_nobody_sees_anything_before_the_log_in(served: Page, administrator: Client) -> None:
    stranger = served.client()
    for path in ("/", "/upload", "/box", "/admin", "/admin/people", "/pin", "/rows", "/nothing"):
        came = stranger.get(path)
        assert came.status == 303 and came.headers["location"].startswith("/login"), path
        assert stranger.get(path, Accept="application/json").status == 401
        posted = stranger.post(path, {"csrf": "x"})
        assert posted.status == 401 and "Log in again" in posted.text
    assert stranger.get("/static/page.css").status == 200


def test_the_cookie_is_bound_and_each_answer_has_its_headers(served: Page, administrator: Client) -> None:
    client = served.client()
    came = client.log_in()
    (cookie,) = came.cookies
    assert cookie.startswith("__Host-edgedx=") and "Path=/" in cookie
    assert all(word in cookie for word in ("HttpOnly", "Secure", "SameSite=strict")) and "Domain" not in cookie
    for path in ("/", "/nothing", "/login", "/static/page.css", "/static/none.css"):
        headers = client.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'self'; "), path
        assert headers["x-content-type-options"] == "nosniff" and headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "same-origin" and "server" not in headers
        assert "access-control-allow-origin" not in headers
    assert client.get("/").headers["cache-control"] == "no-store"
    assert client.get("/").headers["refresh"].startswith("602; url=/login")


@pytest.mark.parametrize("host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "localhost@evil"])
def test_a_forged_host_is_refused(served: Page, administrator: Client, host: str) -> None:
    came = administrator.get("/", Host=host.format(port=served.port))
    assert came.status == 421 and "not that of the box" in came.text


def test_two_hosts_or_none_are_refused(served: Page) -> None:
    for lines in (b"", b"Host: 127.0.0.1:%d\r\nHost: evil.example\r\n" % served.port):
        with ssl._create_unverified_context().wrap_socket(served.raw()) as peer:
            peer.sendall(b"GET /login HTTP/1.1\r\n" + lines + b"Connection: close\r\n\r\n")
            assert peer.recv(4096).startswith((b"HTTP/1.1 421", b"HTTP/1.1 400"))


def test_what_changes_something_needs_its_token(served: Page, administrator: Client) -> None:
    form = {"name": "Chiku", "role": "administrator"}
    for given in ({}, {"csrf": ""}, {"csrf": "wrong"}, {"csrf": served.client().get("/login").csrf}):
        came = administrator.post("/admin/people/add", form | given)
        assert came.status == 403 and "too old" in came.text
    token = administrator.get("/admin/people").csrf
    for name, value in (("Origin", "https://evil.example"), ("Origin", "null"), ("Sec_Fetch_Site", "cross-site")):
        came = administrator.post("/admin/people/add", form | {"csrf": token}, **{name: value})
        assert came.status == 403 and "another website" in came.text
    came = administrator.ask("POST", "/admin/people/add", json.dumps(form), Content_Type="application/json")
    assert came.status == 415
    assert "Chiku" not in administrator.get("/admin/people").text


def test_a_reader_is_no_administrator(reader: Client, administrator: Client) -> None:
    assert reader.get("/").status == 200
    for path in ("/admin", "/admin/", "/admin/people"):
        came = reader.get(path)
        assert came.status == 403 and "Only an administrator" in came.text
    token = reader.get("/upload").csrf
    for path in ("/admin/people/add", "/admin/people/role", "/admin/people/remove", "/admin/people/pin"):
        came = reader.post(path, {"csrf": token, "number": "2", "role": "administrator", "name": "x"})
        assert came.status == 403 and "Only an administrator" in came.text
    assert administrator.get("/admin/people").status == 200


@pytest.mark.parametrize(
    "path",
    ["/../etc/passwd", "/static/../../door/people.py", "/static/%2e%2e/%2e%2e/app.py", "/static/..%2fapp.py",
     "/static//etc/passwd", "/%00", "/a%0d%0aX-Evil:%20yes", "/..%5c..%5cetc", "/static/%252e%252e/app.py",
     "/upload/../../journal.sqlite", "//evil.example/", "/admin%2fpeople", "/people.sqlite", "/page/key.pem"],
)  # fmt: skip
def test_a_path_leads_to_pages_alone(reader: Client, path: str) -> None:
    came = reader.get(path)
    assert came.status in (400, 403, 404), came.status
    assert b"root:" not in came.body and b"import" not in came.body and "X-Evil" not in came.headers


@pytest.mark.parametrize("goal", ["//evil.example", "https://evil.example/", "/\\evil.example", "javascript:alert(1)"])
def test_the_log_in_leads_to_no_other_site(served: Page, administrator: Client, goal: str) -> None:
    client = served.client()
    came = client.send("/login", "/login", name=ADMINISTRATOR, pin=PIN, next=goal)
    assert came.status == 303 and came.headers["location"] == "/"


def test_six_wrong_pins_make_wait_and_the_right_one_helps_nobody_then(served: Page, administrator: Client) -> None:
    added = administrator.send("/admin/people/add", "/admin/people", name="Dalila", role="reader")
    pin, client = _shown(added.text), served.client("127.0.0.3")
    for name in ("dalila", "nobody here"):  # an answer tells nobody's name
        said = [client.send("/login", "/login", name=name, pin="998877") for _ in range(6)]
        assert [one.status for one in said] == [401] * 5 + [429]
        assert all("Name or PIN is wrong." in one.text for one in said[:5]) and "Too many wrong PINs" in said[5].text
        assert 1 <= int(said[5].headers["retry-after"]) <= 30
    assert client.log_in("dalila", pin).status == 429
    number = str(People(served.out).find("dalila").number)  # type: ignore[union-attr]
    renewed = administrator.send("/admin/people/pin", "/admin/people", number=number)
    assert client.log_in("dalila", _shown(renewed.text)).status == 303, "a new PIN ends the wait"
    assert served.client().log_in().status == 303, "others are not held up"


def test_who_is_removed_or_gets_a_new_pin_is_out_at_once(served: Page, administrator: Client) -> None:
    added = administrator.send("/admin/people/add", "/admin/people", name="Eshe", role="reader")
    client = served.client()
    client.log_in("eshe", _shown(added.text))
    assert client.get("/pin").status == 200
    number = str(People(served.out).find("eshe").number)  # type: ignore[union-attr]
    renewed = administrator.send("/admin/people/pin", "/admin/people", number=number)
    assert client.get("/pin").status == 303, "the log-in of before is over"
    again = served.client()
    assert again.log_in("eshe", _shown(renewed.text)).status == 303
    administrator.send("/admin/people/remove", "/admin/people", number=number)
    assert again.get("/pin").status == 303 and "Eshe" not in administrator.get("/admin/people").text


def test_the_last_administrator_and_a_taken_name(served: Page, administrator: Client) -> None:
    number = str(People(served.out).find(ADMINISTRATOR).number)  # type: ignore[union-attr]
    for path, form in (("remove", {}), ("role", {"role": "reader"})):
        came = administrator.send(f"/admin/people/{path}", "/admin/people", number=number, **form)
        assert came.status == 400 and "last administrator" in came.text
    came = administrator.send("/admin/people/add", "/admin/people", name=ADMINISTRATOR.upper(), role="reader")
    assert came.status == 400 and "has this name" in came.text


def test_a_name_stays_text(administrator: Client) -> None:
    name = '<script>alert(1)</script>"&{{7*7}}'
    came = administrator.send("/admin/people/add", "/admin/people", name=name, role="reader")
    assert came.status == 200 and "<script>alert" not in came.text and "&lt;script&gt;alert(1)" in came.text
    assert "{{7*7}}" in came.text


def test_log_off_ends_it_for_good(served: Page, administrator: Client) -> None:
    client = served.client()
    client.log_in()
    kept = dict(client.cookies)
    came = client.send("/logoff", "/upload")
    assert came.status == 303 and client.cookies == {}
    client.cookies = kept
    assert client.get("/").status == 303


def test_a_form_is_bounded_and_so_is_a_head(served: Page, administrator: Client) -> None:
    came = administrator.post("/language", {"csrf": administrator.get("/").csrf, "language": "x" * 100_000})
    assert came.status == 413 and "too large" in came.text
    with ssl._create_unverified_context().wrap_socket(served.raw()) as peer:
        peer.sendall(b"GET / HTTP/1.1\r\nX: " + b"a" * 40_000)
        peer.settimeout(20)
        assert peer.recv(100).startswith(b"HTTP/1.1 400") or not peer.recv(100)


def test_a_language_is_kept_for_a_person(served: Page, administrator: Client) -> None:
    client = served.client()
    client.log_in()
    came = client.send("/language", "/upload", language="fr", next="/upload")
    assert came.headers["location"] == "/upload" and "Envoyer" in client.get("/upload").text
    assert "Envoyer" in client.get("/upload", Accept_Language="en").text, "the person's choice, not the browser's"
    client.send("/language", "/upload", language="en")
    assert "Se connecter" in served.client().get("/login", Accept_Language="fr-CA,en;q=0.5").text


def test_plain_http_gets_no_page(served: Page) -> None:
    with served.raw() as peer:
        peer.sendall(b"GET /login HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        peer.settimeout(20)
        with contextlib.suppress(ConnectionResetError):
            assert b"200" not in peer.recv(100)
    context = ssl._create_unverified_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, OSError)), context.wrap_socket(served.raw()):
        pass


def test_what_happened_is_in_the_chain_and_no_name_is(served: Page, reader: Client, administrator: Client) -> None:
    reader.get("/")
    log = served.out / "audit.jsonl"
    assert verify(log).intact
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    meanings = {line["meaning"] for line in lines}
    assert {"Login", "User Security Attributes Changed", "Logout"} <= meanings
    assert any(line.get("outcome") == "refused" for line in lines) and any(line.get("person") == 1 for line in lines)
    everything = log.read_text() + served.errors.read_text()
    for canary in ("Amina", "Baraka", "Dalila", "Eshe", "nobody here", "998877", PIN, "602214", "script"):
        assert canary not in everything


def test_a_restart_keeps_people_and_asks_for_their_pins(tmp_path: Path) -> None:
    with page(tmp_path, **FAST) as one:
        client = first_administrator(one)
        served = one.client("127.0.0.3")
        for _ in range(5):
            served.log_in(pin="998877")
        one.process.kill()  # not in order
        one.process.wait(10)
    with page(tmp_path, **FAST) as again:
        assert again.code == "", "there is an administrator"
        client.port = again.port
        assert client.get("/").status == 303, "who was logged in is not any more"
        assert again.client("127.0.0.4").log_in().status == 429, "and wrong PINs are not forgotten"
        assert verify(again.out / "audit.jsonl").intact


def test_on_loopback_nobody_logs_in_and_other_sites_reach_nothing(tmp_path: Path) -> None:
    with page(tmp_path, https=False) as one:
        client = one.client()
        assert client.get("/").status == 200 and client.get("/admin").status == 200
        assert "nobody logs in" in client.get("/admin/people").text
        assert not (one.out / "people.sqlite").exists()
        assert client.get("/", Host=f"evil.example:{one.port}").status == 421
        came = client.post("/language", {"language": "fr"})
        assert came.status == 403
        token = client.get("/").csrf
        came = client.post("/language", {"language": "fr", "csrf": token}, Sec_Fetch_Site="cross-site")
        assert came.status == 403
        assert client.post("/language", {"language": "fr", "csrf": token}).status == 303
        with pytest.raises(OSError), socket.create_connection((_other_address(), one.port), timeout=2):
            pass


def _other_address() -> str:
    """An address of this machine that is not loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no network")
        return str(probe.getsockname()[0])


def test_who_does_nothing_is_logged_off_even_while_the_page_asks_by_itself(tmp_path: Path) -> None:
    with page(tmp_path, idle_seconds=1.5, **FAST) as one:
        client = first_administrator(one)
        assert client.get("/upload").status == 200
        until = time.monotonic() + 1.8
        while time.monotonic() < until:
            last = client.get("/upload", X_Background="1").status
            time.sleep(0.2)
        assert last == 303 and client.get("/").headers["location"] == "/login"
