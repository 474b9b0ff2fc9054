"""A run over a cable that is pulled: this process and the terminal are in one network namespace,
the bot is in another. `partition_run.py FOLDER OTHER-NAMESPACE OUR-END-OF-THE-CABLE OUR-ADDRESS`
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.support.chaos_world import ORDER, REPORT, SETTLE, WAIT, Chaos, opens
from tests.support.crash_world import Step, Terminal
from tests.support.faulty_proxy import FaultyProxy, NetFault, When
from tests.support.servers import until


class Cable:
    """Our end of the cable between the two namespaces."""

    def __init__(self, name: str) -> None:
        self._name = name

    def set(self, state: str) -> None:
        """Pull it (down) or plug it in (up)."""
        subprocess.run(["ip", "link", "set", self._name, state], check=True)


def order(chaos: Chaos, cable: Cable, when: When) -> str:
    """Let the bot place its next order, and pull the cable in the middle of it."""
    assert chaos.bot.hear("waiting")
    struck, known = chaos.proxy.struck, chaos.terminal.count_orders()
    # It stands still for as long as it takes to pull the cable; then it goes on, into nothing.
    chaos.proxy.arm(ORDER, when, NetFault.STALL)
    chaos.bot.tell()
    until(lambda: chaos.proxy.struck > struck)
    cable.set("down")
    chaos.proxy.heal()
    said: str = chaos.bot.hear("status")
    cable.set("up")
    # The way from the proxy to the terminal has no cable, so the order arrives in either case.
    chaos.go_on(known, is_to_arrive=True)
    return said


def main() -> None:
    """Live through it, and print what the bot said."""
    folder, other, end, address = sys.argv[1:]
    cable = Cable(end)
    steps: list[Step] = [SETTLE]
    for when in When:
        steps += [WAIT, opens(when.name), WAIT, SETTLE]
    steps += [WAIT, {"do": "sync"}, WAIT, SETTLE, opens("after", "sell"), REPORT]
    with (
        Terminal(Path(folder)) as terminal,
        FaultyProxy(terminal.port, address) as proxy,
    ):
        terminal.bot_prefix = ("ip", "netns", "exec", other)
        with Chaos(terminal, proxy, steps, address) as chaos:
            said = {when.name: order(chaos, cable, when) for when in When}
            assert chaos.bot.hear("waiting")
            cable.set("down")
            terminal.person("open", side="sell", volume=0.05)
            chaos.bot.tell()
            blind = chaos.bot.hear("synced")
            cable.set("up")
            assert chaos.bot.hear("waiting")
            chaos.bot.tell()
            report = chaos.end()
    became = {key: row[0] for key, row in report["orders"].items()}
    facts = {"said": said, "became": became, "blind": blind, "open": len(report["positions"])}
    sys.stdout.write(json.dumps(facts) + "\n")


if __name__ == "__main__":
    main()
