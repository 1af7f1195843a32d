"""What a request must pass before a view sees it; each check answers with a sentence, or lets it on."""

from __future__ import annotations

import hmac
import math
from collections.abc import Callable
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import Receive

from .bodies import again, field_of, read_whole
from .door import Door
from .hosts import is_ours
from .person import LOCAL
from .sessions import COOKIE

UPLOAD = "/upload"
"""The one path whose body may be large; its view checks the token, which is the form's first field."""
TOKEN = "X-CSRF-Token"
BACKGROUND = "X-Background"
"""Header of what a page asks by itself: it does not keep a person logged in who does nothing."""
STATIC, ADMINISTRATOR, LOGIN, PIN = "/static/", "/admin", "/login", "/pin"
_OPEN = (LOGIN, "/first", "/language")
_WITHOUT_OWN_PIN = (PIN, "/logoff", "/language")

Refuse = Callable[..., Response]
"""``refuse(request, status, key, **values)``: a page, or a line, with the sentence of that key."""


class Checks:
    """The checks of one page.

    Parameters
    ----------
    door : Door
    language : callable
        Of a request, the code of the language to speak.
    refuse : callable
        See `Refuse`.
    """

    def __init__(self, door: Door, language: Callable[[Request], str], refuse: Refuse) -> None:
        self.door, self.language, self.refuse = door, language, refuse

    def before(self, request: Request) -> Response | None:
        """All that needs no body; an answer where the request goes no further."""
        request.state.person, request.state.session, request.state.number = None, None, 0
        request.state.csrf = self.door.token_for("everybody")
        request.state.language = self.language(request)
        return self._address(request) or self._who(request) or self._origin(request)

    def _address(self, request: Request) -> Response | None:
        hosts = request.headers.getlist("host")
        reached = request.scope.get("server") or ("", 0)
        if len(hosts) != 1 or not is_ours(hosts[0], request.url.scheme, reached, self.door.names):
            return self.refuse(request, 421, "door.host")
        if request.method not in ("GET", "HEAD", "POST"):
            return self.refuse(request, 405, "door.method")
        if self.door.secure and (wait := self.door.buckets.take(client_of(request))) > 0:
            return later(self.refuse(request, 429, "door.too_often", seconds=math.ceil(wait)), wait)
        path: str = request.scope["path"]
        if not path.startswith("/") or not path.isprintable() or "\\" in path or ".." in path.split("/"):
            return self.refuse(request, 400, "door.path")
        return None

    def _who(self, request: Request) -> Response | None:
        path: str = request.scope["path"]
        if not self.door.secure:
            request.state.person = LOCAL
            return None
        assert self.door.sessions is not None
        active = BACKGROUND not in request.headers and "text/event-stream" not in request.headers.get("accept", "")
        found = self.door.sessions.find(request.cookies.get(COOKIE, ""), active=active and not path.startswith(STATIC))
        if found is not None:
            session, entry = found
            request.state.person, request.state.number = entry.person, entry.number
            request.state.session, request.state.csrf = session, session.csrf
            request.state.language = self.language(request)
        if path.startswith(STATIC) or (path in _OPEN and not (found and path == "/first")):
            return None
        if found is None:
            return self._ask_to_log_in(request)
        if not entry.own_pin and path not in _WITHOUT_OWN_PIN:
            return RedirectResponse(PIN, 303)
        if (path + "/").startswith(ADMINISTRATOR + "/") and not entry.person.is_administrator:
            return self.refuse(request, 403, "door.role")
        return None

    def _ask_to_log_in(self, request: Request) -> Response:
        if request.method == "GET" and "text/html" in request.headers.get("accept", ""):
            path: str = request.scope["path"]
            first = "/first" if self.door.first_code() else LOGIN
            return RedirectResponse(first if path == "/" else f"{first}?next={quote(path)}", 303)
        return self.refuse(request, 401, "door.over")

    def _origin(self, request: Request) -> Response | None:
        """A browser says where a form came from; what changes something comes from a page of ours."""
        if request.method != "POST":
            return None
        site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
        ours = f"{request.url.scheme}://{request.headers['host']}"
        if (site or "same-origin") not in ("same-origin", "none") or (origin or ours).lower() != ours.lower():
            return self.refuse(request, 403, "door.elsewhere")
        return None

    async def form(self, request: Request, receive: Receive) -> tuple[Response | None, Receive]:
        """Check the token of what changes something; returns an answer, or what the view receives.

        Raises
        ------
        TooLarge, TooSlow
            See `bodies`.
        """
        if request.method != "POST":
            return None, receive
        header = request.headers.get(TOKEN, "")
        request.state.token_checked = is_token(request, header)
        if request.scope["path"] == UPLOAD:
            return (
                self.refuse(request, 403, "door.token") if header and not request.state.token_checked else None
            ), receive
        if not request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            return self.refuse(request, 415, "door.type"), receive
        body = await read_whole(receive, self.door.limits.form_bytes)
        if not request.state.token_checked and not is_token(request, field_of(body, "csrf")):
            return self.refuse(request, 403, "door.token"), receive
        return None, again(body, receive)


def is_token(request: Request, given: str) -> bool:
    """Whether this is the token of the forms that this person was shown."""
    return hmac.compare_digest(given.encode("utf-8", "replace"), str(request.state.csrf).encode())


def client_of(request: Request) -> str:
    """Network address of who asks."""
    return request.client.host if request.client else ""


def later(answer: Response, seconds: float) -> Response:
    """An answer that says when to try again (RFC 9110, 10.2.3)."""
    answer.headers["Retry-After"] = str(math.ceil(seconds))
    return answer
