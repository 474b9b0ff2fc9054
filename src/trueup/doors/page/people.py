"""The persons who may open the page: a file of tokens, a cookie for each browser, a key for forms.

The file has a line for each person: a name, `approver` or `reader`, and a secret token. A cookie
and a form's key are derived from the token, so a page that is started again knows its readers, and
a line that is taken out of the file ends all their cookies.
"""

from __future__ import annotations

import hmac
import re
import secrets
from pathlib import Path
from typing import NamedTuple

from trueup.errors import SettingsError, reason
from trueup.private import make_private, make_private_folder, read_private

OPTION = "--token-file"
APPROVER, READER = "approver", "reader"
SHORTEST = 20
_NAME = re.compile(r"[A-Za-z0-9_-]{1,32}")
_HEAD = """\
# Who may open the page of `trueup page`: NAME approver|reader TOKEN
# An approver sees and decides; a reader only sees. Keep this file to yourself.
"""


class Person(NamedTuple):
    """A person of the token file; `may_act` is true for an approver."""

    name: str
    may_act: bool
    token: str


class People:
    """The persons of a token file.

    Args:
        persons: the persons, each with a name of its own.
    """

    def __init__(self, persons: list[Person]) -> None:
        self._persons = {person.name: person for person in persons}

    @property
    def first(self) -> Person:
        """The person of the file's first line."""
        return next(iter(self._persons.values()))

    def by_token(self, token: str) -> Person | None:
        """Return the person with a token, or None."""
        found = None
        # All tokens are compared, so the time tells nothing about them.
        for person in self._persons.values():
            if _same(person.token, token):
                found = person
        return found

    def by_cookie(self, cookie: str) -> Person | None:
        """Return the person to whom a cookie was given, or None."""
        name, _, rest = cookie.partition(".")
        nonce, _, proof = rest.partition(".")
        person = self._persons.get(name)
        if person is None or not _same(_proof(person, nonce), proof):
            return None
        return person


def new_cookie(person: Person) -> str:
    """Return a cookie for a browser of a person."""
    nonce = secrets.token_urlsafe(12)
    return f"{person.name}.{nonce}.{_proof(person, nonce)}"


def form_key(person: Person, cookie: str) -> str:
    """Return the key that a form of this browser must have; no other site can know it."""
    return _proof(person, f"form {cookie}")


def is_form_key(key: str, person: Person, cookie: str) -> bool:
    """Return whether a form has the key of this browser."""
    return _same(form_key(person, cookie), key)


def _same(secret: str, given: str) -> bool:
    """Compare in a time that tells nothing about the secret; `given` may be any text."""
    return hmac.compare_digest(secret.encode(), given.encode("utf-8", "replace"))


def _proof(person: Person, text: str) -> str:
    return hmac.new(person.token.encode(), text.encode("utf-8", "replace"), "sha256").hexdigest()


def read_people(path: Path) -> People:
    """Read a token file.

    Raises:
        SettingsError: the file cannot be read, other users can read it, or a line is wrong.
    """
    text = read_private(path, OPTION)
    lines = [(number, line.split()) for number, line in enumerate(text.splitlines(), 1)]
    persons = [
        _person(path, number, words) for number, words in lines if words and words[0][0] != "#"
    ]
    if not persons:
        valid = f"it has no person: give lines of NAME {APPROVER}|{READER} TOKEN"
        raise SettingsError(OPTION, str(path), valid)
    for kind, values in (
        ("name", [p.name for p in persons]),
        ("token", [p.token for p in persons]),
    ):
        if len(set(values)) < len(values):
            raise SettingsError(OPTION, str(path), f"give each person a {kind} of their own")
    return People(persons)


def _person(path: Path, number: int, words: list[str]) -> Person:
    where = f"{path}, line {number}"
    if len(words) != 3:
        raise SettingsError(OPTION, where, f"give NAME {APPROVER}|{READER} TOKEN, three words")
    name, role, token = words
    if not _NAME.fullmatch(name):
        raise SettingsError(OPTION, where, "give a name of letters, digits, - and _, at most 32")
    if role not in (APPROVER, READER):
        raise SettingsError(OPTION, where, f"give {APPROVER} or {READER} as the second word")
    if len(token) < SHORTEST:
        raise SettingsError(OPTION, where, f"give a token of at least {SHORTEST} characters")
    return Person(name, role == APPROVER, token)


def make_people(path: Path, user: str) -> None:
    """Write a token file with an approver and a reader, unless the file exists.

    Raises:
        SettingsError: the file cannot be written.
    """
    if path.exists():
        return
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", user)[:32].strip("-") or "approver"
    lines = [f"{name} {APPROVER} {secrets.token_urlsafe(24)}\n"]
    other = READER if name != READER else "guest"
    lines.append(f"{other} {READER} {secrets.token_urlsafe(24)}\n")
    try:
        make_private_folder(path.parent)
        make_private(path)
        path.write_text(_HEAD + "".join(lines), encoding="utf-8")
    except OSError as error:
        raise SettingsError(OPTION, str(path), f"it cannot be written, {reason(error)}") from error
