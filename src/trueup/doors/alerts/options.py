"""What the settings say of the alerts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

from trueup.doors.alerts.conditions import Rules
from trueup.doors.alerts.deciding import Policy
from trueup.doors.alerts.quiet import quiet_hours
from trueup.errors import SettingsError
from trueup.observe.status.status import State
from trueup.private import read_private
from trueup.settings import Settings

TO, FILE = "TRUEUP_ALERTS_TO", "TRUEUP_ALERTS_FILE"
NO_RECEIVER = (
    "there is nobody to alert: give URLs of Apprise in trueup.toml or the environment, or the path "
    f"of a file with them in {FILE}; docs/operating/alerts.md has examples"
)


class Options(NamedTuple):
    """The receivers by the setting that has them, the rules, and the heartbeat; '' for none."""

    urls: Sequence[tuple[str, Sequence[str]]]
    policy: Policy
    heartbeat: str = ""
    heartbeat_sec: float = 60.0


def options_of(settings: Settings) -> Options:
    """Return the options of the alerts.

    Raises:
        SettingsError: the file of the receivers cannot be used, or there is no receiver.
    """
    found = [(TO, settings.trueup_alerts_to.split())]
    if settings.trueup_alerts_file:
        text = read_private(Path(settings.trueup_alerts_file), FILE)
        lines = (line.strip() for line in text.splitlines())
        found.append((FILE, [line for line in lines if line and line[0] != "#"]))
    if not any(urls for _, urls in found):
        raise SettingsError(TO, "", NO_RECEIVER)
    hours = settings.trueup_alerts_quiet
    zone = ZoneInfo(settings.trueup_alerts_zone)
    rules = Rules(
        after_ns=round(settings.trueup_alerts_after_sec * 1e9),
        calm_ns=round(settings.trueup_alerts_calm_sec * 1e9),
        least=State(settings.trueup_alerts_level),
    )
    return Options(
        found,
        Policy(rules, quiet_hours(hours, zone) if hours else None, settings.trueup_alerts_hourly),
        settings.trueup_alerts_heartbeat,
        float(settings.trueup_alerts_heartbeat_sec),
    )
