"""An approver decides: asked once about what is true now, and told what became of it."""

from __future__ import annotations

import html
import json
import re

import pytest

from tests.page.folder import READER, Beside, Folder, Reader

pytestmark = pytest.mark.timeout(300)


def headline(text: str) -> str:
    found = re.search(r"<h1>(.*?)</h1>", text)
    assert found is not None, text
    return html.unescape(found[1])


def hidden(text: str) -> dict[str, str]:
    return {
        name: html.unescape(value)
        for name, value in re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', text)
        if name != "key"
    }


def told(folder: Folder) -> list[dict[str, str]]:
    return list(json.loads(folder.run("audit", "--json").stdout))


def test_an_approval_looks_again_is_carried_out_at_once_and_has_the_name(folder: Folder) -> None:
    folder.environment["SYNC_INTERVAL_SEC"] = "60"
    folder.bot("bot.log", "--adopt", "ask")
    page = folder.page().reader
    ticket = folder.open_by_hand()
    folder.run("sync")
    now = page.wait_for("/", "1 to decide")
    (path,) = re.findall(r'href="(/act/approve[^"]*)"', now)
    status, asked = page.get(html.unescape(path))
    assert (status, headline(asked).startswith(f"Approve: Position {ticket} is at")) == (200, True)
    assert "the net of EURUSD goes from 0.00 to -0.30 lots" in asked
    assert "The journal gets your name, anna" in asked
    status, done = page.send("/act/approve", asked, **hidden(asked))
    assert headline(done).startswith("Carried out: the book adopts it"), done
    assert "approve by anna" in done
    assert "anna asked for a sync (after the approval of zombie-" in json.dumps(told(folder))
    # The same form once more finds that there is nothing to decide.
    _, again = page.send("/act/approve", asked, **hidden(asked))
    assert headline(again).startswith("Withdrawn because: the broker's look of now no longer shows")
    assert folder.run("status").returncode == 0


def test_a_difference_that_ended_meanwhile_is_withdrawn(folder: Folder) -> None:
    folder.bot("bot.log", "--adopt", "ask")
    page = folder.page().reader
    ticket = folder.open_by_hand()
    now = page.wait_for("/", "1 to decide")
    (path,) = re.findall(r'href="(/act/approve[^"]*)"', now)
    _, asked = page.get(html.unescape(path))
    folder.run("trade", "close", str(ticket))
    _, done = page.send("/act/approve", asked, **hidden(asked))
    assert headline(done).startswith("Withdrawn because: "), done
    status, gone = page.get(html.unescape(path))
    assert (status, "Withdrawn because: " in gone) == (409, True)


def test_the_strategy_is_paused_and_resumed_with_a_reason(beside: Beside) -> None:
    page = beside.served.reader
    _, asked = page.get("/act/pause")
    _, done = page.send("/act/pause", asked, why="news at 14:30")
    assert headline(done).startswith("Carried out. Nothing that the strategy asks for is sent")
    _, approve = page.get("/approve")
    assert "Paused by anna: news at 14:30" in approve
    _, again = page.send("/act/pause", asked)
    assert headline(again) == "Withdrawn because: the bot is in this mode already."
    _, asked = page.get("/act/resume")
    _, done = page.send("/act/resume", asked)
    assert headline(done) == "Carried out. Every order of the strategy is allowed again."
    assert "news at 14:30" in json.dumps(told(beside.folder))


def test_a_position_is_closed_once_however_often_the_form_is_sent(beside: Beside) -> None:
    folder, page = beside.folder, beside.served.reader
    ticket = folder.open_by_hand("buy", "0.20")
    page.wait_for("/approve", f"close {ticket}")
    _, asked = page.get(f"/act/close?ticket={ticket}")
    assert headline(asked) == "Close this position now?"
    form = hidden(asked)
    _, done = page.send("/act/close", asked, **form)
    assert headline(done) == "Carried out.", done
    assert f"Closed {ticket}" in done
    folder.run("sync")
    _, again = page.send("/act/close", asked, **form)
    assert headline(again).startswith("Withdrawn because: "), again
    assert folder.run("trade", "list").stdout.count(str(ticket)) == 0
    assert "anna" in json.dumps(told(folder))


def test_a_wrong_ticket_is_named(beside: Beside) -> None:
    for ticket in ("", "0", "x", "99999999999999999999999", "-1"):
        status, text = beside.served.reader.get(f"/act/close?ticket={ticket}")
        assert (status, "Withdrawn because: " in text) == (409, True), ticket


def test_a_reader_cannot_decide_by_any_address(beside: Beside) -> None:
    address = beside.served.address
    reader = Reader(address, READER)
    assert reader.get("/act/pause")[0] == 403
    _, asked = Reader(address).get("/act/pause")
    # A key of another browser's form, and no key.
    assert reader.raw("/act/pause", {"key": "0" * 64})[0] == 403
    assert reader.raw("/act/pause", {})[0] == 403
    assert reader.send("/act/pause", asked)[0] == 403
    assert Reader(address).send("/act/pause", asked)[0] == 403
    assert beside.folder.run("status", "--json").stdout.count('"mode": null') == 1


def test_without_a_bot_nothing_can_be_decided_and_the_page_says_why(folder: Folder) -> None:
    bot = folder.bot()
    page = folder.page().reader
    _, asked = page.get("/act/pause")
    bot.child.kill()
    bot.child.wait()
    page.wait_for("/", "The bot was last seen")
    assert "Not known: no bot asks the broker." in page.get("/approve")[1]
    status, text = page.send("/act/pause", asked)
    assert (status, "No bot answers, so nothing can be decided here." in text) == (403, True)
    assert page.get("/act/nothing")[0] == 404
    assert page.get("/done/7")[0] == 404
