"""A FastAPI application that takes orders, with the web page of its runs below ``/runs``.

The engine lives as long as the application: opened when the server starts, closed when it stops, after handlers in
flight have been recorded. Endpoints are coroutines; ``await run`` waits without a thread. One process drives the
runs: start the server with one worker, or let the workers use a `Client`, as the Flask example does.

To see it in a browser: ``uvicorn in_fastapi:app`` in this folder, then open http://localhost:8000/runs/.

    POST /orders: 202 o-1 waiting
    POST /orders/o-1/approval: 204
    POST /orders/o-1/approval: 409 finished
    GET /orders/o-1: completed, shipped lamp
    GET /orders/o-9: 404
    GET /runs/: the web page, with 1 run
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from tempfile import TemporaryDirectory

from fastapi import FastAPI, HTTPException, Request
from httpx import ASGITransport, AsyncClient

from perdure import Context, Engine, ExecutionFinished, ExecutionNotFound, Signal, Workflow
from perdure.dashboard import create_app


@dataclass(frozen=True)
class Order:
    """What is ordered."""

    item: str
    cents: int


approval = Signal("approval", bool)


def ship(ctx: Context[Order]) -> str:
    """Hand the parcel over."""
    return f"shipped {ctx.input.item}" if ctx[approval] else "sent back"


orders = (
    Workflow("orders", input=Order)
    .step("reserve", lambda ctx: f"{ctx.input.item} reserved", compensate=lambda: None)
    .wait_for(approval, timeout=3 * 86_400)
    .step("ship", ship)
)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None, None]:
    """Open the engine with the server, and close it with the server."""
    async with Engine(os.environ.get("ORDERS_DB", "orders.db"), orders) as engine:
        app.state.engine = engine
        app.mount("/runs", create_app(engine, allowed_hosts=["localhost", "127.0.0.1"]))
        yield


app = FastAPI(lifespan=lifespan)


def engine_of(request: Request) -> Engine:
    """Return the engine of this application."""
    engine: Engine = request.app.state.engine
    return engine


@app.post("/orders", status_code=202)
async def take(order: Order, request: Request, order_id: str | None = None) -> dict[str, str]:
    """Start a run; what this returns is on disk."""
    run = await asyncio.to_thread(engine_of(request).start, orders, order, id=order_id)
    return {"id": run.id}


@app.get("/orders/{order_id}")
async def look(order_id: str, request: Request) -> dict[str, object]:
    """Show how an order stands."""
    execution = await asyncio.to_thread(engine_of(request).get_execution, order_id)
    if execution is None:
        raise HTTPException(404, f"there is no order {order_id!r}")
    return {"state": execution.state, "result": execution.result}


@app.post("/orders/{order_id}/approval", status_code=204)
async def approve(order_id: str, request: Request, *, yes: bool = True) -> None:
    """Say yes or no."""
    try:
        await asyncio.to_thread(engine_of(request).signal, order_id, approval, yes)
    except ExecutionNotFound as error:
        raise HTTPException(404, str(error)) from None
    except ExecutionFinished:
        raise HTTPException(409, "finished") from None


async def main() -> None:
    """Be the browser of the docstring's story."""
    with TemporaryDirectory() as folder:
        os.environ["ORDERS_DB"] = f"{folder}/orders.db"
        async with lifespan(app), AsyncClient(transport=ASGITransport(app), base_url="http://localhost") as browser:
            engine: Engine = app.state.engine
            taken = await browser.post("/orders?order_id=o-1", json={"item": "lamp", "cents": 900})
            waiting = await asyncio.to_thread(engine.run("o-1").wait, 10, until="waiting")
            print(f"POST /orders: {taken.status_code} {taken.json()['id']} {waiting.state}")
            print(f"POST /orders/o-1/approval: {(await browser.post('/orders/o-1/approval')).status_code}")
            await engine.run("o-1")
            late = await browser.post("/orders/o-1/approval")
            print(f"POST /orders/o-1/approval: {late.status_code} {late.json()['detail']}")
            shown = (await browser.get("/orders/o-1")).json()
            print(f"GET /orders/o-1: {shown['state']}, {shown['result']}")
            print(f"GET /orders/o-9: {(await browser.get('/orders/o-9')).status_code}")
            assert "<title>perdure</title>" in (await browser.get("/runs/")).text
            listed = (await browser.get("/runs/api/runs")).json()["runs"]
            print(f"GET /runs/: the web page, with {len(listed)} run")


if __name__ == "__main__":
    asyncio.run(main())
