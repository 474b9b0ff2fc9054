"""The error for options that do not go together."""

from __future__ import annotations

from trueup.errors import TrueupError


class WrongUsage(TrueupError):
    """Options that contradict each other, or one without another that it needs.

    A wrong value of a single option is a `SettingsError`. The exit code of both is 64.
    """
