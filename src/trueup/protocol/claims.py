"""The CLAIM exchange: claim a part of an account, so that no other writer sends orders in it.

The claim has the name `run` of its scope, and the orders of the holder carry that name. A gateway
that gave the claim to another writer meanwhile refuses them.

The request also carries the fencing token of the holder's journal. A gateway records the newest
token of each journal, and refuses claims, orders and questions with an older token from then on.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from trueup.core.scope import Scope
from trueup.errors import RemoteProtocolError
from trueup.protocol.text import read_json, reason_of

CAPABILITY = "CLAIM"
LEASE_MS = 60_000
"""A claim whose holder sends nothing for this long (ms) may be given to another writer."""


class ClaimRequest(msgspec.Struct, tag_field="action", tag="CLAIM", omit_defaults=True):
    """Claim a scope, in place of what the same holder has claimed so far.

    Attributes:
        scope: the holder's names and the scope, as `core.claims.claimable` returns it.
        journal: the id of the holder's journal, by which a restarted holder is recognised.
        release: give the claim up instead.
        token: the holder's fencing token of that journal, 0 for none.
    """

    scope: Scope
    journal: str = ""
    release: bool = False
    token: int = 0


class ClaimReply(msgspec.Struct, omit_defaults=True):
    """The reply to CLAIM.

    Attributes:
        status: SUCCESS: the scope is claimed, or released. REJECTED: nothing has changed.
        account: the terminal's account, as login@server.
        lease_ms: how long the claim lasts without a request of its holder; 0 for a released claim.
        error: why the claim was rejected.
        token: the newest token of the journal that the gateway has recorded; 0 for a gateway that
            records none.
        refused: how many orders with an older token of the journal were refused since the record
            began.
    """

    status: Literal["SUCCESS", "REJECTED"]
    account: str = ""
    lease_ms: int = 0
    error: str = ""
    token: int = 0
    refused: int = 0


def encode_claim_request(request: ClaimRequest) -> bytes:
    """Return the bytes of a request."""
    return msgspec.json.encode(request)


def decode_claim_reply(raw: bytes) -> ClaimReply:
    """Decode the reply to CLAIM.

    Raises:
        RemoteProtocolError: the reply does not tell whether the scope is claimed.
    """
    try:
        fields = read_json(raw)
        if isinstance(fields, dict) and fields.get("status") in ("FAILED", "ERROR"):
            raise RemoteProtocolError(
                f"the gateway could not decide on the claim: {reason_of(fields)}"
            )
        return msgspec.convert(fields, ClaimReply)
    except (ValueError, RecursionError) as error:
        raise RemoteProtocolError(f"the reply to a claim cannot be read: {error}") from None
