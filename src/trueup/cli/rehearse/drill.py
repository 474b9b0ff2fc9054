"""`trueup drill`: kill a bot at the simulated terminal, start the bot again, compare the books."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from trueup.cli.shared.json_document import JsonOption, print_document
from trueup.cli.shared.progress import progress
from trueup.cli.shared.say import say
from trueup.lab.drill.drill import Drill, Round

DISAGREE = 1


def drill(
    rounds: Annotated[int, typer.Option(min=1, help="How many times to kill the bot.")] = 3,
    seed: Annotated[int, typer.Option(help="The same seed repeats the same drill.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Kill a bot in the middle of an order and restart it.

    The command starts a simulated terminal and a bot of its own, in a temporary folder, and touches
    nothing else. Exit code 0: the books agree after every kill. 1: they do not.
    """
    done: list[Round] = []
    # Windows may still hold a file of a killed process; that must not fail the drill.
    with (
        tempfile.TemporaryDirectory(prefix="trueup-drill-", ignore_cleanup_errors=True) as folder,
        progress("Killing and restarting a bot", rounds) as shown,
    ):
        for finished in Drill(Path(folder), seed).run(rounds):
            done.append(finished)
            shown.advance()
            # Each round takes seconds, so each is printed as soon as it ends.
            if not as_json:
                with shown.aside():
                    say(_said(finished))
    agrees = all(each.agrees for each in done)
    if as_json:
        facts = {"seed": seed, "agrees": agrees, "rounds": msgspec.to_builtins(done)}
        print_document("drill", facts)
    else:
        say(_summary(done, seed))
    if not agrees:
        raise typer.Exit(DISAGREE)


def _said(one: Round) -> str:
    syncs = f"{one.syncs} sync{'s' * (one.syncs != 1)}"
    lines = [
        f"Round {one.number}: killed {one.killed_at}",
        *(f"  meanwhile   {text}" for text in one.behind_its_back),
        f"  agreement   {'after' if one.agrees else 'NOT after'} {one.seconds:.2f} s, {syncs}",
        f"  positions   {one.kept} recovered from the journal, {len(one.adopted)} adopted",
        *(f"  adopted     {text}" for text in one.adopted),
        *(f"  closed      {text}" for text in one.closed),
        *(f"  corrected   {text}" for text in one.corrected),
    ]
    # A kill before the intent was journalled leaves no trace of the order, and none is needed.
    if one.order is not None:
        lines += [
            f"  last order  {one.order['what']} ({one.order['order_id']}): {one.order['status']}",
            f"              {one.order['because']}",
        ]
    else:
        lines.append("  last order  not in the journal, and never sent")
    return "\n".join([*lines, f"  {one.health}", ""])


def _summary(done: list[Round], seed: int) -> str:
    good = sum(each.agrees for each in done)
    times = [each.seconds for each in done]
    cases = _cases(done)
    return (
        f"Books agree after {good} of {len(done)} kills (seed {seed}); "
        f"time to agreement {min(times):.2f} to {max(times):.2f} s, with the start of the process; "
        f"cases {', '.join(cases)}."
    )


def _cases(done: list[Round]) -> list[str]:
    orders: list[dict[str, Any]] = [each.order for each in done if each.order is not None]
    return sorted({str(order["case"]) for order in orders}) or ["none"]
