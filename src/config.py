"""The four settings as constants, read from the environment and `.env` when first imported."""

from __future__ import annotations

from trueup.settings import load_settings

_settings = load_settings()

SYNC_INTERVAL_SEC = _settings.sync_interval_sec
GTW_HOST = _settings.gtw_host
GTW_PORT = _settings.gtw_port
GTW_TIMEOUT_MS = _settings.gtw_timeout_ms
