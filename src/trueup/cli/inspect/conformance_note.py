"""The notes of a run of `trueup conformance`, for a run after a restart of the gateway."""

from __future__ import annotations

import os
import re
from pathlib import Path

import msgspec

from trueup.cli.shared.say import say
from trueup.conformance.examination.findings import Noted
from trueup.errors import TrueupError
from trueup.private import make_private, make_private_folder
from trueup.runtime.control.state_files import state_folder


def keep_note(url: str, noted: Noted) -> None:
    """Write the notes of a run; if the file cannot be written, print a warning."""
    path = _path(url)
    # A rename replaces the file as a whole: a crash leaves either the old or the new notes.
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        make_private_folder(path.parent)
        make_private(draft)
        draft.write_bytes(msgspec.json.format(msgspec.json.encode(noted)) + b"\n")
        draft.replace(path)
    except OSError as error:
        say(
            f"{path} cannot be written ({error.strerror}): a later run with --restarted has "
            "nothing to compare with.",
            err=True,
        )


def read_note(url: str) -> Noted:
    """Return the notes of the latest run at an address.

    Raises:
        TrueupError: there are no notes, or they cannot be read.
    """
    path = _path(url)
    # Every cause has the same remedy: run the checks once before the restart.
    try:
        return msgspec.json.decode(path.read_bytes(), type=Noted)
    except FileNotFoundError:
        why = f"there is no {path}"
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        why = f"{path} cannot be read ({error})"
    raise TrueupError(
        f"There is nothing to compare with: {why}. Run trueup conformance {url} --trade first, "
        "restart the gateway, and give --restarted then."
    )


def _path(url: str) -> Path:
    where = re.sub(r"[^A-Za-z0-9.]+", "-", url.partition("://")[2])
    return state_folder() / f"conformance-{where}.json"
