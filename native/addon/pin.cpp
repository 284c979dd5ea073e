#include "addon/pin.h"

#if defined(_WIN32)
#include <windows.h>
#else
#include <dlfcn.h>
#endif

namespace wkv::addon {

void pin_library() {
  static const char inside = 0;
#if defined(_WIN32)
  HMODULE module = nullptr;
  GetModuleHandleExA(GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS | GET_MODULE_HANDLE_EX_FLAG_PIN, &inside,
                     &module);
#else
  Dl_info info = {};
  if (dladdr(&inside, &info) != 0) static_cast<void>(dlopen(info.dli_fname, RTLD_NOW | RTLD_NODELETE));
#endif
}

}  // namespace wkv::addon
