"""All checkers, by the number of their promise."""

from __future__ import annotations

from trueup.lab.oracle.base.checker import Checker
from trueup.lab.oracle.promises.age import HonestAge
from trueup.lab.oracle.promises.agreement import Agreement
from trueup.lab.oracle.promises.asking import AskedFirst
from trueup.lab.oracle.promises.believing import Believed
from trueup.lab.oracle.promises.closing import NoFalseGhost
from trueup.lab.oracle.promises.encore import (
    FormerBarred,
    KeyOnce,
    ListedOnce,
    SameJournal,
    TrueOutcome,
)
from trueup.lab.oracle.promises.explained import Explained
from trueup.lab.oracle.promises.money import Money
from trueup.lab.oracle.promises.orders import AtMostOnce, NoLostIntent
from trueup.lab.oracle.promises.ownership import ForeignUntouched, OneWriter
from trueup.lab.oracle.promises.replay import Idempotence, Replay
from trueup.lab.oracle.promises.shares import Shares
from trueup.lab.oracle.promises.undoing import NotUndone

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
    KeyOnce,
    TrueOutcome,
    ListedOnce,
    SameJournal,
    FormerBarred,
)
