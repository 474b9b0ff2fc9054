"""The password of a URL is hidden in every text, also one that was written the wrong way."""

from __future__ import annotations

import pytest

from trueup.errors import JournalError
from trueup.journal.backends.location import database_at
from trueup.passwords import has_password, hide_passwords


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://u:pw@h:5432/d", "postgresql://u:***@h:5432/d"),
        ("postgresql+psycopg://u:pw@h/d?sslmode=x", "postgresql+psycopg://u:***@h/d?sslmode=x"),
        ("postgresql://:pw@h/d", "postgresql://:***@h/d"),
        ("postgresql://u:p@s/s@h/d", "postgresql://u:***@h/d"),
        ("postgresql://h/d?user=u&password=pw&x=1", "postgresql://h/d?user=u&password=***&x=1"),
        ("postgresql://h/d?sslpassword=pw", "postgresql://h/d?sslpassword=***"),
        ("cannot use 'postgresql://u:pw@h/d' now", "cannot use 'postgresql://u:***@h/d' now"),
    ],
)
def test_a_password_is_replaced_by_stars(text: str, shown: str) -> None:
    assert hide_passwords(text) == shown
    assert hide_passwords(shown) == shown
    assert has_password(text)


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://u@h:5432/d",
        "tcp://127.0.0.1:5555",
        "C:/bots/bot.db",
        "5000001@Simulated-Demo at tcp://127.0.0.1:5555",
        "mail a@b.example",
    ],
)
def test_other_texts_stay(text: str) -> None:
    assert hide_passwords(text) == text
    assert not has_password(text)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://u:s3cret%ws@h/d", "write special characters"),
        ("postgresql://u:s3 cret@h/d", "write special characters"),
        ("postgresql://u:s3c@ret@h/d", "write special characters"),
        ("postgresql://u:s3c/ret@h/d", "write special characters"),
        ("postgresql://u:s3cret@[h/d", "write special characters"),
        ("postgresql://u:s3cret@h/d?foo=bar", 'invalid URI query parameter: "foo"'),
    ],
)
def test_a_url_that_cannot_be_read_is_refused_without_its_password(url: str, said: str) -> None:
    with pytest.raises(JournalError) as refused:
        database_at(url)
    text = str(refused.value)
    assert text.startswith("The journal's URL cannot be read: ")
    assert said in text
    assert not any(part in text for part in ("s3c", "ret@", "cret"))
    # A traceback shows the error that caused another one.
    assert refused.value.__suppress_context__ or refused.value.__context__ is None
