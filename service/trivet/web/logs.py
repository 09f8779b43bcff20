"""Structured logs: one JSON object a line, with the id of the request that it belongs to."""

from __future__ import annotations

import json
import logging
import re
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Final

import orjson

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
"""The id of the request that is being answered, for every line logged on its way."""

# JSON lets them stand; terminals and readers of lines obey them.
_OBEYED = re.compile("[\x7f-\x9f\u2028\u2029]")

LOGGERS: Final = ("uvicorn", "uvicorn.error", "uvicorn.access")


class JsonFormatter(logging.Formatter):
    """Renders a record as one line: time, level, logger, message, requestId, exception.

    More members come from `extra={"fields": {…}}`. Whoever logs leaves secrets out.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Render the record; a line break in a message is escaped, so it cannot forge a line."""
        at = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, Any] = {
            "time": f"{at:%Y-%m-%dT%H:%M:%S}.{int(record.msecs):03}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if (current := request_id.get()) is not None:
            line["requestId"] = current
        line |= getattr(record, "fields", {})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        try:
            text = orjson.dumps(line, default=str).decode()
        except TypeError:  # halves of surrogate pairs, which JSON's escapes can hold and UTF-8 cannot
            return json.dumps(line, default=str)
        return text if text.isascii() else _OBEYED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def spare_log_records() -> None:
    """Find out for no line where it was logged, by which thread and process: none shows it, and it takes 12 µs."""
    # As the logging HOWTO describes, section "Optimization".
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None  # noqa: SLF001


def logging_config(level: str) -> dict[str, Any]:
    """Describe, for `logging.config.dictConfig`, logs that all go to stderr as JSON, uvicorn's as well."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": "trivet.web.logs.JsonFormatter"}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
        "root": {"handlers": ["stderr"], "level": level.upper()},
        "loggers": {
            **{name: {"handlers": [], "propagate": True} for name in LOGGERS},
            "alembic": {"level": "WARNING"},  # tells at length that nothing is to be migrated
        },
    }
