# Sourced by `test`: what `make windows` runs, in at most five minutes, and what it leaves to
# `make windows-all`. Nothing is left out but here.

# What decides about money, and what the system has a hand in: sockets, processes, files, clocks.
TIER=(tests/{windows,core,protocol,settings,runtime,orders,scenarios,sim,oracle,gateway,journal})

# Each of these rules is pure Python, and repeats on Linux with a hundred examples; here it is tried
# whether numbers, text and time of Windows make a difference.
TIER+=(--hypothesis-profile=windows)

# Floods take more of a slow machine than it has, and the socket code under them is in the others.
TIER+=(-m "not soak and not flood")

# Processes start five times slower under Wine than on Linux, and each of these tests starts up to
# twenty to kill them. The tier kills workers and gateways too (tests/windows, test_worker_process).
for file in gateway/test_gateway_kills.py gateway/test_worker_kills.py journal/test_journal_kills.py; do
    TIER+=(--ignore "tests/$file")
done
unset file
