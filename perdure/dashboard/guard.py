"""Who may talk to the page: nobody from another site, and only who knows the token, where there is one.

Rules:

1. A request names a host that we serve; a page elsewhere whose name leads here (DNS rebinding) names its own.
2. What changes anything comes from our page: same origin, JSON, and with the secret that only our page can read.
3. With a token, everything but the page's empty shell needs it.
4. No answer may be framed, sniffed, cached, or load anything from anywhere else; no script stands in a page.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Collection
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["LOOPBACK", "Guard", "Keys"]

LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")
"""Hosts that only this machine can reach."""

_SAFE: Final = frozenset({"GET", "HEAD"})
_OPEN: Final = ("/", "/static/app.js", "/static/style.css", "/static/icon.svg", "/api/login")
_COOKIE: Final = "perdure_session"
_HEADERS: Final = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


class Keys:
    """The secrets of one page.

    Attributes:
        csrf: What a request that changes anything must bring in the header ``x-perdure-csrf``.
    """

    def __init__(self, token: str | None) -> None:
        """Make new secrets around the token that people know, if there is one."""
        self._token = token
        self._salt = secrets.token_bytes(32)
        self.csrf = secrets.token_urlsafe(32)

    @property
    def needed(self) -> bool:
        """Whether there is a token."""
        return self._token is not None

    def fits(self, token: object) -> bool:
        """Tell whether this is the token, in a time that says nothing of it."""
        return (
            isinstance(token, str)
            and self._token is not None
            and hmac.compare_digest(token.encode(), self._token.encode())
        )

    def session(self) -> str:
        """Return what the cookie holds of somebody who has shown the token."""
        return hmac.new(self._salt, (self._token or "").encode(), hashlib.sha256).hexdigest()

    def cookie(self, *, secure: bool) -> str:
        """Return the cookie as a header's value."""
        return f"{_COOKIE}={self.session()}; Path=/; HttpOnly; SameSite=Strict{'; Secure' if secure else ''}"

    def admits(self, connection: HTTPConnection) -> bool:
        """Tell whether the token, or a cookie that was given for it, comes with a request."""
        if not self.needed:
            return True
        scheme, _, token = connection.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self.fits(token.strip()):
            return True
        return hmac.compare_digest(connection.cookies.get(_COOKIE, "").encode(), self.session().encode())


class Guard:
    """ASGI middleware that lets pass what may, and puts the headers on every answer."""

    def __init__(self, app: ASGIApp, *, keys: Keys, hosts: Collection[str], read_only: bool) -> None:
        """Take what to guard."""
        self._app = app
        self._keys = keys
        self._hosts = frozenset(host.lower() for host in hosts)
        self._read_only = read_only

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        refusal = self._refusal(HTTPConnection(scope))
        await (refusal or self._app)(scope, receive, send_guarded)

    def _refusal(self, connection: HTTPConnection) -> JSONResponse | None:
        host = connection.headers.get("host", "")
        if "*" not in self._hosts and _name(host) not in self._hosts:
            return _refuse(400, f"this page is not served as {host!r}: name the host in allowed_hosts")
        path = _path(connection)
        if connection.scope["method"] not in _SAFE and (why := self._stranger(connection, host, path)):
            return _refuse(403, why)
        if path not in _OPEN and not self._keys.admits(connection):
            return _refuse(401, "this page needs its token")
        return None

    def _stranger(self, connection: HTTPConnection, host: str, path: str) -> str | None:
        """Return why something that changes things does not come from our page, if it does not."""
        headers = connection.headers
        if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return "this request comes from another site"
        if (origin := headers.get("origin")) is not None and urlsplit(origin).netloc.lower() != host.lower():
            return "this request comes from another origin"
        if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            return "send JSON, with the content type application/json"
        if path == "/api/login":
            return None
        if self._read_only:
            return "this page is read-only"
        if not hmac.compare_digest(headers.get("x-perdure-csrf", "").encode(), self._keys.csrf.encode()):
            return "the header x-perdure-csrf is missing or old: load the page anew"
        return None


def _path(connection: HTTPConnection) -> str:
    """Return the path below where the page is mounted."""
    path: str = connection.scope["path"]
    root: str = connection.scope.get("root_path", "")
    return path[len(root) :] or "/" if path.startswith(root) else path


def _name(host: str) -> str:
    """Return a host without its port."""
    name = urlsplit(f"//{host}").hostname
    return "" if name is None else name.lower()


def _refuse(status: int, message: str) -> JSONResponse:
    return JSONResponse({"error": {"type": "Refused", "message": message}}, status)
