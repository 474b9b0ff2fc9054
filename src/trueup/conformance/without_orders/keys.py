"""The checks of `authenticated`: a client without a key, or with an unknown key, gets no answer."""

from __future__ import annotations

from trueup.conformance.examination.examination import Examination
from trueup.conformance.examination.findings import Verdict, broken, holds, unseen
from trueup.protocol import guide


def wants_a_key(exam: Examination) -> Verdict:
    """The port answers no client without a key."""
    if not exam.greeting.is_encrypted:
        return broken(f"it speaks {exam.greeting.mechanism} with every client at the port")
    return holds(f"it said {exam.greeting.heard}")


def stranger_is_not_heard(exam: Examination) -> Verdict:
    """A client without a known key gets no answer."""
    if not exam.strangers:
        return unseen("there was no stranger to send")
    for who, connect in exam.strangers.items():
        with exam.another(connect) as stranger:
            if stranger.ask(guide.GET_POSITIONS).raw is not None:
                return broken(f"a client {who} was answered")
    return holds(f"clients {' and '.join(exam.strangers)} got no answer")


def own_key_is_heard(exam: Examination) -> Verdict:
    """A client with a known key gets answers."""
    if exam.first.raw is None:
        return broken(exam.first.why, exam.first)
    return holds("we were answered", exam.first)
