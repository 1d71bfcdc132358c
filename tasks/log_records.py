"""Log lines of these processes and their libraries: no character in them controls a terminal or forges a line."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Number
from typing import Any

from fer_core.text import visible, visible_lines

_made = logging.getLogRecordFactory()
_formatter = logging.Formatter()


def clean_log_records() -> None:
    """From now on every record of this process is cleaned as it is made, before any handler of Prefect or Dask writes or sends it."""
    logging.setLogRecordFactory(_record)


@dataclass(frozen=True, slots=True)
class _Shown:
    """A value of a log line, on one line whatever it holds."""

    value: object

    def __str__(self) -> str:
        return visible(str(self.value))

    def __repr__(self) -> str:
        return visible(repr(self.value))


def _record(*args: Any, **values: Any) -> logging.LogRecord:  # noqa: ANN401  (whatever `logging` hands over)
    """Values stand on one line each; the text around them and a traceback keep their line ends."""
    record = _made(*args, **values)
    if isinstance(record.args, Mapping):
        record.args = {name: _shown(value) for name, value in record.args.items()}
    elif record.args:
        record.args = tuple(_shown(value) for value in record.args)
    record.msg = visible_lines(str(record.msg))
    if record.exc_info and not record.exc_text:
        record.exc_text = visible_lines(_formatter.formatException(record.exc_info))
    return record


def _shown(value: object) -> object:
    if isinstance(value, str):
        return visible(value)
    return value if value is None or isinstance(value, Number) else _Shown(value)
