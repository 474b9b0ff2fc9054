"""The token file, cookies and the keys of forms."""

from __future__ import annotations

import hmac
import sys
from pathlib import Path

import pytest

from trueup.doors.page.people import form_key, is_form_key, make_people, new_cookie, read_people
from trueup.errors import SettingsError

LONG = "a-token-that-is-long-enough"


def written(folder: Path, text: str) -> Path:
    path = folder / "people"
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    return path


def test_a_person_is_known_by_the_token_and_then_by_the_cookie(tmp_path: Path) -> None:
    people = read_people(
        written(tmp_path, f"# persons\n\nanna approver {LONG}\nrita reader r{LONG}")
    )
    anna = people.by_token(LONG)
    assert anna is not None
    assert (anna.name, anna.may_act, people.first) == ("anna", True, anna)
    rita = people.by_token(f"r{LONG}")
    assert rita is not None
    assert not rita.may_act
    cookie = new_cookie(anna)
    assert people.by_cookie(cookie) == anna
    assert new_cookie(anna) != cookie


@pytest.mark.parametrize("token", ["", "anna", LONG[:-1], f"{LONG}é", "\udcff"])
def test_another_token_is_nobodys(tmp_path: Path, token: str) -> None:
    assert read_people(written(tmp_path, f"anna approver {LONG}")).by_token(token) is None


def test_a_cookie_of_another_name_or_of_a_changed_token_is_nobodys(tmp_path: Path) -> None:
    before = read_people(written(tmp_path, f"anna reader {LONG}\nrita approver r{LONG}"))
    cookie = new_cookie(before.first)
    for other in (
        "",
        "anna",
        "anna..",
        "anna.y.é",
        "anna.\udcff.\udcff",
        cookie.replace("anna", "rita"),
        f"{cookie}0",
        "x.y.é",
    ):
        assert before.by_cookie(other) is None
    after = read_people(written(tmp_path, f"anna reader new{LONG}"))
    assert after.by_cookie(cookie) is None


def test_the_key_of_a_form_belongs_to_one_browser(tmp_path: Path) -> None:
    anna = read_people(written(tmp_path, f"anna approver {LONG}")).first
    first, second = new_cookie(anna), new_cookie(anna)
    assert form_key(anna, first) == form_key(anna, first)
    assert form_key(anna, first) != form_key(anna, second)
    assert form_key(anna, first) not in first


def test_the_time_of_a_comparison_tells_nothing_about_a_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    people = read_people(written(tmp_path, f"anna approver {LONG}\nrita reader r{LONG}"))
    cookie, compared = new_cookie(people.first), list[bytes]()
    bare = hmac.compare_digest

    def slow(secret: bytes, given: bytes) -> bool:
        compared.append(given)
        return bare(secret, given)

    monkeypatch.setattr("trueup.doors.page.people.hmac.compare_digest", slow)
    # Each token of the file, also those after the one that fits.
    people.by_token(LONG)
    assert compared == [LONG.encode()] * 2
    people.by_cookie(cookie)
    assert compared[2:] == [cookie.rpartition(".")[2].encode()]
    assert is_form_key(form_key(people.first, cookie), people.first, cookie)
    assert not is_form_key("é", people.first, cookie)
    assert len(compared) == 5


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "it has no person"),
        ("anna approver", "line 1' is not valid: give NAME approver|reader TOKEN, three words"),
        (f"# x\nan.na approver {LONG}", "line 2' is not valid: give a name of letters"),
        (f"anna admin {LONG}", "give approver or reader as the second word"),
        ("anna reader short", "give a token of at least 20 characters"),
        (f"a reader {LONG}\na reader b{LONG}", "give each person a name of their own"),
        (f"a reader {LONG}\nb reader {LONG}", "give each person a token of their own"),
    ],
)
def test_a_wrong_line_is_named_without_its_token(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(SettingsError) as refused:
        read_people(written(tmp_path, text))
    assert says in str(refused.value)
    assert LONG not in str(refused.value)


@pytest.mark.skipif(sys.platform == "win32", reason="the folder's rights hold on Windows")
def test_a_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, f"anna approver {LONG}")
    path.chmod(0o644)
    with pytest.raises(SettingsError, match="other users can read it: chmod 600"):
        read_people(path)


def test_a_file_that_is_missing_or_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="it cannot be read"):
        read_people(tmp_path / "none")
    path = written(tmp_path, "")
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError, match="it is no text in UTF-8"):
        read_people(path)


def test_a_file_is_made_once_with_an_approver_and_a_reader(tmp_path: Path) -> None:
    path = tmp_path / "new" / "people"
    make_people(path, "DOMAIN\\Anna Müller")
    people = read_people(path)
    assert (people.first.name, people.first.may_act) == ("DOMAIN-Anna-M-ller", True)
    text = path.read_text(encoding="utf-8")
    make_people(path, "another")
    assert path.read_text(encoding="utf-8") == text
    if sys.platform != "win32":
        assert path.stat().st_mode & 0o077 == 0
