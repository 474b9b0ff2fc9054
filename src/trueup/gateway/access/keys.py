"""Make and read CURVE key files.

A key pair is two files in ZeroMQ's certificate format (RFC 4/ZPL, as czmq and pyzmq write them).
NAME.key has the public key and may be copied anywhere. NAME.key_secret has both keys and stays on
the machine where it was made. The holder of the secret key *is* that client, so a secret file that
other users can read is refused, as ssh does. The check uses POSIX modes. On Windows nothing is
checked: a file in the user's profile is private by the permissions of that folder.

Keys are checked at every read, and a secret key is never printed.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import zmq
from zmq.utils import z85

from trueup.errors import KeysError, SettingsError

KEY_CHARS: Final = 40
KEY_BYTES: Final = 32
MODES_ARE_CHECKED: Final = os.name == "posix"
_FILE_BYTES_MAX: Final = 65_536
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_ENTRY: Final = re.compile(
    r"^\s*(?P<kind>public|secret)-key\s*=\s*[\"']?(?P<key>[^\"'\s]*)[\"']?\s*$", re.MULTILINE
)
NAME_RULE: Final = "give letters, digits, - and _, at most 64, the first a letter or digit"
_PUBLIC_HEAD: Final = """\
# Public key of {name}, for CURVE (ZeroMQ). May be shown to anybody.
metadata
    name = "{name}"
"""
_SECRET_HEAD: Final = """\
# SECRET key of {name}, for CURVE (ZeroMQ). Whoever can read this file is {name}.
metadata
    name = "{name}"
"""


@dataclass(frozen=True)
class KeyPair:
    """A public key and its secret key, 40 characters of Z85 each."""

    public: str
    secret: str = field(repr=False)


@dataclass(frozen=True)
class LinkKeys:
    """The keys that a CURVE client needs: the gateway's public key, and its own pair."""

    server: str
    own: KeyPair


@dataclass(frozen=True)
class KeyFiles:
    """The paths of a new pair, and its public key."""

    public_file: Path
    secret_file: Path
    public: str


def default_folder() -> Path:
    """Return the default folder for keys; outside of any project, so keys are not committed."""
    return Path.home() / ".trueup" / "keys"


def is_name(text: str) -> bool:
    """Return whether a text can name a key pair and a client."""
    return _NAME.fullmatch(text) is not None


def is_key(text: str) -> bool:
    """Return whether a text is a key: 40 characters of Z85 (RFC 32/Z85)."""
    try:
        return len(text) == KEY_CHARS and len(z85.decode(text)) == KEY_BYTES
    except (KeyError, ValueError, struct.error):
        return False


def new_keys(folder: Path, name: str) -> KeyFiles:
    """Make a key pair and write its two files; never overwrites a file.

    Raises:
        KeysError: the name cannot be used, a file exists, or the folder cannot be written.
    """
    if not is_name(name):
        raise KeysError(f"{name!r} cannot name a key: {NAME_RULE}.")
    public_file, secret_file = folder / f"{name}.key", folder / f"{name}.key_secret"
    pair = draw_pair()
    public = f'curve\n    public-key = "{pair.public}"\n'
    secret = f'{public}    secret-key = "{pair.secret}"\n'
    try:
        _make_folder(folder)
        # Check both files first, so that no half of a pair is left behind.
        for path in (public_file, secret_file):
            if path.exists():
                raise FileExistsError(errno.EEXIST, "exists", str(path))
        # Write the secret file first: if the second write fails, it still has the public key.
        _write_new(secret_file, _SECRET_HEAD.format(name=name) + secret, 0o600)
        _write_new(public_file, _PUBLIC_HEAD.format(name=name) + public, 0o644)
    except FileExistsError as error:
        raise KeysError(
            f"{error.filename} exists and was left as it is: give another name, or move it away."
        ) from None
    except OSError as error:
        raise KeysError(f"{folder} takes no keys: {_because(error)}.") from error
    return KeyFiles(public_file, secret_file, pair.public)


def read_key_pair(path: Path) -> KeyPair:
    """Return the pair in a secret key file.

    Raises:
        KeysError: the file cannot be read, others can read it too, or it holds no pair.
    """
    entries = _entries(_read(path, is_secret=True))
    # A file with a public key only is the usual mistake, so that error names the right file.
    if "secret" not in entries:
        raise KeysError(f"{path} holds no secret key: give the .key_secret file of the pair.")
    secret = entries["secret"]
    if not is_key(secret):
        raise KeysError(f"{path} is damaged: its secret key is not {KEY_CHARS} characters of Z85.")
    # The secret key determines the public key, so a mismatch means a damaged file.
    public = zmq.curve_public(secret.encode()).decode()
    if entries.get("public", public) != public:
        raise KeysError(f"{path} is damaged: its two keys are not of one pair.")
    return KeyPair(public, secret)


def read_public_key(path: Path) -> str:
    """Return the public key in a key file, public or secret.

    Raises:
        KeysError: the file cannot be read or has no public key, or is a secret key file that
            others can read.
    """
    text = _read(path, is_secret=False)
    entries = _entries(text)
    if "secret" in entries:
        return read_key_pair(path).public
    public = entries.get("public", "")
    if not is_key(public):
        raise KeysError(f'{path} holds no public key: it needs a line like public-key = "...".')
    return public


def link_keys(server_key: str, key_file: str) -> LinkKeys | None:
    """Return the keys named by GTW_SERVER_KEY and GTW_KEY_FILE, or None where both are empty.

    Args:
        server_key: the gateway's public key, or the path of its key file.
        key_file: the path of this client's own secret key file.

    Raises:
        SettingsError: only one of the two is given, or `server_key` is neither key nor file.
        KeysError: a key file cannot be used.
    """
    if not server_key and not key_file:
        return None
    # Encryption needs both keys; falling back to plain text with only one of them would be unsafe.
    if not key_file:
        valid = "give this client's own secret key file beside GTW_SERVER_KEY (`trueup keys new`)"
        raise SettingsError("GTW_KEY_FILE", key_file, valid)
    if not server_key:
        valid = "give the gateway's public key, or its .key file, beside GTW_KEY_FILE"
        raise SettingsError("GTW_SERVER_KEY", server_key, valid)
    return LinkKeys(_server_key(server_key), read_key_pair(Path(key_file).expanduser()))


def _server_key(text: str) -> str:
    if is_key(text):
        return text
    path = Path(text).expanduser()
    if not path.is_file():
        valid = f"give the gateway's public key, {KEY_CHARS} characters of Z85, or its .key file"
        raise SettingsError("GTW_SERVER_KEY", text, valid)
    # The gateway's secret key on a client's machine lets a thief pose as the gateway.
    if "secret" in _entries(_read(path, is_secret=False)):
        raise KeysError(
            f"{path} holds the gateway's secret key, which must not leave its machine: "
            "give the .key file, and make the gateway a new pair."
        )
    return read_public_key(path)


def draw_pair() -> KeyPair:
    """Return a new pair that is in no file; its public key is safe in `.env` and as an argument.

    In `.env`, `${` begins a variable; as an argument, a first `-` begins an option.
    """
    while True:
        public, secret = (key.decode() for key in zmq.curve_keypair())
        if public[0].isalnum() and "${" not in public:
            return KeyPair(public, secret)


def _make_folder(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "it is a file", str(folder))
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def _write_new(path: Path, text: str, mode: int) -> None:
    """Create a file with `mode` from its first moment on; fails if the file exists."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with open(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except OSError:
        path.unlink(missing_ok=True)
        raise


def _read(path: Path, *, is_secret: bool) -> str:
    try:
        with path.open("rb") as file:
            if is_secret and MODES_ARE_CHECKED:
                _check_mode(path, stat.S_IMODE(os.fstat(file.fileno()).st_mode))
            return file.read(_FILE_BYTES_MAX).decode("utf-8", errors="replace")
    except OSError as error:
        raise KeysError(
            f"{path} cannot be read ({_because(error)}): give the path of a key file; "
            "`trueup keys new NAME` makes one."
        ) from error


def _check_mode(path: Path, mode: int) -> None:
    if mode & 0o077:
        raise KeysError(
            f"{path} is a secret key and others on this machine can read it (mode {mode:04o}): "
            f"run `chmod 600 {path}`, and make a new pair if others may have read it."
        )


def _entries(text: str) -> dict[str, str]:
    return {match["kind"]: match["key"] for match in _ENTRY.finditer(text)}


def _because(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
