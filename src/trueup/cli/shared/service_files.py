"""Service files: a scheduled task for Windows, a systemd unit for Linux.

The terminal has a window, and only programs of the same user in the same session can open its pipe
(field reports). A Windows service runs in a session of its own, so on Windows a scheduled task
starts the program when the user logs on.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from typing import Final
from xml.etree import ElementTree as ET

NAMESPACE: Final = "http://schemas.microsoft.com/windows/2004/02/mit/task"
# Time for the call under way, with a deadline of 30 s by default, and a margin.
STOP_SEC: Final = 90
# A turn of a bot waits for the reply to an order: for a terminal of this machine at most 30 s.
WATCHDOG_SEC: Final = 120

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


def task_xml(user: str, command: Sequence[str], folder: str, description: str) -> bytes:
    """Return a scheduled task that keeps a command running while a user is logged on.

    The bytes are UTF-16 with a byte order mark, the form that `schtasks /Create /XML` reads.
    """
    # The elements are in the schema's order; the scheduler refuses any other order.
    task = ET.Element("Task", {"version": "1.2", "xmlns": NAMESPACE})
    _add(task, [("RegistrationInfo", (("Description", description),))])
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


def systemd_unit(
    command: Sequence[str],
    folder: str,
    description: str,
    environment: Sequence[str] = (),
    *,
    notifies: bool = False,
) -> str:
    """Return a unit of a user's own systemd that keeps a command running.

    On a stop only the command gets the signal (KillMode=mixed): it lets the call under way return
    before it ends the calling process.

    Args:
        command: the words of the command.
        folder: the folder that the command runs in.
        description: the unit's description.
        environment: variables, as NAME=VALUE.
        notifies: the command tells systemd that it is ready and alive (`sd_notify`), and ends with
            exit code 0 only if a person wants it to end. The command is started again after every
            other end, and when it is silent for `WATCHDOG_SEC`.
    """
    # No start limit: after an hour without the terminal the command must still start again.
    signs = f"Type=notify\nNotifyAccess=main\nWatchdogSec={WATCHDOG_SEC}\n" if notifies else ""
    variables = "".join(f"Environment={_quoted(variable)}\n" for variable in environment)
    return (
        "[Unit]\n"
        f"Description={description}\n"
        "StartLimitIntervalSec=0\n"
        "\n"
        "[Service]\n"
        f"{signs}"
        f"ExecStart={' '.join(map(_quoted, command))}\n"
        f"WorkingDirectory={folder.replace('%', '%%')}\n"
        f"{variables}"
        f"Restart={'on-failure' if notifies else 'always'}\n"
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
