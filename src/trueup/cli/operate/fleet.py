"""`trueup fleet`: many machines that share the accounts of one journal in PostgreSQL."""

from __future__ import annotations

from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trueup.cli.operate.bot import exit_needing_a_person, user_name
from trueup.cli.operate.modes import WhoOption, WhyOption
from trueup.cli.shared.accounts_place import accounts_option
from trueup.cli.shared.journal_place import JournalOption, default_journal
from trueup.cli.shared.json_document import JsonOption, print_document
from trueup.cli.shared.log_options import LogJsonOption, set_up_log
from trueup.cli.shared.say import say
from trueup.errors import Refused, TrueupError
from trueup.observe.lines import said

if TYPE_CHECKING:
    from trueup.doors.fleet.fleet import Fleet

NodeArgument = Annotated[str, typer.Argument(metavar="NODE", help="The name of a node.")]
# What was asked is kept all the same: the account may come with the next node.
CHECK_NAME = "No node has told of an account {!r:.60}: check the name."
app: typer.Typer = typer.Typer(
    help="Run the accounts of a file on many machines.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command()
def node(
    accounts: Annotated[
        str,
        accounts_option(
            "The accounts: the same file on every node, or the database with their table."
        ),
    ],
    journal: JournalOption = None,
    name: Annotated[str, typer.Option(help="The node's name; by default the machine's.")] = "",
    lease: Annotated[
        float,
        typer.Option(
            min=1.0,
            max=300.0,
            metavar="SECONDS",
            help="Other nodes take the accounts so long after the node's last heartbeat.",
        ),
    ] = 4.0,
    shards: Annotated[
        int | None,
        typer.Option(min=1, max=100_000, help="Groups of accounts of a new fleet; by default 256."),
    ] = None,
    duration: Annotated[
        float | None,
        typer.Option(min=0.0, metavar="SECONDS", help="End after this long; Ctrl-C before."),
    ] = None,
    log_file: Annotated[
        Path | None,
        typer.Option("--log", metavar="FILE", help="Write the log to a file as well."),
    ] = None,
    log_json: LogJsonOption = False,
) -> None:
    """Run this machine's part of the accounts of a file or a table.

    All nodes have the same accounts, and the same journal in PostgreSQL, which decides which node
    runs which accounts. A node that dies, hangs or is cut off loses them to the others; what it
    still sends is refused by the gateways. Ctrl-C gives its accounts back first.
    """
    _check_texts(name)
    set_up_log(console=True, file=log_file, as_json=log_json)
    # Imported here: no other command needs it.
    from trueup.doors.accounts.source import source_of
    from trueup.doors.fleet.node import run_node

    with closing(source_of(accounts)) as source:
        run_node(
            source,
            str(journal or default_journal()),
            name=name,
            shards=shards,
            lease_sec=lease,
            duration_sec=duration,
        )
    say("Ended, and gave the accounts back. Positions and pending orders stay as they are.")


@app.command()
def status(journal: JournalOption = None, as_json: JsonOption = False) -> None:
    """Show the nodes, what each runs, and what a person has changed.

    Exit code 0: no node is lost, all accounts run and all gateways answer. 1: a person is needed.
    2: the database cannot be reached, or has no fleet.
    """
    with _fleet(journal) as fleet:
        told = fleet.status()
    if as_json:
        print_document("fleet status", told)
    else:
        say("\n".join(_lines(told)))
    nodes = told["nodes"]
    is_well = all(
        one["state"] != "lost" and not one["not_running"] and not one["troubles"] for one in nodes
    )
    exit_needing_a_person(not (is_well and told["same_accounts"] and nodes))


@app.command()
def drain(
    node: NodeArgument,
    undo: Annotated[
        bool, typer.Option("--undo", help="Let the node take accounts again instead.")
    ] = False,
    who: WhoOption = None,
    why: WhyOption = "",
    journal: JournalOption = None,
    as_json: JsonOption = False,
) -> None:
    """Have a node give all its accounts back, and take none.

    The node closes each account in order, and the others take them. It goes on as a node without
    accounts, also after a restart, until --undo.
    """
    person = who or user_name()
    with _fleet(journal, node, person, why) as fleet:
        if undo:
            fleet.undrain(node, person, why)
        else:
            fleet.drain(node, person, why)
    if as_json:
        print_document("fleet drain", {"node": node, "drained": not undo, "who": person})
    elif undo:
        say(f"Node {node} takes accounts again.")
    else:
        say(f"Node {node} gives its accounts back; `trueup fleet status` shows how far it is.")


@app.command()
def move(
    account: Annotated[str, typer.Argument(metavar="ACCOUNT", help="The name in the file.")],
    node: Annotated[
        str, typer.Argument(metavar="[NODE]", help="Where it is to run; without it, anywhere.")
    ] = "",
    who: WhoOption = None,
    why: WhyOption = "",
    journal: JournalOption = None,
    as_json: JsonOption = False,
) -> None:
    """Have an account run on a node, with the other accounts of its shard.

    They stay there while the node is alive, and come back to it. Without NODE, they may be anywhere
    again.
    """
    person = who or user_name()
    with _fleet(journal, account, node, person, why) as fleet:
        shard = fleet.move(account, node, person, why)
        is_known = as_json or _is_known(fleet, account)
    if as_json:
        print_document(
            "fleet move", {"account": account, "shard": shard, "node": node, "who": person}
        )
    else:
        where = f"goes to node {node}" if node else "may be on any node"
        say(f"{account} {where}, with all of shard {shard}.")
    if not is_known:
        say(CHECK_NAME.format(account), err=True)


@app.command()
def pause(
    account: Annotated[
        str, typer.Argument(metavar="[ACCOUNT]", help="The name in the file; without it, all.")
    ] = "",
    who: WhoOption = None,
    why: WhyOption = "",
    journal: JournalOption = None,
    as_json: JsonOption = False,
) -> None:
    """Pause the strategies of all accounts, or of one, on whatever node they run.

    Nothing that a strategy asks for is sent. The nodes hear of it with their next heartbeat, and
    the journal of each account has your name. A node that cannot reach the database sends nothing.
    """
    person = who or user_name()
    with _fleet(journal, account, person, why) as fleet:
        is_new = fleet.pause(account, person, why)
        is_known = as_json or _is_known(fleet, account)
    _say_changed("fleet pause", account, is_new, person, as_json=as_json)
    if not is_known:
        say(CHECK_NAME.format(account), err=True)


@app.command()
def resume(
    account: Annotated[
        str, typer.Argument(metavar="[ACCOUNT]", help="The name in the file; without it, all.")
    ] = "",
    who: WhoOption = None,
    why: WhyOption = "",
    journal: JournalOption = None,
    as_json: JsonOption = False,
) -> None:
    """End a pause of `trueup fleet pause`; a pause of an account by itself stays."""
    person = who or user_name()
    with _fleet(journal, account, person, why) as fleet:
        changed = fleet.resume(account, person, why)
    _say_changed("fleet resume", account, changed, person, as_json=as_json)


def _fleet(journal: str | None, *texts: str) -> Fleet:
    """Return the fleet, after a check that its database can take these texts."""
    _check_texts(*texts)
    # Imported here: no other command needs it.
    from trueup.doors.fleet.fleet import Fleet

    return Fleet(journal or default_journal())


def _is_known(fleet: Fleet, account: str) -> bool:
    """Return whether a node has told of an account, as far as this user may read that."""
    # Imported here: no other command needs it.
    from trueup.doors.fleet.overview import account_of

    with suppress(TrueupError):
        return not account or not fleet.tells_accounts or account_of(fleet, account) is not None
    return True


def _check_texts(*texts: str) -> None:
    for text in texts:
        # Python keeps a byte that is no UTF-8 as half of a pair (UTF-16).
        if text.encode("utf-8", "replace").decode("utf-8") != text:
            raise Refused(f"{text!r:.60} is not UTF-8: give names and reasons in UTF-8.")


def _say_changed(command: str, account: str, changed: bool, who: str, *, as_json: bool) -> None:
    if as_json:
        print_document(command, {"account": account, "changed": changed, "who": who})
        return
    what = account or "The whole fleet"
    did = "paused" if command == "fleet pause" else "resumed"
    if changed:
        say(f"{what} is {did}; the nodes hear of it with their next heartbeat.")
    else:
        say(f"{what}: nothing was changed, it was {did} already.")


def _lines(told: dict[str, Any]) -> list[str]:
    nodes = told["nodes"]
    alive = sum(one["state"] != "lost" for one in nodes)
    running = sum(one["running"] for one in nodes if one["state"] != "lost")
    lines = said(
        "Fleet",
        f"{alive} of {len(nodes)} nodes are alive, and run {running} accounts in {told['owned']} "
        "shards.",
    )
    for one in nodes:
        lines += said(one["name"].ljust(10), _node_line(one))
    for row in told["owners"]:
        if row["moved_to"] and row["moved_to"] != row["node"]:
            lines += said("Moves", f"shard {row['shard']} to {row['moved_to']}")
    for row in told["pauses"]:
        why = f" ({row['why']})" if row["why"] else ""
        lines += said("Paused", f"{row['account'] or 'all accounts'} by {row['who']}{why}")
    if told["refused_orders"]:
        lines += said(
            "Refused",
            f"{told['refused_orders']} orders that nodes sent after they had lost their accounts",
        )
    if not told["same_accounts"]:
        lines += said("Files", "the nodes have different accounts: give all the same file")
    return lines


def _node_line(one: dict[str, Any]) -> str:
    parts = [f"{one['state']}, on {one['host']} (process {one['process']})"]
    if one["state"] == "lost":
        parts.append(f"no heartbeat for {one['silent_sec']:.0f} s")
    parts.append(f"{one['shards']} shards, {one['running']} accounts run")
    if one["not_running"]:
        parts.append(f"{one['not_running']} do not")
    if one["drained_by"]:
        why = f" ({one['drained_why']})" if one["drained_why"] else ""
        parts.append(f"drained by {one['drained_by']}{why}")
    parts += [f"{row['account']}: {row['trouble']}" for row in one["troubles"]]
    return ", ".join(parts)
