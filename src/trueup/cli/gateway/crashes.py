"""End a crashed process at once on Windows, without an error dialog."""

from __future__ import annotations

import sys

# Windows, "SetErrorMode": no message box for a crash or a missing disk.
SEM_FAILCRITICALERRORS = 0x0001
SEM_NOGPFAULTERRORBOX = 0x0002

if sys.platform == "win32":
    import ctypes

    def end_without_a_dialog() -> None:
        """Let a crash end this process and its child processes at once.

        Otherwise Windows shows a dialog in the user's session. Until a person closes the dialog,
        the process neither works nor ends, so no service manager starts the process again.
        """
        ctypes.windll.kernel32.SetErrorMode(SEM_FAILCRITICALERRORS | SEM_NOGPFAULTERRORBOX)
else:

    def end_without_a_dialog() -> None:
        """Do nothing: only Windows shows a dialog."""
