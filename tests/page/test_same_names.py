"""Two journals of a folder that have books of the same name: each screen and button has its own."""

from __future__ import annotations

import html
import json
import re

import pytest

from tests.page.folder import Folder, Reader

pytestmark = pytest.mark.timeout(300)


def paused(folder: Folder) -> dict[str, bool]:
    status = json.loads(folder.run("status", "--json").stdout)
    return {bot["journal"]: bot["mode"] is not None for bot in status["bots"]}


def press(page: Reader, path: str) -> str:
    _, asked = page.get(html.unescape(path))
    (action,) = re.findall(r'<form method="post" action="([^"]*)"', asked)
    return page.send(html.unescape(action), asked)[1]


def test_a_button_reaches_the_bot_whose_book_was_shown(folder: Folder) -> None:
    for number in ("1", "2"):
        options = ("--journal", f"book{number}.db", "--stream", "same", "--magic", number)
        folder.bot(f"bot{number}.log", *options)
    page = folder.page().reader
    rows = re.findall(r'href="/(\?book=[^"]*)">([^<]*)</a>', page.get("/accounts")[1])
    assert len({link for link, _ in rows}) == 2
    (first,), (second,) = ([link for link, words in rows if name in words] for name in ("k1", "k2"))
    assert "book2.db" in page.get(f"/act/pause{second}")[1]
    assert "Carried out" in press(page, f"/act/pause{second}")
    assert paused(folder) == {"book1.db": False, "book2.db": True}
    # The worst book is shown by itself, and may be another when the button is pressed.
    _, asked = page.get("/act/pause")
    assert "book same in book1.db" in asked
    assert f'action="/act/pause{first}"' in asked
    assert f'href="/act/pause{first}"' in page.get("/approve")[1]


def test_a_book_whose_bot_has_ended_stays_beside_a_bot_with_another_journal(folder: Folder) -> None:
    folder.bot("bot1.log", "--journal", "book1.db", "--magic", "1")
    page = folder.page().reader
    rows = re.findall(r'href="/(\?book=[^"]*)">([^<]*)</a>', page.get("/accounts")[1])
    ((first, _),) = rows
    folder.bot("bot2.log", "--journal", "book2.db", "--magic", "2")
    (bot,) = (
        one
        for one in json.loads(folder.run("status", "--json").stdout)["bots"]
        if one["journal"] == "book1.db"
    )
    assert folder.run("stop", "--bot", str(bot["pid"])).returncode == 0
    assert "<h1>No bot runs, and its book is flat." in page.wait_for(f"/{first}", "No bot runs")
    page.wait_for("/accounts", "2 books: 1 needs person, 1 agrees")


def test_a_book_that_is_not_here_is_called_so_and_no_other_bot_is_asked(folder: Folder) -> None:
    folder.bot()
    page = folder.page().reader
    _, now = page.get("/?book=gone")
    assert "<h1>This book is not here, or not any more.</h1>" in now
    _, asked = page.get("/act/pause")
    status, refused = page.send("/act/pause?book=gone", asked)
    assert (status, "nothing can be decided here" in refused) == (403, True)
    assert not any(paused(folder).values())
