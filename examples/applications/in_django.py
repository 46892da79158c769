"""A Django application served over ASGI, with the engine around it and the web page of its runs beside it.

Django knows no start-up and shutdown of a server, so an outer application has both: it opens the engine, hands
``/runs`` to perdure's page and everything else to Django, and closes the engine at the end. In a project of your own
the settings and views stand in their files, and ``application`` in ``asgi.py``. Behind a server that forks workers, let
the views use a `Client`, as the Flask example does.

    POST /orders: 202 o-1
    POST /orders/o-1/approval: 204
    GET /orders/o-1: completed, shipped lamp
    GET /orders/o-9: 404
    GET /runs/: the web page
    the engine is closed with the server: True
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from tempfile import TemporaryDirectory

import django
from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from httpx import ASGITransport, AsyncClient
from starlette.applications import Starlette
from starlette.routing import Mount

from perdure import Engine, ExecutionNotFound, Workflow
from perdure.dashboard import create_app

orders = (
    Workflow("orders")
    .step("reserve", lambda: "shelf 7", compensate=lambda: None)
    .wait_for("approval", timeout=3 * 86_400)
    .step("ship", lambda ctx: f"shipped {ctx.input['item']}")
)
opened: list[Engine] = []


def engine() -> Engine:
    """Return the engine of this server."""
    return opened[-1]


def take(request: HttpRequest) -> HttpResponse:
    """Start a run; what this returns is on disk."""
    run = engine().start("orders", json.loads(request.body), id=request.GET.get("id"))
    return JsonResponse({"id": run.id}, status=202)


def look(_: HttpRequest, order_id: str) -> HttpResponse:
    """Show how an order stands."""
    execution = engine().get_execution(order_id)
    if execution is None:
        return HttpResponse(status=404)
    return JsonResponse({"state": str(execution.state), "result": execution.result})


def approve(_: HttpRequest, order_id: str) -> HttpResponse:
    """Say yes."""
    try:
        engine().signal(order_id, "approval", payload=True)
    except ExecutionNotFound:
        return HttpResponse(status=404)
    return HttpResponse(status=204)


urlpatterns = [
    path("orders", take),
    path("orders/<str:order_id>", look),
    path("orders/<str:order_id>/approval", approve),
]
settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["localhost"], SECRET_KEY="an example", USE_TZ=True)  # noqa: S106
django.setup()


@asynccontextmanager
async def lifespan(outer: Starlette) -> AsyncGenerator[None, None]:
    """Open the engine with the server, and close it with the server."""
    async with Engine(os.environ.get("ORDERS_DB", "orders.db"), orders) as one:
        opened.append(one)
        outer.router.routes.insert(0, Mount("/runs", create_app(one)))
        yield


application = Starlette(routes=[Mount("/", get_asgi_application())], lifespan=lifespan)


async def main() -> None:
    """Be the browser of the docstring's story."""
    with TemporaryDirectory() as folder:
        os.environ["ORDERS_DB"] = f"{folder}/orders.db"
        browser = AsyncClient(transport=ASGITransport(application), base_url="http://localhost")
        async with lifespan(application), browser:
            taken = await browser.post("/orders?id=o-1", json={"item": "lamp"})
            print(f"POST /orders: {taken.status_code} {taken.json()['id']}")
            await sync_to_async(engine().run("o-1").wait)(10, until="waiting")
            print(f"POST /orders/o-1/approval: {(await browser.post('/orders/o-1/approval')).status_code}")
            await engine().run("o-1")
            shown = (await browser.get("/orders/o-1")).json()
            print(f"GET /orders/o-1: {shown['state']}, {shown['result']}")
            print(f"GET /orders/o-9: {(await browser.get('/orders/o-9')).status_code}")
            assert "<title>perdure</title>" in (await browser.get("/runs/")).text
            print("GET /runs/: the web page")
        print(f"the engine is closed with the server: {engine().closed}")


if __name__ == "__main__":
    asyncio.run(main())
