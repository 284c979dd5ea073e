#include "addon/pin.h"

#if defined(_WIN32)
#include <windows.h>
#elif defined(__APPLE__)
#include <dlfcn.h>
#endif

namespace wkv::addon {

void pin_library() {
#if defined(_WIN32)
  static const char inside = 0;
  HMODULE module = nullptr;
  GetModuleHandleExA(GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS | GET_MODULE_HANDLE_EX_FLAG_PIN, &inside,
                     &module);
#elif defined(__APPLE__)
  // Never run.
  static const char inside = 0;
  Dl_info info = {};
  if (dladdr(&inside, &info) != 0) static_cast<void>(dlopen(info.dli_fname, RTLD_NOW | RTLD_NODELETE));
#endif
  // Elsewhere the linker's -z nodelete (native/sources.json) has said it already.
}

}  // namespace wkv::addon
