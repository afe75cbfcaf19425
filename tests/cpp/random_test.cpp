#include "core/random.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <set>
#include <vector>

namespace manyfit::testing {
namespace {

using Words = std::array<uint32_t, 4>;

uint64_t joined(uint32_t low, uint32_t high) { return (uint64_t{high} << 32) | low; }

// Vectors of the Random123 distribution for philox4x32-10. Our counter is [index, stream], low
// words first; our key is the seed.
Words philox(Words counter, std::array<uint32_t, 2> key) {
  const Philox generator(joined(key[0], key[1]), joined(counter[2], counter[3]));
  return generator.words(joined(counter[0], counter[1]));
}

TEST(Philox, KnownAnswers) {
  EXPECT_EQ(philox({0, 0, 0, 0}, {0, 0}), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
            (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Philox, SeedStreamAndIndexAllTakePart) {
  std::set<Words> seen;
  const std::vector<uint64_t> values = {0, 1, 2, uint64_t{1} << 32, uint64_t{1} << 63};
  for (const uint64_t seed : values)
    for (const uint64_t stream : values)
      for (const uint64_t index : values) seen.insert(Philox(seed, stream).words(index));
  EXPECT_EQ(seen.size(), 125u);
}

constexpr int64_t kDraws = 200'000;

// Mean of f over draws 0, 1, ...
template <class F>
double mean_of(F f) {
  double sum = 0;
  for (int64_t i = 0; i < kDraws; ++i) sum += f(i);
  return sum / kDraws;
}

TEST(Philox, UniformLiesInsideAndHasItsMoments) {
  const Philox generator(11, 3);
  double least = 1, most = 0;
  for (int64_t i = 0; i < kDraws; ++i) {
    least = std::min(least, generator.uniform(i));
    most = std::max(most, generator.uniform(i));
  }
  EXPECT_GT(least, 0);
  EXPECT_LT(most, 1);
  EXPECT_LT(least, 1e-4);
  EXPECT_GT(most, 1 - 1e-4);
  // Six standard errors of each moment.
  const double unit = 6 / std::sqrt(static_cast<double>(kDraws));
  const auto centred = [&](int64_t i) { return generator.uniform(i) - 0.5; };
  EXPECT_NEAR(mean_of(centred), 0, unit * std::sqrt(1.0 / 12));
  EXPECT_NEAR(mean_of([&](int64_t i) { return std::pow(centred(i), 2); }), 1.0 / 12,
              unit * std::sqrt(1.0 / 180));
  EXPECT_NEAR(mean_of([&](int64_t i) { return centred(i) * centred(i + 1); }), 0, unit / 12);
}

TEST(Philox, NormalHasItsMoments) {
  const Philox generator(11, 4);
  const double unit = 6 / std::sqrt(static_cast<double>(kDraws));
  const auto power = [&](int exponent) {
    return mean_of([&](int64_t i) { return std::pow(generator.normal(i), exponent); });
  };
  EXPECT_NEAR(power(1), 0, unit);
  EXPECT_NEAR(power(2), 1, unit * std::sqrt(2.0));
  EXPECT_NEAR(power(3), 0, unit * std::sqrt(15.0));
  EXPECT_NEAR(power(4), 3, unit * std::sqrt(96.0));
  EXPECT_NEAR(mean_of([&](int64_t i) { return generator.normal(i) * generator.normal(i + 1); }), 0,
              unit);
}

// The share of draws in each tenth of the interval.
TEST(Philox, UniformFillsItsIntervalEvenly) {
  const Philox generator(5);
  std::array<int, 10> count{};
  for (int64_t i = 0; i < kDraws; ++i) ++count[static_cast<size_t>(generator.uniform(i) * 10)];
  double chi_square = 0;
  for (const int c : count) chi_square += std::pow(c - kDraws / 10.0, 2) / (kDraws / 10.0);
  EXPECT_LT(chi_square, 40);  // nine degrees of freedom: once in 100,000 seeds
}

}  // namespace
}  // namespace manyfit::testing
