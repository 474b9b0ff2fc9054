"""The ways to the page: HTTPS, an address that others reach, and the end by Ctrl-C."""

from __future__ import annotations

import shutil
import signal
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.page.folder import APPROVER, Folder
from trueup.cli.page.page import page as command
from trueup.errors import SettingsError

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    made, key = tmp_path / "page.pem", tmp_path / "page.key"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-keyout", str(key), "-out", str(made), "-subj", "/CN=127.0.0.1"),
            *("-addext", "subjectAltName=IP:127.0.0.1"),
        ],
        check=True,
        capture_output=True,
    )
    return made, key


def test_https_is_spoken_with_a_certificate_and_the_cookie_is_for_https_alone(
    folder: Folder, certificate: tuple[Path, Path]
) -> None:
    made, key = certificate
    served = folder.page("--tls-cert", str(made), "--tls-key", str(key), signs_in=False)
    assert served.address.startswith("https://127.0.0.1:")
    trusted = ssl.create_default_context(cafile=str(made))
    address = f"{served.address}/sign-in?token={APPROVER}"
    with urllib.request.urlopen(address, timeout=60, context=trusted) as answer:
        assert answer.headers["set-cookie"].endswith("; Secure")
    # Who speaks plain HTTP there gets nothing, and harms nobody.
    with pytest.raises((ConnectionError, urllib.error.URLError)):
        urllib.request.urlopen(address.replace("https", "http"), timeout=60)
    with urllib.request.urlopen(address, timeout=60, context=trusted) as answer:
        assert answer.status == 200


def test_the_page_is_for_this_machine_alone_unless_it_speaks_https(tmp_path: Path) -> None:
    tokens = tmp_path / "people"
    tokens.write_text(f"anna approver {APPROVER}\n", encoding="utf-8")
    tokens.chmod(0o600)
    for address in ("0.0.0.0", "::", "192.0.2.1", "localhost.example.org"):
        with pytest.raises(SettingsError, match="others could read the tokens on the way"):
            command(host=address, token_file=str(tokens), port="0")


@pytest.mark.parametrize(("made", "key"), [("none.pem", "none.key"), ("people", "people")])
def test_a_certificate_that_cannot_be_used_is_named(tmp_path: Path, made: str, key: str) -> None:
    tokens = tmp_path / "people"
    tokens.write_text(f"anna approver {APPROVER}\n", encoding="utf-8")
    tokens.chmod(0o600)
    with pytest.raises(SettingsError, match="give PEM files of a certificate and its key"):
        command(
            token_file=str(tokens),
            port="0",
            tls_cert=str(tmp_path / made),
            tls_key=str(tmp_path / key),
        )


@pytest.mark.skipif(sys.platform == "win32", reason="a test cannot press Ctrl-C there")
@pytest.mark.parametrize(
    ("number", "code", "last"), [(signal.SIGINT, 130, "Stopped.\n"), (signal.SIGTERM, 0, "")]
)
def test_ctrl_c_and_a_request_end_the_page_at_once_while_a_stream_is_open(
    folder: Folder, number: int, code: int, last: str
) -> None:
    served = folder.page()
    with served.reader.stream("/live?screen=now") as lines:
        next(lines)
        served.running.child.send_signal(number)
        assert served.running.child.wait(60) == code
    said = served.running.text()
    assert said == f"The page is at {served.address}/ until Ctrl-C.\n{last}"
