// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <fstream>
#include <map>
#include <span>
#include <vector>

#include "dedup/catalogue.hpp"
#include "dedup/hashing.hpp"
#include "dedup/object_store.hpp"

namespace dedup {

/// What became of the blocks. Each one counts either as granted or as already stored, in the end.
struct BlockCounts {
  std::uint64_t blocks = 0;
  std::uint64_t bytes = 0;
  std::uint64_t granted = 0;         ///< this process had to see to it that they are stored
  std::uint64_t already_stored = 0;  ///< somebody had, maybe this process
  std::uint64_t leased = 0;          ///< had to wait for another process first
  std::uint64_t bytes_saved = 0;     ///< of those already stored
  std::uint64_t found = 0;           ///< granted, but the object was there: the hub did not know it (any more)
  std::uint64_t written = 0;         ///< objects
  std::uint64_t bytes_written = 0;
};

/// Brings blocks into the store: asks the catalogue about many at a time, writes what is granted, and comes back to
/// what others hold until they have stored it or their lease has ended. It holds at most some 64 MiB of blocks.
///
/// It never waits while it holds a lease: what it was granted it writes, registers or gives back first. So no two
/// processes wait for each other.
class Uploader {
 public:
  /// The names of written objects go to `written`, a line each, if it is open.
  Uploader(Catalogue& catalogue, const ObjectStore& store, Report& report, std::ofstream& written);

  void add(const Key128& key, std::span<const std::byte> data);
  /// Returns when every block is stored.
  void finish();

  const BlockCounts& counts() const noexcept { return counts_; }

 private:
  struct Waiting {
    std::vector<std::byte> data;
    std::uint64_t times = 0;  // that it was added
    bool was_leased = false;
  };
  using WaitingBlocks = std::map<Key128, Waiting>;

  void ask();
  bool ask_once();
  void ask_until(std::size_t blocks, std::size_t bytes);
  bool store_granted(const std::vector<BlockName>& granted);
  void store_one(const BlockName& block);
  void settle(const Key128& key, bool granted);

  Catalogue& catalogue_;
  const ObjectStore& store_;
  Report& report_;
  std::ofstream& written_;
  WaitingBlocks waiting_;
  std::size_t waiting_bytes_ = 0;
  std::size_t new_blocks_ = 0;  // since the catalogue was asked
  std::size_t new_bytes_ = 0;
  BlockCounts counts_;
};

}  // namespace dedup
