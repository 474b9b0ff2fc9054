"""Make the pictures of docs/operating/page.md: `python -m tests.page.pictures [FOLDER]`.

Somebody looks at each after it was made. A bot, a terminal and the page run as processes; a
position is opened by hand, and the bot is killed.
"""

from __future__ import annotations

import html
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.journal.postgres_server import PostgresServer, binaries
from tests.page.browser import PHONE, browsing
from tests.page.fleet_tables import FleetTables
from tests.page.folder import APPROVER, Folder, Served
from tests.page.test_doubts import Doubtful
from tests.paper.deadline import ROOT
from trueup.doors.fleet.fleet import Fleet
from trueup.doors.page.screens import HERE

PLACE = ROOT / "docs" / "operating" / "page"
SCREENS = ("books", "orders", "story", "moment", "accounts", "approve", "figures")


def main(place: Path) -> None:
    """Write all pictures into a folder."""
    place.mkdir(parents=True, exist_ok=True)
    texts = _settling()
    with tempfile.TemporaryDirectory() as name, browsing() as browser:
        folder = Folder(Path(name))
        try:
            _pictures(browser, folder, place)
            for name, text in texts.items():
                _show(browser, text, place / f"{name}-phone-light.png")
        finally:
            folder.clean()
    with tempfile.TemporaryDirectory() as name, browsing() as browser, ExitStack() as undo:
        folder = Folder(Path(name))
        undo.callback(folder.clean)
        _of_fleet(browser, folder, place, undo)


def _of_fleet(browser: Any, folder: Folder, place: Path, undo: ExitStack) -> None:
    programs = binaries()
    assert programs is not None
    server = PostgresServer(programs)
    undo.callback(server.remove)
    tables = FleetTables(server.new_database(), undo)
    tables.join("vps1", "vps2", "vps3")
    rows: dict[str, tuple[str, ...]] = {f"acct-{n:04d}": ("runs", "") for n in range(3_000)}
    rows["acct-0412"] = (
        "needs person",
        "EURUSD: Position 81123, short 0.30, is at the broker and not in the book.",
    )
    rows["acct-1207"] = ("retries", "The gateway does not answer: no reply within 900 ms.")
    tables.tell(rows)
    with Fleet(tables.url) as fleet:
        fleet.drain("vps2", "anna", "new disk")
        fleet.pause("acct-1207", "anna", "its VPS is moved")
    served = folder.page("--journal", tables.url)
    served.reader.wait_for("/accounts", "One account needs a person.")
    for name, path in (
        ("fleet", "/accounts"),
        ("fleet-account", "/fleet/account?account=acct-1207"),
        ("fleet-drain", "/fleet/act/drain?node=vps1"),
    ):
        _take(browser, served, path, place / f"{name}-phone-light.png", PHONE, "light")
    tables.lose("vps3")
    served.reader.wait_for("/accounts", "is lost")
    _take(browser, served, "/accounts", place / "fleet-lost-phone-dark.png", PHONE, "dark")


def _pictures(browser: Any, folder: Folder, place: Path) -> None:
    bot = folder.start("bot.log", "paper", "--strategy", "once:BuyOnce", "--adopt", "ask")
    bot.ticket()
    served = folder.page()
    served.reader.wait_for("/", "agrees")
    _take(browser, served, "/", place / "agrees-phone-light.png", PHONE, "light")
    folder.open_by_hand()
    served.reader.wait_for("/", "1 to decide")
    _take(browser, served, "/", place / "now-phone-light.png", PHONE, "light")
    for screen in SCREENS:
        _take(browser, served, f"/{screen}", place / f"{screen}-phone-light.png", PHONE, "light")
    now = served.reader.get("/")[1]
    path = html.unescape(now.partition('class="button" href="')[2].partition('"')[0])
    _take(browser, served, path, place / "question-phone-light.png", PHONE, "light")
    order = served.reader.get("/orders")[1].partition('href="/orders/')[2].partition('"')[0]
    _take(browser, served, f"/orders/{order}", place / "order-phone-light.png", PHONE, "light")
    bot.child.kill()
    bot.child.wait()
    served.reader.wait_for("/", "The bot was last seen")
    _take(browser, served, "/", place / "dead-phone-dark.png", PHONE, "dark")
    window = _window(browser, served, "/", PHONE, "light")
    served.running.child.kill()
    served.running.child.wait()
    window.get_by_text("The line to the page's server is lost").wait_for()
    window.screenshot(path=place / "lost-phone-light.png")


def _settling() -> dict[str, str]:
    """Return the screens by which a person resolves an order in doubt, of a bot in this process."""
    with pytest.MonkeyPatch.context() as patch:
        page = Doubtful(patch)
        look = page.get(f"/act/settle?id={page.order.order_id}")[1]
        ask = page.get(f"/act/settle?id={page.order.order_id}&ticket={page.ticket}")[1]
        return {"settle-look": look, "settle-ask": ask}


def _show(browser: Any, text: str, file: Path) -> None:
    style = (HERE / "static" / "page.css").read_text(encoding="utf-8")
    link = '<link rel="stylesheet" href="/static/page.css">'
    window = browser.new_page(viewport={"width": PHONE[0], "height": PHONE[1]})
    window.set_content(text.replace(link, f"<style>{style}</style>"))
    window.screenshot(path=file)
    window.close()


def _window(browser: Any, served: Served, path: str, size: tuple[int, int], scheme: str) -> Any:
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]}, color_scheme=scheme
    )
    window = context.new_page()
    window.goto(f"{served.address}/sign-in?token={APPROVER}")
    window.wait_for_url(lambda url: "/sign-in" not in url)
    window.goto(f"{served.address}{path}")
    window.wait_for_load_state()
    return window


def _take(
    browser: Any, served: Served, path: str, file: Path, size: tuple[int, int], scheme: str
) -> None:
    window = _window(browser, served, path, size, scheme)
    window.screenshot(path=file)
    window.context.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else PLACE)
