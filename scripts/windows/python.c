/* python.exe: the caller of CPython's DLL, which has everything else. */
#include <windows.h>

typedef int (*main_t)(int, wchar_t **);

int wmain(int argc, wchar_t **argv) {
    HMODULE dll = LoadLibraryW(PYTHON_DLL);
    return dll ? ((main_t)(void *)GetProcAddress(dll, "Py_Main"))(argc, argv) : 103;
}
