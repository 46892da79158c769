"""A Flask application whose web workers start and answer runs, and one worker process that drives them.

Web servers such as gunicorn fork their workers, and an engine belongs to the process that opened it. So the web
workers use a `Client`, which drives nothing and is opened in each process when it is first needed; one process of its
own has the engine. Either may be killed or deployed anew at any time: what a client was told is on disk.

To see it for yourself, in this folder: ``python in_flask.py work orders.db`` in one terminal,
``ORDERS_DB=orders.db gunicorn -w 4 in_flask:app`` in another, ``perdure dashboard -d orders.db in_flask`` in a third.

    web worker 1: POST /orders: 202 o-1
    web worker 2: POST /orders/o-1/approval: 204
    web worker 2: GET /orders/o-1: completed, shipped lamp
    web worker 1: POST /orders/o-9/approval: 404
    the runs were driven by another process: True
"""

from __future__ import annotations

import os
import subprocess
import sys
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Any

from flask import Flask, abort, jsonify, request
from flask.typing import ResponseReturnValue

from perdure import Client, Context, Engine, ExecutionNotFound, Workflow


def ship(ctx: Context[Any]) -> str:
    """Hand the parcel over."""
    return f"shipped {ctx.input['item']}" if ctx.signals["approval"] else "sent back"


orders = (
    Workflow("orders")
    .step("reserve", os.getpid, compensate=lambda: None)
    .wait_for("approval", timeout=3 * 86_400)
    .step("ship", ship)
)


app = Flask(__name__)
_clients: dict[int, Client] = {}
_opening = Lock()


def client() -> Client:
    """Return the client of this process, opened here: one from before a fork would be the parent's."""
    with _opening:
        process = os.getpid()
        if process not in _clients:
            _clients[process] = Client(os.environ["ORDERS_DB"], orders)
        return _clients[process]


@app.post("/orders")
def take() -> ResponseReturnValue:
    """Start a run; what this returns is on disk."""
    run = client().start("orders", request.get_json(), id=request.args.get("id"))
    return jsonify(id=run.id), 202


@app.get("/orders/<order_id>")
def look(order_id: str) -> ResponseReturnValue:
    """Show how an order stands."""
    execution = client().get_execution(order_id)
    if execution is None:
        abort(404)
    return jsonify(state=str(execution.state), result=execution.result)


@app.post("/orders/<order_id>/approval")
def approve(order_id: str) -> ResponseReturnValue:
    """Say yes or no."""
    try:
        client().signal(order_id, "approval", request.get_json(silent=True) is not False)
    except ExecutionNotFound:
        abort(404)
    return "", 204


def work(database: str) -> None:
    """Drive the runs until standard input ends; in real life, until the service is stopped."""
    with Engine(database, orders):
        print("ready", flush=True)
        sys.stdin.read()


def main() -> None:
    """Be two web workers, beside a real process that drives the runs."""
    with TemporaryDirectory() as folder:
        database = os.environ["ORDERS_DB"] = f"{folder}/orders.db"
        command = [sys.executable, __file__, "work", database]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as worker:  # noqa: S603 - this file
            assert worker.stdout is not None
            worker.stdout.readline()
            first, second = app.test_client(), app.test_client()
            taken = first.post("/orders?id=o-1", json={"item": "lamp"})
            print(f"web worker 1: POST /orders: {taken.status_code} {taken.get_json()['id']}")
            run = client().run("o-1")
            waiting = run.wait(20, until="waiting")
            answered = second.post("/orders/o-1/approval", json=True)
            print(f"web worker 2: POST /orders/o-1/approval: {answered.status_code}")
            run.wait(20)
            shown = second.get("/orders/o-1").get_json()
            print(f"web worker 2: GET /orders/o-1: {shown['state']}, {shown['result']}")
            print(f"web worker 1: POST /orders/o-9/approval: {first.post('/orders/o-9/approval').status_code}")
            print(f"the runs were driven by another process: {waiting.steps['reserve'].result == worker.pid}")
            client().close()
            worker.communicate()


if __name__ == "__main__":
    if sys.argv[1:2] == ["work"]:
        work(sys.argv[2])
    else:
        main()
