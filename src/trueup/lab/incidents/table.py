"""All incidents of the night: what happens, what the product says, what it means, what to do."""

from __future__ import annotations

from trueup.lab.incidents.incident import Incident, Sign, Where
from trueup.lab.incidents.of_journal import (
    database_down,
    disk_full,
    journal_damaged,
    journal_locked,
    needs_linux,
)
from trueup.lab.incidents.of_processes import (
    bot_hung,
    bot_killed,
    gateway_killed,
    needs_posix,
    port_taken,
    second_bot,
    wrong_symbol,
)
from trueup.lab.incidents.of_terminal import (
    algo_trading_off,
    machine_clock_ahead,
    no_link,
    order_in_doubt,
    other_account,
    server_clock_back,
)

LOG, GATEWAY_LOG, OTHER_LOG = Where.LOG, Where.GATEWAY_LOG, Where.OTHER_LOG
STATUS, DOCTOR, ALERT = Where.STATUS, Where.DOCTOR, Where.ALERT
NEITHER = "The bot can neither open nor close. Stops and pending orders at the broker work."
NOBODY = "Nobody manages the positions. Stops and pending orders at the broker work."
BY_HAND = "Close by hand in the terminal, or on the phone, what cannot wait; the bot finds it."
BY_BOT = (
    "Close what cannot wait by `trueup close TICKET` (on a hedging account), or by hand in the "
    "terminal."
)
OF_GATEWAY = (
    "The gateway does not answer. The bot retries by itself. Entries wait, and no close gets "
    "through; stops at the broker work."
)
OF_JOURNAL = (
    "The journal takes nothing, so the bot can neither open nor close. One action is yours."
)
NO_LOSS = "No order is lost, doubled or sent again: the next reading shows what happened meanwhile."

INCIDENTS: tuple[Incident, ...] = (
    Incident(
        name="gateway-killed",
        title="The gateway was killed",
        happens="The process of the gateway is killed. The terminal goes on, and so does the bot.",
        signs=(
            Sign(LOG, f"[STATUS] {OF_GATEWAY}"),
            Sign(STATUS, "The gateway does not answer. The bot retries by itself.", 2),
            Sign(DOCTOR, "FAIL port open ... took no connection: ... -> start the gateway", 1),
            Sign(ALERT, "The gateway does not answer. The bot retries by itself."),
        ),
        means=(
            "The gateway crashed, or its machine restarts. The bot asks again after pauses of up "
            "to a minute. After two minutes the status needs you (exit code 1)."
        ),
        risk=NEITHER,
        todo=(
            "Start the gateway again, if its task or unit does not do so in a minute; its log "
            f"says why it ended. {BY_HAND} {NO_LOSS}"
        ),
        ends="The gateway is started again.",
        play=gateway_killed,
    ),
    Incident(
        name="port-taken",
        title="Another program has the gateway's port",
        happens="The gateway ends, another program takes its port, and the gateway cannot start.",
        signs=(
            Sign(LOG, f"[STATUS] {OF_GATEWAY}"),
            Sign(
                GATEWAY_LOG,
                "--port=... is not valid: give an address of this machine and a port that is free, "
                "or 0: cannot listen on ...: another program has this port, most likely a gateway "
                "that runs already.",
            ),
            Sign(STATUS, "The gateway does not answer. The bot retries by itself.", 2),
            Sign(
                DOCTOR,
                "FAIL port open ... is open, and what listens there is no ZeroMQ ... -> end the "
                "other program that has port",
                1,
            ),
            Sign(ALERT, "The gateway does not answer. The bot retries by itself."),
        ),
        means="Most often a second gateway was started, or a program took the port after a crash.",
        risk=NEITHER,
        todo=(
            "End the other program (`ss -ltnp` on Linux, `netstat -abno` on Windows names it) and "
            "start the gateway. If two gateways are meant to run, give each its own port and "
            "account."
        ),
        ends="The other program ends, and the gateway is started.",
        play=port_taken,
    ),
    Incident(
        name="no-link",
        title="The terminal has no link to its trade server",
        happens="The terminal loses its trade server. Gateway and terminal run and answer.",
        signs=(
            Sign(
                LOG,
                "[STATUS] The terminal has no connection to its trade server. The bot retries by "
                "itself. Entries wait, and no close gets through; stops at the broker work.",
            ),
            Sign(GATEWAY_LOG, "[TERMINAL] The terminal has no link to its trade server"),
            Sign(
                STATUS,
                "The terminal has no connection to its trade server. The bot retries by itself.",
                2,
            ),
            Sign(
                DOCTOR,
                "FAIL terminal connected the terminal has no link to its trade server ... -> wait: "
                "the terminal connects again by itself",
                1,
            ),
            Sign(
                ALERT,
                "The terminal has no connection to its trade server. The bot retries by itself.",
            ),
        ),
        means=(
            "The internet connection of the terminal's machine is down, or the broker is (weekend, "
            "maintenance). The gateway works. Lists of the terminal may be old: none is believed."
        ),
        risk=NEITHER,
        todo=(
            "Wait: the terminal connects again by itself, and the bot goes on after two readings "
            "that agree. If it lasts, see to the network of the terminal's machine and to the "
            "broker's notices. On the phone you may still reach the account."
        ),
        ends="The link comes back.",
        play=no_link,
    ),
    Incident(
        name="other-account",
        title="The terminal is logged in to another account",
        happens="A person logs the terminal in to another account.",
        signs=(
            Sign(
                LOG,
                "[STATUS] The terminal is logged in to another account. One action is yours. "
                "Entries wait, and no close gets through; stops at the broker work. To do: Log the "
                "terminal in to 5000001@Simulated-Demo.",
            ),
            Sign(STATUS, "The terminal is logged in to another account. One action is yours.", 1),
            Sign(STATUS, "Account 5000002 is logged in, and this gateway serves 5000001 alone", 1),
            Sign(
                DOCTOR, "FAIL account Account 5000002 is logged in, ... -> log the terminal in", 1
            ),
            Sign(ALERT, "The terminal is logged in to another account. One action is yours."),
        ),
        means=(
            "Two clicks in the terminal are enough. Nothing of the other account enters the book, "
            "and no order goes to it."
        ),
        risk="The bot can neither open nor close on its own account. Stops at the broker work.",
        todo=(
            "Log the terminal in to the account that the status names. Only if the bot is meant to "
            "trade the other account from now on: `trueup rebind`."
        ),
        ends="The terminal is logged in to its own account again.",
        play=other_account,
    ),
    Incident(
        name="algo-trading-off",
        title="Algo Trading is off in the terminal",
        happens="The button Algo Trading is switched off, and the bot sends an order.",
        signs=(
            Sign(
                LOG,
                "[STATUS] Algo Trading is off in the terminal, so every order is refused. One "
                "action is yours. No order gets through, neither to open nor to close; stops at "
                "the broker work. To do: Press Algo Trading",
            ),
            Sign(GATEWAY_LOG, "Orders will be refused: Algo Trading was switched off"),
            Sign(STATUS, "Algo Trading is off in the terminal, so every order is refused.", 1),
            Sign(DOCTOR, "FAIL trade allowed ... -> press Algo Trading", 1),
            Sign(ALERT, "Algo Trading is off in the terminal, so every order is refused."),
        ),
        means="A person or an update of the terminal switched the button off.",
        risk="Every order is refused with 10027, also one that closes. Stops at the broker work.",
        todo="Press Algo Trading in the terminal's toolbar (Ctrl+E).",
        ends="The button is switched on.",
        play=algo_trading_off,
    ),
    Incident(
        name="order-in-doubt",
        title="An order got no answer",
        happens="The answer to an order is lost. The broker executes the order six seconds later.",
        signs=(
            Sign(LOG, "[FILL] IN_DOUBT: ORD_"),
            Sign(
                LOG,
                "[STATUS] One order is in doubt. The bot retries by itself. Entries wait; exits "
                "and stops work.",
            ),
            Sign(STATUS, "One order is in doubt. The bot retries by itself.", 2),
            Sign(STATUS, "decided by a trace at the broker, or after 60 s of proven absence", 2),
            Sign(
                DOCTOR, "warn bot ... One order is in doubt. ... -> wait: `trueup status` says", 0
            ),
            Sign(ALERT, "One order is in doubt. The bot retries by itself."),
        ),
        means=(
            "The order may be executed, be on its way, or never have arrived. The bot never sends "
            "it again, and looks for its traces with every reading."
        ),
        risk="Until then no entry is made in its symbol. Exits and stops work.",
        todo=(
            "Wait. If no reading can decide, the status needs you and names `trueup settle "
            "ORDER_ID`, which shows the orders at the broker that fit."
        ),
        ends="The broker shows the executed order.",
        play=order_in_doubt,
    ),
    Incident(
        name="journal-locked",
        title="Another program locks the journal",
        happens="A database browser opens the journal and locks it, and the bot wants to trade.",
        signs=(
            Sign(
                LOG,
                "[JOURNAL] bot.db: another process or connection keeps it locked (database is "
                "locked). To do: end the other program that has bot.db open and locks it",
            ),
            Sign(STATUS, OF_JOURNAL, 1),
            Sign(STATUS, "NEEDS YOU End the other program that has bot.db open and locks it", 1),
            Sign(DOCTOR, "FAIL journal writable the bot cannot write: ... -> End the other", 1),
            Sign(ALERT, OF_JOURNAL),
        ),
        means="A database browser, a backup program or a script of yours has the file open.",
        risk=NEITHER,
        todo=(
            f"End that program (`lsof bot.db` names it on Linux and macOS). {BY_BOT} To copy a "
            "journal beside a running bot, use `trueup journal backup`."
        ),
        ends="The other program lets go of the journal.",
        play=journal_locked,
    ),
    Incident(
        name="disk-full",
        title="The disk of the journal is full, or fails",
        happens="No file of the bot can grow any more, and the bot wants to trade.",
        signs=(
            Sign(LOG, "[JOURNAL] bot.db: the disk failed (disk I/O error). To do: see to the disk"),
            Sign(
                LOG, "close what cannot wait by `trueup close TICKET`, or by hand in the terminal"
            ),
            Sign(STATUS, OF_JOURNAL, 1),
            Sign(STATUS, "NEEDS YOU See to the disk of bot.db: free space", 1),
            Sign(DOCTOR, "FAIL journal writable the bot cannot write: ... -> See to the disk", 1),
            Sign(ALERT, OF_JOURNAL),
        ),
        means=(
            "The disk is full (then the text is *the disk is full*), or a quota or the disk itself "
            "refuses to write. Until something is written again, no reading is called an agreement."
        ),
        risk=NEITHER,
        todo=f"Make room on the disk, or see to its health. {BY_BOT} The bot goes on by itself.",
        ends="There is room again.",
        play=disk_full,
        impossible=needs_linux,
    ),
    Incident(
        name="database-down",
        title="The PostgreSQL server of the journal is away",
        happens="The bot loses its PostgreSQL server, and wants to trade.",
        signs=(
            Sign(LOG, "[JOURNAL] PostgreSQL database ... To do: start the PostgreSQL server"),
            Sign(STATUS, OF_JOURNAL, 1),
            Sign(STATUS, "NEEDS YOU Start the PostgreSQL server, or repair the network", 1),
            Sign(DOCTOR, "FAIL journal writable the bot cannot write: PostgreSQL database", 1),
            Sign(ALERT, OF_JOURNAL),
        ),
        means="The server, its machine or the network to it is down.",
        risk=NEITHER,
        todo=f"Start the server, or repair the network. {BY_BOT} The bot goes on by itself.",
        ends="The server is back.",
        play=database_down,
        needs_database=True,
    ),
    Incident(
        name="journal-damaged",
        title="The journal is damaged",
        happens="The bot is killed, a byte of its journal changes on the disk, the bot starts.",
        signs=(
            Sign(
                LOG,
                "bot.db: the event at position ... was altered. To do: `trueup journal verify` "
                "says where the damage is, and docs/operating/journal.md how to mend a journal.",
            ),
            Sign(STATUS, "... its journal cannot be read. One action is yours.", 1),
            Sign(STATUS, "`trueup doctor` says how to mend the journal", 1),
            Sign(DOCTOR, "FAIL journal whole the event at position ... was altered", 1),
            Sign(ALERT, "The bot has ended, and its journal cannot be read. One action is yours."),
        ),
        means="A disk, a copy program or a hand changed the file. The bot does not start.",
        risk=NOBODY,
        todo=(
            "Look at the account in the terminal first. Then [mend the journal](journal.md#damage)"
            ": restore a copy, or keep what can be read with `trueup journal mend`. Start the bot, "
            "compare, and approve the loss."
        ),
        ends="The journal is mended, the bot is started, and the loss is approved.",
        play=journal_damaged,
    ),
    Incident(
        name="wrong-symbol",
        title="The broker does not have the symbol",
        happens="A second bot is started with the symbol EURUSDx, which the broker does not have.",
        signs=(
            Sign(
                OTHER_LOG,
                "[HOLD] EURUSDx: The broker does not have the symbol EURUSDx; similar names there: "
                "EURUSD",
            ),
            Sign(STATUS, "The broker does not have the symbol EURUSDx. One action is yours.", 1),
            Sign(STATUS, "NEEDS YOU End this bot, and start it with the symbol as the broker", 1),
            Sign(DOCTOR, "FAIL symbols The broker does not have the symbol EURUSDx", 1),
            Sign(ALERT, "The broker does not have the symbol EURUSDx. One action is yours."),
        ),
        means="Brokers spell symbols in their own ways (EURUSD, EURUSD.m, EURUSDx), case included.",
        risk="That bot gets no price and opens nothing. Other bots are not affected.",
        todo="End that bot and give it the name that the broker has (`--symbol`, TRUEUP_SYMBOLS).",
        ends="The second bot ends.",
        play=wrong_symbol,
    ),
    Incident(
        name="server-clock-back",
        title="The trade server's clock goes back",
        happens="The clock of the trade server goes back by an hour.",
        signs=(
            Sign(
                LOG,
                "[SYNC] The trade server's clock went back by ... s, so it is not known which "
                "reading is newer; the book is unchanged",
            ),
            Sign(STATUS, "Nothing is yours to do.", 0),
        ),
        means="A change to winter time, or another server behind the same name.",
        risk="One reading is not believed; the next one is. No entry is made in between.",
        todo="Nothing. If it happens often, ask the broker.",
        ends="The clock goes on from where it was.",
        play=server_clock_back,
    ),
    Incident(
        name="machine-clock-set",
        title="The clock of the bot's machine leaps",
        happens="The clock of this machine is set forward by an hour.",
        signs=(
            Sign(LOG, "[CLOCK] The clock of this machine went forward by 3600 s at once"),
            Sign(STATUS, "Nothing is yours to do.", 0),
        ),
        means=(
            "A time service or a person set the clock, or the machine was asleep or paused. Syncs, "
            "ages and waiting times do not follow the clock."
        ),
        risk=(
            "Dates in the journal follow the clock. A risk limit of the day may begin a new day "
            "too early, or too late."
        ),
        todo="Check that the time is right now, and the time service (`timedatectl`, `w32tm`).",
        ends="The clock is set right.",
        play=machine_clock_ahead,
    ),
    Incident(
        name="bot-hung",
        title="The bot hangs",
        happens="The process of the bot stands still, as in a debugger or on a dying machine.",
        signs=(
            Sign(STATUS, "The bot does not answer, and its book has ...", 1),
            Sign(STATUS, "NEEDS YOU Look at the account in the terminal, then end the bot", 1),
            Sign(DOCTOR, "FAIL bot process ... does not answer at ...: it hangs", 1),
            Sign(ALERT, "The bot does not answer, and its book has ... One action is yours."),
        ),
        means="Its log ends. The status comes from the journal, with the times of all facts.",
        risk=NOBODY,
        todo=(
            "Look at the account in the terminal. Then end the process (`kill -9`, Task Manager) "
            f"and start the bot. {NO_LOSS}"
        ),
        ends="The process goes on.",
        play=bot_hung,
        impossible=needs_posix,
    ),
    Incident(
        name="bot-killed",
        title="The bot was killed",
        happens="The process of the bot is killed.",
        signs=(
            Sign(STATUS, "The bot has ended, and its book has ... One action is yours.", 1),
            Sign(STATUS, "NEEDS YOU Start the bot again, or look after the account", 1),
            Sign(DOCTOR, "FAIL bot process ... has ended without a word: it was killed", 1),
            Sign(ALERT, "The bot has ended, and its book has ... One action is yours."),
        ),
        means="The system ended the process (memory, restart), or a person did.",
        risk=NOBODY,
        todo=f"Start the bot again; the log's last lines may say why it ended. {NO_LOSS}",
        ends="The bot is started again.",
        play=bot_killed,
    ),
    Incident(
        name="second-bot",
        title="The bot is started a second time",
        happens="The same bot is started once more.",
        signs=(
            Sign(
                OTHER_LOG,
                "of bot.db is being written by ... stop that first ... Nothing was written or "
                "sent.",
            ),
            Sign(STATUS, "Nothing is yours to do.", 0),
        ),
        means="The second process is refused, and ends. The first one is not affected.",
        risk="None: of one book, one process trades.",
        todo="Nothing, or end the first bot before you start another.",
        ends="Nothing is to be ended.",
        play=second_bot,
    ),
)
