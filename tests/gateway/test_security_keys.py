"""Key files: made once, private, refused with the remedy when they cannot be used."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
import zmq
import zmq.auth
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from trueup.cli import app
from trueup.errors import KeysError, SettingsError
from trueup.gateway.access import keys
from trueup.gateway.access.keys import is_key, link_keys, new_keys, read_key_pair, read_public_key

needs_modes = pytest.mark.skipif(not keys.MODES_ARE_CHECKED, reason="POSIX modes")


def test_new_keys_are_a_pair_in_zeromqs_own_format(tmp_path: Path) -> None:
    files = new_keys(tmp_path / "deep" / "keys", "bot1")
    public, secret = zmq.auth.load_certificate(files.secret_file)
    assert secret is not None
    assert zmq.curve_public(secret) == public == files.public.encode()
    assert zmq.auth.load_certificate(files.public_file) == (public, None)
    assert read_key_pair(files.secret_file).secret == secret.decode()
    assert read_public_key(files.public_file) == read_public_key(files.secret_file) == files.public


def test_a_pair_that_pyzmq_made_is_read(tmp_path: Path) -> None:
    public_file, secret_file = map(Path, zmq.auth.create_certificates(tmp_path, "other"))
    secret_file.chmod(0o600)
    assert read_key_pair(secret_file).public == read_public_key(public_file)


@needs_modes
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_the_secret_file_is_private_from_the_start_whatever_the_umask(
    tmp_path: Path, umask: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    real_open = os.open

    def spying(path: Path, flags: int, mode: int = 0o777) -> int:
        handle = real_open(path, flags, mode)
        seen.append((Path(path).name, stat.S_IMODE(os.fstat(handle).st_mode) & 0o077))
        return handle

    monkeypatch.setattr(os, "open", spying)
    before = os.umask(umask)
    try:
        new_keys(tmp_path, "bot1")
    finally:
        os.umask(before)
    assert ("bot1.key_secret", 0) in seen


@pytest.mark.parametrize("there", ["bot1.key", "bot1.key_secret"])
def test_nothing_is_overwritten_and_no_half_pair_is_left(tmp_path: Path, there: str) -> None:
    (tmp_path / there).write_text("mine", encoding="utf-8")
    with pytest.raises(KeysError, match=f"{there} exists and was left as it is"):
        new_keys(tmp_path, "bot1")
    assert [(path.name, path.read_text(encoding="utf-8")) for path in tmp_path.iterdir()] == [
        (there, "mine")
    ]


@pytest.mark.parametrize("name", ["", "../up", "a b", "-x", "x" * 65, "ü", "a.b", "a\n"])
def test_a_name_that_cannot_be_one_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(KeysError, match="cannot name a key: give letters, digits"):
        new_keys(tmp_path / "keys", name)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_takes_nothing_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(KeysError, match=r"file takes no keys: it is a file\.$"):
        new_keys(tmp_path / "file", "bot1")


@needs_modes
@pytest.mark.parametrize("mode", [0o604, 0o640, 0o660, 0o602, 0o644, 0o777])
def test_a_secret_file_that_others_may_touch_is_refused_at_every_read(
    tmp_path: Path, mode: int
) -> None:
    files = new_keys(tmp_path, "bot1")
    read_key_pair(files.secret_file)
    files.secret_file.chmod(mode)
    with pytest.raises(KeysError) as caught:
        read_key_pair(files.secret_file)
    assert f"(mode {mode:04o})" in str(caught.value)
    assert f"run `chmod 600 {files.secret_file}`" in str(caught.value)
    files.secret_file.chmod(0o600)
    read_key_pair(files.secret_file)


def test_files_that_hold_no_pair_are_named_and_never_quoted(tmp_path: Path) -> None:
    files = new_keys(tmp_path, "bot1")
    secret = read_key_pair(files.secret_file).secret
    text = files.secret_file.read_text(encoding="utf-8")
    cases = {
        text.replace(files.public, new_keys(tmp_path, "bot2").public): "not of one pair",
        text.replace(secret, secret[:-1]): "is damaged: its secret key is not 40",
        text.replace(secret, "%" * 40): "is damaged: its secret key is not 40",
        files.public_file.read_text(
            encoding="utf-8"
        ): "holds no secret key: give the .key_secret file",
        "\0\xff": "holds no secret key",
        "": "holds no secret key",
    }
    for content, said in cases.items():
        files.secret_file.write_text(content, encoding="utf-8")
        with pytest.raises(KeysError) as caught:
            read_key_pair(files.secret_file)
        assert said in str(caught.value)
        assert secret[:10] not in str(caught.value)
    with pytest.raises(KeysError, match=r"cannot be read \(no such file or directory\)"):
        read_key_pair(tmp_path / "none.key_secret")


def test_a_secret_is_in_no_repr(tmp_path: Path) -> None:
    files = new_keys(tmp_path, "bot1")
    own = read_key_pair(files.secret_file)
    both = link_keys(files.public, str(files.secret_file))
    assert own.secret not in f"{own!r} {own} {both!r} {files!r}"
    assert files.public in repr(both)


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=40, max_size=40))
def test_forty_characters_are_a_key_or_not_and_never_an_error(text: str) -> None:
    try:
        zmq.curve_public(text.encode())
    except (zmq.ZMQError, KeyError, ValueError):
        assert not is_key(text)


def test_a_new_public_key_survives_env_files_and_command_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = new_keys(tmp_path, "good")
    made = [zmq.curve_keypair() for _ in range(3)]
    drawn = iter(
        [
            (b"-" + made[0][0][1:], made[0][1]),
            (made[1][0][:20] + b"${" + made[1][0][22:], made[1][1]),
            (good.public.encode(), made[2][1]),
        ]
    )
    monkeypatch.setattr(zmq, "curve_keypair", lambda: next(drawn))
    assert new_keys(tmp_path, "next").public == good.public


# The settings.


def test_settings_take_a_key_or_the_file_that_has_it(tmp_path: Path) -> None:
    gateway, bot = new_keys(tmp_path, "gateway"), new_keys(tmp_path, "bot1")
    for server_key in (gateway.public, str(gateway.public_file)):
        both = link_keys(server_key, str(bot.secret_file))
        assert both is not None
        assert (both.server, both.own.public) == (gateway.public, bot.public)
    assert link_keys("", "") is None


def test_settings_that_say_half_are_refused(tmp_path: Path) -> None:
    bot = new_keys(tmp_path, "bot1")
    with pytest.raises(SettingsError, match=r"^GTW_KEY_FILE='' is not valid: give this client's"):
        link_keys(bot.public, "")
    with pytest.raises(SettingsError, match=r"^GTW_SERVER_KEY='' is not valid: give the gateway's"):
        link_keys("", str(bot.secret_file))
    with pytest.raises(SettingsError, match=r"^GTW_SERVER_KEY='nowhere.key' is not valid: give"):
        link_keys("nowhere.key", str(bot.secret_file))


def test_the_gateways_secret_key_beside_a_bot_is_refused(tmp_path: Path) -> None:
    gateway, bot = new_keys(tmp_path, "gateway"), new_keys(tmp_path, "bot1")
    with pytest.raises(KeysError, match="must not leave its machine"):
        link_keys(str(gateway.secret_file), str(bot.secret_file))


# The commands.


def test_keys_new_and_show_print_what_goes_where_and_no_secret(tmp_path: Path) -> None:
    made = CliRunner().invoke(app, ["keys", "new", "bot1", "--dir", str(tmp_path)])
    assert made.exit_code == 0
    own = read_key_pair(tmp_path / "bot1.key_secret")
    assert own.secret not in made.output
    assert f"bot1  trade  *  {own.public}\n" in made.stdout
    assert f"GTW_SERVER_KEY='{own.public}'" in made.stdout
    for name in ("bot1", str(tmp_path / "bot1.key"), str(tmp_path / "bot1.key_secret")):
        shown = CliRunner().invoke(app, ["keys", "show", name, "--dir", str(tmp_path)])
        assert shown.stdout == f"{own.public}\n"
    (tmp_path / "bot1.key").unlink()
    shown = CliRunner().invoke(app, ["keys", "show", "bot1", "--dir", str(tmp_path)])
    assert shown.stdout == f"{own.public}\n"


def test_keys_commands_fail_in_one_sentence(tmp_path: Path) -> None:
    CliRunner().invoke(app, ["keys", "new", "bot1", "--dir", str(tmp_path)])
    again = CliRunner().invoke(app, ["keys", "new", "bot1", "--dir", str(tmp_path)])
    assert (again.exit_code, again.stdout) == (2, "")
    assert "exists and was left as it is" in again.stderr
    missing = CliRunner().invoke(app, ["keys", "show", "bot9", "--dir", str(tmp_path)])
    assert missing.exit_code == 2
    assert "`trueup keys new bot9` makes it." in missing.stderr


def test_keys_go_to_the_home_folder_unless_told_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert CliRunner().invoke(app, ["keys", "new", "bot1"]).exit_code == 0
    folder = tmp_path / ".trueup" / "keys"
    assert {path.name for path in folder.iterdir()} == {"bot1.key", "bot1.key_secret"}
    if keys.MODES_ARE_CHECKED:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
