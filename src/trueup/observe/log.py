"""Send log lines to the console, to a file, or to both.

The message is the guide's line to the letter, after the time (UTC) and the level:

    2026-01-05 03:04:05.678Z WARNING [CLOSED] Ghost position removed (Ticket 123456)
"""

from __future__ import annotations

import codecs
import contextlib
import errno
import io
import logging
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from trueup.errors import SettingsError
from trueup.private import make_private

FILE_BYTES_MAX = 5_000_000
FILES_KEPT = 3

# Replacements for characters that a console lacks (Windows code page 1252 has no arrow).
_PLAIN = {"→": "->", "≠": "!=", "─": "-", "│": "|", "●": "*", "✅": "[ok]"}
# Characters that turn the direction of a line, so that a price or a name reads backwards.
_TURNS = (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
# Line ends and control characters, and their escapes as Python writes them.
CONTROLS = {
    code: repr(chr(code))[1:-1]
    for code in (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, *_TURNS)
    if code != ord("\t")
}
_PLAIN_HANDLER = "trueup.plain"


class _Formatter(logging.Formatter):
    converter: Callable[[float | None], time.struct_time] = staticmethod(time.gmtime)
    default_msec_format = "%s.%03dZ"

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Write a message as one line: a name from the network must not add log lines."""
        account = getattr(record, "account", "")
        told = f"({account}) {record.message}" if account else record.message
        record.message = told.translate(CONTROLS)
        return super().formatMessage(record)


class _Console(logging.StreamHandler[TextIO]):
    """Writes log lines to a console; a line that cannot be written is lost.

    The first lost line is reported on stderr. `on_closed` is called once, when the reader of the
    console has gone.
    """

    on_closed: Callable[[], None] | None = None
    _is_told = False

    def handleError(self, record: logging.LogRecord) -> None:
        """Continue without the line."""
        error = sys.exception()
        if self.on_closed is not None and isinstance(error, OSError) and is_closed(error):
            on_closed, self.on_closed = self.on_closed, None
            on_closed()
        elif not self._is_told:
            _say_on_stderr(f"A line of the log cannot be written to the console: {error}.")
        self._is_told = True


def set_up_logging(
    *, console: bool, file: Path | None = None, as_json: bool = False, to_stderr: bool = False
) -> None:
    """Send the package's log lines to stdout, to a file, or both; replaces an earlier choice.

    Args:
        console: whether lines go to stdout.
        file: the file that lines go to.
        as_json: write each line as a JSON object, with more lines about each step of an order.
        to_stderr: the console is stderr, for a program whose stdout has another reader.

    Raises:
        SettingsError: the file cannot be written.
    """
    logger = logging.getLogger("trueup")
    # Close the handlers of an earlier call, or each line would be written twice.
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        handler.close()
    console_stream = sys.stderr if to_stderr else sys.stdout
    handlers: list[logging.Handler] = [_Console(console_stream)] if console else []
    if file is not None:
        handlers.append(_file_handler(file))
    formatter = _json_formatter() if as_json else _Formatter()
    # Without any handler Python would print warnings to stderr by itself.
    for handler in handlers or [logging.NullHandler()]:
        handler.setFormatter(formatter)
        logger.addHandler(handler)
    logger.setLevel(logging.DEBUG if as_json else logging.INFO)
    logger.propagate = False


def _json_formatter() -> logging.Formatter:
    # Imported here: few commands write JSON.
    from trueup.observe.log_json import JsonFormatter

    return JsonFormatter()


def when_console_closes(call: Callable[[], None]) -> None:
    """Call a function once when the reader of the console's log has gone, as with `| head`.

    If the log also goes to a file, the function is not called, because the file can still be read.
    """
    handlers = logging.getLogger("trueup").handlers
    for handler in handlers:
        if isinstance(handler, _Console) and len(handlers) == 1:
            handler.on_closed = call


def is_closed(error: OSError) -> bool:
    """Return whether an error means that the reader of an output has gone, as with `| head`."""
    # Windows reports the same condition as EINVAL.
    return error.errno == errno.EPIPE or (sys.platform == "win32" and error.errno == errno.EINVAL)


def _file_handler(file: Path) -> logging.Handler:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        make_private(file)
        # Imported here: a command without a log file does not need the time to import handlers.
        from trueup.observe.log_file import LogFile

        return LogFile(file, FILE_BYTES_MAX, FILES_KEPT, _say_on_stderr)
    except OSError as error:
        because = (error.strerror or str(error)).lower()
        valid = f"give the path of a file that can be written ({because})"
        raise SettingsError("--log", str(file), valid) from error


def _say_on_stderr(sentence: str) -> None:
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(f"{sentence}\n")
        sys.stderr.flush()


def make_streams_safe(*streams: TextIO | None) -> None:
    """Let streams write any text; replace characters that the encoding lacks.

    On Windows, Python writes to a pipe or a file in the system's code page, which lacks many
    characters of folder names. There this function selects UTF-8, unless PYTHONIOENCODING is set.
    """
    codecs.register_error(_PLAIN_HANDLER, _in_plain_characters)
    for stream in streams:
        if isinstance(stream, io.TextIOWrapper):
            is_chosen = stream.isatty() or "PYTHONIOENCODING" in os.environ
            encoding = None if is_chosen or sys.platform != "win32" else "utf-8"
            stream.reconfigure(encoding=encoding, errors=_PLAIN_HANDLER)


def _in_plain_characters(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end]
    return "".join(_PLAIN.get(character, "?") for character in missing), error.end
