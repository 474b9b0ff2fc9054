"""What Python 3.12 asks of Windows and Wine 8 lacks: the number of the parent process.

`os.getppid` calls PssCaptureSnapshot from 3.12 on, in which Wine 8 aborts the process. Before, it
looked through the list of processes, and so does this: the number at the same place of
PROCESS_BASIC_INFORMATION (Microsoft, "NtQueryInformationProcess").
"""

from __future__ import annotations

import ctypes
import os
import sys

if sys.platform == "win32" and sys.version_info >= (3, 12):
    _SIZE, _PARENT = 6, 5

    def getppid() -> int:
        """Return the number of the process that started this one."""
        facts = (ctypes.c_size_t * _SIZE)()
        this = ctypes.c_void_p(-1)
        ctypes.WinDLL("ntdll").NtQueryInformationProcess(
            this, 0, ctypes.byref(facts), ctypes.sizeof(facts), None
        )
        return facts[_PARENT]

    os.getppid = getppid
