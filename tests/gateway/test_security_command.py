"""Keys from the command line to the terminal and back: the processes as a user starts them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.gateway.gateway_field import LOCAL, LONG_MS, ROOT, Field
from tests.gateway.locked_gateway import Keyring, order
from tests.support.marks import needs_interrupt
from tests.support.servers import until
from trueup.cli import app
from trueup.gateway.access.keys import read_key_pair
from trueup.gateway.client.execution_gateway import ExecutionGateway

ASK = """
from trueup.gateway.client.execution_gateway import ExecutionGateway
with ExecutionGateway() as gateway:
    print(gateway.get_positions()["status"])
    print(gateway.send_order({"order_id": "B", "symbol": "EURUSD", "action": "BUY",
                              "volume": 0.01, "price": 1.0})["error"])
"""


@pytest.fixture
def field(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Field]:
    for name in [name for name in os.environ if name.startswith(("GTW_", "TRUEUP_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TRUEUP_HOME", str(tmp_path / "state"))
    made = Field(tmp_path)
    yield made
    made.close()


@pytest.fixture
def keys(tmp_path: Path) -> Keyring:
    """Keys made and allowed by the commands that the documentation gives."""
    folder = tmp_path / "keys"
    lines = []
    for name in ("gateway", "bot1", "screen"):
        done = CliRunner().invoke(app, ["keys", "new", name, "--dir", str(folder)])
        assert done.exit_code == 0
        lines += [line for line in done.stdout.splitlines() if line.startswith("    bot1 ")]
    (folder / "allow").write_text("\n".join(lines), encoding="utf-8")
    made = Keyring(folder)
    made.allow_file.chmod(0o644)
    return made


@needs_interrupt
def test_a_gateway_with_keys_serves_who_is_allowed_and_tells_no_secret(
    field: Field, keys: Keyring
) -> None:
    secrets = [
        read_key_pair(keys.secret_file(name)).secret for name in ("gateway", "bot1", "screen")
    ]
    key_file, allow_file = str(keys.secret_file("gateway")), str(keys.allow_file)
    field.start_gateway("--key", key_file, "--allow", allow_file, "--rate", "1000")
    field.wait_for_worker()
    assert field.said(r"Encrypted, with public key \S{40}; \S+ lets in 1 clients")
    with keys.bot("bot1", field.port) as bot, keys.bot("screen", field.port, 500) as screen:
        assert bot.send_order(order("A"))["status"] == "FILLED"
        assert screen.get_positions()["status"] == "FAILED"
        until(lambda: field.said("Rejected 127.0.0.1"))
        keys.allow("bot1 trade * {bot1}", "screen read * {screen}")
        until(screen.connect)
        assert screen.send_order(order("C"))["error"] == "not sent: key screen may only read"
        keys.allow("screen read * {screen}")
        assert bot.send_order(order("B"))["error"].startswith("not sent: this key is no longer")
    with ExecutionGateway(LOCAL, field.port, 500, server_key="") as plain:
        assert plain.get_positions()["status"] == "FAILED"
    bot_said = _another_process(field, keys, "screen")
    assert bot_said == ["SUCCESS", "not sent: key screen may only read"]
    assert field.end_gateway() == 0
    assert len(field.terminal.terminal.ledger.positions) == 1
    log = field.log.read_text("utf-8")
    assert "was read again: 2 clients" in log
    assert not [secret for secret in secrets if secret in log]


def _another_process(field: Field, keys: Keyring, name: str) -> list[str]:
    """What a program says that has its keys from the settings."""
    settings = {
        "GTW_HOST": LOCAL,
        "GTW_PORT": str(field.port),
        "GTW_TIMEOUT_MS": str(LONG_MS),
        "GTW_SERVER_KEY": keys.public("gateway"),
        "GTW_KEY_FILE": str(keys.secret_file(name)),
    }
    done = subprocess.run(
        [sys.executable, "-c", ASK],
        cwd=field.folder,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), **settings},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        check=True,
    )
    assert read_key_pair(keys.secret_file(name)).secret not in done.stdout + done.stderr
    return done.stdout.splitlines()


@pytest.mark.usefixtures("field")
def test_a_gateway_off_this_machine_needs_keys_or_the_word_plain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    for host in ("0.0.0.0", "*", "192.0.2.1"):
        done = CliRunner().invoke(app, ["gateway", "--simulated", "--host", host])
        assert done.exit_code == 64
        assert f"off this machine ({host}) a gateway needs this file" in done.stderr
        assert "or say --plain" in done.stderr


@pytest.mark.usefixtures("field")
def test_plain_text_off_this_machine_warns_before_it_listens(tmp_path: Path) -> None:
    """The address is nobody's (RFC 5737), so nothing is listened on."""
    log = tmp_path / "plain.log"
    host = "192.0.2.1"
    options = ["--simulated", "--host", host, "--plain", "--port", "5599", "--log", str(log)]
    done = CliRunner().invoke(app, ["gateway", *options])
    assert done.exit_code == 2
    assert f"cannot listen on tcp://{host}:5599" in done.stderr
    assert f"[ACCESS] PLAIN TEXT at {host}: whoever reaches this port can" in log.read_text("utf-8")


@pytest.mark.skipif(os.name != "posix", reason="POSIX modes")
@pytest.mark.usefixtures("field")
def test_a_key_file_that_others_can_read_ends_the_start(keys: Keyring) -> None:
    secret_file = keys.secret_file("gateway")
    secret_file.chmod(0o640)
    options = ["--key", str(secret_file), "--allow", str(keys.allow_file)]
    done = CliRunner().invoke(app, ["gateway", "--simulated", "--port", "0", *options])
    assert done.exit_code == 2
    assert f"run `chmod 600 {secret_file}`" in done.stderr
