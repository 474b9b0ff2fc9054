"""All checkers, by the number of their promise."""

from __future__ import annotations

from trueup.sim.oracle.age import HonestAge
from trueup.sim.oracle.agreement import Agreement
from trueup.sim.oracle.believing import Believed
from trueup.sim.oracle.checker import Checker
from trueup.sim.oracle.closing import NoFalseGhost
from trueup.sim.oracle.explained import Explained
from trueup.sim.oracle.money import Money
from trueup.sim.oracle.orders import AtMostOnce, NoLostIntent
from trueup.sim.oracle.ownership import ForeignUntouched, OneWriter
from trueup.sim.oracle.replay import Idempotence, Replay

CHECKERS: tuple[type[Checker], ...] = (
    Agreement,
    Money,
    AtMostOnce,
    NoFalseGhost,
    Believed,
    NoLostIntent,
    Replay,
    Idempotence,
    Explained,
    ForeignUntouched,
    OneWriter,
    HonestAge,
)
