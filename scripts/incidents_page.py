"""docs/operating/incidents.md, from the incidents that the tests play."""

from __future__ import annotations

from trueup.lab.incidents.incident import Incident, Where
from trueup.lab.incidents.table import INCIDENTS

_HEAD = """\
# Incidents

<!-- Written by `make docs` from src/trueup/lab/incidents/table.py. Change it there. -->

What goes wrong at night: what you see, what it means, what is at risk, what to do. A test plays
each incident with real processes and looks for the words below; `...` stands for times, process
numbers and other words.

Begin with `trueup status`: its first line says what is the matter and whether something is yours to
do. `trueup doctor` then looks for the cause, and gives a remedy with every finding. Stops and
pending orders are kept by the broker, so they work in every incident.

Rehearse an incident before it happens:

```console
$ trueup sim incident --list
$ trueup sim incident no-link
```

The command starts a simulated terminal, a gateway and a bot in a new folder, lets the incident
happen, and shows what the processes write. Use `status` and `doctor` in that folder, in a second
shell; Ctrl-C ends the incident, and the bot agrees with the broker again. Faults of a demonstration
that runs already are in [Rehearsal](rehearse.md#faults-of-the-demos-terminal).

| you see | exit code of `status` | incident |
| --- | --- | --- |
"""


def incidents_page() -> str:
    """docs/operating/incidents.md."""
    rows = "".join(_row(each) for each in INCIDENTS)
    return _HEAD + rows + "\n" + "\n".join(_section(each) for each in INCIDENTS)


def _row(incident: Incident) -> str:
    status = next(sign for sign in incident.signs if sign.where is Where.STATUS)
    # A status that is as always is no sign.
    shown = status if status.exit_code else incident.signs[0]
    return f"| {shown.words} | {status.exit_code} | [{incident.title}](#{incident.name}) |\n"


def _section(incident: Incident) -> str:
    rows = "".join(
        f"| {sign.where.value} | {sign.words} | "
        f"{'' if sign.exit_code is None else sign.exit_code} |\n"
        for sign in incident.signs
    )
    option = " --database postgresql://USER@HOST/NAME" if incident.needs_database else ""
    return (
        f"## {incident.name}\n\n**{incident.title}.** {incident.happens}\n\n"
        f"| where | what you see | exit code |\n| --- | --- | --- |\n{rows}\n"
        f"* **It means:** {incident.means}\n"
        f"* **At risk:** {incident.risk}\n"
        f"* **To do:** {incident.todo}\n"
        f"* **It is over when:** {incident.ends}\n"
        f"* **Rehearse it:** `trueup sim incident {incident.name}{option}`\n"
    )
