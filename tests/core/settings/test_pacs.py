"""The network of a scanner as a file: what is wrong in it is named by file and field before anything starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from edgedx.core.errors import InputOutputError, UsageError
from edgedx.core.settings.pacs import fields_of, load_pacs

SEND = {"ae_title": "ORTHANC", "host": "pacs.example", "port": 104}
RECEIVE = {"port": 11112, "allow": ["CT1"]}


def _write(folder: Path, content: Any) -> Path:
    path = folder / "pacs.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return path


def test_files_of_tls_are_taken_from_beside_the_file(tmp_path: Path) -> None:
    tls = {"ca": "keys/ca.pem", "certificate": "/etc/a.pem", "key": "a.key"}
    found = load_pacs(_write(tmp_path, {"ae_title": "ME", "send": SEND, "receive": {**RECEIVE, "tls": tls}}))
    assert found.files() == [tmp_path / "keys/ca.pem", Path("/etc/a.pem"), tmp_path / "a.key"]
    assert found.receive and (found.receive.address, found.receive.allow) == ("127.0.0.1", ["CT1"])
    assert found.send and found.send.tls is None and found.ae_title == "ME"
    titled = load_pacs(_write(tmp_path, {"receive": {**RECEIVE, "allow": ["A B", "A" * 16]}})).receive
    assert titled and titled.allow == ["A B", "A" * 16]


def test_every_field_is_explained() -> None:
    rows = dict(fields_of())
    assert all(rows.values())
    assert {"ae_title", "send.host", "send.tls.ca", "receive.allow", "receive.tls.key"} <= set(rows)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ({}, "send, receive"),
        ("", "a mapping with send, receive or both"),
        ("- a", "a mapping with send, receive or both"),
        ("send: {port: 1", "not YAML"),
        ({"sned": SEND, "receive": RECEIVE}, "sned: unknown key; did you mean 'send'"),
        ({"send": {**SEND, "titel": "A"}}, "send.titel: unknown key"),
        ({"send": {"host": "h", "port": 1}}, "send.ae_title: required"),
        ({"send": {**SEND, "ae_title": "A" * 17}}, "send.ae_title: 'AAAAAAAAAAAAAAAAA' is no application entity title"),
        ({"send": {**SEND, "ae_title": "A\\B"}}, "send.ae_title"),
        ({"send": {**SEND, "ae_title": " A"}}, "send.ae_title"),
        ({"send": {**SEND, "ae_title": "*"}}, "send.ae_title"),
        ({"send": SEND, "ae_title": ""}, "ae_title: '' is no application entity title"),
        ({"send": {**SEND, "host": ""}}, "send.host"),
        ({"send": {**SEND, "host": "A@h"}}, "send.host"),
        ({"send": {**SEND, "port": 0}}, "send.port"),
        ({"send": {**SEND, "port": 70000}}, "send.port"),
        ({"send": {**SEND, "port": "104"}}, "send.port"),
        ({"send": {**SEND, "tls": {"certificate": "a.pem"}}}, "send.tls.ca: required"),
        ({"send": {**SEND, "tls": {"ca": "a.pem", "certificate": "a.pem"}}}, "send.tls: certificate and key"),
        ({"receive": {"port": 11112}}, "receive.allow: required"),
        ({"receive": {**RECEIVE, "allow": []}}, "receive.allow"),
        ({"receive": {**RECEIVE, "allow": ["CT1", "*"]}}, "receive.allow"),
        ({"receive": {**RECEIVE, "allow": "CT1"}}, "receive.allow"),
        ({"receive": {**RECEIVE, "address": "localhost"}}, "receive.address: 'localhost' is no IP address"),
        ({"receive": {**RECEIVE, "tls": {"certificate": "a.pem", "key": "a.key"}}}, "receive.tls.ca: required"),
    ],
)
def test_what_is_wrong_names_file_and_field(tmp_path: Path, content: Any, word: str) -> None:
    path = _write(tmp_path, content)
    with pytest.raises(UsageError) as caught:
        load_pacs(path)
    assert word in str(caught.value) and str(path) in str(caught.value)
    assert caught.value.next_step


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputOutputError, match="gone.yaml"):
        load_pacs(tmp_path / "gone.yaml")
