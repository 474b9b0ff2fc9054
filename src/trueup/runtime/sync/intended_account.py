"""Read the intended account from the argument `account` or the setting TRUEUP_ACCOUNT."""

from __future__ import annotations

from trueup.core.account.intended_account import EXAMPLE, IntendedAccount, account_named


def intended_account(account: str | None, *, real_money: bool) -> IntendedAccount:
    """Return the intended account.

    Args:
        account: login@server; "" for any account; None for the setting TRUEUP_ACCOUNT.
        real_money: whether trading is allowed on an account that is not known to be a demo.

    Raises:
        ValueError: the text is not an account.
        SettingsError: a setting is not valid.
    """
    if account is None:
        # Imported here: pydantic takes longer to import than all other modules of a bot together.
        from trueup.settings import account_setting

        text = account_setting()
        known = account_named(text) if text else None
        return IntendedAccount(known, "TRUEUP_ACCOUNT", real_money)
    # Any account is allowed, but the rule on real money still applies.
    if account == "":
        return IntendedAccount(real_money=real_money)
    try:
        return IntendedAccount(account_named(account), "account", real_money)
    except (TypeError, ValueError):
        valid = f"{EXAMPLE}, or '' for any"
        raise ValueError(f"account={account!r:.60} is not valid: {valid}.") from None
