"""What the order desks of a book know of the broker: gateway, policy, symbols, clock and rows."""

from __future__ import annotations

from trueup.core.gateway_record import RecordMark
from trueup.core.model import SymbolSpec
from trueup.core.policy import Policy
from trueup.runtime.bot.answers import OrderTaker
from trueup.runtime.bot.last_reading import LastReading
from trueup.runtime.bot.order_checks import on_tick
from trueup.runtime.bot.sight import Sight
from trueup.runtime.time.clock import Clock


class BrokerSide:
    """The broker as far as a book has seen it; all order desks of the book share this object.

    Args:
        clock: the source of time.
        sight: notes the gateway, so that entries wait for a believed reading of it.
    """

    def __init__(self, clock: Clock, sight: Sight) -> None:
        self._clock, self._sight = clock, sight
        self._gateway: OrderTaker | None = None
        self.policy: Policy | None = None
        """The policy of the book's reconciler; None without a reconciler."""
        self.last_reading: LastReading = LastReading()
        """The broker's rows, for orders about what the book does not have."""
        self.specs: dict[str, SymbolSpec] = {}
        """The conditions of each symbol that a reading has shown."""
        self._seen_specs: tuple[SymbolSpec, ...] = ()
        # The trade server's clock at the latest reading (ms), and our clock for waiting then (ns).
        self._server_clock: tuple[int, int, int | None] | None = None

    @property
    def gateway(self) -> OrderTaker | None:
        """The gateway for orders; after a change, entries wait for a believed reading."""
        return self._gateway

    @gateway.setter
    def gateway(self, gateway: OrderTaker | None) -> None:
        self._gateway = gateway
        self._sight.sends(gateway)

    @property
    def record(self) -> RecordMark | None:
        """How far the gateway's record reaches, or None if the gateway keeps none."""
        mark = getattr(self.gateway, "record", None)
        return mark if isinstance(mark, RecordMark) else None

    @property
    def time_offset_sec(self) -> int | None:
        """The trade server's clock less UTC, or None if the gateway has not told."""
        offset_sec = getattr(self.gateway, "time_offset_sec", None)
        return offset_sec if isinstance(offset_sec, int) else None

    @property
    def server_time_msc(self) -> int:
        """A time that the trade server's clock has certainly passed, 0 if unknown.

        The time since the reading is measured by the clock for waiting, which no user can set. This
        clock leaves out time asleep, so the result is never later than the real time.
        """
        if self._server_clock is None:
            return 0
        time_msc, at_ns, then_sec = self._server_clock
        now_sec = self.time_offset_sec
        # A later reading that was not believed may have shown that the server's clock was set back.
        if then_sec is not None and now_sec is not None:
            time_msc -= 1_000 * max(0, then_sec - now_sec)
        return time_msc + (self._clock.waiting_ns() - at_ns) // 1_000_000

    def see_server_clock(self, server_time_msc: int) -> None:
        """Note the trade server's clock from a believed reading."""
        self._server_clock = server_time_msc, self._clock.waiting_ns(), self.time_offset_sec

    def see_symbols(self, specs: tuple[SymbolSpec, ...]) -> None:
        """Note the volume steps and ticks of symbols from a believed reading."""
        if specs is not self._seen_specs:
            # An unchanged reading has the same tuple again, which needs no work.
            self._seen_specs = specs
            self.specs.update((spec.symbol, spec) for spec in specs)

    def on_ticks(self, symbol: str, *prices: float) -> list[float]:
        """Return prices on the symbol's ticks, if the ticks are known."""
        spec = self.specs.get(symbol)
        return list(prices) if spec is None else [on_tick(price, spec) for price in prices]
