# Builds the addon for Windows on Linux, with Debian's g++-mingw-w64-x86-64-posix; see scripts/lib/mingw.js.
set(CMAKE_SYSTEM_NAME Windows)
set(CMAKE_SYSTEM_PROCESSOR AMD64)
set(CMAKE_CXX_COMPILER x86_64-w64-mingw32-g++-posix)
set(CMAKE_FIND_ROOT_PATH /usr/x86_64-w64-mingw32)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)

# Windows aligns the stack to 16 bytes, and gcc does not align it further for registers of 32 and 64 bytes that it
# keeps there: without the assembler's help, moves that demand alignment would crash.
set(CMAKE_CXX_FLAGS_INIT "-Wa,-muse-unaligned-vector-move")
# No Windows has libstdc++ or winpthread. The time of a build would make every binary another one.
set(CMAKE_MODULE_LINKER_FLAGS_INIT "-static -s -Wl,--gc-sections,--no-insert-timestamp")
