#include "core/folds.h"

#include <algorithm>
#include <array>
#include <map>
#include <numeric>
#include <string>

#include "core/errors.h"

namespace manyfit {
namespace {

// How often each row is taken. Indices are checked here, once.
void count_rows(VectorView<const int64_t> indices, int64_t n_rows, int64_t split, const char* part,
                std::vector<int32_t>& counts) {
  std::fill(counts.begin(), counts.end(), 0);
  for (int64_t i = 0; i < indices.size; ++i) {
    const int64_t row = indices[i];
    if (row < 0 || row >= n_rows)
      throw InvalidInput("cv: " + std::string(part) + " indices of split " + std::to_string(split) +
                         " must lie in [0, " + std::to_string(n_rows) + "), got " +
                         std::to_string(row));
    ++counts[row];
  }
}

// A partition of the rows that is refined split by split.
struct Atoms {
  std::vector<int32_t> of_row;
  int64_t count = 1;
  std::vector<std::vector<int32_t>>
      signature;  // per atom: train and test counts of each split in turn

  explicit Atoms(int64_t n_rows) : of_row(n_rows, 0), signature(1) {}

  Atoms refined(const std::vector<int32_t>& train_counts,
                const std::vector<int32_t>& test_counts) const {
    Atoms finer(*this);
    finer.signature.clear();
    std::map<std::array<int32_t, 3>, int32_t> ids;
    // Neighbouring rows mostly fall into the same atom: remember the last one.
    int32_t last_old = -1, last_train = -1, last_test = -1, last_id = -1;
    for (size_t row = 0; row < of_row.size(); ++row) {
      const int32_t old = of_row[row], train = train_counts[row], test = test_counts[row];
      if (old != last_old || train != last_train || test != last_test) {
        const auto [place, added] =
            ids.try_emplace({old, train, test}, static_cast<int32_t>(ids.size()));
        if (added) {
          finer.signature.push_back(signature[old]);
          finer.signature.back().push_back(train);
          finer.signature.back().push_back(test);
        }
        last_old = old, last_train = train, last_test = test, last_id = place->second;
      }
      finer.of_row[row] = last_id;
    }
    finer.count = static_cast<int64_t>(ids.size());
    return finer;
  }

  Folds folds(std::vector<int64_t> splits) const {
    Folds result;
    result.n_rows = static_cast<int64_t>(of_row.size());
    result.atom_begin.assign(count + 1, 0);
    for (const int32_t atom : of_row) ++result.atom_begin[atom + 1];
    std::partial_sum(result.atom_begin.begin(), result.atom_begin.end(), result.atom_begin.begin());
    if (!std::is_sorted(of_row.begin(), of_row.end())) {
      result.order.resize(of_row.size());
      std::vector<int64_t> next(result.atom_begin.begin(), result.atom_begin.end() - 1);
      for (size_t row = 0; row < of_row.size(); ++row)
        result.order[next[of_row[row]]++] = static_cast<int64_t>(row);
    }
    for (size_t s = 0; s < splits.size(); ++s) {
      for (const auto& counts : signature) result.train.push_back(counts[2 * s]);
      for (const auto& counts : signature) result.test.push_back(counts[2 * s + 1]);
    }
    result.splits = std::move(splits);
    return result;
  }
};

}  // namespace

int64_t Folds::training_rows(int64_t split) const {
  int64_t rows = 0;
  for (int64_t a = 0; a < n_atoms(); ++a)
    rows += train[split * n_atoms() + a] * (atom_begin[a + 1] - atom_begin[a]);
  return rows;
}

Folds all_rows(int64_t n_rows) {
  Folds folds;
  folds.n_rows = n_rows;
  folds.atom_begin = {0, n_rows};
  folds.splits = {0};
  folds.train = {1};
  folds.test = {0};
  return folds;
}

Folds one_split(const std::vector<int64_t>& sizes, std::vector<int32_t> train,
                std::vector<int32_t> test) {
  if (train.size() != sizes.size() || test.size() != sizes.size())
    throw InvalidInput("cv: counts must have one entry for each atom");
  Folds folds;
  folds.atom_begin = {0};
  for (const int64_t size : sizes) folds.atom_begin.push_back(folds.atom_begin.back() + size);
  folds.n_rows = folds.atom_begin.back();
  folds.splits = {0};
  folds.train = std::move(train);
  folds.test = std::move(test);
  return folds;
}

std::vector<Folds> make_folds(int64_t n_rows, const std::vector<Split>& splits, int64_t max_atoms) {
  std::vector<Folds> groups;
  std::vector<int64_t> members;
  std::vector<int32_t> train(n_rows), test(n_rows);
  Atoms atoms(n_rows);
  for (int64_t s = 0; s < static_cast<int64_t>(splits.size()); ++s) {
    const Split& split = splits[s];
    if (split.train.size == 0)
      throw InvalidInput("cv: split " + std::to_string(s) +
                         " must have at least one training row, got none");
    count_rows(split.train, n_rows, s, "train", train);
    count_rows(split.test, n_rows, s, "test", test);
    Atoms finer = atoms.refined(train, test);
    if (!members.empty() && finer.count > max_atoms) {
      groups.push_back(atoms.folds(std::move(members)));
      members.clear();
      finer = Atoms(n_rows).refined(train, test);
    }
    atoms = std::move(finer);
    members.push_back(s);
  }
  if (!members.empty()) groups.push_back(atoms.folds(std::move(members)));
  return groups;
}

}  // namespace manyfit
