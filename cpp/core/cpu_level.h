// x86-64 levels (psABI: v2 ~ SSE4.2, v3 ~ AVX2 and FMA, v4 ~ AVX-512) and which of them this CPU
// runs.
//
// Asks CPUID itself: compilers disagree on the feature names of __builtin_cpu_supports, and none of
// those in use knows all the features a level is made of. The operating system must save the wide
// registers too (XGETBV), or their instructions fault although CPUID lists them.

#pragma once

#include <cstdint>
#include <vector>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace manyfit {

#if defined(__x86_64__)

namespace cpu_level_detail {

struct Registers {
  std::uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};

// Zeros where the CPU does not know the leaf.
inline Registers cpuid(std::uint32_t leaf) {
  Registers r;
  __get_cpuid_count(leaf, 0, &r.eax, &r.ebx, &r.ecx, &r.edx);
  return r;
}

// Which register states the operating system saves; call only where CPUID says OSXSAVE.
inline std::uint64_t xgetbv() {
  std::uint32_t low = 0, high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<std::uint64_t>(high) << 32) | low;
}

template <class Word, class... Bits>
constexpr Word mask(Bits... bits) {
  return ((Word{1} << bits) | ...);
}

template <class Word>
constexpr bool has_all(Word word, Word mask) {
  return (word & mask) == mask;
}

}  // namespace cpu_level_detail

// Levels this CPU and operating system run, lowest first; empty below v2.
inline std::vector<const char*> supported_cpu_levels() {
  using namespace cpu_level_detail;
  const auto word = [](auto... bits) { return mask<std::uint32_t>(bits...); };
  const Registers basic = cpuid(1), more = cpuid(7), extended = cpuid(0x80000001U);
  std::vector<const char*> levels;

  // sse3, ssse3, cx16, sse4.1, sse4.2, popcnt; lahf_lm
  if (!has_all(basic.ecx, word(0, 9, 13, 19, 20, 23)) || !has_all(extended.ecx, word(0)))
    return levels;
  levels.push_back("v2");

  // fma, movbe, osxsave, avx, f16c; bmi1, avx2, bmi2; lzcnt
  if (!has_all(basic.ecx, word(12, 22, 27, 28, 29)) || !has_all(more.ebx, word(3, 5, 8)) ||
      !has_all(extended.ecx, word(5))) {
    return levels;
  }
  const std::uint64_t saved = xgetbv();
  if (!has_all(saved, mask<std::uint64_t>(1, 2))) return levels;  // xmm, ymm
  levels.push_back("v3");

  // avx512 f, dq, cd, bw, vl; opmask, upper zmm, high zmm
  if (!has_all(more.ebx, word(16, 17, 28, 30, 31))) return levels;
  if (!has_all(saved, mask<std::uint64_t>(5, 6, 7))) return levels;
  levels.push_back("v4");
  return levels;
}

#else

// Processors other than x86-64 have one module.
inline std::vector<const char*> supported_cpu_levels() { return {"base"}; }

#endif

}  // namespace manyfit
