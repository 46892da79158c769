"""An engine and a client are carried into a forked child, which tries everything they can do.

python forker.py DATABASE
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable
from typing import Any

from perdure import Client, Engine, Workflow
from perdure.dsl.errors import EngineForked

HARMLESS = {"close", "abandon", "reopen"}
FOR_HANDLES = {
    "aside",
    "check_may_block",
    "check_may_wait",
    "is_under_way",
    "stillness",
    "view",
    "wait_told",
    "when_changed",
    "when_ended",
    "workflow_of_run",
}


def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def outcomes(owner: Any) -> list[str]:
    """Call every public method; say of each what came of it."""
    found = []
    for name, _ in inspect.getmembers(type(owner), inspect.isfunction):
        if name.startswith("_") or name in FOR_HANDLES | HARMLESS:
            continue
        found.append(f"{name} {outcome(getattr(owner, name))}")
    owner.close()
    return found


def outcome(call: Callable[..., Any]) -> str:
    """Say what came of a call; what it is given does not matter, since it must not get that far."""
    needed = [
        parameter
        for parameter in inspect.signature(call).parameters.values()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    try:
        call(
            *("g" for parameter in needed if parameter.kind is not parameter.KEYWORD_ONLY),
            **{parameter.name: "g" for parameter in needed if parameter.kind is parameter.KEYWORD_ONLY},
        )
    except EngineForked as error:
        return f"forked {error}"
    except Exception as error:  # noqa: BLE001 - the test looks at it
        return f"{type(error).__name__} {error}"
    return "went on"


def main() -> None:
    gate = Workflow("gate").wait_for("go").step("after", os.getpid)
    with Engine(sys.argv[1], gate) as engine, Client(sys.argv[1]) as client:
        engine.start("gate", id="g").wait(until="waiting")
        child = os.fork()
        if child == 0:
            for line in (*outcomes(engine), *(f"client.{line}" for line in outcomes(client))):
                say(line)
            with Engine(sys.argv[1], gate) as own:  # what the error says to do
                say("own", own.start("gate", id="h").wait(until="waiting").state)
            os._exit(0)
        os.waitpid(child, 0)
        for run in ("g", "h"):  # the child's exit has harmed nobody, and left its run to the parent
            client.signal(run, "go")
            say(run, client.run(run).result() == os.getpid())


if __name__ == "__main__":
    main()
