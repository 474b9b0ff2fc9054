"""docs/concepts/other-packages.md, from the results of `make peers`."""

from __future__ import annotations

import json
from itertools import groupby
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "tests" / "data" / "peers.json"
PAGE = ROOT / "docs" / "concepts" / "other-packages.md"

_HEAD = """\
# Other packages behind the door

<!-- Written by `make docs` from tests/data/peers.json, which `make peers` writes. -->

Packages that call the official `MetaTrader5` module run behind `trueup.mt5` without a change
(`python -m trueup.mt5 PROGRAM.py`). `make peers` shows what that changes. The command installs
packages of other authors, unmodified, in the versions below, and runs a small program with each of
them on the simulated terminal: once with the bare module (*before*), and once through the door
(*after*). The programs use each package as the package's own pages show.

The packages do what the module lets them do. The module returns None for a lost answer and for a
failed list, and leaves it to each program to find out what happened. The faults are rare; here they
are made on purpose.

{packages}

## One position is wanted

Each program asks for one position of 0.1 lots on a hedging account. Where the package says that
the order failed, the program asks again, three times at most. *Positions* is what the broker has at
the end. *Told* is what the package told the program, in turn.

| fault | package | positions before | told before | positions after | told after |
| --- | --- | --- | --- | --- | --- |
{orders}

* **{lost}**: the order is executed, and its answer does not arrive.
* **{later}**, **{much_later}**: the server answers 10012, and fills the order later. The call waits
  15 seconds for the outcome (`resolve_ms`). An order without a trace counts as not executed after a
  minute; meanwhile its symbol takes no other entry.
* **{killed}**: the program is killed after the order was executed and before it had the answer.
  Then it is started again, and does the same.

The door knows a repeated order by its symbol, side, volume, magic number and comment. mt5-connector
gives every order a comment of its own (NautilusTrader's client order id), and it lists the
positions when it starts, so for the door its second order is a new one. A strategy that looks at
`cache.positions_open()` before it enters sees the position.

## A list says nothing

The program has one position. It looks at its positions three times, and opens one if the package
shows none. At the first two looks `positions_get` and `positions_total` fail, or answer "none"; at
the second one they are right again when the program acts by what it saw. An *entry* is a position
that was opened by such a list.

| fault | package | entries before | told before | entries after | told after |
| --- | --- | --- | --- | --- | --- |
{lists}

"nothing" means that the program did not ask for a position, or could not start. `initialize` of
the door returns False while the terminal's lists cannot be proven.

## Without a fault

{same}
"""


def peers_page() -> str:
    """docs/concepts/other-packages.md."""
    results: list[dict[str, Any]] = json.loads(RESULTS.read_text("utf-8"))
    faults = list(results[0]["faults"])
    lists = [fault for fault in faults if fault.startswith("list")]
    orders = [fault for fault in faults if fault not in lists]
    lost, later, much_later, killed = orders
    return _HEAD.format(
        packages=_packages(results),
        orders=_rows(results, orders, held=0),
        lists=_rows(results, lists, held=1),
        same=_same(results),
        lost=lost,
        later=later,
        much_later=much_later,
        killed=killed,
    )


def write_page() -> str:
    """Write the page, and return it."""
    page = peers_page()
    PAGE.write_text(page, encoding="utf-8", newline="\n")
    return page


def _packages(results: list[dict[str, Any]]) -> str:
    rows = [f"| {one['package']} | {one['version']} | {one['python']} |" for one in results]
    return "\n".join(["| package | version | Python |", "| --- | --- | --- |", *rows])


def _rows(results: list[dict[str, Any]], faults: list[str], *, held: int) -> str:
    rows = []
    for fault in faults:
        for one in results:
            sides = [one["faults"][fault][side] for side in ("bare", "door")]
            cells = []
            for side in sides:
                # The first position was opened without a fault.
                cells += [str(side["positions"] - held), _told(side["told"][held:])]
            rows.append(f"| {fault} | {one['package']} | {' | '.join(cells)} |")
    return "\n".join(rows)


def _told(words: list[str]) -> str:
    """Return what was told, with equal words in a row counted."""
    said = [(word, len(list(same))) for word, same in groupby(words)]
    return ", ".join(w if n == 1 else f"{w} ({n} times)" for w, n in said) or "nothing"


def _same(results: list[dict[str, Any]]) -> str:
    lines = ["Each program also makes each kind of call of its package once:", ""]
    for one in results:
        how = "the same answers before and after"
        if not one["same_without_fault"]:
            how = "other answers after than before"
        lines.append(f"* {one['package']}: {one['calls_without_fault']} kinds of calls, {how}")
    return "\n".join(lines)
