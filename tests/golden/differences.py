"""Where our rule differs from the recording: one entry for each scenario, with what we do instead and why.

An entry names the sentence of our own documentation that decides, the recorded version it starts from, and the parts of
that version's outcome that are otherwise here. Whatever an entry does not mention must be as recorded. Where threads
race, and both ends of the race are right, an entry has several `changes`, and one of them must hold.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["DOCUMENTED", "Difference", "expected"]

_EVENT = re.compile(
    r"(?P<type>[a-z]+:[a-z]+)(?: (?P<step>(?!\d+/\d+|=|!|\[)\S+))?(?: (?P<attempt>\d+)/(?P<max>\d+))?"
    r"(?: \[(?P<phase>\d)\])?(?: = (?P<value>.*?))?(?: ! (?P<error>.*))?"
)
_VALUES = {"workflow:started": "input", "step:completed": "result", "signal:received": "payload"}


@dataclass(frozen=True, slots=True)
class Difference:
    """What one scenario does here.

    Attributes:
        rule: The sentence that decides.
        base: The recorded version that holds in everything else.
        changes: Parts of the outcome that replace the recorded ones; several if either of them is right.
    """

    rule: str
    base: str = "2.9.5"
    changes: tuple[dict[str, Any], ...] = ()


def expected(scenario: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the outcomes of which ours must be one."""
    recorded = scenario["outcome"]
    difference = DOCUMENTED.get(scenario["name"])
    if difference is not None:
        return [recorded[difference.base] | change for change in difference.changes or ({},)]
    match scenario["judgement"]:
        case "equal":
            return list(recorded.values())
        case "follow_seed":
            return [recorded["2.7.10"]]
        case "follow_new" | "better" | "new_api":
            return [recorded["2.9.5"]]
        case judgement:
            raise KeyError(judgement)


def _events(*lines: str) -> list[dict[str, Any]]:
    """Read events written as ``type step attempt/max [phase] = value ! error``."""
    return [_event(line) for line in lines]


def _event(line: str) -> dict[str, Any]:
    match = _EVENT.fullmatch(line)
    assert match, line
    found = {key: value for key, value in match.groupdict().items() if value is not None}
    event: dict[str, Any] = {"type": found["type"]}
    if "step" in found:
        event["event" if found["type"].startswith("signal:") else "step"] = found["step"]
    if "attempt" in found:
        event |= {"attempt": int(found["attempt"]), "max": int(found["max"])}
    if "phase" in found:
        event["phase"] = int(found["phase"])
    if found["type"] in _VALUES:
        event[_VALUES[found["type"]]] = json.loads(found.get("value", "null"))
    if "error" in found:
        event["error"] = found["error"]
    return event


DOCUMENTED: dict[str, Difference] = {}
