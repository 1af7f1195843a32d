"""How much, how fast and how long: one place for every bound that the page sets to a client."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Bounds of one page.

    Attributes
    ----------
    idle_seconds : float
        After which a person is logged off.
    connections, connections_of_one : int
        Open at a time, in all and from one network address.
    head_seconds : float
        From the connection to the end of the request's head; TLS is shaken hands in the same time.
    keep_seconds : int
        That a connection may wait for its next request.
    silence_seconds : float
        Between two pieces of a body that comes, or of an answer that goes.
    form_bytes : int
        Body of any request but an upload.
    burst, per_second : float
        Requests of one network address: at once, and for long.
    tries : int
        Wrong PINs before the next try must wait.
    delay_seconds, longest_delay_seconds : float
        That wait: doubled at each further wrong PIN, up to the longest.
    upload_bytes, upload_files : int
        Of one file, and files of one request.
    uploads, uploads_seconds : int
        Files that one person may send in that time.
    disk_floor : int
        Free bytes on the inbox's disk below which nothing is taken.
    """

    idle_seconds: float = 600.0
    connections: int = 400
    connections_of_one: int = 64
    head_seconds: float = 10.0
    keep_seconds: int = 15
    silence_seconds: float = 20.0
    form_bytes: int = 64 << 10
    burst: float = 400.0
    per_second: float = 50.0
    tries: int = 5
    delay_seconds: float = 30.0
    longest_delay_seconds: float = 900.0
    upload_bytes: int = 512 << 20
    upload_files: int = 100
    uploads: int = 1000
    uploads_seconds: int = 600
    disk_floor: int = 200 << 20
