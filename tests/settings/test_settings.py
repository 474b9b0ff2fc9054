from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from scripts import generate_docs
from trueup.errors import SettingsError, quoted
from trueup.setting_places import is_named
from trueup.settings import Settings, account_setting, given_settings, load_settings

ROOT = Path(__file__).resolve().parents[2]
NUMBERS_AND_HOST = ("SYNC_INTERVAL_SEC", "GTW_HOST", "GTW_PORT", "GTW_TIMEOUT_MS")
NAMES = (*NUMBERS_AND_HOST, "GTW_SERVER_KEY", "GTW_KEY_FILE", "TRUEUP_ACCOUNT")
ACCOUNT = "5000001@Simulated-Demo"
SHOW_CONFIG = (
    "from src.config import SYNC_INTERVAL_SEC, GTW_HOST, GTW_PORT, GTW_TIMEOUT_MS;"
    "print(repr((SYNC_INTERVAL_SEC, GTW_HOST, GTW_PORT, GTW_TIMEOUT_MS)))"
)


@pytest.fixture(autouse=True)
def _clean_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def run_python(code: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name not in NAMES}
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=kept | {"PYTHONPATH": str(ROOT)} | variables,
        capture_output=True,
        text=True,
        encoding="utf-8",
        # Windows writes an error to a pipe in its code page.
        errors="replace",
        timeout=60,
    )


def test_settings_when_nothing_is_given_are_those_of_the_quick_start() -> None:
    settings = load_settings()
    assert repr(settings.sync_interval_sec) == "15"
    assert (settings.gtw_host, settings.gtw_port) == ("172.19.141.255", 5555)
    assert settings.gtw_timeout_ms == 2000
    assert (settings.gtw_server_key, settings.gtw_key_file) == ("", "")
    assert not settings.gateway_is_configured


def test_settings_when_assigned_to_refuse() -> None:
    settings = load_settings()
    with pytest.raises(ValidationError, match="frozen"):
        settings.gtw_port = 1


def test_settings_when_given_in_three_places_take_environment_then_dotenv_then_toml(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Path("trueup.toml").write_text(
        "gtw_port = 1\ngtw_timeout_ms = 1\nsync_interval_sec = 1\n", encoding="utf-8"
    )
    Path(".env").write_text(
        "GTW_PORT=2\nexport GTW_TIMEOUT_MS=2\nPATH_TO_ELSEWHERE=x\n", encoding="utf-8"
    )
    monkeypatch.setenv("GTW_PORT", "3")
    settings = load_settings()
    assert (settings.gtw_port, settings.gtw_timeout_ms, settings.sync_interval_sec) == (3, 2, 1)


def test_settings_when_the_files_begin_with_a_byte_order_mark_are_read() -> None:
    Path(".env").write_bytes(b"\xef\xbb\xbfGTW_PORT=2\r\n")
    Path("trueup.toml").write_bytes(b"\xef\xbb\xbfGTW_TIMEOUT_MS = 7\r\n")
    settings = load_settings()
    assert (settings.gtw_port, settings.gtw_timeout_ms) == (2, 7)


@pytest.mark.parametrize("name", ["GTW_HOST", "GTW_PORT"])
def test_gateway_when_given_even_as_the_default_counts_as_configured(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, str(Settings.model_fields[name.lower()].default))
    assert load_settings().gateway_is_configured


def test_gateway_when_only_the_timeout_is_given_is_not_configured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GTW_TIMEOUT_MS", "100")
    assert not load_settings().gateway_is_configured


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("SYNC_INTERVAL_SEC", "30", 30),
        ("SYNC_INTERVAL_SEC", "0.25", 0.25),
        ("SYNC_INTERVAL_SEC", " 1e1 ", 10.0),
        ("GTW_PORT", "65535", 65535),
        ("GTW_HOST", "localhost", "localhost"),
        ("GTW_HOST", "::1", "::1"),
        ("GTW_HOST", "[::1]", "::1"),
        ("GTW_HOST", "[2001:DB8::7]", "2001:db8::7"),
        ("GTW_HOST", "vps_7.example.com", "vps_7.example.com"),
        ("GTW_SERVER_KEY", " keys/gateway.key ", "keys/gateway.key"),
        ("GTW_KEY_FILE", "keys/bot1.key_secret", "keys/bot1.key_secret"),
    ],
)
def test_value_when_good_is_kept_as_it_was_meant(
    name: str, text: str, value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, text)
    assert repr(getattr(load_settings(), name.lower())) == repr(value)


@pytest.mark.parametrize(
    ("name", "text", "valid"),
    [
        ("GTW_PORT", "abc", "give a whole number from 1 to 65535"),
        ("GTW_PORT", " ", "give a whole number from 1 to 65535"),
        ("GTW_PORT", "0", "give a whole number from 1 to 65535"),
        ("GTW_PORT", "65536", "give a whole number from 1 to 65535"),
        ("GTW_PORT", "5555.5", "give a whole number from 1 to 65535"),
        ("GTW_PORT", "5_555", "give a whole number from 1 to 65535"),
        ("GTW_TIMEOUT_MS", "0", "give a whole number of milliseconds from 1 to 3600000"),
        ("SYNC_INTERVAL_SEC", "0", "give a number of seconds above 0, at most 86400"),
        ("SYNC_INTERVAL_SEC", "nan", "give a number of seconds above 0, at most 86400"),
        ("SYNC_INTERVAL_SEC", "inf", "give a number of seconds above 0, at most 86400"),
        ("SYNC_INTERVAL_SEC", "1e999", "give a number of seconds above 0, at most 86400"),
        (
            "GTW_HOST",
            "tcp://10.0.0.1:5555",
            "give a host name or an IP address, without tcp:// and without a port",
        ),
        (
            "GTW_HOST",
            "[::1",
            "give a host name or an IP address, without tcp:// and without a port",
        ),
        (
            "GTW_HOST",
            "[10.0.0.1]",
            "give a host name or an IP address, without tcp:// and without a port",
        ),
    ],
)
def test_value_when_bad_is_one_sentence(
    name: str, text: str, valid: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, text)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert str(caught.value) == f"{name}={quoted(text)} is not valid: {valid}."


@pytest.mark.parametrize(
    ("toml", "sentence"),
    [
        ("gtw_prot = 1", "gtw_prot='1' is not valid: the names in trueup.toml are "),
        ("gtw_port = true", "GTW_PORT='True' is not valid: give a whole number"),
        ("gtw_host = 7", "GTW_HOST='7' is not valid: give a host name"),
        ("# ours\ngtw_port 5555", "trueup.toml='gtw_port 5555' is not valid: write name = value."),
        ("gtw_port = ", "trueup.toml='gtw_port = ' is not valid: write name = value."),
    ],
)
def test_toml_when_wrong_is_one_sentence(toml: str, sentence: str) -> None:
    Path("trueup.toml").write_text(toml, encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert str(caught.value).startswith(sentence)


@pytest.mark.parametrize("name", [".env", "trueup.toml"])
def test_file_when_not_utf8_is_one_sentence(name: str) -> None:
    Path(name).write_bytes("GTW_PORT=1".encode("utf-16"))
    with pytest.raises(SettingsError, match=r"is not valid: save the file as UTF-8 text\.$"):
        load_settings()
    with pytest.raises(SettingsError, match=r"is not valid: save the file as UTF-8 text\.$"):
        given_settings()


@given(
    name=st.sampled_from(NUMBERS_AND_HOST),
    text=st.text(st.characters(codec="utf-8", exclude_characters="\0")),
)
def test_value_when_garbage_is_read_or_refused_by_name(name: str, text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(name, text)
        try:
            value = getattr(load_settings(), name.lower())
        except SettingsError as error:
            assert error.variable == name
            assert "\n" not in str(error)
        else:
            if not text:
                assert value == Settings.model_fields[name.lower()].default
                return
            if name == "GTW_HOST":
                text = text.strip().removeprefix("[").removesuffix("]").lower()
                assert str(value).lower() == text or ":" in text
                return
            assert str(value) == text.strip() or float(value) == float(text)


def test_a_variable_that_is_empty_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compose passes every variable on that its file names, whether somebody set it or not."""
    for name in NAMES:
        monkeypatch.setenv(name, "")
    Path(".env").write_text("GTW_PORT=\nGTW_TIMEOUT_MS=7\n", encoding="utf-8")
    settings = load_settings()
    assert (settings.gtw_host, settings.gtw_port) == ("172.19.141.255", 5555)
    assert settings.gtw_timeout_ms == 7
    assert not settings.gateway_is_configured


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("GTW_PROT=5556", "GTW_PORT"),
        ("SYNC_INTERVAL=5", "SYNC_INTERVAL_SEC"),
        ("export gtw_timeout=500", "GTW_TIMEOUT_MS"),
        ("GTWHOST=10.0.0.1", "GTW_HOST"),
        ("GTW_SERVERKEY=x", "GTW_SERVER_KEY"),
    ],
)
def test_a_name_in_dotenv_that_looks_like_a_setting_is_called_a_typing_error(
    line: str, meant: str
) -> None:
    """It would be passed over, and the default used: another port is another gateway."""
    Path(".env").write_text(f"OTHER=1\n{line}\n", encoding="utf-8")
    name, _, value = line.removeprefix("export ").upper().partition("=")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert str(caught.value).lower() == (
        f"{name}='{value}' is not valid: .env has it, and no setting has this name: did you mean "
        f"{meant}? where it is another program's, set that as well.".lower()
    )


@pytest.mark.parametrize("place", ["environment", ".env", "trueup.toml"])
def test_a_name_that_looks_like_a_setting_is_another_s_where_the_setting_is_given(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = "SYNC_INTERVAL=5\n"
    if place == "environment":
        monkeypatch.setenv("SYNC_INTERVAL_SEC", "7")
    elif place == ".env":
        lines += "SYNC_INTERVAL_SEC=7\n"
    else:
        Path(place).write_text("sync_interval_sec = 7\n", encoding="utf-8")
    Path(".env").write_text(lines, encoding="utf-8")
    assert load_settings().sync_interval_sec == 7


def test_in_the_environment_only_names_that_begin_as_ours_do_are_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SYNC_INTERVAL", "5")
    monkeypatch.setenv("GTW_REGION", "eu")
    assert load_settings().sync_interval_sec == 15
    monkeypatch.setenv("GTW_PROT", "5556")
    with pytest.raises(SettingsError, match=r"the environment has it, and no .* mean GTW_PORT"):
        load_settings()


def test_config_when_imported_has_the_values_of_the_environment(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("GTW_HOST=10.1.2.3\nSYNC_INTERVAL_SEC=99\n", encoding="utf-8")
    done = run_python(SHOW_CONFIG, tmp_path, SYNC_INTERVAL_SEC="30")
    assert done.stdout == "(30, '10.1.2.3', 5555, 2000)\n", done.stderr


@pytest.mark.parametrize("name", ["SYNC_INTERVAL_SEC", "GTW_PORT", "GTW_TIMEOUT_MS"])
def test_config_when_a_value_is_bad_ends_in_the_sentence(name: str, tmp_path: Path) -> None:
    done = run_python(SHOW_CONFIG, tmp_path, **{name: "fünf"})
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"trueup.errors.SettingsError: {name}='f")
    assert "is not valid: give a " in last


def test_package_when_imported_under_src_is_refused(tmp_path: Path) -> None:
    done = run_python("import src.trueup", tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("ImportError: Write `import trueup`, not ")


@pytest.mark.parametrize("place", ["environment", ".env", "trueup.toml", "nowhere"])
def test_the_account_that_is_meant_may_be_set_in_each_place_alone(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if place == "environment":
        monkeypatch.setenv("TRUEUP_ACCOUNT", ACCOUNT)
    elif place == ".env":
        Path(".env").write_text(f"TRUEUP_ACCOUNT={ACCOUNT}\n", encoding="utf-8")
    elif place == "trueup.toml":
        Path("trueup.toml").write_text(f'trueup_account = "{ACCOUNT}"\n', encoding="utf-8")
    assert account_setting() == ("" if place == "nowhere" else ACCOUNT)


def test_settings_page_when_fields_change_is_written_again() -> None:
    for path, page in generate_docs.PAGES.items():
        if sys.platform == "win32" and path.endswith("house.md"):
            continue  # the way to the socket has other steps there
        assert (ROOT / path).read_text(encoding="utf-8") == page(), "run `make docs`"


def test_a_path_of_windows_in_a_message_is_the_path_itself() -> None:
    path = "C:\\new\\Konto 'eins'\\ж.db"
    said = str(SettingsError("--store", path, "give another"))
    assert said == f'--store="{path}" is not valid: give another.'
    # What is no letter does not reach the console.
    assert str(SettingsError("--store", "a\nb", "give another")).startswith("--store='a\\nb' is")


def test_a_setting_is_named_by_a_variable_or_by_the_text_of_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TRUEUP_JOURNAL", raising=False)
    (tmp_path / "trueup.toml").write_text("trueup_magic = 7\n", encoding="utf-8")
    assert not is_named("trueup_journal")
    (tmp_path / ".env").write_text("TRUEUP_JOURNAL=bot.db\n", encoding="utf-8")
    assert is_named("trueup_journal")
    (tmp_path / ".env").unlink()
    monkeypatch.setenv("TRUEUP_JOURNAL", "bot.db")
    assert is_named("trueup_journal")
