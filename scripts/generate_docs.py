"""Write the pages of docs/ that follow from the code: `make docs`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from scripts.cli_page import cli_page  # noqa: E402
from scripts.data_page import data_page  # noqa: E402
from scripts.house_page import house_page  # noqa: E402
from scripts.incidents_page import incidents_page  # noqa: E402
from scripts.metrics_page import metrics_page  # noqa: E402
from scripts.peers_page import peers_page  # noqa: E402
from scripts.recovery_page import recovery_page  # noqa: E402
from scripts.speed_page import pictures, speed_page  # noqa: E402
from scripts.status_page import status_page  # noqa: E402
from trueup.core.invariants import INVARIANTS  # noqa: E402
from trueup.setting_places import ENV_FILE, TOML_FILE  # noqa: E402
from trueup.settings import Settings, valid_values  # noqa: E402

_SETTINGS_HEAD = f"""\
# Settings

<!-- Written by `make docs` from src/trueup/settings.py. Change it there. -->

A setting comes from the first of four places that has the setting:

1. the environment: `export SYNC_INTERVAL_SEC=30`
2. `{ENV_FILE}` in the current folder: `SYNC_INTERVAL_SEC=30`; names of other programs are ignored
3. `{TOML_FILE}` in the current folder: `sync_interval_sec = 30`; any other name is an error
4. the default

`trueup config init` writes a `{TOML_FILE}` that has every setting as a comment. `trueup config
show` prints each setting with its value and the place that it came from; passwords and keys are
hidden. A place that sets a value in vain is named, too:

```text
GTW_PORT                  5000                      environment (over .env, trueup.toml)
```

A `postgresql://` URL with a password belongs into `TRUEUP_JOURNAL`, and not into a command line:
every user of a machine can read the list of processes. `PGPASSWORD` and `~/.pgpass` hold a password
alone. `trueup` warns of a password in `--journal`.

Settings are read once, at the start. An invalid value stops the program with one sentence:

```text
GTW_PORT='abc' is not valid: {valid_values("gtw_port")}.
```
"""


_GUARANTEES_HEAD = """\
# Guarantees

<!-- Written by `make docs` from src/trueup/core/invariants.py. Change it there. -->

trueup makes ten numbered promises. Tests, run-time checks and these pages use the same numbers.

| | promise | in full |
| --- | --- | --- |
"""


def _default(value: object) -> str:
    return f"`{value}`" if value != "" else "empty"


def settings_page() -> str:
    """docs/reference/settings.md, from the fields of `Settings`."""
    parts = [_SETTINGS_HEAD]
    for name, field in Settings.model_fields.items():
        valid = valid_values(name).removeprefix("give ")
        parts.append(
            f"## `{name.upper()}`\n\n{field.description}\n\n"
            f"* Default: {_default(field.default)}\n* Valid: {valid}\n"
            f"* In `{TOML_FILE}`: `{name}`\n"
        )
    return "\n".join(parts)


def guarantees_page() -> str:
    """docs/concepts/guarantees.md, from the invariants of the core."""
    rows = [f"| {n} | **{name}** | {text} |" for n, (name, text) in INVARIANTS.items()]
    return _GUARANTEES_HEAD + "\n".join(rows) + "\n"


PAGES: dict[str, Callable[[], str]] = {
    "docs/concepts/guarantees.md": guarantees_page,
    "docs/concepts/other-packages.md": peers_page,
    "docs/concepts/recovery.md": recovery_page,
    "docs/internals/house.md": house_page,
    "docs/internals/speed.md": speed_page,
    **pictures(),
    "docs/operating/incidents.md": incidents_page,
    "docs/reference/cli.md": cli_page,
    "docs/reference/data.md": data_page,
    "docs/reference/metrics.md": metrics_page,
    "docs/reference/status-json.md": status_page,
    "docs/reference/settings.md": settings_page,
}


def main() -> None:
    for path, page in PAGES.items():
        target = ROOT / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(page(), encoding="utf-8", newline="\n")
        print(f"wrote {path}")


if __name__ == "__main__":
    main()
