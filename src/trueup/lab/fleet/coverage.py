"""What the runs of the simulated fleet have met: faults, acts, both together, and the fences."""

from __future__ import annotations

from trueup.lab.facts.facts import Fact
from trueup.lab.fleet import facts
from trueup.lab.fleet.plan import ACTS, FREEZES, OF_NODE, PAIRS, FleetFault
from trueup.lab.report.counting import Counted

_ACTS = frozenset(act.name for act in ACTS)
_FREEZES = frozenset(fault.name for fault in FREEZES)
_LASTING = frozenset(fault.name for fault in OF_NODE)

WANTED: dict[str, dict[str, str]] = {
    "fault": {fault.name: fault.value for fault in FleetFault},
    "together": {
        f"{fault.name}+{act.name}": f"{fault.value}, and {act.value}" for fault, act in PAIRS
    },
    "fence": {
        "OLDER_TOKEN": "a gateway refused an order for its older token",
        "NO_RIGHT": "a node sent no order, because its lease or its claim had ended",
        "WAITED": "an account behind an earlier gateway was left alone for a while",
        "FROM_DEAD": "a shard was claimed from a node that did not give it back",
        "ANSWER_LOST": "a statement was carried out, and its answer lost",
    },
}
"""All situations to meet: by kind, the name and its meaning."""


class FleetCoverage(Counted):
    """A watcher that counts the situations of runs; `add` merges the counts of another one."""

    wanted = WANTED

    def __init__(self) -> None:
        super().__init__()
        self._owned: set[int] = set()

    def observe(self, fact: Fact) -> None:
        """Take in a fact."""
        fences = self.met["fence"]
        match fact:
            case facts.FleetStruck():
                self._struck(fact)
            case facts.RefusedAsOld():
                fences["OLDER_TOKEN"] += 1
            case facts.NotSentNow():
                fences["NO_RIGHT"] += 1
            case facts.Waits():
                fences["WAITED"] += 1
            case facts.Lost(is_done=True):
                fences["ANSWER_LOST"] += 1
            case facts.FleetBegan():
                self._owned.clear()
            case facts.GivenBack(shard=shard):
                self._owned.discard(shard)
            case facts.Claimed(shard=shard):
                fences["FROM_DEAD"] += shard in self._owned
                self._owned.add(shard)

    def _struck(self, fact: facts.FleetStruck) -> None:
        self.met["fault"][fact.kind] += 1
        kind = FleetFault.FREEZE.name if fact.kind in _FREEZES else fact.kind
        # The act while the fault lasts, or the fault just after the act.
        for other in fact.beside:
            for fault, act in ((kind, other), (other, kind)):
                if fault in _LASTING and act in _ACTS:
                    self.met["together"][f"{fault}+{act}"] += 1
