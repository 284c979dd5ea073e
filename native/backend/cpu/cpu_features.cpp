#include "backend/cpu/cpu_features.h"

#include <cstdlib>
#include <string>
#include <vector>

#if defined(_M_X64) && !defined(__clang__)
#include <intrin.h>
#elif defined(__x86_64__) || defined(_M_X64)
#include <cpuid.h>
#endif

namespace wkv {

namespace {

#if defined(__x86_64__) || defined(_M_X64)

struct X86Features {
  bool avx2 = false;
  bool avx512 = false;
};

#if defined(_MSC_VER) && !defined(__clang__)
// Not yet compiled by anybody: written from Microsoft's documentation of __cpuidex and _xgetbv.
X86Features x86_features() {
  int leaf1[4];
  int leaf7[4];
  __cpuidex(leaf1, 1, 0);
  __cpuidex(leaf7, 7, 0);
  const bool os_saves = (leaf1[2] & (1 << 27)) != 0;
  const unsigned long long saved = os_saves ? _xgetbv(0) : 0;
  const bool fma_f16c = (leaf1[2] & (1 << 12)) != 0 && (leaf1[2] & (1 << 29)) != 0;
  const bool f = (leaf7[1] & (1 << 16)) != 0;
  const bool dq = (leaf7[1] & (1 << 17)) != 0;
  const bool bw = (leaf7[1] & (1 << 30)) != 0;
  const bool vl = (leaf7[1] & (1 << 31)) != 0;
  const bool avx2 = (saved & 6) == 6 && fma_f16c && (leaf7[1] & (1 << 5)) != 0;
  return {avx2, avx2 && (saved & 0xe6) == 0xe6 && f && dq && bw && vl};
}
#else
X86Features x86_features() {
  __builtin_cpu_init();
  // F16C by CPUID leaf 1, ECX bit 29: clang 14 does not know its name here.
  unsigned eax = 0;
  unsigned ebx = 0;
  unsigned ecx = 0;
  unsigned edx = 0;
  const bool f16c = __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & (1U << 29U)) != 0;
  const bool avx2 = f16c && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
  return {avx2, avx2 && avx512};
}
#endif

#endif

std::vector<const KernelTable*> find_available() {
  std::vector<const KernelTable*> tables;
#if defined(__x86_64__) || defined(_M_X64)
  const X86Features features = x86_features();
  if (features.avx512) tables.push_back(&avx512_kernels());
  if (features.avx2) tables.push_back(&avx2_kernels());
#elif defined(__aarch64__) || defined(_M_ARM64)
  tables.push_back(&neon_kernels());
#endif
  tables.push_back(&portable_kernels());
  return tables;
}

struct Selection {
  const KernelTable* table;
  std::string note;
};

const Selection& selection() {
  // Never destroyed: threads may still run while the process ends.
  static const Selection& chosen = *new Selection([] {
    const auto tables = available_kernels();
    const char* wanted = std::getenv("WKV_ISA");
    if (wanted == nullptr || *wanted == '\0') return Selection{tables.front(), {}};
    for (const KernelTable* table : tables) {
      if (std::string_view{table->name} == wanted) return Selection{table, {}};
    }
    return Selection{tables.front(),
                     "WKV_ISA=" + std::string{wanted} + " is not available on this processor"};
  }());
  return chosen;
}

}  // namespace

std::span<const KernelTable* const> available_kernels() {
  static const auto& tables = *new std::vector<const KernelTable*>(find_available());
  return tables;
}

const KernelTable& selected_kernels() { return *selection().table; }

std::string_view selection_note() { return selection().note; }

}  // namespace wkv
