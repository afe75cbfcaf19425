// How a pass of logistic_passes_cuda.cu goes through the rows: which tiles it reads, in which
// chunks, in which rounds of launches, and where their rows lie.
//
// Rows that do not fit on the device (StreamedRows) are read from the host's memory. As many of the
// first as fit are kept on the device; the others come in every pass, some chunks of a round at a
// time, packed into the buffers of a RowStream. What a chunk sums up in a round is the same sum in
// the same order wherever its rows lie and whatever comes along with it, and rounds depend on
// shapes alone: so do the bits of every result, and not on how much memory is free.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "core/device.h"
#include "core/device_folds.h"
#include "core/row_stream_cuda.h"
#include "linear_model/logistic_kernels_cuda.h"

namespace manyfit::logistic_kernels {

inline constexpr int64_t kMostChunks = 528;  // four blocks for each multiprocessor of an H200
inline constexpr int64_t kPartBytes = int64_t{256} << 20;
inline constexpr int64_t kWorkspace = int64_t{64} << 20;  // no larger than a second-level cache

inline int64_t over(int64_t a, int64_t b) { return (a + b - 1) / b; }

// The tiles that a sample of one of `step` reads: those the CPU reads (logistic_rows.cpp).
struct Cut {
  int64_t step = 0;
  std::vector<int64_t> atom_tile;  // (atoms + 1)
  std::vector<Tile> list;
  DeviceBuffer<Tile> tiles;  // the same

  Cut() = default;
  Cut(const DeviceFolds& folds, int64_t one_of) : step(one_of) {
    constexpr int64_t kCpuChunks = 64, kCpuTiles = 4;
    const int64_t all = over(folds.n_rows, kTile);
    const int64_t rows = std::max(over(all, kCpuChunks) * kTile, kCpuTiles * kTile * step);
    atom_tile.push_back(0);
    for (int64_t a = 0; a < folds.n_atoms(); ++a) {
      const int64_t end = folds.atom_begin[a + 1];
      for (int64_t chunk = folds.atom_begin[a]; chunk < end; chunk += rows) {
        const int64_t stop = std::min(chunk + rows, end);
        for (int64_t begin = chunk; begin < stop; begin += kTile * step)
          list.push_back({begin, begin,
                          static_cast<int32_t>(std::min<int64_t>(kTile, stop - begin)),
                          static_cast<int32_t>(a)});
      }
      atom_tile.push_back(static_cast<int64_t>(list.size()));
    }
    tiles = DeviceBuffer<Tile>(folds.device(), list);
  }
};

// Runs of at most `each` tiles of one atom.
struct ChunkTable {
  std::vector<int64_t> atom_chunk;  // (atoms + 1)
  std::vector<Chunk> list;
  int64_t count = 0, longest = 0;
  DeviceBuffer<Chunk> chunks;   // the same as the list
  DeviceBuffer<int64_t> begin;  // atom_chunk

  ChunkTable(Device& device, const Cut& cut, int64_t each) {
    atom_chunk.push_back(0);
    for (size_t a = 0; a + 1 < cut.atom_tile.size(); ++a) {
      for (int64_t t = cut.atom_tile[a]; t < cut.atom_tile[a + 1]; t += each)
        list.push_back({t, static_cast<int32_t>(std::min(each, cut.atom_tile[a + 1] - t)),
                        static_cast<int32_t>(a)});
      atom_chunk.push_back(static_cast<int64_t>(list.size()));
    }
    count = static_cast<int64_t>(list.size());
    for (const Chunk& chunk : list) longest = std::max<int64_t>(longest, chunk.tiles);
    chunks = DeviceBuffer<Chunk>(device, list);
    begin = DeviceBuffer<int64_t>(device, atom_chunk);
  }
};

// What a pass takes of a chunk of rows and of a tile.
struct Needs {
  int64_t sums;       // bytes that a chunk sums up
  int64_t workspace;  // bytes of a tile in the workspace
  double work;        // of a tile, in multiply-adds
};

// The most tiles of a chunk in a round. A buffer of a stream, as long as the bus takes to fill it,
// is to be work for many blocks: of narrow rows it has 64 chunks or more. But a round of few tiles
// costs more than it sums up (a chunk's sums are read and written again), so wide ones have 16.
inline int64_t widest_round(int64_t tile_bytes) {
  constexpr auto kBytes = static_cast<int64_t>(RowStream::kBytes);
  constexpr int64_t kChunks = 64, kTiles = 16;
  const int64_t tile = std::max<int64_t>(tile_bytes, 1);
  return std::max({int64_t{1}, kBytes / tile / kChunks, std::min(kTiles, kBytes / tile)});
}

// Chunks, and the rounds in which a pass goes through them.
struct Chunks {
  const ChunkTable& table;
  const Cut& cut;
  int64_t count, width;

  Chunks(Device& device, const ChunkTable& chunks, const Cut& of, const Needs& needs,
         int64_t tile_bytes)
      : table(chunks), cut(of), count(chunks.count) {
    // A launch may take some 30 ms, on the simulated device too.
    const DeviceFacts& facts = device.facts();
    const double rate = facts.driver == 0 ? 2e6 : facts.fast_double ? 2e9 : 5e7;
    const double fit =
        rate * facts.multiprocessors / std::max(1.0, needs.work * static_cast<double>(count));
    const int64_t longest = std::min(table.longest, widest_round(tile_bytes));
    width = static_cast<int64_t>(std::max(1.0, std::min(fit, static_cast<double>(longest))));
    if (needs.workspace > 0)
      width = std::clamp<int64_t>(kWorkspace / (needs.workspace * std::max<int64_t>(count, 1)), 1,
                                  width);
  }

  // How many tiles a chunk may have.
  static int64_t each(const Cut& cut, const Needs& needs) {
    const int64_t all = cut.atom_tile.back();
    int64_t most = std::min(kMostChunks, kPartBytes / std::max<int64_t>(needs.sums, 1));
    if (needs.workspace > 0) most = std::min(most, kPartBytes / needs.workspace);
    return std::max<int64_t>(1, over(all, std::max<int64_t>(most, 1)));
  }

  // The round from tile `from` on, of the chunks from number `first` on.
  Round round(int64_t from, int64_t first) const {
    return {cut.tiles.data(), table.chunks.data() + first, from, width};
  }
};

// A launch: a round of some of the chunks. Sums of a chunk are kept by its number among all.
struct Part {
  Data data;
  Round round;
  int64_t first, count;  // chunks

  template <class T>
  T* of(T* sums, int64_t each) const {
    return sums + first * each;
  }
};

// f(part) for each round of rows that lie on the device, asking the context between launches.
template <class F>
void each_round(const Chunks& chunks, const Data& data, const Context& context, F&& f) {
  for (int64_t from = 0; from < chunks.table.longest; from += chunks.width) {
    context.check();
    f(Part{data, chunks.round(from, 0), 0, chunks.count});
  }
}

class StreamedRows {
 public:
  // `order` as the folds', null for 0, 1, 2, ...; X and it must outlive this.
  template <class T>
  StreamedRows(Device& device, MatrixView<const T> X, const int64_t* order, const Context& context)
      : device_(device),
        row_bytes_(X.cols * static_cast<int64_t>(sizeof(T))),
        by_rows_(lies_by_rows(X.row_stride, X.col_stride)),
        stream_(device, buffer_bytes()) {
    pack_ = [rows = HostRows<T>(X, order)](int64_t begin, int64_t n, void* to, int64_t at,
                                           int64_t room) {
      rows.pack(begin, n, static_cast<T*>(to), at, room);
    };
    keep(HostRows<T>(X, order, true), X.rows, context);
  }

  // Gives the memory of the rows that are kept to others; false where there is none.
  bool give_way() {
    if (kept_.empty()) return false;
    kept_ = DeviceBuffer<char>();
    kept_rows_ = 0;
    return true;
  }

  // f(part) for each round of the chunks of atoms that wants(atom), asking the context between
  // launches.
  template <class Wants, class F>
  void each_round(const Chunks& chunks, const Data& data, const Context& context, Wants&& wants,
                  F&& f) {
    const std::vector<Chunk>& all = chunks.table.list;
    const int64_t together = static_cast<int64_t>(stream_.bytes()) / chunk_bytes(chunks.width);
    for (int64_t from = 0; from < chunks.table.longest; from += chunks.width) {
      const auto comes = [&](int64_t c) { return wants(all[c].atom) && from < all[c].tiles; };
      int64_t first = 0;
      while (first < chunks.count && lies_here(chunks, first, from)) ++first;
      if (first > 0) {
        context.check();
        f(Part{at(data, kept_.data(), true, 0), chunks.round(from, 0), 0, first});
      }
      while (first < chunks.count) {
        int64_t end = first;
        while (end < std::min(chunks.count, first + together) && comes(end)) ++end;
        if (end == first) {
          ++first;
          continue;
        }
        context.check();
        f(brought(chunks, from, first, end, data, context));
        stream_.used();
        first = end;
      }
    }
  }

 private:
  // Of so many tiles of a chunk in a buffer: rows, and what tells a kernel of them.
  int64_t chunk_bytes(int64_t tiles) const {
    return tiles * (kTile * row_bytes_ + static_cast<int64_t>(sizeof(Tile))) +
           static_cast<int64_t>(sizeof(Chunk));
  }
  size_t buffer_bytes() const {
    const auto least = static_cast<size_t>(chunk_bytes(widest_round(kTile * row_bytes_)));
    const auto room = static_cast<size_t>(std::max<int64_t>(device_.free_memory(), 0)) / 16;
    return std::max(least, std::min(RowStream::kBytes, room));
  }

  // Rows on the device, packed.
  Data at(const Data& data, const void* x, bool by_rows, int64_t room) const {
    Data result = data;
    result.x = x;
    result.order = nullptr;
    result.row_stride = by_rows ? data.d : 1;
    result.col_stride = by_rows ? 1 : room;
    return result;
  }

  // Whether the rows of a chunk's tiles in a round are kept.
  bool lies_here(const Chunks& chunks, int64_t c, int64_t from) const {
    const Chunk& chunk = chunks.table.list[c];
    const int64_t tiles = std::min<int64_t>(from + chunks.width, chunk.tiles);
    if (tiles <= from) return kept_rows_ > 0;
    const Tile& last = chunks.cut.list[chunk.first + tiles - 1];
    return last.begin + last.rows <= kept_rows_;
  }

  // A round of chunks [first, end) in a buffer: its rows, a table of its tiles, one of its chunks.
  Part brought(const Chunks& chunks, int64_t from, int64_t first, int64_t end, const Data& data,
               const Context& context) {
    const int64_t count = end - first, slots = count * chunks.width, rows = slots * kTile;
    char* const to = stream_.template fill<char>(context);
    auto* const tiles = reinterpret_cast<Tile*>(to + rows * row_bytes_);
    auto* const list = reinterpret_cast<Chunk*>(tiles + slots);
    for (int64_t c = 0; c < count; ++c) {
      const Chunk& chunk = chunks.table.list[first + c];
      const auto n = static_cast<int32_t>(std::min<int64_t>(chunks.width, chunk.tiles - from));
      list[c] = {c * chunks.width, n, chunk.atom};
      for (int32_t t = 0; t < n; ++t) {
        const int64_t slot = c * chunks.width + t;
        tiles[slot] = chunks.cut.list[chunk.first + from + t];
        tiles[slot].row = slot * kTile;
      }
    }
    const int64_t piece_slots = std::max<int64_t>(1, kPiece / (kTile * row_bytes_ + 1));
    context.parallel_for("rows to the device", over(slots, piece_slots), [&](int64_t piece) {
      const int64_t stop = std::min(slots, (piece + 1) * piece_slots);
      for (int64_t slot = piece * piece_slots; slot < stop; ++slot)
        if (slot % chunks.width < list[slot / chunks.width].tiles)
          pack_(tiles[slot].begin, tiles[slot].rows, to, slot * kTile, rows);
    });
    const auto bytes = static_cast<size_t>(reinterpret_cast<char*>(list + count) - to);
    const char* const here = stream_.template send<char>(bytes);
    const auto* const own_tiles = reinterpret_cast<const Tile*>(here + rows * row_bytes_);
    const auto* const own_chunks = reinterpret_cast<const Chunk*>(own_tiles + slots);
    return {at(data, here, by_rows_, rows), {own_tiles, own_chunks, 0, chunks.width}, first, count};
  }

  // Brings as many of the first rows as leave room for the work.
  template <class T>
  void keep(const HostRows<T>& rows, int64_t n, const Context& context) {
    constexpr int64_t kRoom = int64_t{768} << 20;
    const int64_t free = device_.free_memory(), bytes = free - std::min(kRoom, free / 2);
    const int64_t most = row_bytes_ == 0 ? 0 : std::min(n, bytes / row_bytes_);
    if (most < kTile) return;
    try {
      kept_ = DeviceBuffer<char>(device_, most * row_bytes_);
    } catch (const DeviceMemoryError&) {  // memory in pieces: all rows come every time
      return;
    }
    device_.copies_wait(device_.mark_work());
    Drained drained(device_);
    const int64_t step = std::max<int64_t>(1, static_cast<int64_t>(stream_.bytes()) / row_bytes_);
    for (int64_t begin = 0; begin < most; begin += step) {
      context.check();
      const int64_t size = std::min(step, most - begin);
      T* const packed = stream_.template fill<T>(context);
      const int64_t pieces = size * row_bytes_ / kPiece + 1;
      context.parallel_for("rows to the device", pieces, [&](int64_t piece) {
        const int64_t first = size * piece / pieces, end = size * (piece + 1) / pieces;
        rows.pack(begin + first, end - first, packed, first, size);
      });
      stream_.send_to(kept_.data() + begin * row_bytes_, static_cast<size_t>(size * row_bytes_));
      stream_.used();
    }
    kept_rows_ = most;
  }

  static constexpr int64_t kPiece = 256 << 10;  // bytes that a thread packs at a time

  Device& device_;
  int64_t row_bytes_;
  bool by_rows_;
  RowStream stream_;
  // Rows at positions [begin, begin + n) to rows `at` ... of a packed table with `room` rows.
  std::function<void(int64_t begin, int64_t n, void* to, int64_t at, int64_t room)> pack_;
  DeviceBuffer<char> kept_;
  int64_t kept_rows_ = 0;
};

}  // namespace manyfit::logistic_kernels
