#pragma once

// Included in front of every file of a build for Linux (the option -include in native/sources.json), so that
// the addon runs with glibc 2.28 and libstdc++ 8, the oldest that Node runs with, wherever it was built.
// Newer ones gave some functions new versions, or new ways to be inlined, that older systems do not have.
// scripts/lib/gate.js refuses binaries that need more. Nothing here applies to musl, or to what comes with
// another standard library.

#include <climits>  // any header that defines __GLIBC__

#if defined(__GLIBC__)

// Since 2.29 these do not look at the variable _LIB_VERSION any more; their results are the same.
#if defined(__x86_64__)
__asm__(".symver exp,exp@GLIBC_2.2.5");
__asm__(".symver log,log@GLIBC_2.2.5");
#elif defined(__aarch64__)
__asm__(".symver exp,exp@GLIBC_2.17");
__asm__(".symver log,log@GLIBC_2.17");
#endif

// Since 2.34 these are in libc itself, under a new version; Node brings the library in which they were.
#if defined(__x86_64__)
__asm__(".symver dlopen,dlopen@GLIBC_2.2.5");
__asm__(".symver dlsym,dlsym@GLIBC_2.2.5");
__asm__(".symver dlerror,dlerror@GLIBC_2.2.5");
#elif defined(__aarch64__)
__asm__(".symver dlopen,dlopen@GLIBC_2.17");
__asm__(".symver dlsym,dlsym@GLIBC_2.17");
__asm__(".symver dlerror,dlerror@GLIBC_2.17");
#endif

// Since libstdc++ 12 it may be interrupted by a cancelled thread, which nobody does here.
__asm__(
    ".symver _ZNSt18condition_variable4waitERSt11unique_lockISt5mutexE,"
    "_ZNSt18condition_variable4waitERSt11unique_lockISt5mutexE@GLIBCXX_3.4.11");

// libstdc++ counts references without atomic operations while this variable of glibc 2.32 is set. Ours, in
// glibc_floor.cpp, never is: the addon always has several threads.
#define __libc_single_threaded wkv_single_threaded

#endif
