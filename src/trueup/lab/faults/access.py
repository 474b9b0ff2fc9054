"""Faults of the allow file: a person edits the gateway's file while bots are connected."""

from __future__ import annotations

import random

from trueup.lab.faults.struck_world import StruckWorld
from trueup.lab.system.gateway import KEY, MAY_TRADE

OTHER_KEY = "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID"


def edit_allow_file(world: StruckWorld, chance: random.Random) -> str:
    """Write another allow file for a while; most of these files allow the bots less than before."""
    # Malformed and half-written files are in the list because a gateway must ignore them.
    own, other = world.terminal.home_login, world.other_login
    text, said = chance.choice(
        (
            (f"bot read * {KEY}\n", "the bots may only read"),
            (f"bot read,trade {own} {KEY}\n", "the bots may trade on their own account"),
            (f"bot trade {other} {KEY}\n", "the bots may trade on another account"),
            (f"screen read * {OTHER_KEY}\n", "the bots are not in it"),
            ("# nobody\n", "nobody may come in"),
            ("", "the file is empty, so nothing changes"),
            (f"bot trade {KEY}\n", "a line is malformed, so nothing changes"),
            ("bot trade * rq:rM>}U?", "half of a line is written, so nothing changes"),
        )
    )
    seconds = chance.choice((1, 4, 12))
    # Every edit ends, since a bot that may not trade never comes to agree.
    world.gateway.allow(text)
    world.schedule.after(seconds * 1000, lambda: world.gateway.allow(MAY_TRADE))
    return f"{said}, for {seconds} s"
