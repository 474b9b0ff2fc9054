"""Metrics of real bots, read over HTTP by real programs, while bots and the metrics end."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.metrics.programs import program, promtool
from tests.metrics.scrape import Metrics, Scrape
from tests.metrics.test_metrics_table import OPS, series
from tests.paper.deadline import ROOT, wait_for
from tests.paper.test_paper_processes import Running, Shell
from tests.support.servers import free_port
from trueup.doors.metrics.table import TABLE

pytest.importorskip("prometheus_client", reason="the extra metrics is not installed")
pytestmark = pytest.mark.timeout(300)
# The check of a container in docs/operating/metrics.md.
CHECK = "trueup status > /dev/null || [ $? -eq 2 ]"


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    made = Shell(tmp_path)
    (tmp_path / "idle.py").write_text(
        "class Idle:\n    def on_tick(self, tick):\n        return 0\n", encoding="utf-8"
    )
    try:
        yield made
    finally:
        made.clean()


def idle(shell: Shell, name: str, *options: str) -> Running:
    kept = ("--journal", f"{name}.db")
    bot = shell.start(f"{name}.log", "paper", "--strategy", "idle:Idle", *kept, *options)
    bot.wait_for("[STARTUP]")
    return bot


def is_healthy(shell: Shell) -> bool:
    """Whether the check of the container in the documentation says yes."""
    page = (ROOT / "docs" / "operating" / "metrics.md").read_text(encoding="utf-8")
    assert CHECK in page
    command = CHECK.replace("trueup ", f'"{sys.executable}" -m trueup ')
    done = subprocess.run(
        ["sh", "-c", command], cwd=shell.folder, env=shell.environment, timeout=60, check=False
    )
    assert done.returncode in (0, 1)
    return done.returncode == 0


def test_a_bot_that_lives_and_is_killed_and_metrics_that_are_started_again(shell: Shell) -> None:
    bot = shell.start("bot.log", "paper", "--strategy", "once:BuyOnce")
    bot.ticket()
    metrics = Metrics(shell)
    everything = {metric.name for metric in TABLE}

    def is_whole(seen: Scrape) -> bool:
        agrees = seen.values("trueup_state", state="agrees") == [1]
        # A slow machine may let the strategy buy twice.
        bought = seen.values("trueup_orders_total", outcome="filled") >= [1]
        known = {series()[name].name for name in seen.names & series().keys()}
        return agrees and bought and known == everything

    seen = metrics.wait_until(is_whole, "every metric of a bot that agrees on what it bought")
    assert seen.one("trueup_bot_up") == 1
    assert sum(seen.values("trueup_state")) == 1
    assert seen.one("trueup_positions") >= 1
    assert seen.one("trueup_order_duration_seconds_count") >= 1
    assert seen.one("trueup_account_equity") > 0
    assert seen.one("trueup_book_info", trade_mode="demo", currency="USD", symbol="EURUSD") == 1
    assert seen.one("trueup_reading_age_seconds") < 30
    assert seen.names <= series().keys()
    if shutil.which("promtool") is not None:
        promtool("check", "metrics", text=seen.text)
    for path in ("/healthz", "/livez", "/readyz"):
        answer = metrics.wait_for_probe(path, 200)
        assert answer["exit_code"] == 0 or path == "/healthz", answer

    # A zombie is adopted: the counter of the journal follows.
    assert "opened" in shell.ask("trade", "open", "sell", "0.05").stdout.lower()
    before = metrics.wait_for("trueup_corrections_total", 1, kind="zombie")
    if os.name != "nt":
        assert is_healthy(shell)

    bot.child.kill()
    bot.child.wait()
    dead = metrics.wait_for("trueup_bot_up", 0)
    assert dead.one("trueup_state", state="agrees") == 0
    assert dead.one("trueup_state", state="needs_person") == 1
    # What only the bot knew is gone; the journal's book and counters stay.
    own = {metric.name for metric in TABLE if metric.source == "bot"}
    assert dead.names & own == set()
    assert dead.values("trueup_link_up", link="gateway") == []
    assert all(dead.counters()[key] >= value for key, value in before.counters().items())
    age_sec = dead.one("trueup_reading_age_seconds")
    later = metrics.wait_until(
        lambda seen: seen.one("trueup_reading_age_seconds") > age_sec, "a reading that ages"
    )
    metrics.wait_for_probe("/healthz", 200)
    for path in ("/livez", "/readyz"):
        answer = metrics.wait_for_probe(path, 503)
        assert (answer["state"], answer["exit_code"]) == ("needs_person", 1)
        assert answer["because"] == answer["books"][0]["sentence"]
    if os.name != "nt":
        assert not is_healthy(shell)

    metrics.running.child.kill()
    metrics.running.child.wait()
    again = Metrics(shell)
    again.wait_until(lambda seen: seen.counters() == later.counters(), "the same counters")

    # A journal that cannot be read: the book keeps its name, and nothing of it is made up.
    (shell.folder / ".trueup" / "paper.db-wal").unlink(missing_ok=True)
    (shell.folder / ".trueup" / "paper.db").write_bytes(b"no database at all " * 500)
    lost = again.wait_for("trueup_journal_readable", 0)
    assert lost.one("trueup_bot_up") == 0
    assert lost.one("trueup_state", state="needs_person") == 1
    assert lost.values("trueup_positions") == []
    assert lost.counters() == later.counters()
    again.end()
    assert "Traceback" not in again.running.text()


def test_a_book_whose_bot_ended_in_order_stays_while_another_bot_runs(shell: Shell) -> None:
    idle(shell, "one", "--magic", "1")
    two = idle(shell, "two", "--magic", "2")
    metrics = Metrics(shell)
    assert metrics.wait_for("trueup_bot_up", 1, journal="two.db").values("trueup_bot_up") == [1, 1]
    stopped = shell.ask("stop", "--bot", str(two.child.pid))
    assert stopped.returncode == 0, stopped.stderr
    two.child.wait(60)
    seen = metrics.wait_for("trueup_bot_up", 0, journal="two.db")
    assert seen.one("trueup_bot_up", journal="one.db") == 1
    assert seen.one("trueup_state", journal="two.db", state="needs_person") == 1
    assert seen.one("trueup_journal_events_total", journal="two.db", kind="BotStopped") == 1
    answer = metrics.wait_for_probe("/livez", 503)
    assert {one["journal"]: one["bot"] for one in answer["books"]} == {
        "one.db": "answers",
        "two.db": "does not answer",
    }
    # A supervisor of one bot asks for its book.
    book = next(one["book"] for one in answer["books"] if one["journal"] == "one.db")
    metrics.wait_for_probe(f"/livez?journal=one.db&book={urllib.parse.quote(book)}", 200)
    metrics.wait_for_probe("/livez?journal=two.db", 503)
    code, text = metrics.get("/livez?book=nothing")
    assert code == 404
    assert "There is no book 'nothing'" in text
    assert f"one.db {book}" in text


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGSTOP")
def test_a_bot_that_hangs_is_down_until_it_goes_on(shell: Shell) -> None:
    bot = idle(shell, "bot")
    metrics = Metrics(shell)
    metrics.wait_for("trueup_bot_up", 1)
    os.kill(bot.child.pid, signal.SIGSTOP)
    try:
        seen = metrics.wait_for("trueup_bot_up", 0)
        assert seen.values("trueup_account_equity") == []
        # Each probe answers at once, from what was found out.
        answer = metrics.wait_for_probe("/livez", 503)
        assert answer["books"][0]["bot"] == "does not answer"
    finally:
        os.kill(bot.child.pid, signal.SIGCONT)
    metrics.wait_for("trueup_bot_up", 1)
    metrics.wait_for_probe("/livez", 200)


def test_without_a_bot_and_with_wrong_options(shell: Shell) -> None:
    metrics = Metrics(shell)
    seen = metrics.scrape()
    assert seen.one("trueup_state", state="nothing") == 1
    assert seen.values("trueup_bot_up") == []
    metrics.wait_for_probe("/healthz", 200)
    assert metrics.wait_for_probe("/livez", 503)["exit_code"] == 4
    code, text = metrics.get("/")
    assert (code, text) == (
        404,
        "Nothing is here; there are /metrics, /healthz, /livez, /readyz.\n",
    )
    # One metric alone, and the other format, as the library has them.
    code, text = metrics.get("/metrics?name[]=trueup_build_info")
    assert {line for line in text.splitlines() if "trueup_state" in line} == set()
    assert "trueup_build_info{" in text
    assert metrics.get("/metrics", "application/openmetrics-text")[1].endswith("# EOF\n")
    port = urllib.parse.urlsplit(metrics.address).port

    taken = shell.run("metrics", "--port", str(port))
    assert taken.returncode == 2
    assert f"--port='127.0.0.1:{port}' is not valid: the metrics cannot listen" in taken.stderr
    assert "give another --host or --port" in taken.stderr
    assert "Traceback" not in taken.stderr
    assert shell.run("metrics", "--port", "x").returncode == 64
    # A reader that leaves in the middle of an answer, and one that speaks no HTTP, are no news.
    for sent in (b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", b"\x00\xff\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", port or 0)) as line:
            line.sendall(sent)
    assert metrics.scrape().one("trueup_state", state="nothing") == 1
    metrics.end()
    if os.name != "nt":
        assert metrics.running.child.returncode == 0
    assert metrics.running.text().count("\n") == 1


def test_another_address_is_warned_of(shell: Shell) -> None:
    metrics = Metrics(shell, "--host", "0.0.0.0")
    assert "WARNING: whoever reaches 0.0.0.0 can read" in metrics.running.text()


def test_without_the_extra_a_sentence_says_what_to_install(shell: Shell) -> None:
    # As an installation without the package: the import fails in the same way.
    (shell.folder / "prometheus_client.py").write_text(
        "raise ModuleNotFoundError('No module named prometheus_client', name='prometheus_client')",
        encoding="utf-8",
    )
    done = shell.run("metrics", "--port", "0")
    assert (done.returncode, done.stdout) == (2, "")
    assert "pip install 'trueup[metrics]'" in done.stderr


def test_prometheus_reads_the_metrics_and_its_rules_see_a_dead_bot(shell: Shell) -> None:
    prometheus = program("prometheus")
    bot = idle(shell, "bot")
    metrics = Metrics(shell)
    server = Prometheus(prometheus, shell, metrics)
    server.wait_for('trueup_state{state="agrees"} == 1', 1)
    server.wait_for("trueup_account_equity > 0", 1)
    server.wait_for('trueup_journal_events_total{kind="AccountBound"} == 1', 1)
    assert server.ask('ALERTS{alertstate="firing"}') == []
    bot.child.kill()
    bot.child.wait()
    server.wait_for('ALERTS{alertname="TrueupBotDown"}', 1)
    server.wait_for('ALERTS{alertname="TrueupPersonNeeded"}', 1)
    # The old equity is not shown as a present one.
    assert server.ask("trueup_account_equity") == []


class Prometheus:
    """A Prometheus with the configuration of `ops/`, each second."""

    def __init__(self, path: str, shell: Shell, metrics: Metrics) -> None:
        folder = shell.folder / "prometheus"
        shutil.copytree(OPS / "prometheus", folder)
        config = yaml.safe_load((folder / "prometheus.yml").read_text(encoding="utf-8"))
        config["global"].update(scrape_interval="1s", scrape_timeout="1s", evaluation_interval="1s")
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
        target = metrics.address.removeprefix("http://")
        (folder / "targets" / "trueup.yml").write_text(f"- targets: ['{target}']\n", "utf-8")
        self.address = f"127.0.0.1:{free_port()}"
        with (folder / "prometheus.log").open("wb") as out:
            child = subprocess.Popen(
                [
                    path,
                    f"--config.file={folder / 'prometheus.yml'}",
                    f"--storage.tsdb.path={folder / 'data'}",
                    f"--web.listen-address={self.address}",
                ],
                stdout=out,
                stderr=out,
            )
        shell.children.append(child)

    def ask(self, query: str) -> list[Any]:
        """The series that a query returns."""
        text = urllib.parse.urlencode({"query": query})
        with urllib.request.urlopen(
            f"http://{self.address}/api/v1/query?{text}", timeout=30
        ) as got:
            return list(json.load(got)["data"]["result"])

    def wait_for(self, query: str, count: int) -> None:
        """Ask until a query returns so many series."""

        def is_there() -> bool:
            try:
                return len(self.ask(query)) == count
            except OSError:
                return False

        wait_for(is_there, lambda: query)
