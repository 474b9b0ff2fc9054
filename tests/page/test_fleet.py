"""Accounts of a fleet: nodes and accounts by a real PostgreSQL, and what an approver asks."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.journal.conftest import own_postgres_server, postgres_server
from tests.journal.postgres_server import PostgresServer
from tests.page.browser import DESK, PHONE, gives_axe, looks_good
from tests.page.fleet_tables import FleetTables
from tests.page.folder import READER, Folder, Reader, Served
from tests.page.test_screens import has_title
from trueup.doors.page.fleet.worker import Worker

__all__ = ["own_postgres_server", "postgres_server"]
pytestmark = pytest.mark.timeout(300)
MANY = 10_000
_HIDDEN = re.compile(r'type="hidden" name="(?!key)(\w+)" value="([^"]*)"')


class FleetPage:
    """A fleet of two nodes, and a page of its journal."""

    def __init__(self, url: str, folder: Folder, undo: ExitStack) -> None:
        self.tables = FleetTables(url, undo)
        self.tables.join("vps1", "vps2")
        self.served: Served = folder.page("--journal", url)
        self.reader = self.served.reader

    def ask(self, path: str) -> str:
        """The question of an action."""
        status, text = self.reader.get(path)
        assert status == 200, text
        return html.unescape(text)

    def answer(self, name: str, question: str, **fields: str) -> str:
        """Send the form of a question; return the sentence of the outcome."""
        hidden = dict(_HIDDEN.findall(question))
        return sentence(self.reader.send(f"/fleet/act/{name}", question, **hidden, **fields)[1])


def sentence(text: str) -> str:
    found = re.search(r"<h1>(.*?)</h1>", text)
    assert found is not None, text
    return html.unescape(found[1])


@pytest.fixture
def page(postgres_server: PostgresServer, tmp_path: Path) -> Iterator[FleetPage]:
    folder = Folder(tmp_path)
    with ExitStack() as undo:
        undo.callback(folder.clean)
        yield FleetPage(postgres_server.new_database(), folder, undo)


def test_needs_of_a_person_come_first_and_the_fleet_is_the_home(page: FleetPage) -> None:
    page.tables.tell(
        {
            "a": ("runs", ""),
            "b": ("needs person", "EURUSD: unknown <position> 7."),
            "c": ("retries", "The gateway does not answer."),
            "d": ("runs", "", "anna", "news"),
        }
    )
    text = page.reader.wait_for("/", "One account needs a person.")
    assert "2 of 4 accounts run, and 1 is paused. 2 of 2 nodes are alive." in text
    assert "<title>1 to do · trueup</title>" in text
    assert "EURUSD: unknown &lt;position&gt; 7." in text
    assert "Paused by anna: news" in text
    listed = re.findall(r"account=(\w)\"", text)
    # Once to be done, and then all of them, the worst first.
    assert listed == ["b", "b", "c", "a", "d"]
    page.tables.lose("vps2")
    page.reader.wait_for("/accounts", "Node vps2 on host-of-vps2 (process 4711) is lost")


def test_accounts_of_a_lost_node_and_of_a_new_claim_are_not_told_as_running(
    page: FleetPage,
) -> None:
    page.tables.tell({"a": ("runs", ""), "b": ("runs", "")})
    page.reader.wait_for("/accounts", "All accounts run. Nothing is yours to do.")
    page.tables.lose("vps1")
    page.tables.lose("vps2")
    text = page.reader.wait_for("/accounts", "No node is alive, so no account runs. Start the")
    assert "2 have no node" in text
    page.tables.beat("vps1", running=1, of=1)
    page.tables.beat("vps2", running=1, of=1)
    # A claim that the node has not told of yet.
    page.tables.sql.execute("UPDATE fleet_shards SET epoch = epoch + 1")
    page.reader.wait_for("/accounts", "Two accounts do not run yet.")


def test_what_is_tried_again_for_too_long_is_a_persons(page: FleetPage) -> None:
    page.tables.tell({"a": ("retries", "The gateway does not answer.")})
    page.reader.wait_for("/accounts", "One account does not run yet.")
    page.tables.sql.execute("UPDATE fleet_accounts SET since = since - interval '121 seconds'")
    page.reader.wait_for("/accounts", "One account needs a person.")


def test_ten_thousand_accounts_are_counted_searched_and_paged(page: FleetPage) -> None:
    rows: dict[str, tuple[str, ...]] = {
        f"acct-{number:05d}": ("runs", "") for number in range(MANY)
    }
    rows["acct-00007"] = ("retries", "The gateway at 10.0.0.7 does not answer.")
    page.tables.tell(rows)
    text = page.reader.wait_for("/accounts", "9,999 run")
    assert re.findall(r"account=(acct-\d+)", text) == ["acct-00007"]
    assert len(text) < 12_000

    def names(path: str) -> list[str]:
        return re.findall(r"account=(acct-\d+)", page.reader.get(path)[1])

    assert names("/accounts?find=ACCT-0123") == [f"acct-0123{number}" for number in range(10)]
    assert names("/accounts?find=10.0.0.7") == ["acct-00007"]
    assert names("/accounts?find=%25") == []
    first, last = names("/accounts?state=runs"), names("/accounts?state=runs&page=100")
    assert (first[0], len(first), last[-1], len(last)) == ("acct-00000", 100, "acct-09999", 99)
    # A page that is none is the first.
    assert names("/accounts?state=runs&page=101") == first
    assert names("/accounts?state=runs&page=x%00") == first
    of_node = names("/accounts?node=vps2&state=all")
    assert of_node
    assert not set(of_node) & set(names("/accounts?node=vps1&state=all"))
    assert "page=2" in page.reader.get("/accounts?find=acct&state=runs")[1]


def test_approver_drains_and_lets_take_again(page: FleetPage) -> None:
    page.tables.tell({"a": ("runs", ""), "b": ("runs", "")})
    question = page.ask("/fleet/act/drain?node=vps1")
    assert "and go to vps2." in question
    assert page.answer("drain", question, why="new disk") == (
        "Carried out: node vps1 gives its accounts back."
    )
    # A form that is sent twice does nothing twice.
    assert page.answer("drain", question) == (
        "Withdrawn because: anna has drained node vps1 already."
    )
    page.reader.wait_for("/accounts", "Drained by anna: new disk")
    question = page.ask("/fleet/act/drain?node=vps2")
    assert "I know that its accounts stop running" in question
    assert "would run nowhere" in page.answer("drain", question)
    assert "Carried out" in page.answer("drain", question, seen="on")
    page.reader.wait_for("/accounts", "All living nodes are drained, so no account runs.")
    question = page.ask("/fleet/act/undrain?node=vps1")
    assert "Carried out" in page.answer("undrain", question)
    assert "is not drained" in page.answer("undrain", question)
    assert page.tables.acts() == [
        ("drain", "vps1", "anna", "new disk"),
        ("drain", "vps2", "anna", ""),
        ("undrain", "vps1", "anna", ""),
    ]


def test_approver_moves_an_account_with_its_shard(page: FleetPage) -> None:
    page.tables.tell({f"a{number}": ("runs", "") for number in range(40)})
    line = page.reader.wait_for("/accounts?find=a7", "a7")
    here = re.findall(r"on (vps\d), since", line)[0]
    there = "vps2" if here == "vps1" else "vps1"
    choices = page.ask("/fleet/act/move?account=a7")
    assert f"To {there}" in choices
    assert f"To {here}" not in choices
    question = page.ask(f"/fleet/act/move?account=a7&node={there}")
    page.tables.lose(there)
    assert f"node '{there}' takes no accounts now" in page.answer("move", question)
    page.tables.beat(there, running=0, of=0)
    assert f"Carried out: a7 goes to node {there}" in page.answer("move", question, why="nearer")
    assert page.tables.acts() == [("move", f"a7{there}", "anna", "nearer")]
    # Back to any node.
    question = page.ask("/fleet/act/move?account=a7&anywhere=yes")
    assert "may be on any node" in page.answer("move", question)
    assert "has no account" in page.reader.get("/fleet/act/move?account=zz")[1]


def test_approver_pauses_one_and_all_and_resumes(page: FleetPage) -> None:
    page.tables.tell({"a": ("runs", "")})
    question = page.ask("/fleet/act/pause?account=a")
    assert "Now: runs, on vps" in question
    assert "Carried out: a is paused." in page.answer("pause", question, why="news")
    assert "anna has paused a already" in page.answer("pause", question)
    page.reader.wait_for("/accounts", "Paused by anna: news")
    everything = page.ask("/fleet/act/pause")
    assert "Carried out: the whole fleet is paused." in page.answer("pause", everything)
    page.reader.wait_for("/accounts", "The whole fleet is paused by anna.")
    question = page.ask("/fleet/act/resume?account=a")
    assert "The whole fleet is paused by anna, and stays so." in question
    assert "Carried out: a is resumed." in page.answer("resume", question)
    assert "Carried out" in page.answer("resume", page.ask("/fleet/act/resume"))
    assert page.reader.get("/fleet/act/resume")[0] == 409
    assert [act[:3] for act in page.tables.acts()] == [
        ("pause", "a", "anna"),
        ("pause", "", "anna"),
        ("resume", "a", "anna"),
        ("resume", "", "anna"),
    ]


def test_reader_sees_everything_and_asks_nothing(page: FleetPage) -> None:
    page.tables.tell({"a": ("runs", "")})
    reader = Reader(page.served.address, READER)
    for path in ("/accounts", "/fleet/account?account=a", "/fleet/node?node=vps1"):
        text = reader.wait_for(path, "Only an approver")
        assert "/fleet/act/" not in text
    assert reader.get("/fleet/act/pause")[0] == 403
    question = page.ask("/fleet/act/pause?account=a")
    assert "This form is not of this page" in reader.send("/fleet/act/pause", question)[1]
    assert page.tables.acts() == []
    assert page.reader.get("/fleet/act/erase?node=vps1")[0] == 404


def test_tables_and_nodes_of_an_earlier_release_are_told(page: FleetPage) -> None:
    page.tables.tell({"a": ("runs", "")})
    page.tables.beat("vps2", running=5, of=7, tells=False)
    page.reader.wait_for(
        "/accounts", "Node vps2 is of an earlier release, and does not tell its 7 accounts"
    )
    page.tables.sql.execute("DROP TABLE fleet_accounts, fleet_acts")
    text = page.reader.wait_for("/accounts", "The tables of this fleet are of an earlier release")
    assert "vps1" in text
    # Persons can act all the same.
    question = page.ask("/fleet/act/pause?account=a")
    assert "Carried out: a is paused." in page.answer("pause", question)
    page.tables.sql.execute("UPDATE fleet_revision SET revision = 99")
    page.reader.wait_for("/fleet/act/pause", "was made by a newer trueup")


def test_database_without_a_fleet_has_its_books_and_a_sentence(
    postgres_server: PostgresServer, folder: Folder
) -> None:
    page = folder.page("--journal", postgres_server.new_database()).reader
    page.wait_for("/accounts", "There is no fleet in PostgreSQL database")
    assert "aria-current" in page.get("/")[1]


def test_database_that_is_away_is_told_and_comes_back(
    own_postgres_server: PostgresServer, folder: Folder
) -> None:
    with ExitStack() as undo:
        page = FleetPage(own_postgres_server.new_database(), folder, undo)
        page.tables.tell({"a": ("runs", "")})
        question = page.ask("/fleet/act/pause?account=a")
        page.reader.wait_for("/accounts", "All accounts run.")
        own_postgres_server.stop()
        text = page.reader.wait_for("/accounts", "What the fleet does is not known.")
        assert "All accounts run" not in text
        assert page.reader.get("/accounts")[0] == 503
        assert "Not known: " in page.answer("pause", question)
        assert page.reader.get("/fleet/node?node=vps1")[0] == 503
        own_postgres_server.start()
        page.reader.wait_for("/accounts", "All accounts run.")


def test_database_that_hangs_delays_no_other_screen(
    own_postgres_server: PostgresServer, folder: Folder
) -> None:
    with ExitStack() as undo:
        page = FleetPage(own_postgres_server.new_database(), folder, undo)
        page.tables.tell({"a": ("runs", "")})
        page.reader.wait_for("/accounts", "All accounts run.")
        # As a server that is frozen: the screens wait for the lock, and not for ever.
        undo.enter_context(page.tables.sql.transaction())
        page.tables.sql.execute("LOCK TABLE fleet_nodes IN ACCESS EXCLUSIVE MODE")
        text = page.reader.wait_for("/accounts", "The database of the fleet does not answer since")
        assert "What the fleet does is not known." in text
        assert page.reader.get("/books")[0] == 200
        page.served.running.child.terminate()
        assert page.served.running.child.wait(30) == 0


def test_stream_brings_what_changes(page: FleetPage) -> None:
    page.tables.tell({"a": ("runs", "")})
    page.reader.wait_for("/accounts", "All accounts run.")
    with page.reader.stream("/live?screen=fleet&state=all") as told:
        first = next(told)
        assert set(first["parts"]) == {"state", "todo", "nodes", "accounts", "acts", "spoken"}
        page.tables.tell({"a": ("needs person", "See to it.")})
        later = next(one for one in told if "accounts" in one["parts"])
        assert later["title"] == "1 to do · trueup"
        assert "See to it." in later["parts"]["accounts"]
    once = json.loads(page.reader.get("/live?screen=fleet&once=1")[1])
    assert once["title"] == "1 to do · trueup"


def test_each_screen_fits_and_has_no_fault(browser: Any, page: FleetPage) -> None:
    name = "an-account-with-a-long-name-" * 3
    rows: dict[str, tuple[str, ...]] = {f"a{number}": ("runs", "") for number in range(120)}
    rows |= {
        name: ("needs person", f"EURUSD: {'unreadable' * 30}", "anna", "x" * 200),
        "b": ("retries", "The gateway does not answer."),
        "c": ("stopped", "A person stopped it."),
    }
    page.tables.tell(rows)
    page.reader.wait_for("/accounts", "One account needs a person.")
    screens = ("/accounts", "/accounts?state=all", f"/fleet/account?account={name}")
    more = ("/fleet/node?node=vps1", "/fleet/act/drain?node=vps1", "/fleet/act/move?account=b")
    window = opened_fleet(browser, page, PHONE)
    gives_axe(window)
    for screen in (*screens, *more):
        looks_good(window, f"{page.served.address}{screen}")


def opened_fleet(
    browser: Any, page: FleetPage, size: tuple[int, int], scheme: str = "light"
) -> Any:
    served = page.served
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]}, color_scheme=scheme
    )
    window = context.new_page()
    window.goto(f"{served.address}/sign-in?token={served.reader.token}")
    window.wait_for_url(f"{served.address}/accounts")
    return window


def test_person_in_a_browser_pauses_and_sees_it_live(browser: Any, page: FleetPage) -> None:
    page.tables.tell({"a": ("runs", "")})
    page.reader.wait_for("/accounts", "All accounts run.")
    watching = opened_fleet(browser, page, PHONE, "light")
    window = opened_fleet(browser, page, DESK, "dark")
    window.goto(f"{page.served.address}/fleet/account?account=a")
    window.get_by_role("link", name="Pause").click()
    window.get_by_label("Why (optional)").fill("news")
    window.get_by_role("button", name="Pause").click()
    window.get_by_text("Carried out: a is paused.").wait_for()
    watching.get_by_text("Paused by anna: news").wait_for()
    page.tables.tell({"a": ("needs person", "See to it.")})
    has_title(watching, "1 to do · trueup")


def test_thread_goes_on_whatever_a_call_raises() -> None:
    worker = Worker("test")
    with pytest.raises(ZeroDivisionError):
        worker.submit(lambda: 1 // 0).result(10)
    assert worker.submit(lambda: 7).result(10) == 7


def test_names_and_reasons_of_any_text_are_shown_as_they_are(page: FleetPage) -> None:
    name, why = "a'\"<b>&amp;", "<script>\x1b[31m 理由" + "長" * 400
    page.tables.join("n<i>'\"")
    page.tables.tell({name: ("retries", why, "<u>anna", why)})
    page.tables.sql.execute("UPDATE fleet_nodes SET drained_by = %s, drained_why = %s", (why, why))
    for path in ("/accounts", f"/fleet/account?account={quote(name)}", "/fleet/node?node=vps1"):
        text = page.reader.get(path)[1]
        assert "&lt;script&gt;" in text
        assert not re.search(r"<(script>|b>&|i>|u>)", text)
    question = page.ask(f"/fleet/act/pause?account={quote(name)}")
    assert f"Pause {name}?" in question
    hidden = {"account": f"{name}\0"}
    told = page.reader.send("/fleet/act/pause", question, **hidden, why="a\0b")[1]
    assert sentence(told) == f"Carried out: {name} is paused."
    assert page.tables.acts() == [("pause", name, "anna", "ab")]


def test_pause_of_the_whole_fleet_is_one_of_accounts_that_are_not_open(page: FleetPage) -> None:
    page.tables.tell({"a": ("retries", "away"), "b": ("runs", "", "dora", "own")})
    assert "The whole of shard" in page.ask("/fleet/act/move?account=a")
    page.answer("pause", page.ask("/fleet/act/pause"), why="news")
    page.reader.wait_for("/accounts", "1 of 2 accounts run, and 2 are paused.")
    text = page.reader.get("/fleet/account?account=a")[1]
    assert "by anna: news" in text
    # It is not this account's own, so it is not ended for it alone.
    assert "/fleet/act/pause?account=a" in text
    assert "by dora: own" in page.reader.get("/fleet/account?account=b")[1]


def test_node_that_is_named_any_is_a_node(page: FleetPage) -> None:
    page.tables.join("any")
    page.tables.tell({"a": ("runs", "")})
    question = page.ask("/fleet/act/move?account=a&node=any")
    assert "runs on any while that node is alive" in question
    assert "goes to node any" in page.answer("move", question)
    question = page.ask("/fleet/act/move?account=a&anywhere=yes")
    assert "it may run on any node" in question
    assert "a may be on any node" in page.answer("move", question)
    assert [act[1] for act in page.tables.acts()] == ["aany", "a"]
