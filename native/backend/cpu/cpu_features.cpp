#include "backend/cpu/cpu_features.h"

#include <cstdlib>
#include <string>
#include <vector>

#include "kernels/compiler.h"

#if WKV_ARM64 && defined(__linux__)
#include <sys/auxv.h>
#elif WKV_ARM64 && defined(__APPLE__)
#include <sys/sysctl.h>
#elif WKV_ARM64 && defined(_WIN32)
#include <windows.h>
#endif

namespace wkv {

namespace {

#if WKV_X64

struct X64Features {
  bool avx2 = false;    // with FMA and F16C
  bool avx512 = false;  // F, BW, VL and DQ, and all of the above
  bool avx_vnni = false;
  bool avx512_vnni = false;
};

// Bits of CPUID and XCR0 by Intel's Software Developer's Manual, volumes 1 (13.3, 14.3, 15.2) and 2 (CPUID).
X64Features x64_features() {
  const auto has = [](std::uint64_t bits, unsigned bit) { return (bits >> bit & 1U) != 0; };
  if (compiler::cpuid(0, 0).eax < 7) return {};
  const std::uint32_t basic = compiler::cpuid(1, 0).ecx;
  const compiler::CpuId seven = compiler::cpuid(7, 0);
  const std::uint32_t extended = seven.ebx;
  // Instructions that the processor has are of use only if the system saves their registers.
  const bool os_xsave = has(basic, 27);
  const std::uint64_t saved = os_xsave ? compiler::xcr0() : 0;
  const bool saves_avx = has(saved, 1) && has(saved, 2);
#if defined(__APPLE__)
  // macOS adds these registers to XCR0 when a thread first uses them.
  const bool saves_avx512 = saves_avx;
#else
  const bool saves_avx512 = saves_avx && has(saved, 5) && has(saved, 6) && has(saved, 7);
#endif
  const bool fma = has(basic, 12);
  const bool f16c = has(basic, 29);
  const bool avx2 = saves_avx && fma && f16c && has(extended, 5);
  const bool f = has(extended, 16);
  const bool dq = has(extended, 17);
  const bool bw = has(extended, 30);
  const bool vl = has(extended, 31);
  const bool avx512 = avx2 && saves_avx512 && f && dq && bw && vl;
  const bool avx_vnni = avx2 && seven.eax >= 1 && has(compiler::cpuid(7, 1).eax, 4);
  return {avx2, avx512, avx_vnni, avx512 && has(seven.ecx, 11)};
}

#elif WKV_ARM64

bool has_dot_products() {
#if defined(__linux__)
  constexpr unsigned long kDotProducts = 1UL << 20U;  // HWCAP_ASIMDDP of <asm/hwcap.h>
  return (getauxval(AT_HWCAP) & kDotProducts) != 0;
#elif defined(__APPLE__)
  return true;  // every processor of Apple's that runs macOS has them
#elif defined(_WIN32)
  constexpr unsigned kDotProducts = 43;  // PF_ARM_V82_DP_INSTRUCTIONS_AVAILABLE
  return IsProcessorFeaturePresent(kDotProducts) != 0;
#else
  return false;
#endif
}

// Those of bytes, FEAT_I8MM. Only Linux's form was ever run.
bool has_matrix_products() {
#if defined(__linux__)
  constexpr unsigned long kMatrixProducts = 1UL << 13U;  // HWCAP2_I8MM of <asm/hwcap.h>
  return (getauxval(AT_HWCAP2) & kMatrixProducts) != 0;
#elif defined(__APPLE__)
  int has = 0;
  std::size_t size = sizeof has;
  return sysctlbyname("hw.optional.arm.FEAT_I8MM", &has, &size, nullptr, 0) == 0 && has != 0;
#elif defined(_WIN32)
  constexpr unsigned kMatrixProducts = 66;  // PF_ARM_V82_I8MM_INSTRUCTIONS_AVAILABLE
  return IsProcessorFeaturePresent(kMatrixProducts) != 0;
#else
  return false;
#endif
}

#endif

std::vector<const KernelTable*> find_available() {
  std::vector<const KernelTable*> tables;
#if WKV_X64
  const X64Features features = x64_features();
  if (features.avx512_vnni) tables.push_back(&avx512vnni_kernels());
  if (features.avx512) tables.push_back(&avx512_kernels());
  if (features.avx_vnni) tables.push_back(&avxvnni_kernels());
  if (features.avx2) tables.push_back(&avx2_kernels());
#elif WKV_ARM64
  if (has_matrix_products()) tables.push_back(&i8mm_kernels());
  if (has_dot_products()) tables.push_back(&dotprod_kernels());
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
