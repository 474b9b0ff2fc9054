"""All checkers, by the number of their promise."""

from __future__ import annotations

from trueup.lab.oracle.age import HonestAge
from trueup.lab.oracle.agreement import Agreement
from trueup.lab.oracle.asking import AskedFirst
from trueup.lab.oracle.believing import Believed
from trueup.lab.oracle.checker import Checker
from trueup.lab.oracle.closing import NoFalseGhost
from trueup.lab.oracle.explained import Explained
from trueup.lab.oracle.money import Money
from trueup.lab.oracle.orders import AtMostOnce, NoLostIntent
from trueup.lab.oracle.ownership import ForeignUntouched, OneWriter
from trueup.lab.oracle.replay import Idempotence, Replay
from trueup.lab.oracle.shares import Shares
from trueup.lab.oracle.undoing import NotUndone

CHECKERS: tuple[type[Checker], ...] = (
    Agreement,
    Money,
    Shares,
    AtMostOnce,
    NoFalseGhost,
    Believed,
    NotUndone,
    NoLostIntent,
    Replay,
    Idempotence,
    Explained,
    ForeignUntouched,
    AskedFirst,
    OneWriter,
    HonestAge,
)
