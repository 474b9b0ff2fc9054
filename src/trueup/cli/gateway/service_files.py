"""Service files for the gateway: a scheduled task for Windows, a systemd unit for Linux.

The terminal has a window, and only programs of the same user in the same session can open its pipe
(field reports). A Windows service runs in a session of its own, so on Windows a scheduled task
starts the gateway when the user logs on.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from typing import Final
from xml.etree import ElementTree as ET

NAMESPACE: Final = "http://schemas.microsoft.com/windows/2004/02/mit/task"
DESCRIPTION: Final = "trueup gateway: serves the MetaTrader 5 terminal of this machine to bots"
# Time for the call under way, with a deadline of 30 s by default, and a margin.
STOP_SEC: Final = 90

# Elements in the order of the schema ([MS-TSCH] 2.5). For the scheduler a task that ends with an
# error has not failed (2.5.4.2), so the repetition of the trigger starts the task again within a
# minute. A repetition is ignored while the task runs.
_TRIGGER: Final = (("Enabled", "true"), ("Repetition", (("Interval", "PT1M"),)))
_SETTINGS: Final = (
    ("MultipleInstancesPolicy", "IgnoreNew"),
    ("DisallowStartIfOnBatteries", "false"),
    ("StopIfGoingOnBatteries", "false"),
    ("AllowHardTerminate", "true"),
    ("StartWhenAvailable", "true"),
    ("RunOnlyIfNetworkAvailable", "false"),
    ("IdleSettings", (("StopOnIdleEnd", "false"), ("RestartOnIdle", "false"))),
    ("AllowStartOnDemand", "true"),
    ("Enabled", "true"),
    ("Hidden", "false"),
    ("RunOnlyIfIdle", "false"),
    ("WakeToRun", "false"),
    ("ExecutionTimeLimit", "PT0S"),
    # The default is 7, below normal.
    ("Priority", "5"),
    ("RestartOnFailure", (("Interval", "PT1M"), ("Count", "255"))),
)
_Fields = Sequence[tuple[str, "str | _Fields"]]


def task_xml(user: str, command: Sequence[str], folder: str) -> bytes:
    """Return a scheduled task that keeps a command running while a user is logged on.

    The bytes are UTF-16 with a byte order mark, the form that `schtasks /Create /XML` reads.
    """
    # The elements are in the schema's order; the scheduler refuses any other order.
    task = ET.Element("Task", {"version": "1.2", "xmlns": NAMESPACE})
    _add(task, [("RegistrationInfo", (("Description", DESCRIPTION),))])
    trigger = ET.SubElement(ET.SubElement(task, "Triggers"), "LogonTrigger")
    _add(trigger, [*_TRIGGER, ("UserId", user)])
    # InteractiveToken: the session of the logged-on user, where the terminal's window is.
    principal = ET.SubElement(ET.SubElement(task, "Principals"), "Principal", {"id": "Author"})
    _add(
        principal,
        [("UserId", user), ("LogonType", "InteractiveToken"), ("RunLevel", "LeastPrivilege")],
    )
    _add(task, [("Settings", _SETTINGS)])
    execute = ET.SubElement(ET.SubElement(task, "Actions", {"Context": "Author"}), "Exec")
    _add(
        execute,
        [
            ("Command", command[0]),
            ("Arguments", subprocess.list2cmdline(command[1:])),
            ("WorkingDirectory", folder),
        ],
    )
    ET.indent(task)
    written: bytes = ET.tostring(task, encoding="UTF-16", xml_declaration=True)
    return written


def _add(parent: ET.Element, fields: _Fields) -> None:
    for name, value in fields:
        child = ET.SubElement(parent, name)
        if isinstance(value, str):
            child.text = value
        else:
            _add(child, value)


def systemd_unit(command: Sequence[str], folder: str, environment: Sequence[str] = ()) -> str:
    """Return a unit of a user's own systemd that keeps a command running.

    On a stop only the gateway gets the signal (KillMode=mixed): the gateway lets the call under way
    return before it ends the calling process.
    """
    # No start limit: after an hour without the terminal the gateway must still start again.
    variables = "".join(f"Environment={_quoted(variable)}\n" for variable in environment)
    return (
        "[Unit]\n"
        f"Description={DESCRIPTION}\n"
        "StartLimitIntervalSec=0\n"
        "\n"
        "[Service]\n"
        f"ExecStart={' '.join(map(_quoted, command))}\n"
        f"WorkingDirectory={folder.replace('%', '%%')}\n"
        f"{variables}"
        "Restart=always\n"
        "RestartSec=5\n"
        "KillMode=mixed\n"
        f"TimeoutStopSec={STOP_SEC}\n"
        "\n"
        "[Install]\n"
        "WantedBy=default.target\n"
    )


def _quoted(word: str) -> str:
    """Quote a word for systemd, with specifiers and variables taken literally."""
    plain = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return plain if plain and not any(c.isspace() or c in "'\"" for c in word) else f'"{plain}"'
