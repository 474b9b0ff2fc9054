"""The --log-json option, and the form of the log that the settings choose."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trueup.observe.log import set_up_logging
from trueup.setting_places import may_be_set

JSON = "json"

LogJsonOption = Annotated[
    bool,
    typer.Option(
        "--log-json", help="Write each log line as a JSON object; also by TRUEUP_LOG=json."
    ),
]


def set_up_log(*, console: bool, file: Path | None, as_json: bool) -> None:
    """Send the log to the console, to a file, or both, in the form of the option or the settings.

    Raises:
        SettingsError: the file cannot be written, or a setting is not valid.
    """
    set_up_logging(console=console, file=file, as_json=as_json or _is_set_to_json())


def _is_set_to_json() -> bool:
    if not may_be_set("trueup_log"):
        return False
    # Imported here: the import takes longer than the start of a simulated terminal.
    from trueup.settings import load_settings

    return load_settings().trueup_log == JSON
