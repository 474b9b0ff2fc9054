"""Orders, Story, any moment and the file of an incident, with the bot alive and dead."""

from __future__ import annotations

import csv
import html
import io
import json
import re
import zipfile
from urllib.parse import quote

import pytest

from tests.page.folder import Beside, Folder
from trueup.observe.audit_text import COLUMNS

pytestmark = pytest.mark.timeout(300)


def test_the_past_is_told_from_the_journal_also_when_the_bot_is_dead(folder: Folder) -> None:
    bot = folder.start("bot.log", "paper", "--strategy", "once:BuyOnce")
    ticket = bot.ticket()
    by_hand = folder.open_by_hand("buy", "0.07")
    folder.run("sync")
    served = folder.page()
    page = served.reader
    page.wait_for("/books", str(by_hand))
    for _ in range(2):
        status, story = page.get("/story")
        assert status == 200
        assert story.index("RECOVERY".lower()) < story.index("intent")
        _, of_ticket = page.get(f"/story?ticket={ticket}")
        assert str(by_hand) not in of_ticket
        assert "intent" in of_ticket
        _, of_text = page.get("/story?text=zombie+position+RECOVERED")
        assert str(by_hand) in of_text
        _, nothing = page.get("/story?text=no+such+words")
        assert "Nothing happened that fits." in nothing

        _, orders = page.get("/orders")
        (path,) = set(re.findall(r'href="(/orders/ORD[^"]*)"', orders))
        _, order = page.get(path)
        assert order.index("recorded, before it left") < order.index("filled")
        assert "both books then" in order

        _, table = page.get("/story.csv?action=intent")
        rows = list(csv.reader(io.StringIO(table)))
        assert (tuple(rows[0]), len(rows), rows[1][2]) == (COLUMNS, 2, "INTENT")

        if bot.child.poll() is None:
            bot.child.kill()
            bot.child.wait()
            page.wait_for("/", "The bot was last seen")


def test_a_moment_shows_both_books_as_they_were_known(folder: Folder) -> None:
    folder.bot()
    first, second = folder.open_by_hand("buy", "0.05"), folder.open_by_hand("sell", "0.06")
    page = folder.page().reader
    page.wait_for("/books", str(second))
    page.wait_for("/books", str(first))
    events = json.loads(folder.run("audit", "--json").stdout)
    found = next(row for row in events if row["ticket"] in (first, second))
    before, after = found["position"] - 1, events[-1]["position"]
    _, early = page.get(f"/moment?event={before}")
    assert "<td>flat</td><td>flat</td>" in early
    _, late = page.get(f"/moment?event={after}")
    assert str(first) in late
    assert str(second) in late
    assert f'max="{after}"' in late
    _, then = page.get("/moment?at=now")
    assert str(second) in then
    for wrong, says in (
        ("event=0", "give a whole number above 0"),
        ("event=999999", "The journal has no event 999999"),
        ("event=²", "give a whole number above 0"),
        ("at=soon", "at='soon' is not valid"),
    ):
        status, text = page.get(f"/moment?{quote(wrong, safe='=')}")
        assert (status, says in html.unescape(text)) == (400, True), wrong


def test_an_incident_is_one_file_that_needs_no_other(folder: Folder) -> None:
    folder.bot("bot.log", "--adopt", "ask")
    ticket = folder.open_by_hand()
    page = folder.page().reader
    page.wait_for("/", "1 to decide")
    status, made = page.raw("/incident.zip")
    assert status == 200
    with zipfile.ZipFile(io.BytesIO(made)) as file:
        assert sorted(file.namelist()) == [
            "incident.html",
            "moment.json",
            "status.json",
            "story.csv",
        ]
        told = json.loads(file.read("status.json"))
        text = file.read("incident.html").decode("utf-8")
    assert told["sentence"] == "The books differ by one position. One decision is yours."
    assert told["sentence"] in html.unescape(text)
    assert str(ticket) in text
    assert "href=" not in text.replace('rel="icon" href="data:,"', "")
    assert "src=" not in text


WRONG = (
    ("ticket=x", "ticket='x' is not valid: give a whole number above 0"),
    ("action=dance", "action='DANCE' is not valid: give one of INTENT"),
    ("before=-1", "before='-1' is not valid"),
    (f"ticket={10**30}", "is not valid: give a whole number above 0"),
)


def test_a_wrong_search_is_named(beside: Beside) -> None:
    page = beside.served.reader
    for query, says in WRONG:
        status, text = page.get(f"/story?{query}")
        assert (status, says in html.unescape(text)) == (400, True), text
    assert page.get("/orders/ORD_nothing") == (404, "The journal has no order 'ORD_nothing'.")


def test_a_book_without_a_journal_says_so(folder: Folder) -> None:
    folder.bot("bot.log", "--no-journal")
    page = folder.page().reader
    for path in ("/orders", "/story", "/moment"):
        assert "This book has no journal" in page.get(path)[1], path
    assert page.raw("/incident.zip")[0] == 409
