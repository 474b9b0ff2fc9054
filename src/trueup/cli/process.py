"""Run a command's process to its exit code, without a traceback.

`cli.group` reports the errors of a command. This module handles the errors around a command: a
closed or full output, Ctrl-C while the process ends, and bugs of the program itself.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Sequence
from typing import NoReturn, TextIO

from trueup.cli import app
from trueup.cli.group import CLOSED, STOPPED, WRONG, sentence_of_system
from trueup.cli.shared.completion import get_ready_for_a_shell
from trueup.observe.log import is_closed
from trueup.passwords import hide_passwords

REPORT_BEGINS = "trueup-error-"


def run(arguments: Sequence[str] | None, *, takes_interrupts: bool) -> NoReturn:
    """Run a command, and end the process with its exit code.

    Args:
        arguments: the command's arguments; None for the arguments of this process.
        takes_interrupts: whether Ctrl-C stops the command; False leaves the handling unchanged.
    """
    code = _flushed(_run_app(arguments, takes_interrupts=takes_interrupts))
    # The command is done: from here on Ctrl-C ends the process without a message.
    if takes_interrupts:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(code)


def _run_app(arguments: Sequence[str] | None, *, takes_interrupts: bool) -> int:
    try:
        if takes_interrupts:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        get_ready_for_a_shell()
        app(None if arguments is None else list(arguments), prog_name="trueup")
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 0 if ended.code is None else WRONG
    except KeyboardInterrupt:
        return STOPPED
    except Exception:  # noqa: BLE001 - the last resort: our own bug is reported as a sentence too
        _say(_mistake(traceback.format_exc()))
        return WRONG
    return 0


def _mistake(report: str) -> str:
    """Return a sentence about a bug of this program, with the file that has the details."""
    report = hide_passwords(report)
    what = report.strip().splitlines()[-1]
    try:
        # A new file that only this user can read: the folder is everybody's.
        handle, path = tempfile.mkstemp(".txt", REPORT_BEGINS)
        with open(handle, "w", encoding="utf-8", errors="replace") as file:
            file.write(report)
    except OSError:
        return f"A mistake in trueup itself ended the command: {what}"
    return f"A mistake in trueup itself ended the command: {what} (the details are in {path})"


def _flushed(code: int) -> int:
    """Flush both outputs; return the exit code, changed if an output cannot be written."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError) as error:
            _give_up(stream)
            # A closed pipe is the reader's choice; a full disk is an error.
            if isinstance(error, OSError) and is_closed(error):
                code = CLOSED
            elif code != WRONG:
                # With this exit code the sentence about the full disk may be out already.
                _say(sentence_of_system(error))
                code = WRONG
    return code


def _give_up(stream: TextIO) -> None:
    """Redirect a broken stream to nowhere, or Python tries to flush again and prints an error."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def _say(sentence: str) -> None:
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(f"{sentence}\n")
        sys.stderr.flush()
