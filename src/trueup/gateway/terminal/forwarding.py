"""Base class of a terminal whose functions are all forwarded through one method, `_call`.

Arguments are forwarded unchanged, even wrong ones: the terminal behind refuses them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from trueup.gateway.terminal.terminal import Terminal


class ForwardingTerminal:
    """The functions of `Terminal`; a subclass defines how a call is forwarded."""

    def _call(self, function: str, *args: Any, **kwargs: Any) -> Any:
        """Call a function of the terminal and return its result."""
        raise NotImplementedError

    def last_error(self) -> tuple[int, str]:
        """Code and text of the latest call."""
        raise NotImplementedError

    def initialize(self, *args: Any, **kwargs: Any) -> bool:
        """Open the connection to the terminal program."""
        return bool(self._call("initialize", *args, **kwargs))

    def login(self, *args: Any, **kwargs: Any) -> bool:
        """Log in to an account."""
        return bool(self._call("login", *args, **kwargs))

    def shutdown(self, *args: Any, **kwargs: Any) -> bool | None:
        """Close the connection."""
        return bool(self._call("shutdown", *args, **kwargs))

    def version(self, *args: Any, **kwargs: Any) -> Any:
        """Version, build and its date."""
        return self._call("version", *args, **kwargs)

    def terminal_info(self, *args: Any, **kwargs: Any) -> Any:
        """The terminal program."""
        return self._call("terminal_info", *args, **kwargs)

    def account_info(self, *args: Any, **kwargs: Any) -> Any:
        """The account that the terminal is logged in to."""
        return self._call("account_info", *args, **kwargs)

    def symbols_total(self, *args: Any, **kwargs: Any) -> Any:
        """Number of symbols."""
        return self._call("symbols_total", *args, **kwargs)

    def symbols_get(self, *args: Any, **kwargs: Any) -> Any:
        """Symbols."""
        return self._call("symbols_get", *args, **kwargs)

    def symbol_info(self, *args: Any, **kwargs: Any) -> Any:
        """A symbol's specification."""
        return self._call("symbol_info", *args, **kwargs)

    def symbol_info_tick(self, *args: Any, **kwargs: Any) -> Any:
        """A symbol's last price."""
        return self._call("symbol_info_tick", *args, **kwargs)

    def symbol_select(self, *args: Any, **kwargs: Any) -> bool:
        """Put a symbol into Market Watch or take it out."""
        return bool(self._call("symbol_select", *args, **kwargs))

    def market_book_add(self, *args: Any, **kwargs: Any) -> bool | None:
        """Subscribe to a symbol's depth of market."""
        return cast("bool | None", self._call("market_book_add", *args, **kwargs))

    def market_book_release(self, *args: Any, **kwargs: Any) -> bool | None:
        """End the subscription."""
        return cast("bool | None", self._call("market_book_release", *args, **kwargs))

    def market_book_get(self, *args: Any, **kwargs: Any) -> Any:
        """The depth of market."""
        return self._call("market_book_get", *args, **kwargs)

    def copy_rates_from(self, *args: Any, **kwargs: Any) -> Any:
        """Bars up to a date."""
        return self._call("copy_rates_from", *args, **kwargs)

    def copy_rates_from_pos(self, *args: Any, **kwargs: Any) -> Any:
        """Bars up to a position, counted back from the current bar."""
        return self._call("copy_rates_from_pos", *args, **kwargs)

    def copy_rates_range(self, *args: Any, **kwargs: Any) -> Any:
        """Bars between two dates."""
        return self._call("copy_rates_range", *args, **kwargs)

    def copy_ticks_from(self, *args: Any, **kwargs: Any) -> Any:
        """Ticks from a date on."""
        return self._call("copy_ticks_from", *args, **kwargs)

    def copy_ticks_range(self, *args: Any, **kwargs: Any) -> Any:
        """Ticks between two dates."""
        return self._call("copy_ticks_range", *args, **kwargs)

    def positions_total(self, *args: Any, **kwargs: Any) -> Any:
        """Number of open positions."""
        return self._call("positions_total", *args, **kwargs)

    def positions_get(self, *args: Any, **kwargs: Any) -> Any:
        """Open positions."""
        return self._call("positions_get", *args, **kwargs)

    def orders_total(self, *args: Any, **kwargs: Any) -> Any:
        """Number of working orders."""
        return self._call("orders_total", *args, **kwargs)

    def orders_get(self, *args: Any, **kwargs: Any) -> Any:
        """Working orders."""
        return self._call("orders_get", *args, **kwargs)

    def history_orders_total(self, *args: Any, **kwargs: Any) -> Any:
        """Number of finished orders."""
        return self._call("history_orders_total", *args, **kwargs)

    def history_orders_get(self, *args: Any, **kwargs: Any) -> Any:
        """Finished orders."""
        return self._call("history_orders_get", *args, **kwargs)

    def history_deals_total(self, *args: Any, **kwargs: Any) -> Any:
        """Number of deals."""
        return self._call("history_deals_total", *args, **kwargs)

    def history_deals_get(self, *args: Any, **kwargs: Any) -> Any:
        """Deals."""
        return self._call("history_deals_get", *args, **kwargs)

    def order_check(self, *args: Any, **kwargs: Any) -> Any:
        """Judge a request without sending it."""
        return self._call("order_check", *args, **kwargs)

    def order_send(self, *args: Any, **kwargs: Any) -> Any:
        """Send a request to the trade server."""
        return self._call("order_send", *args, **kwargs)

    def order_calc_margin(self, *args: Any, **kwargs: Any) -> Any:
        """Margin of an order."""
        return self._call("order_calc_margin", *args, **kwargs)

    def order_calc_profit(self, *args: Any, **kwargs: Any) -> Any:
        """Profit of a trade."""
        return self._call("order_calc_profit", *args, **kwargs)


if TYPE_CHECKING:

    def _is_a_terminal(called: ForwardingTerminal) -> Terminal:
        return called
