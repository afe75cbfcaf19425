#include "core/folds.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <map>
#include <numeric>
#include <string>
#include <vector>

#include "core/errors.h"
#include "tables.h"

namespace manyfit::testing {
namespace {

constexpr int64_t kAll = std::numeric_limits<int64_t>::max();

// How often a split trains on a row and tests on it.
struct Times {
  int32_t train = 0, test = 0;
  auto operator<=>(const Times&) const = default;
};
// [split] of one row; and of all rows.
using Signature = std::vector<Times>;

std::vector<Signature> signatures(int64_t n, const std::vector<OwnedSplit>& splits) {
  std::vector<Signature> result(n, Signature(splits.size()));
  for (size_t s = 0; s < splits.size(); ++s) {
    for (const int64_t row : splits[s].train) ++result[row][s].train;
    for (const int64_t row : splits[s].test) ++result[row][s].test;
  }
  return result;
}

// The definition: atoms are the classes of rows with equal signatures; each holds its rows in
// ascending order.
void expect_atoms_of(const Folds& folds, int64_t n, const std::vector<OwnedSplit>& splits) {
  std::vector<OwnedSplit> own;
  for (const int64_t s : folds.splits) own.push_back(splits[s]);
  const std::vector<Signature> expected = signatures(n, own);
  const int64_t S = folds.n_splits(), A = folds.n_atoms();
  ASSERT_EQ(folds.n_rows, n);
  ASSERT_EQ(static_cast<int64_t>(folds.train.size()), S * A);
  ASSERT_EQ(static_cast<int64_t>(folds.test.size()), S * A);
  ASSERT_EQ(folds.atom_begin.front(), 0);
  ASSERT_EQ(folds.atom_begin.back(), n);
  std::vector<int> seen(n, 0);
  std::map<Signature, int64_t> atom_of;
  for (int64_t a = 0; a < A; ++a) {
    ASSERT_LT(folds.atom_begin[a], folds.atom_begin[a + 1]);
    Signature of_atom(S);
    for (int64_t s = 0; s < S; ++s) of_atom[s] = {folds.train[s * A + a], folds.test[s * A + a]};
    EXPECT_TRUE(atom_of.emplace(of_atom, a).second) << "two atoms that every split treats alike";
    for (int64_t i = folds.atom_begin[a]; i < folds.atom_begin[a + 1]; ++i) {
      ++seen[folds.row(i)];
      EXPECT_EQ(expected[folds.row(i)], of_atom);
      if (i > folds.atom_begin[a]) {
        EXPECT_LT(folds.row(i - 1), folds.row(i));
      }
    }
  }
  EXPECT_EQ(seen, std::vector<int>(n, 1));
  for (int64_t s = 0; s < S; ++s)
    EXPECT_EQ(folds.training_rows(s), static_cast<int64_t>(own[s].train.size()));
}

// Atom by atom, the rows a split takes: as the caller listed them, but sorted.
std::vector<int64_t> taken_rows(const Folds& folds, int64_t split,
                                const std::vector<int32_t>& times) {
  std::vector<int64_t> rows;
  for (int64_t a = 0; a < folds.n_atoms(); ++a)
    for (int64_t i = folds.atom_begin[a]; i < folds.atom_begin[a + 1]; ++i)
      rows.insert(rows.end(), times[split * folds.n_atoms() + a], folds.row(i));
  std::sort(rows.begin(), rows.end());
  return rows;
}

std::vector<int64_t> sorted(std::vector<int64_t> rows) {
  std::sort(rows.begin(), rows.end());
  return rows;
}

// Every split comes once, in order; no group could have taken the next split too.
void expect_groups_of(const std::vector<Folds>& groups, int64_t n,
                      const std::vector<OwnedSplit>& splits, int64_t max_atoms) {
  std::vector<int64_t> order;
  for (size_t g = 0; g < groups.size(); ++g) {
    const Folds& folds = groups[g];
    expect_atoms_of(folds, n, splits);
    if (folds.n_splits() > 1) {
      EXPECT_LE(folds.n_atoms(), max_atoms);
    }
    for (int64_t s = 0; s < folds.n_splits(); ++s) {
      const OwnedSplit& split = splits[folds.splits[s]];
      EXPECT_EQ(taken_rows(folds, s, folds.train), sorted(split.train));
      EXPECT_EQ(taken_rows(folds, s, folds.test), sorted(split.test));
    }
    order.insert(order.end(), folds.splits.begin(), folds.splits.end());
    if (g + 1 < groups.size()) {
      std::vector<OwnedSplit> larger;
      for (const int64_t s : folds.splits) larger.push_back(splits[s]);
      larger.push_back(splits[groups[g + 1].splits[0]]);
      EXPECT_GT(folds_of(n, larger).n_atoms(), max_atoms);
    }
  }
  std::vector<int64_t> every(splits.size());
  std::iota(every.begin(), every.end(), int64_t{0});
  EXPECT_EQ(order, every);
}

TEST(Folds, AllRows) {
  const Folds folds = all_rows(5);
  EXPECT_EQ(folds.n_atoms(), 1);
  EXPECT_EQ(folds.n_splits(), 1);
  EXPECT_EQ(folds.training_rows(0), 5);
  EXPECT_EQ(folds.row(3), 3);
  std::vector<OwnedSplit> same(1);
  same[0].train = {0, 1, 2, 3, 4};
  EXPECT_EQ(folds, folds_of(5, same));
}

TEST(Folds, KFoldHasAnAtomForEachFoldAndKeepsTheRowsInPlace) {
  const auto splits = k_fold(103, 5);
  const Folds folds = folds_of(103, splits);
  expect_atoms_of(folds, 103, splits);
  EXPECT_EQ(folds.n_atoms(), 5);
  EXPECT_TRUE(folds.order.empty());
  EXPECT_TRUE(folds.consecutive(0, 103));
}

TEST(Folds, ShuffledKFoldHasAnAtomForEachFold) {
  const auto splits = shuffled_k_fold(103, 5, 1);
  const Folds folds = folds_of(103, splits);
  expect_atoms_of(folds, 103, splits);
  EXPECT_EQ(folds.n_atoms(), 5);
  EXPECT_FALSE(folds.order.empty());
  for (int64_t begin = 0; begin < 20; ++begin) {
    bool consecutive = true;
    for (int64_t i = begin + 1; i < 20; ++i) {
      consecutive = consecutive && folds.row(i) == folds.row(i - 1) + 1;
      EXPECT_EQ(folds.consecutive(begin, i + 1), consecutive);
    }
  }
}

TEST(Folds, RepeatedKFoldsCutEachOther) {
  auto splits = shuffled_k_fold(60, 3, 1);
  for (OwnedSplit& split : shuffled_k_fold(60, 4, 2)) splits.push_back(std::move(split));
  const Folds folds = folds_of(60, splits);
  expect_atoms_of(folds, 60, splits);
  EXPECT_LE(folds.n_atoms(), 12);
  EXPECT_GT(folds.n_atoms(), 4);
}

TEST(Folds, UnusedRowsAreAnAtomThatNobodyTakes) {
  const std::vector<OwnedSplit> splits = {{{0, 2}, {4}}, {{2, 4}, {0}}};
  const Folds folds = folds_of(6, splits);
  expect_atoms_of(folds, 6, splits);
  EXPECT_EQ(folds.n_atoms(), 4);  // {0}, {1, 3, 5}, {2}, {4}
}

TEST(Folds, TestPartMayBeEmptyAndMayOverlapTheTrainingPart) {
  const std::vector<OwnedSplit> splits = {{{0, 1, 2, 3}, {}}, {{1, 2, 3}, {3, 3, 0}}};
  const Folds folds = folds_of(4, splits);
  expect_atoms_of(folds, 4, splits);
  EXPECT_EQ(taken_rows(folds, 0, folds.test), std::vector<int64_t>{});
  EXPECT_EQ(taken_rows(folds, 1, folds.test), (std::vector<int64_t>{0, 3, 3}));
}

TEST(Folds, RowsMayRepeatWithinASplit) {
  const std::vector<OwnedSplit> splits = {{{0, 0, 0, 1, 2, 2}, {3}}};
  const Folds folds = folds_of(4, splits);
  expect_atoms_of(folds, 4, splits);
  EXPECT_EQ(folds.training_rows(0), 6);
}

TEST(Folds, IndicesMayBeStrided) {
  const std::vector<int64_t> memory = {3, 9, 2, 9, 1, 9, 0};
  const std::vector<Split> strided = {{{memory.data(), 4, 2}, {memory.data() + 6, 1, -2}}};
  EXPECT_EQ(make_folds(4, strided, kAll).at(0), folds_of(4, {{{3, 2, 1, 0}, {0}}}));
}

// K-fold, shuffled, overlapping, repeated and careless splits in all mixtures.
std::vector<OwnedSplit> random_splits(int64_t n, Random& random) {
  std::vector<OwnedSplit> splits;
  const int64_t kinds = 1 + random.below(3);
  for (int64_t kind = 0; kind < kinds; ++kind) {
    std::vector<OwnedSplit> more;
    const auto seed = static_cast<uint64_t>(random.below(1000));
    const int64_t k = 2 + random.below(3);
    switch (random.below(4)) {
      case 0:
        more = k_fold(n, k);
        break;
      case 1:
        more = shuffled_k_fold(n, k, seed);
        break;
      case 2:
        more = bootstrap(n, k, seed);
        break;
      default:
        more.push_back({random.draw(1 + random.below(2 * n), n), random.draw(random.below(n), n)});
    }
    for (OwnedSplit& split : more)
      if (!split.train.empty()) splits.push_back(std::move(split));
  }
  return splits;
}

TEST(Folds, RandomSplitsInOneGroup) {
  for (uint64_t seed = 0; seed < 300; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Random random(seed);
    const int64_t n = 2 + random.below(40);
    const auto splits = random_splits(n, random);
    if (splits.empty()) continue;
    const auto groups = make_folds(n, views(splits), kAll);
    ASSERT_EQ(groups.size(), 1u);
    expect_groups_of(groups, n, splits, kAll);
  }
}

TEST(Folds, RandomSplitsInGroupsOfFewAtoms) {
  for (uint64_t seed = 0; seed < 300; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Random random(seed);
    const int64_t n = 2 + random.below(40);
    const auto splits = random_splits(n, random);
    const int64_t max_atoms = 1 + random.below(12);
    expect_groups_of(make_folds(n, views(splits), max_atoms), n, splits, max_atoms);
  }
}

TEST(Folds, ASplitIsNeverDivided) {
  const auto splits = bootstrap(50, 3, 7);  // several repetitions: more than two atoms each
  const auto groups = make_folds(50, views(splits), 2);
  ASSERT_EQ(groups.size(), 3u);
  for (const Folds& folds : groups) EXPECT_GT(folds.n_atoms(), 2);
}

TEST(Folds, NoSplitsMakeNoGroups) { EXPECT_TRUE(make_folds(10, {}, kAll).empty()); }

std::string refusal(int64_t n, const std::vector<OwnedSplit>& splits) {
  try {
    (void)make_folds(n, views(splits), kAll);
  } catch (const InvalidInput& error) {
    return error.what();
  }
  return "accepted";
}

TEST(Folds, IndicesOutOfRangeAreRefused) {
  EXPECT_EQ(refusal(3, {{{0, 3}, {1}}}), "cv: train indices of split 0 must lie in [0, 3), got 3");
  EXPECT_EQ(refusal(3, {{{0}, {1}}, {{0}, {2, -1}}}),
            "cv: test indices of split 1 must lie in [0, 3), got -1");
  EXPECT_EQ(refusal(3, {{{int64_t{1} << 32}, {}}}),
            "cv: train indices of split 0 must lie in [0, 3), got 4294967296");
}

TEST(Folds, SplitsWithoutTrainingRowsAreRefused) {
  EXPECT_EQ(refusal(3, {{{0}, {1}}, {{}, {2}}}),
            "cv: split 1 must have at least one training row, got none");
}

}  // namespace
}  // namespace manyfit::testing
