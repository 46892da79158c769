"""The page as an ASGI application: it serves itself, or is mounted in another one."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from ..dsl.errors import EngineError, ExecutionNotFound, StoreError, UsageError
from ..shown import Redact
from .desk import Desk
from .guard import LOOPBACK, Guard, Keys
from .live import changes
from .metrics import CONTENT_TYPE, exposition

if TYPE_CHECKING:
    from ..client import Client
    from ..engine import Engine

__all__ = ["create_app"]

_STATIC: Final = Path(__file__).parent / "static"
_LONGEST_BODY: Final = 2_000_000


def create_app(
    source: Engine | Client,
    *,
    token: str | None = None,
    read_only: bool = False,
    allowed_hosts: Collection[str] = LOOPBACK,
    redact: Redact | None = None,
) -> Starlette:
    """Return the page for an engine, or for a client, as an ASGI application.

    Mount it below any path of your own application: ``app.mount("/runs", create_app(engine))``. It opens and closes
    nothing; closing the engine stays yours. Every call into the engine is made on a worker thread.

    Args:
        source: Whose runs are shown and steered.
        token: What a browser must show before it sees anything; leave it out only where your own application, or the
            loopback address, keeps strangers away.
        read_only: Show and steer nothing: every request that would change anything is refused.
        allowed_hosts: Names under which the page may be asked for; ``"*"`` for any, behind a proxy that checks them.
        redact: Given the id of a run, the name of a value and the value: returns what to show instead.

    Example:
        >>> from perdure import Engine
        >>> app = create_app(Engine(), read_only=True)
    """
    keys = Keys(token)
    page = _Page(Desk(source, redact=redact, read_only=read_only), keys)
    guard = Middleware(Guard, keys=keys, hosts=allowed_hosts, read_only=read_only)
    return Starlette(routes=page.routes(), middleware=[guard], exception_handlers={EngineError: _explain})


class _Page:
    """The routes, around one desk."""

    def __init__(self, desk: Desk, keys: Keys) -> None:
        self._desk = desk
        self._keys = keys

    def routes(self) -> list[Route]:
        desk = self._desk
        return [
            Route("/", self._shell),
            *(Route(f"/static/{file.name}", _file(file)) for file in sorted(_STATIC.iterdir())),
            Route("/api/login", self._login, methods=["POST"]),
            Route("/api/overview", self._overview),
            Route("/api/runs", _answer(desk.runs)),
            Route("/api/run", _answer(lambda asked: desk.run(asked.get("id", "")))),
            Route("/api/run/graph", _drawing(lambda asked: desk.graph(asked.get("id", "")))),
            Route("/api/inbox", _answer(lambda _: desk.inbox())),
            Route("/api/definitions", _answer(lambda _: desk.definitions())),
            Route("/api/definition/graph", _drawing(desk.definition_graph)),
            Route("/api/schedules", _answer(lambda _: desk.schedules())),
            Route("/api/figures", _answer(lambda _: _figures(desk.figures()))),
            Route("/api/act", self._act, methods=["POST"]),
            Route("/api/live", self._live),
            Route("/metrics", self._metrics),
        ]

    async def _shell(self, request: Request) -> Response:
        if (token := request.query_params.get("token")) is not None:
            # The token leaves the address at once: addresses are kept in histories.
            answer: Response = RedirectResponse(str(request.url.replace(query="")), 303)
            if self._keys.fits(token):
                answer.headers["set-cookie"] = self._keys.cookie(secure=request.url.scheme == "https")
            return answer
        return FileResponse(_STATIC / "index.html")

    async def _login(self, request: Request) -> Response:
        if not self._keys.needed or self._keys.fits((await _body(request)).get("token")):
            cookie = self._keys.cookie(secure=request.url.scheme == "https")
            return JSONResponse({"done": "login"}, headers={"set-cookie": cookie})
        return JSONResponse({"error": {"type": "Refused", "message": "that is not the token"}}, 401)

    async def _overview(self, _: Request) -> Response:
        return JSONResponse({**await run_in_threadpool(self._desk.overview), "csrf": self._keys.csrf})

    async def _act(self, request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(self._desk.act, await _body(request)))

    async def _live(self, request: Request) -> Response:
        return StreamingResponse(changes(self._desk.path, request), media_type="text/event-stream")

    async def _metrics(self, _: Request) -> Response:
        def text() -> str:
            return exposition(self._desk.overview()["counts"], self._desk.figures())

        return Response(await run_in_threadpool(text), media_type=CONTENT_TYPE)


def _file(file: Path) -> Callable[[Request], Any]:
    async def serve(_: Request) -> Response:
        return FileResponse(file)

    return serve


def _answer(look: Callable[[Any], Any]) -> Callable[[Request], Any]:
    async def answer(request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(look, request.query_params))

    return answer


def _drawing(draw: Callable[[Any], str]) -> Callable[[Request], Any]:
    async def answer(request: Request) -> Response:
        drawing = await run_in_threadpool(draw, request.query_params)
        # Styles inside the drawing are its own; opened by itself it can neither run nor load anything.
        policy = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
        return Response(drawing, media_type="image/svg+xml", headers={"content-security-policy": policy})

    return answer


async def _body(request: Request) -> dict[str, Any]:
    """Return what was sent, which must be a JSON object of a decent size."""
    received = bytearray()
    async for chunk in request.stream():
        received += chunk
        if len(received) > _LONGEST_BODY:
            msg = f"send no more than {_LONGEST_BODY} bytes"
            raise UsageError(msg)
    try:
        sent = json.loads(bytes(received))
    except ValueError as error:
        msg = f"send a JSON object: {error}"
        raise UsageError(msg) from None
    if not isinstance(sent, dict):
        msg = "send a JSON object"
        raise UsageError(msg)
    return sent


def _figures(stats: Any) -> dict[str, Any]:
    return {
        "running": stats.running,
        "waiting": stats.waiting,
        "overdue": stats.overdue,
        "started_per_second": stats.started_per_second,
        "steps": [
            {
                "workflow": one.workflow,
                "step": one.step,
                "count": one.count,
                "failed": one.failed,
                "retries": one.retries,
                "median": one.median.total_seconds(),
                "p95": one.p95.total_seconds(),
            }
            for one in stats.steps
        ],
    }


async def _explain(_: Request, error: Exception) -> Response:
    status = 404 if isinstance(error, ExecutionNotFound) else 409 if isinstance(error, UsageError) else 500
    status = 503 if isinstance(error, StoreError) else status
    return JSONResponse({"error": {"type": type(error).__name__, "message": str(error)}}, status)
