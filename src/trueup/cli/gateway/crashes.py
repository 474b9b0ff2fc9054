"""What Windows does with a process that crashes: it ends it, and asks nobody first."""

from __future__ import annotations

import sys

# Windows, "SetErrorMode": no message box for a fault, nor for a disk that is missing.
SEM_FAILCRITICALERRORS = 0x0001
SEM_NOGPFAULTERRORBOX = 0x0002

if sys.platform == "win32":
    import ctypes

    def end_without_a_dialog() -> None:
        """Let a crash end this process at once, and those that it starts.

        Windows would show a dialog in the user's session, and until somebody closes it the process
        neither works nor ends, so that nothing starts it again.
        """
        ctypes.windll.kernel32.SetErrorMode(SEM_FAILCRITICALERRORS | SEM_NOGPFAULTERRORBOX)
else:

    def end_without_a_dialog() -> None:
        """Nothing to do: no other system asks."""
