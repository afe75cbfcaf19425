// Counter-based random numbers: value number i of stream s of a seed is a pure function of (seed,
// s, i), so tasks draw their own without order, state or locks. Source: Salmon, Moraes, Dror, Shaw:
// Parallel random numbers: as easy as 1, 2, 3 (2011); Philox4x32-10.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <numbers>

namespace manyfit {

class Philox {
 public:
  explicit Philox(uint64_t seed, uint64_t stream = 0) : seed_(seed), stream_(stream) {}

  // Four independent 32-bit words for each index.
  std::array<uint32_t, 4> words(uint64_t index) const {
    std::array<uint32_t, 4> c = {low(index), high(index), low(stream_), high(stream_)};
    std::array<uint32_t, 2> key = {low(seed_), high(seed_)};
    for (int round = 0; round < 10; ++round) {
      const uint64_t a = uint64_t{0xD2511F53} * c[0];
      const uint64_t b = uint64_t{0xCD9E8D57} * c[2];
      c = {high(b) ^ c[1] ^ key[0], low(b), high(a) ^ c[3] ^ key[1], low(a)};
      key[0] += 0x9E3779B9;
      key[1] += 0xBB67AE85;
    }
    return c;
  }

  // Uniform on (0, 1): 52 bits, never 0 or 1.
  double uniform(uint64_t index) const {
    const auto w = words(index);
    return to_unit(w[0], w[1]);
  }

  // Standard normal (Box-Muller).
  double normal(uint64_t index) const {
    const auto w = words(index);
    return std::sqrt(-2 * std::log(to_unit(w[0], w[1]))) *
           std::cos(2 * std::numbers::pi * to_unit(w[2], w[3]));
  }

 private:
  static uint32_t low(uint64_t x) { return static_cast<uint32_t>(x); }
  static uint32_t high(uint64_t x) { return static_cast<uint32_t>(x >> 32); }
  static double to_unit(uint32_t a, uint32_t b) {
    return (static_cast<double>(((uint64_t{a} << 32) | b) >> 12) + 0.5) * 0x1p-52;
  }

  uint64_t seed_;
  uint64_t stream_;
};

}  // namespace manyfit
