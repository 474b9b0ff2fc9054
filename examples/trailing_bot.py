"""A bot for the official MetaTrader5 module, as such bots are commonly written.

While it has no position, it buys after a price that rose and sells after a price that fell. The
order has a stop loss and a take profit. The stop follows the price, and after a while the position
is closed. Run it on a demo account: `python trailing_bot.py [MAGIC] [SECONDS_BETWEEN_TURNS]`.
"""

import sys
import time

import MetaTrader5 as mt5

SYMBOL = "EURUSD"
LOTS = 0.1
MAGIC = int(sys.argv[1]) if len(sys.argv) > 1 else 234000
PAUSE = float(sys.argv[2]) if len(sys.argv) > 2 else 1.0
STOP, TARGET, TRAIL = 0.00060, 0.00120, 0.00030
HOLD = 60 * PAUSE

if not mt5.initialize():
    print("initialize() failed:", mt5.last_error())
    quit()


def my_positions():
    return [p for p in mt5.positions_get(symbol=SYMBOL) or () if p.magic == MAGIC]


def market_order(side, **more):
    tick = mt5.symbol_info_tick(SYMBOL)
    price = tick.ask if side == mt5.ORDER_TYPE_BUY else tick.bid
    request = {
        "action": mt5.TRADE_ACTION_DEAL,
        "symbol": SYMBOL,
        "volume": LOTS,
        "type": side,
        "price": price,
        "deviation": 20,
        "magic": MAGIC,
        "comment": "trailing bot",
        "type_time": mt5.ORDER_TIME_GTC,
        "type_filling": mt5.ORDER_FILLING_IOC,
    }
    if "position" not in more:
        sign = 1 if side == mt5.ORDER_TYPE_BUY else -1
        request["sl"] = round(price - sign * STOP, 5)
        request["tp"] = round(price + sign * TARGET, 5)
    return mt5.order_send({**request, **more})


def enter(side):
    print("enter", side)
    result = market_order(side)
    while result is None or result.retcode != mt5.TRADE_RETCODE_DONE:
        print("try again:", mt5.last_error() if result is None else result.comment)
        time.sleep(PAUSE)
        result = market_order(side)
    print("opened", result.order, "at", result.price)


def trail(position, tick):
    is_buy = position.type == mt5.POSITION_TYPE_BUY
    stop = round(tick.bid - TRAIL if is_buy else tick.ask + TRAIL, 5)
    if stop > position.sl if is_buy else stop < position.sl:
        mt5.order_send({
            "action": mt5.TRADE_ACTION_SLTP,
            "symbol": SYMBOL,
            "position": position.ticket,
            "sl": stop,
            "tp": position.tp,
        })  # fmt: skip


def close(position):
    is_buy = position.type == mt5.POSITION_TYPE_BUY
    side = mt5.ORDER_TYPE_SELL if is_buy else mt5.ORDER_TYPE_BUY
    result = market_order(side, position=position.ticket, volume=position.volume)
    print("close", position.ticket, "answer", None if result is None else result.retcode)


last = None
while True:
    tick = mt5.symbol_info_tick(SYMBOL)
    if tick is not None:
        if not my_positions() and last is not None and tick.bid != last.bid:
            enter(mt5.ORDER_TYPE_BUY if tick.bid > last.bid else mt5.ORDER_TYPE_SELL)
        for position in my_positions():
            if tick.time - position.time > HOLD:
                close(position)
            else:
                trail(position, tick)
        last = tick
    time.sleep(PAUSE)
