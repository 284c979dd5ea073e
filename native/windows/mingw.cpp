// What the addon needs where gcc built it for Windows; a build by MSVC gets node-gyp's own hook.
#if defined(__MINGW32__)

#include <windows.h>

#include <delayimp.h>

#include <cstdlib>
#include <cstring>
#include <exception>

namespace {

// The addon imports Node-API from "node.exe" by name, but a program that embeds Node is called otherwise
// (electron.exe): the program that loaded the addon is meant, whatever its name.
FARPROC WINAPI find_host(unsigned event, DelayLoadInfo* info) {
  if (event != dliNotePreLoadLibrary || _stricmp(info->szDll, "node.exe") != 0) return nullptr;
  return reinterpret_cast<FARPROC>(reinterpret_cast<void*>(GetModuleHandleW(nullptr)));
}

}  // namespace

// Called by mingw's __delayLoadHelper2.
PfnDliHook __pfnDliNotifyHook2 = find_host;

// What std::terminate calls. libstdc++'s own prints the name of the exception, for which it brings a
// demangler and printf, 60 KB.
void __gnu_cxx::__verbose_terminate_handler() { std::abort(); }

#endif
