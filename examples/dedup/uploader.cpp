// SPDX-License-Identifier: Apache-2.0
#include "dedup/uploader.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace dedup {

using registry::OffloadStatus;

namespace {

constexpr std::size_t batch_blocks = 256;
constexpr std::size_t batch_bytes = std::size_t{16} << 20U;
constexpr std::size_t max_waiting_blocks = 1024;
constexpr std::size_t max_waiting_bytes = std::size_t{48} << 20U;

/// For so long it goes on writing before it asks again for what is left, which renews the leases: even on a slow disk
/// none runs out under a write.
constexpr std::chrono::milliseconds writing_time{300};

constexpr std::chrono::milliseconds shortest_pause{2};
constexpr std::chrono::milliseconds longest_pause{200};

}  // namespace

Uploader::Uploader(Catalogue& catalogue, const ObjectStore& store, Report& report, std::ofstream& written)
    : catalogue_(catalogue), store_(store), report_(report), written_(written) {}

void Uploader::add(const Key128& key, std::span<const std::byte> data) {
  ++counts_.blocks;
  counts_.bytes += data.size();
  const auto [it, is_new] = waiting_.try_emplace(key);
  ++it->second.times;
  if (!is_new) return;
  ++new_blocks_;
  new_bytes_ += data.size();
  waiting_bytes_ += data.size();
  it->second.data.assign(data.begin(), data.end());
  if (new_blocks_ < batch_blocks && new_bytes_ < batch_bytes) return;
  ask();
  ask_until(max_waiting_blocks, max_waiting_bytes);
}

void Uploader::finish() { ask_until(0, 0); }

/// Asks until no more than so much is left.
void Uploader::ask_until(std::size_t blocks, std::size_t bytes) {
  auto pause = shortest_pause;
  bool has_told = false;
  while (waiting_.size() > blocks || waiting_bytes_ > bytes) {
    const std::size_t before = waiting_.size();
    ask();
    if (waiting_.size() < before) {
      pause = shortest_pause;
      continue;
    }
    if (!std::exchange(has_told, true)) {
      report_.message("waiting for blocks that others are storing: " + std::to_string(waiting_.size()));
    }
    report_.progress([&] { return "waiting for blocks that others are storing: " + std::to_string(waiting_.size()); });
    std::this_thread::sleep_for(pause);
    pause = std::min(pause * 2, longest_pause);
  }
}

/// Asks about everything that waits, and does what the answer allows.
void Uploader::ask() {
  new_blocks_ = new_bytes_ = 0;
  while (ask_once()) {
  }
}

/// Whether something was granted that it had no time for, so that it must ask again at once.
bool Uploader::ask_once() {
  std::vector<BlockName> blocks;
  for (const auto& [key, waiting] : waiting_) blocks.push_back({key, waiting.data.size()});
  if (blocks.empty()) return false;
  const std::vector<OffloadStatus> statuses = catalogue_.ask(blocks);
  std::vector<BlockName> granted;
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    switch (statuses[i]) {
      case OffloadStatus::granted: granted.push_back(blocks[i]); break;
      case OffloadStatus::already_stored: settle(blocks[i].key, false); break;
      case OffloadStatus::leased: waiting_.at(blocks[i].key).was_leased = true; break;
    }
  }
  return store_granted(granted);
}

/// Writes and registers what is granted. What it has no time for stays granted and waits to be asked for again; what it
/// fails on is given back. Whether there is some left.
bool Uploader::store_granted(const std::vector<BlockName>& granted) {
  const auto end = std::chrono::steady_clock::now() + writing_time;
  std::vector<BlockName> done;
  const auto say_stored = [&] {
    if (done.empty()) return;
    catalogue_.stored(done);
    for (const BlockName& block : done) settle(block.key, true);
  };
  try {
    for (const BlockName& block : granted) {
      store_one(block);
      done.push_back(block);
      if (std::chrono::steady_clock::now() >= end) break;
    }
  } catch (...) {
    catalogue_.give_back(
        std::vector<BlockName>(granted.begin() + static_cast<std::ptrdiff_t>(done.size()), granted.end()));
    say_stored();
    throw;
  }
  say_stored();
  return done.size() < granted.size();
}

void Uploader::store_one(const BlockName& block) {
  // The object may be there although the hub does not know it: it was evicted, or its writer ended before it could say
  // so. What has its name is whole.
  if (store_.contains(block.key, block.size)) {
    ++counts_.found;
    return;
  }
  store_.write(block.key, waiting_.at(block.key).data);
  ++counts_.written;
  counts_.bytes_written += block.size;
  if (!written_.is_open()) return;
  written_ << ObjectStore::object_name(block.key) << std::endl;
  if (!written_) throw std::runtime_error("cannot write the list of written objects");
}

void Uploader::settle(const Key128& key, bool granted) {
  const auto it = waiting_.find(key);
  const auto& [data, times, was_leased] = it->second;
  const std::uint64_t not_written = times - (granted ? 1U : 0U);
  counts_.granted += granted ? 1U : 0U;
  counts_.already_stored += not_written;
  counts_.bytes_saved += not_written * data.size();
  if (was_leased) counts_.leased += times;
  waiting_bytes_ -= data.size();
  waiting_.erase(it);
}

}  // namespace dedup
