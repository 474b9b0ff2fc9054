"""Open the account that the settings name: its gateway, its journal, its policy."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from trueup.core.policy import Adopt, Policy, actions_of
from trueup.doors.account import Account, scope_policy
from trueup.doors.mt5.opening import Local, Options
from trueup.errors import SettingsError
from trueup.gateway.client.endpoints import endpoint_of
from trueup.gateway.client.execution_gateway import ExecutionGateway
from trueup.settings import Settings, listed

ADOPT = {"ours": Adopt.OURS, "all": Adopt.ALL, "ask": Adopt.ASK}
NO_GATEWAY = (
    "give --gateway tcp://HOST:PORT (TRUEUP_GATEWAY), --simulated (TRUEUP_SIMULATED=1), or run "
    "the bot on the Windows machine of the terminal"
)


@contextlib.contextmanager
def opened(settings: Settings, journal: str | Path) -> Iterator[Account]:
    """Open the account of the settings, until the end of the `with` block.

    Args:
        settings: the settings.
        journal: the place of the journal.

    Raises:
        SettingsError: the settings name no gateway, or contradict each other.
        TrueupError: as for `Account`, and if the terminal cannot be initialised.
    """
    policy = policy_of(settings)
    with gateway_of(settings) as gateway:
        if isinstance(journal, Path):
            journal.parent.mkdir(parents=True, exist_ok=True)
        with Account(
            gateway,
            journal=journal,
            magics=sorted(policy.magics),
            symbols=policy.named_symbols,
            policy=policy,
            # The account of the settings is not the simulated terminal's.
            account="" if settings.trueup_simulated else settings.trueup_account,
            real_money=settings.trueup_real_money,
        ) as account:
            yield account


def policy_of(settings: Settings) -> Policy:
    """Return the policy of the settings.

    Raises:
        SettingsError: the settings contradict each other; the message names the first of them.
    """
    magic = settings.trueup_magic
    magics = () if magic is None else (magic,)
    has_owners = bool(magics or settings.trueup_comment_prefix)
    adopt = settings.trueup_adopt or ("ours" if has_owners else "all")
    if adopt != "all" and not has_owners:
        valid = "it needs TRUEUP_MAGIC or TRUEUP_COMMENT_PREFIX, by which a position is the bot's"
        raise SettingsError("TRUEUP_ADOPT", adopt, valid)
    try:
        actions: dict[str, Any] = {
            **actions_of(listed(settings.trueup_ask), listed(settings.trueup_alert))
        }
    except ValueError as error:
        raise SettingsError("TRUEUP_ALERT", settings.trueup_alert, str(error)) from None
    return msgspec.structs.replace(
        scope_policy(magics, listed(settings.trueup_symbols)),
        comment_prefix=settings.trueup_comment_prefix,
        adopt=ADOPT[adopt],
        expects_stop_loss=settings.trueup_expects_stop_loss,
        **actions,
    )


@contextlib.contextmanager
def gateway_of(settings: Settings) -> Iterator[ExecutionGateway]:
    """Connect to the gateway of the settings, until the end of the `with` block.

    Without a gateway, the terminal of this machine is called in a process of its own.

    Raises:
        SettingsError: the settings name no gateway, and this machine has no terminal.
        TrueupError: the terminal cannot be initialised; the message has its last error.
    """
    if settings.trueup_gateway and settings.trueup_simulated:
        valid = "TRUEUP_SIMULATED is set as well: set one of them"
        raise SettingsError("TRUEUP_GATEWAY", settings.trueup_gateway, valid)
    if settings.trueup_gateway:
        endpoint = endpoint_of(settings.trueup_gateway, "TRUEUP_GATEWAY")
        with ExecutionGateway(endpoint.host, endpoint.port) as gateway:
            yield gateway
    elif settings.gateway_is_configured and not settings.trueup_simulated:
        with ExecutionGateway() as gateway:
            yield gateway
    else:
        # The official module exists for Windows alone.
        if os.name != "nt" and not settings.trueup_simulated:
            raise SettingsError("TRUEUP_GATEWAY", settings.trueup_gateway, NO_GATEWAY)
        local = Local(Options(simulated=settings.trueup_simulated), (), {})
        try:
            yield local.gateway()
        finally:
            local.close()
