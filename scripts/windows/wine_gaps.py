"""What Python asks of Windows from 3.12 on, and where Wine 8 aborts the process for it.

* `os.getppid` calls PssCaptureSnapshot. The number is in PROCESS_BASIC_INFORMATION as well
  (Microsoft, "NtQueryInformationProcess").
* `shutil.copy2` calls CopyFile2, where Python has it; elsewhere it copies by itself.
"""

from __future__ import annotations

import ctypes
import os
import sys

if sys.platform == "win32" and sys.version_info >= (3, 12):
    import _winapi

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
    del _winapi.CopyFile2
