# Sourced by `test`: what `make windows` runs, and what it leaves to `make windows-all`, with the
# reasons. The tier has five minutes on two cores. Importing one module costs 6 ms under Wine, so
# each start of a process of ours takes five seconds of a core: that is what the tier has to save.

# What the system has a hand in: numbers, text, sockets, files, processes, the module.
TIER=(tests/{windows,core,protocol,settings,gateway,journal,alerts,accounts})
# Handles, threads and processes that the door leaves behind.
TIER+=(tests/doors/test_mt5_leaks.py)
# Left out whole: runtime, orders, scenarios, sim, oracle. Pure Python above the core, with clocks
# of its own; when all 3,600 ran here, none differed from Linux. tests/windows compares the
# simulated terminal with the module.

# Rules with a hundred examples each repeat on Linux; a few show whether Windows makes a difference.
TIER+=(--hypothesis-profile=windows)

# Floods take more of a slow machine than it has.
TIER+=(-m "not soak and not flood")

left_out=(
    # Up to twenty processes each, to kill them. The tier kills workers in tests/windows and
    # test_worker_process, and starts every command in tests/windows.
    gateway/test_{gateway_kills,worker_kills,gateway_command,account_records,attachments}
    gateway/test_{simulated_terminal,security_command,worker}
    journal/test_journal_kills alerts/test_alerts_{command,processes} accounts/test_many_accounts
    # What the gateway decides, by its own clock and without a socket of its own, or through one as
    # test_client_sockets uses it.
    gateway/test_{at_most_once,at_most_once_property,busy_market,claims,decided_behaviour}
    gateway/test_fair_gateway
    gateway/test_{front,frames,history_pages,listing,other_dialect,unchanged_snapshot}
    # Thousands of damaged files, in SQLite's own format, which is the same everywhere; and forks.
    journal/test_journal_{damage,properties,forks} gateway/test_forks
)
# Ten starts of a bot and its worker; the tests beside it kill one program.
TIER+=(--deselect tests/windows/test_door_process.py::test_a_bot_that_is_killed_a_few_times_doubles_and_forgets_nothing)
for file in "${left_out[@]}"; do
    TIER+=(--ignore "tests/$file.py")
done
unset left_out file
