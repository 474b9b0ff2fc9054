"""Now and Books without a browser: the sentence of `trueup status`, and who may see it."""

from __future__ import annotations

import html
import json
import re
import urllib.request

import pytest

from tests.page.folder import READER, Beside, Folder, Reader

pytestmark = pytest.mark.timeout(300)
MOST_BYTES = 10_000


def sentence_of(text: str) -> str:
    found = re.search(r"<h1>(.*?)</h1>", text)
    assert found is not None, text
    return html.unescape(found[1])


def told(folder: Folder) -> str:
    return folder.run("status").stdout.partition("\n")[0]


def test_the_page_says_what_the_terminal_says_while_the_bot_lives_and_when_it_is_dead(
    folder: Folder,
) -> None:
    bot = folder.bot("bot.log", "--adopt", "ask")
    page = folder.page().reader
    status, text = page.get("/")
    assert (status, sentence_of(text)) == (200, "Both books are flat. Nothing is yours to do.")
    assert "<title>agrees · trueup</title>" in text
    assert 'class="now ok"' in text
    # When all is well there is nothing to decide and nothing to read.
    assert "<h2>" not in text
    assert len(text.encode()) < MOST_BYTES

    ticket = folder.open_by_hand()
    text = page.wait_for("/", "1 to decide · trueup")
    assert sentence_of(text) == "The books differ by one position. One decision is yours."
    assert sentence_of(text) == told(folder)
    assert f"Position {ticket} is at the broker and not in the book: SHORT 0.30L" in text
    assert "Look again" in text
    assert len(text.encode()) < MOST_BYTES
    _, books = page.get("/books")
    assert "only at the broker" in books
    assert "SHORT 0.30" in books

    bot.child.kill()
    bot.child.wait()
    text = page.wait_for("/", "The bot was last seen at ")
    assert sentence_of(text) == told(folder)
    assert "close by hand in the terminal" in text
    assert 'class="now ok"' not in text
    assert "/act/approve" not in text

    folder.bot("again.log", "--adopt", "ask")
    page.wait_for("/", "1 to decide · trueup")


def test_a_reader_sees_everything_and_has_no_buttons(folder: Folder) -> None:
    folder.bot("bot.log", "--adopt", "ask")
    address = folder.page().address
    folder.open_by_hand()
    text = Reader(address, READER).wait_for("/", "1 to decide · trueup")
    assert "You read as rita. Only an approver" in html.unescape(text)
    assert "/act/approve" not in text


def test_a_stranger_sees_nothing(beside: Beside) -> None:
    address = beside.served.address
    stranger = Reader(address, "no token of anybody here")
    for path in ("/", "/books", "/live?screen=now&once=1"):
        status, text = stranger.get(path)
        # A browser that comes from another site sends its cookie with the second request.
        if 'content="0;url=' in text:
            status, text = stranger.get(f"{path}?again=1")
        assert status == 401, path
        assert "Nothing is yours" not in text
    wrong = stranger.get("/sign-in?token=no")
    assert (wrong[0], "No person of this page has this token." in wrong[1]) == (401, True)


def test_the_cookie_is_for_this_site_alone_and_no_script_reads_it(beside: Beside) -> None:
    address = beside.served.address
    with urllib.request.urlopen(f"{address}/sign-in?token={READER}") as answer:
        cookie = answer.headers["set-cookie"]
        policy = answer.headers["content-security-policy"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert READER not in cookie
    assert "default-src 'none'" in policy
    assert "http" not in policy


def test_a_folder_without_a_bot_and_a_journal_says_so(folder: Folder) -> None:
    text = folder.page().reader.get("/")[1]
    assert sentence_of(text) == told(folder)
    assert "<title>no bot · trueup</title>" in text


def test_a_journal_that_cannot_be_read_is_told(folder: Folder) -> None:
    broken = folder.folder / "broken.db"
    broken.write_bytes(b"no database at all, but long enough to look at" * 100)
    text = folder.page("--journal", str(broken)).reader.get("/")[1]
    assert "broken.db" in text
    assert 'class="now ok"' not in text
    assert "needs you" in text or "to do" in text


def test_an_event_of_the_journal_reaches_an_open_stream(beside: Beside) -> None:
    folder, page = beside.folder, beside.served.reader
    with page.stream("/live?screen=now") as lines:
        first = next(lines)
        assert first["title"] == "agrees · trueup"
        ticket = folder.open_by_hand("buy", "0.05")
        # Parts that stay the same are not sent again.
        news = next(
            one for one in lines if "agree on one position" in one["parts"].get("state", "")
        )
        assert "todo" not in news["parts"]
    assert str(ticket) in page.get("/books")[1]
    folder.run("trade", "close", str(ticket))
    page.wait_for("/", "Both books are flat")


def test_the_fifth_stream_of_a_browser_lets_the_first_rest(beside: Beside) -> None:
    page = Reader(beside.served.address)
    with page.stream("/live?screen=now") as first:
        assert next(first)["title"]
        others = [page.stream("/live?screen=now") for _ in range(4)]
        try:
            assert all(next(iter(lines.__enter__()))["title"] for lines in others)
            assert list(first)[-1] == {"rest": True}
        finally:
            for lines in others:
                lines.__exit__(None, None, None)
    once = json.loads(page.get("/live?screen=now&once=1")[1])
    assert once["parts"]["state"]
