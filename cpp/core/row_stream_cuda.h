// Rows of host memory on their way to a device: packed into pinned buffers that are copied while
// the device works on those before. What reads tables larger than the device's memory shares this.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <vector>

#include "core/context.h"
#include "core/device.h"
#include "core/views.h"

namespace manyfit {

// Work that reads the caller's memory, or buffers that others will use, is over before an exception
// leaves the scope.
class Drained {
 public:
  explicit Drained(Device& device) : device_(device) {}
  Drained(const Drained&) = delete;
  Drained& operator=(const Drained&) = delete;
  ~Drained();

 private:
  Device& device_;
  int before_ = std::uncaught_exceptions();
};

// A ring of buffers on both sides: one is filled while the one before is copied and the one before
// that is worked on.
//
//   T* packed = stream.fill<T>(context);
//   ... up to bytes() are put there ...
//   const T* here = stream.send<T>(bytes);
//   ... work that reads `here` is launched ...
//   stream.used();
class RowStream {
 public:
  static constexpr size_t kBytes = size_t{32} << 20;  // of a buffer, where there is room
  static constexpr int kBuffers = 3;

  RowStream(Device& device, size_t bytes, int buffers = kBuffers);
  RowStream(const RowStream&) = delete;
  RowStream& operator=(const RowStream&) = delete;
  ~RowStream();

  size_t bytes() const { return bytes_; }

  template <class T>
  T* fill(const Context& context) {
    return static_cast<T*>(next(context));
  }
  template <class T>
  const T* send(size_t bytes) {
    return static_cast<const T*>(copy(bytes, nullptr));
  }
  // To other memory of the device, which stays.
  void send_to(void* to, size_t bytes) { copy(bytes, to); }
  void used();

 private:
  struct Stage;

  void* next(const Context& context);
  const void* copy(size_t bytes, void* to);

  Device& device_;
  size_t bytes_;
  std::vector<std::unique_ptr<Stage>> stages_;
  size_t turn_ = 0;
};

// Whether a table lies in memory row by row, rather than column by column.
inline bool lies_by_rows(int64_t row_stride, int64_t col_stride) {
  return std::abs(col_stride) <= std::abs(row_stride);
}

// A table in host memory, whose rows are packed in an order.
template <class T>
class HostRows {
 public:
  HostRows() = default;
  // `order` null: 0, 1, 2, ... Packed as they lie.
  HostRows(MatrixView<const T> rows, const int64_t* order)
      : HostRows(rows, order, lies_by_rows(rows.row_stride, rows.col_stride)) {}
  HostRows(MatrixView<const T> rows, const int64_t* order, bool by_rows)
      : rows_(rows), order_(order), by_rows_(by_rows) {}

  int64_t columns() const { return rows_.cols; }
  size_t row_bytes() const { return static_cast<size_t>(rows_.cols) * sizeof(T); }

  // Rows at positions [begin, begin + n) of the order become rows `at` ... of a packed table that
  // has room for `room`.
  void pack(int64_t begin, int64_t n, T* to, int64_t at, int64_t room) const {
    if (rows_.cols == 0) return;
    if (!by_rows_) {
      for (int64_t j = 0; j < rows_.cols; ++j) pack_column(j, begin, n, to + j * room + at);
    } else if (order_ == nullptr && rows_.col_stride == 1 && rows_.row_stride == rows_.cols) {
      std::memcpy(to + at * rows_.cols, rows_.row(begin), static_cast<size_t>(n) * row_bytes());
    } else {
      for (int64_t r = 0; r < n; ++r) pack_row(row(begin + r), to + (at + r) * rows_.cols);
    }
  }

  // Such a table.
  MatrixView<const T> packed(const T* data, int64_t n, int64_t room) const {
    return {data, n, rows_.cols, by_rows_ ? rows_.cols : 1, by_rows_ ? 1 : room};
  }

 private:
  int64_t row(int64_t position) const { return order_ == nullptr ? position : order_[position]; }

  void pack_row(int64_t row, T* to) const {
    const T* const from = rows_.row(row);
    if (rows_.col_stride == 1)
      std::memcpy(to, from, row_bytes());
    else
      for (int64_t j = 0; j < rows_.cols; ++j) to[j] = from[j * rows_.col_stride];
  }
  void pack_column(int64_t j, int64_t begin, int64_t n, T* to) const {
    const T* const from = rows_.data + j * rows_.col_stride;
    if (order_ == nullptr && rows_.row_stride == 1)
      std::memcpy(to, from + begin, static_cast<size_t>(n) * sizeof(T));
    else
      for (int64_t r = 0; r < n; ++r) to[r] = from[row(begin + r) * rows_.row_stride];
  }

  MatrixView<const T> rows_;
  const int64_t* order_ = nullptr;
  bool by_rows_ = true;
};

}  // namespace manyfit
