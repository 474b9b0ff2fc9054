"""The risk limits of the settings; fast where there are none."""

from __future__ import annotations

from trueup.core.limits.limits import NO_LIMITS, Limits
from trueup.setting_places import may_be_set


def limits_setting() -> Limits:
    """Return the limits of the settings of the current folder.

    Raises:
        SettingsError: a setting, or a limit, cannot be used.
    """
    if not may_be_set("trueup_limits"):
        return NO_LIMITS
    # Imported here: pydantic takes longer to import than all other modules of a bot together.
    from trueup import settings

    return settings.limits_setting()
