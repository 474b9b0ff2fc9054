"""The files that `trueup gateway install` writes: what Windows and systemd make of them."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from trueup.cli import app
from trueup.cli.shared.service_files import NAMESPACE, systemd_unit, task_xml

NAME = "trueup-gateway"
# [MS-TSCH] 2.5: where the schema has a sequence the order counts, elsewhere only what there may be.
SEQUENCES = {
    "LogonTrigger": [
        *("Enabled", "StartBoundary", "EndBoundary", "Repetition", "ExecutionTimeLimit"),
        *("UserId", "Delay"),
    ],
}
ALLOWED = {
    "Task": {"RegistrationInfo", "Triggers", "Principals", "Settings", "Data", "Actions"},
    "RegistrationInfo": {"URI", "Source", "Date", "Author", "Version", "Description"},
    "Triggers": {"LogonTrigger", "BootTrigger", "TimeTrigger", "CalendarTrigger"},
    "Repetition": {"Interval", "Duration", "StopAtDurationEnd"},
    "Principals": {"Principal"},
    "Principal": {"UserId", "LogonType", "GroupId", "DisplayName", "RunLevel"},
    "Settings": {
        *("AllowStartOnDemand", "RestartOnFailure", "MultipleInstancesPolicy", "Enabled"),
        *("DisallowStartIfOnBatteries", "StopIfGoingOnBatteries", "AllowHardTerminate"),
        *("StartWhenAvailable", "RunOnlyIfNetworkAvailable", "IdleSettings", "Hidden"),
        *("RunOnlyIfIdle", "WakeToRun", "ExecutionTimeLimit", "Priority"),
    },
    "IdleSettings": {"Duration", "WaitTimeout", "StopOnIdleEnd", "RestartOnIdle"},
    "RestartOnFailure": {"Interval", "Count"},
    "Actions": {"Exec"},
    "Exec": {"Command", "Arguments", "WorkingDirectory"},
}
VALUES = {
    "MultipleInstancesPolicy": {"Parallel", "Queue", "IgnoreNew", "StopExisting"},
    "LogonType": {"S4U", "Password", "InteractiveToken", "InteractiveTokenOrPassword"},
    "RunLevel": {"LeastPrivilege", "HighestAvailable"},
}
WORDS = st.lists(
    st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Cn")), max_size=20),
    max_size=5,
)


def parts(element: ET.Element) -> Iterable[tuple[str, list[str]]]:
    """Each element that has others in it, and the names of those."""
    for one in element.iter():
        if len(one):
            yield (
                one.tag.removeprefix(f"{{{NAMESPACE}}}"),
                [inner.tag.removeprefix(f"{{{NAMESPACE}}}") for inner in one],
            )


def text(task: ET.Element, path: str) -> str:
    found = task.find("/".join(f"{{{NAMESPACE}}}{name}" for name in path.split("/")))
    assert found is not None, path
    return found.text or ""


def test_the_task_is_what_the_schema_of_task_scheduler_allows() -> None:
    raw = task_xml("PC\\trader", ["C:\\Python\\python.exe", "-m", "trueup"], "C:\\bots", "bots")
    assert raw.startswith((b"\xff\xfe", b"\xfe\xff")), "UTF-16 with a mark"
    task = ET.fromstring(raw)
    assert task.tag == f"{{{NAMESPACE}}}Task"
    for name, inner in parts(task):
        assert len(inner) == len(set(inner)), name
        if name in SEQUENCES:
            assert inner == [one for one in SEQUENCES[name] if one in inner]
        else:
            assert set(inner) <= ALLOWED[name], name
    for name, values in VALUES.items():
        assert {one.text for one in task.iter(f"{{{NAMESPACE}}}{name}")} <= values
    assert 1 <= int(text(task, "Settings/RestartOnFailure/Count")) <= 255
    assert 0 <= int(text(task, "Settings/Priority")) <= 10


def test_the_task_runs_in_the_users_session_for_ever_and_starts_again_by_itself() -> None:
    task = ET.fromstring(task_xml("PC\\trader", ["python.exe"], "C:\\bots", "bots"))
    assert text(task, "Principals/Principal/LogonType") == "InteractiveToken"
    assert text(task, "Settings/ExecutionTimeLimit") == "PT0S"
    assert text(task, "Triggers/LogonTrigger/Repetition/Interval") == "PT1M"
    assert text(task, "Settings/MultipleInstancesPolicy") == "IgnoreNew"
    assert text(task, "Triggers/LogonTrigger/UserId") == "PC\\trader"
    principal = task.find(f".//{{{NAMESPACE}}}Principal")
    actions = task.find(f"{{{NAMESPACE}}}Actions")
    assert principal is not None
    assert actions is not None
    assert principal.get("id") == actions.get("Context")


@given(WORDS)
def test_a_task_hands_every_word_over_whole(words: list[str]) -> None:
    task = ET.fromstring(task_xml("u", ["python.exe", *words], "C:\\", "bots"))
    assert text(task, "Actions/Exec/Arguments") == subprocess.list2cmdline(words)


needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="there is no systemd here"
)


@needs_systemd
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / "gateway.service"
    command = [sys.executable, "-m", "trueup", 'a "b" $HOME %h \\x', "it's"]
    unit.write_text(systemd_unit(command, str(tmp_path), "a gateway", ["WINEPREFIX=/a b"]), "utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", str(unit)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
    )
    about_ours = [line for line in done.stderr.splitlines() if "gateway.service" in line]
    assert about_ours == []
    assert done.returncode == 0, done.stderr


def test_the_unit_tells_the_gateway_alone_to_stop_and_gives_it_time() -> None:
    lines = systemd_unit(["/usr/bin/python3"], "/srv", "a bot").splitlines()
    assert {"KillMode=mixed", "TimeoutStopSec=90", "Restart=always"} <= set(lines)


@given(WORDS)
def test_a_unit_hands_every_word_over_whole(words: list[str]) -> None:
    """Read back by the rules of systemd.syntax(7): quotes as in a shell, % and $ doubled."""
    lines = systemd_unit(["/bin/true", *words], "/", "a bot").split("\n")
    (line,) = [one for one in lines if one.startswith("ExecStart=")]
    read = shlex.split(line.removeprefix("ExecStart="))
    assert [word.replace("%%", "%").replace("$$", "$") for word in read[1:]] == words


# -- the command -------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def install(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["gateway", "install", *arguments])


def test_a_task_is_written_with_a_log_and_how_to_register_it(folder: Path) -> None:
    done = install("--kind", "task", "--", "--login", "5", "--password-file", "my pw")
    assert done.exit_code == 0, done.output
    path = folder / f"{NAME}.xml"
    task = ET.fromstring(path.read_bytes())
    assert text(task, "Actions/Exec/Command") == sys.executable
    assert text(task, "Actions/Exec/Arguments") == (
        '-P -m trueup gateway --login 5 --password-file "my pw" --log gateway.log'
    )
    assert text(task, "Actions/Exec/WorkingDirectory") == str(folder)
    assert f'schtasks /Create /TN "{NAME}" /XML "{path}" /F' in done.stdout


def test_a_unit_runs_the_windows_python_under_wine(folder: Path) -> None:
    python = "C:\\Python 311\\python.exe"
    done = install("--kind", "systemd", "--wine-python", python, "--", "--log", "x.log")
    assert done.exit_code == 0, done.output
    unit = (folder / f"{NAME}.service").read_text("utf-8")
    assert '"C:\\\\Python 311\\\\python.exe" -P -m trueup gateway --log x.log\n' in unit
    assert "systemctl --user enable --now" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--", "--logn", "5"], 64, "No such option: --logn"),
        (["--", "--port", "x"], 64, "Invalid value for '--port'"),
        (["--kind", "systemd"], 64, "--wine-python='' is not valid: give the path of the Windows"),
        (["--name", "a/b"], 64, "--name='a/b' is not valid: give a name without a path"),
        (["--name", "a b;c"], 64, "--name='a b;c' is not valid: give letters, digits, and _ . -"),
        (["--kind", "task", "--folder", "none"], 2, "give a folder that exists"),
    ],
)
def test_what_cannot_be_is_said_and_nothing_is_written(
    folder: Path, arguments: list[str], code: int, said: str
) -> None:
    done = install(*arguments)
    assert done.exit_code == code
    assert said in done.stderr
    assert list(folder.iterdir()) == []
