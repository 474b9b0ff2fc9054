# Sourced by the scripts beside it: where the Windows CPython is, and how Wine is called.

WINDOWS_HOME=$(realpath -m "${WINDOWS_HOME:-$(dirname "${BASH_SOURCE[0]}")/../../.wine}")
WINDOWS_PYTHON=$WINDOWS_HOME/python
WINE=/usr/lib/wine/wine64
export WINEPREFIX=$WINDOWS_HOME/prefix WINEARCH=win64 WINEDEBUG=-all
# No .NET, no browser, and no debugger whose dialog would hold a process that aborts.
export WINEDLLOVERRIDES=mscoree,mshtml,winedbg.exe=
unset DISPLAY
# The tests start hundreds of processes, each of which would compile the whole package anew.
unset PYTHONDONTWRITEBYTECODE
