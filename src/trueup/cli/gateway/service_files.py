"""The files by which a machine runs the gateway by itself: a scheduled task, a systemd unit.

The terminal has a window, and its pipe is open to programs of the same user in the same session
(field reports). A Windows service lives in a session of its own, so on Windows it is a scheduled
task that starts when the user logs on.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from typing import Final
from xml.etree import ElementTree as ET

NAMESPACE: Final = "http://schemas.microsoft.com/windows/2004/02/mit/task"
DESCRIPTION: Final = "trueup gateway: serves the MetaTrader 5 terminal of this machine to bots"
# Time for the call under way, whose deadline is 30 s by default, and to spare.
STOP_SEC: Final = 90

# Elements in the order of the schema ([MS-TSCH] 2.5). A task that ends with an error has not failed
# in the scheduler's eyes (2.5.4.2), so it is the trigger's repetition that starts it again, within
# a minute; while it runs, a repetition is ignored.
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
    # 7 is the default, and below normal.
    ("Priority", "5"),
    ("RestartOnFailure", (("Interval", "PT1M"), ("Count", "255"))),
)
_Fields = Sequence[tuple[str, "str | _Fields"]]


def task_xml(user: str, command: Sequence[str], folder: str) -> bytes:
    """Return a scheduled task that keeps a command running while a user is logged on.

    The bytes are UTF-16 with a mark, as Task Scheduler writes and `schtasks /Create /XML` reads.
    """
    task = ET.Element("Task", {"version": "1.2", "xmlns": NAMESPACE})
    _add(task, [("RegistrationInfo", (("Description", DESCRIPTION),))])
    trigger = ET.SubElement(ET.SubElement(task, "Triggers"), "LogonTrigger")
    _add(trigger, [*_TRIGGER, ("UserId", user)])
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

    Only the gateway is told to stop: it lets the call under way come back before it ends the
    process that makes it.
    """
    variables = "".join(f"Environment={_quoted(one)}\n" for one in environment)
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
    """Return a word as systemd reads it: quoted, specifiers and variables taken literally."""
    plain = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return plain if plain and not any(c.isspace() or c in "'\"" for c in word) else f'"{plain}"'
