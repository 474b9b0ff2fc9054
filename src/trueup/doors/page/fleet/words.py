"""The sentences of a fleet's page: the state in one line, and what is a person's to do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from trueup.doors.fleet.fleet import same_accounts
from trueup.doors.fleet.overview import NO_NODE, ActLine, FleetView
from trueup.doors.fleet.telling import Told
from trueup.observe.lines import age_words
from trueup.observe.status.findings import at_start, counted

OK, WARN, BAD = "ok", "warn", "bad"
VERBS = {
    "drain": "drained",
    "undrain": "let take accounts again:",
    "move": "moved",
    "pause": "paused",
    "resume": "resumed",
}

_COUNTED = {
    Told.NEEDS_PERSON.value: ("needs a person", "need a person"),
    NO_NODE: ("has no node", "have no node"),
    Told.STOPPED.value: ("is stopped", "are stopped"),
    Told.RETRIES.value: ("is tried again", "are tried again"),
    Told.OPENING.value: ("is opened", "are opened"),
    Told.RUNS.value: ("runs", "run"),
}


class Headline(NamedTuple):
    """The state of a fleet: its colour, the window's title, a sentence, and one more."""

    tone: str
    title: str
    sentence: str
    more: str = ""


def headline(view: FleetView) -> Headline:
    """Return the state of a fleet in one sentence, with a number and who has to act."""
    lost = [node for node in view.nodes if node["state"] == "lost"]
    living = len(view.nodes) - len(lost)
    needs, needed = view.counts.get(Told.NEEDS_PERSON.value, 0), len(to_do(view))
    more = _running_words(view, living)
    if not living:
        what = "No node is alive, so no account runs." if lost else "No node has joined yet."
        return Headline(BAD, "no node · trueup", f"{what} Start the nodes.")
    if needs:
        are = "needs" if needs == 1 else "need"
        sentence = f"{at_start(counted(needs, 'account'))} {are} a person."
        return Headline(BAD, f"{needs} to do · trueup", sentence, more)
    if lost:
        are = _are(len(lost))
        sentence = f"{at_start(counted(len(lost), 'node'))} of {len(view.nodes)} {are} lost."
        return Headline(BAD, f"{len(lost)} lost · trueup", sentence, more)
    if needed:
        actions = f"{at_start(counted(needed, 'action'))} {_are(needed)} yours."
        return Headline(BAD, f"{needed} to do · trueup", actions, more)
    waiting = _waiting(view)
    if waiting:
        do = "does" if waiting == 1 else "do"
        sentence = f"{at_start(counted(waiting, 'account'))} {do} not run yet."
        by_itself = "The nodes go on by themselves. Nothing is yours to do."
        return Headline(WARN, f"{waiting} wait · trueup", sentence, f"{by_itself} {more}")
    return Headline(OK, "fleet runs · trueup", "All accounts run. Nothing is yours to do.", more)


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def _waiting(view: FleetView) -> int:
    """Return how many accounts do not run, and will without a person."""
    if not view.tells_accounts:
        return sum(node["not_running"] for node in view.nodes if node["state"] != "lost")
    return sum(view.counts[state] for state in (NO_NODE, Told.RETRIES.value, Told.OPENING.value))


def _running_words(view: FleetView, living: int) -> str:
    if view.tells_accounts:
        running = view.counts[Told.RUNS.value]
        of = f" of {sum(view.counts.values()):,}"
    else:
        running = sum(node["running"] for node in view.nodes if node["state"] != "lost")
        of = ""
    paused = f", and {view.paused:,} {_are(view.paused)} paused" if view.paused else ""
    are = _are(living)
    return f"{running:,}{of} accounts run{paused}. {living} of {len(view.nodes)} nodes {are} alive."


def to_do(view: FleetView) -> list[str]:
    """Return what a person has to do for the fleet itself, a sentence each."""
    return [*_about_nodes(view)]


def _about_nodes(view: FleetView) -> Iterator[str]:
    for node in view.nodes:
        if node["state"] == "lost":
            yield (
                f"Node {node['name']} on {node['host']} (process {node['process']}) is lost: no "
                f"heartbeat for {age_words(node['silent_sec'])}. Look at the machine, and start "
                "the node again."
            )
    living = [node for node in view.nodes if node["state"] != "lost"]
    if living and all(node["drained_by"] for node in living):
        yield "All living nodes are drained, so no account runs. Let one take accounts again."
    if not same_accounts(view.nodes):
        yield "The nodes have different accounts. Give all nodes the same file."


def notes_of(view: FleetView) -> list[str]:
    """Return what a person should know, and need not act on."""
    return [*_notes(view)]


def _notes(view: FleetView) -> Iterator[str]:
    for pause in view.pauses:
        if not pause["account"]:
            why = f": {pause['why']}" if pause["why"] else ""
            yield f"The whole fleet is paused by {pause['who']}{why}."
    refused = sum(node["refused_orders"] for node in view.nodes)
    if refused:
        yield (
            f"{refused} orders that nodes sent after they had lost their accounts were refused by "
            "the gateways."
        )
    if not view.tells_accounts:
        yield (
            "The tables of this fleet are of an earlier release, which do not have the accounts. "
            "They come with the first node of this release."
        )
        return
    for node in view.nodes:
        has_told = node["state"] == "lost" or not node["accounts_file"] or node["tells_accounts"]
        if not has_told:
            yield (
                f"Node {node['name']} is of an earlier release, and does not tell its "
                f"{node['running'] + node['not_running']} accounts one by one."
            )


def node_words(node: Mapping[str, Any]) -> str:
    """Describe what a node has: 89 shards, 150 accounts run, 2 do not."""
    if node["state"] == "lost":
        return f"{node['shards']:,} shards wait for another node" if node["shards"] else "lost"
    parts = [f"{node['shards']:,} shards", f"{node['running']:,} accounts run"]
    if node["not_running"]:
        parts.append(f"{node['not_running']:,} do not")
    return ", ".join(parts)


def count_words(state: str, count: int) -> str:
    """Say of so many accounts that they are in a state."""
    one, many = _COUNTED.get(state, (state, state))
    return one if count == 1 else many


def act_words(act: ActLine) -> str:
    """Write what a person has asked: anna moved a1 to vps2 (nearer)."""
    what = act.account or act.node
    if act.verb == "move":
        what = f"{act.account} to {act.node or 'any node'}"
    elif act.verb in ("pause", "resume"):
        what = act.account or "the whole fleet"
    why = f" ({act.why})" if act.why else ""
    return f"{act.who} {VERBS.get(act.verb, act.verb)} {what}{why}"
