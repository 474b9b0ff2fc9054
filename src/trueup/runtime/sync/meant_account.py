"""Which account is meant, by the caller's word or by the setting TRUEUP_ACCOUNT."""

from __future__ import annotations

from trueup.core.account.meant import EXAMPLE, Meant, account_named


def meant_account(account: str | None, *, real_money: bool) -> Meant:
    """Return which account is meant.

    Args:
        account: login@server, "" for any, None for what the setting says.
        real_money: whether an account may be traded on that is not known to be a demo.

    Raises:
        ValueError: the text is no account.
        SettingsError: a setting cannot be used.
    """
    if account is None:
        # Imported here: pydantic takes longer to import than everything else of a bot together.
        from trueup.settings import account_setting

        text = account_setting()
        known = account_named(text) if text else None
        return Meant(known, "TRUEUP_ACCOUNT", real_money)
    if account == "":
        return Meant(real_money=real_money)
    try:
        return Meant(account_named(account), "account", real_money)
    except (TypeError, ValueError):
        valid = f"{EXAMPLE}, or '' for any"
        raise ValueError(f"account={account!r:.60} is not valid: {valid}.") from None
