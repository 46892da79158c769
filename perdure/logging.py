"""Log records that say which run they belong to, and a formatter that writes them as JSON.

Names and numbers only: inputs, results and payloads never get into a record by this file.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, MutableMapping
from datetime import UTC, datetime
from typing import Any, Final

from .actors.attempt import running_attempt

__all__ = ["FIELDS", "JsonFormatter", "RunFilter", "run_logger"]

FIELDS: Final = ("execution_id", "workflow", "step", "attempt")
"""What a record says of the run: its id, the name of its workflow, the step with its item's index, the attempt."""

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class RunFilter(logging.Filter):
    """Puts the `FIELDS` on every record, whoever logs it: in a handler those of its attempt, elsewhere None.

    Add it to a log handler (not to a logger: a logger's filters do not see what its children log). A record that
    carries a field already keeps it.

    Example:
        >>> handler = logging.StreamHandler()
        >>> handler.addFilter(RunFilter())
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the fields; let every record pass."""
        for name, value in _fields_now().items():
            if not hasattr(record, name):
                setattr(record, name, value)
        return True


def _fields_now() -> dict[str, Any]:
    attempt = running_attempt()
    if attempt is None:
        return dict.fromkeys(FIELDS)
    facts = attempt.facts
    return _fields(facts.execution_id, facts.workflow_name, attempt.effect.place.name, attempt.number)


def _fields(execution_id: str, workflow: str, step: str, attempt: int) -> dict[str, Any]:
    return dict(zip(FIELDS, (execution_id, workflow, step, attempt), strict=True))


class JsonFormatter(logging.Formatter):
    """Writes a record as one line of JSON: time, level, logger, message, the run's fields, and what ``extra`` held.

    Example:
        >>> record = logging.makeLogRecord({"name": "shop", "levelname": "INFO", "msg": "sold", "created": 0.0})
        >>> JsonFormatter().format(record)
        '{"time": "1970-01-01T00:00:00.000000+00:00", "level": "INFO", "logger": "shop", "message": "sold"}'
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        said: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        given = {name: value for name, value in vars(record).items() if name not in _STANDARD and value is not None}
        said.update((name, value) for name, value in given.items() if name not in said)
        if record.exc_info and not record.exc_text:
            record.exc_text = self.formatException(record.exc_info)
        if record.exc_text:
            said["exception"] = record.exc_text
        if record.stack_info:
            said["stack"] = self.formatStack(record.stack_info)
        return json.dumps(said, default=str, ensure_ascii=False).encode("utf-8", "backslashreplace").decode()


class _RunLogger(logging.LoggerAdapter[logging.Logger]):
    """Adds the run's fields to what the caller gives as ``extra``; `logging`'s own adapter would drop that."""

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        given: Mapping[str, Any] = kwargs.get("extra") or {}
        return msg, {**kwargs, "extra": {**given, **(self.extra or {})}}


def run_logger(execution_id: str, workflow: str, step: str, attempt: int) -> _RunLogger:
    """Return the logger of one attempt: ``perdure.run``, its records with the run's fields."""
    return _RunLogger(logging.getLogger("perdure.run"), _fields(execution_id, workflow, step, attempt))
