// What the two kernels of the fold Gram share (gram_tensor_cuda.h, gram_register_cuda.h): the
// columns of Z = sqrt(w) [X - shift_x, 1, Y - shift_y], which rows a block takes, and where its
// sums go. The column of ones stands after X, so that columns of X begin where tiles do.
#pragma once

#include <cmath>
#include <cstdint>

#include "core/block.h"
#include "core/views.h"

namespace manyfit {

template <class T>
struct GramRows {
  MatrixView<const T> X, Y;
  VectorView<const T> w;           // or empty
  const int64_t* order = nullptr;  // row of each position; null: position - first
  int64_t first = 0;
  const double* shift = nullptr;  // (d + t), or null: each block computes what it needs
  double* shift_to = nullptr;     // where the shift computed is to be kept

  MANYFIT_HOST_DEVICE int64_t columns() const { return X.cols + 1 + Y.cols; }
  MANYFIT_HOST_DEVICE int64_t row(int64_t position) const {
    return order != nullptr ? order[position] : position - first;
  }
  MANYFIT_HOST_DEVICE T weight(int64_t row) const {
    return w.data != nullptr ? w.data[row * w.stride] : T(1);
  }
  struct Column {
    const T* data;  // null for ones
    int64_t stride;
    MANYFIT_HOST_DEVICE T value(int64_t row) const {
      return row < 0 ? T(0) : data == nullptr ? T(1) : data[row * stride];
    }
  };
  MANYFIT_HOST_DEVICE Column column(int64_t number) const {
    if (number < X.cols) return {X.data + number * X.col_stride, X.row_stride};
    number -= X.cols + 1;
    if (number < 0) return {nullptr, 0};
    return {Y.data + number * Y.col_stride, Y.row_stride};
  }
  // Place in M, whose order is [1, X, Y].
  MANYFIT_HOST_DEVICE int64_t place(int64_t column) const {
    return column < X.cols ? column + 1 : column == X.cols ? 0 : column;
  }

  // provisional_means() of fold_gram.h, to the last bit.
  MANYFIT_HOST_DEVICE double mean(int64_t column) const {
    if (column == X.cols) return 0;
    const int64_t place_in_shift = column < X.cols ? column : column - 1;
    if (shift != nullptr) return shift[place_in_shift];
    const int64_t n = X.rows < 64 ? X.rows : 64;
    if (n == 0) return 0;
    const int64_t step = X.rows / n;
    const Column values = this->column(column);
    const double base = static_cast<double>(values.value(0));
    double sum = 0;
    MANYFIT_UNROLL_BY(8)
    for (int64_t k = 1; k < n; ++k)
      sum += (static_cast<double>(values.value(step * k)) - base) / static_cast<double>(n);
    const double result = static_cast<double>(static_cast<T>(sum + base));
    if (shift_to != nullptr) shift_to[place_in_shift] = result;
    return result;
  }
};

// Rows of some atoms, each atom's cut into slices of equal size; a block takes one.
struct GramSlices {
  static constexpr int kInline = 48;
  struct Atom {
    int64_t number, begin, end;  // positions
    int64_t first_slice;
  };
  struct Range {
    int64_t atom, begin, end;
  };

  int64_t n_atoms = 0, n_slices = 0;
  const Atom* table = nullptr;  // in device memory, where `own` does not suffice
  Atom own[kInline];

  MANYFIT_HOST_DEVICE Atom atom(int64_t i) const { return table != nullptr ? table[i] : own[i]; }
  MANYFIT_HOST_DEVICE int64_t slices(int64_t i) const {
    return (i + 1 < n_atoms ? atom(i + 1).first_slice : n_slices) - atom(i).first_slice;
  }
  MANYFIT_DEVICE Range range(int64_t slice) const {
    int64_t low = 0, high = n_atoms;
    while (high - low > 1) {
      const int64_t middle = (low + high) / 2;
      (atom(middle).first_slice <= slice ? low : high) = middle;
    }
    const Atom a = atom(low);
    const int64_t k = slice - a.first_slice, pieces = slices(low), size = a.end - a.begin;
    return {a.number, a.begin + size * k / pieces, a.begin + size * (k + 1) / pieces};
  }
};

// Sums of a block go straight to M where every atom is one slice, else to a part of their own.
struct GramOutput {
  double* moments = nullptr;  // (atoms, stride, stride)
  int64_t stride = 0;
  double* parts = nullptr;  // (slices, pairs of tiles, entries of a thread, threads), or null
  bool add = false;         // to what is there

  MANYFIT_DEVICE void put(int64_t atom, int64_t i, int64_t j, double value) const {
    double* M = moments + atom * stride * stride;
    if (add) value += M[i * stride + j];
    M[i * stride + j] = value;
    M[j * stride + i] = value;
  }
};

// Pair of tiles number q: (0, 0), (1, 0), (1, 1), (2, 0), ...
struct TilePair {
  int64_t i = 0, j = 0;
  MANYFIT_HOST_DEVICE explicit TilePair(int64_t q) : j(q) {
    while (j > i) j -= ++i;
  }
};

// Keeps a block's sums: entry(thread, e), e < Kernel::kEntries.
template <class Kernel, class Entry>
MANYFIT_DEVICE void keep_sums(Block& block, const Kernel& kernel, int64_t atom, int64_t slice,
                              int64_t pair, Entry&& entry) {
  double* const part = kernel.output.parts == nullptr
                           ? nullptr
                           : kernel.output.parts + (slice * kernel.pairs() + pair) *
                                                       Kernel::kEntries * Kernel::kThreads;
  block.each_alone([&](int thread) {
    MANYFIT_UNROLL
    for (int e = 0; e < Kernel::kEntries; ++e) {
      int64_t i, j;
      if (!kernel.entry(pair, thread, e, i, j)) continue;
      if (part != nullptr)
        part[e * Kernel::kThreads + thread] = entry(thread, e);
      else
        kernel.output.put(atom, i, j, entry(thread, e));
    }
  });
}

// Adds the parts of each atom in the order of its slices: grid (entries, pairs, atoms).
template <class Kernel>
struct AddParts {
  static constexpr int kGroups = 4;  // that share the slices of an atom
  static constexpr int kThreads = kGroups * Kernel::kThreads;
  Kernel kernel;
  int64_t first_atom = 0;

  MANYFIT_DEVICE void operator()(Block& block) const {
    auto* const sums = block.template shared<double>();
    const auto e = static_cast<int>(block.x());
    const int64_t pair = block.y();
    const GramSlices::Atom atom = kernel.slices.atom(first_atom + block.z());
    const int64_t slices = kernel.slices.slices(first_atom + block.z());
    const int64_t step = kernel.pairs() * Kernel::kEntries * Kernel::kThreads;
    block.each([&](int thread) {
      const int place = thread % Kernel::kThreads, group = thread / Kernel::kThreads;
      int64_t i, j;
      double sum = 0;
      if (kernel.entry(pair, place, e, i, j)) {
        const double* part = kernel.output.parts + atom.first_slice * step +
                             (pair * Kernel::kEntries + e) * Kernel::kThreads + place;
        const int64_t end = slices * (group + 1) / kGroups;
        MANYFIT_UNROLL_BY(8)
        for (int64_t s = slices * group / kGroups; s < end; ++s) sum += part[s * step];
      }
      sums[thread] = sum;
    });
    block.each_alone([&](int thread) {
      int64_t i, j;
      if (thread >= Kernel::kThreads || !kernel.entry(pair, thread, e, i, j)) return;
      double sum = sums[thread];
      for (int g = 1; g < kGroups; ++g) sum += sums[g * Kernel::kThreads + thread];
      kernel.output.put(atom.number, i, j, sum);
    });
  }
};

}  // namespace manyfit
