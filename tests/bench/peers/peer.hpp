// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "socket.hpp"

namespace bench {

/// What is asked of a server for a batch of keys: to claim them, to find them, to store them, and to undo the two.
enum class Operation { claim, match, store, release, remove };

/// What the replies said, one count per key. Only the hub tells `stored` from `leased`; elsewhere such a key is
/// `taken`.
struct Tally {
  std::uint64_t granted = 0, stored = 0, leased = 0, taken = 0, found = 0, done = 0;

  std::uint64_t keys() const noexcept { return granted + stored + leased + taken + found + done; }
  Tally& operator+=(const Tally& other) noexcept {
    granted += other.granted;
    stored += other.stored;
    leased += other.leased;
    taken += other.taken;
    found += other.found;
    done += other.done;
    return *this;
  }
};

/// Reads replies off a stream, each to its end.
class Reader {
 public:
  virtual ~Reader() = default;
  /// Counts the complete replies between `at` and `end`, and the batches that they complete; where the rest begins.
  virtual const char* read(const char* at, const char* end, Tally& tally, std::uint64_t& batches) = 0;
};

/// A request, and where in it the keys are.
struct Request {
  std::string bytes;
  std::vector<std::uint32_t> key_at;
};

/// A server that can be asked: how requests are written and replies are read.
class Peer {
 public:
  virtual ~Peer() = default;

  virtual std::string name() const = 0;
  /// A connection that is ready for requests of this kind.
  virtual Socket connect(Operation operation) const = 0;
  virtual void encode(Operation operation, std::span<const std::uint64_t> keys, Request& out) const = 0;
  /// Puts another key in the place of one.
  virtual void put_key(char* at, std::uint64_t key) const = 0;
  /// Makes a request that of a client, its `number`-th, counted from 1.
  virtual void stamp(std::span<char>, std::uint64_t /*client*/, std::uint64_t /*number*/) const {}
  virtual std::unique_ptr<Reader> reader(Operation operation, std::size_t batch) const = 0;
  /// Whether requests of this kind are replied to.
  virtual bool replies(Operation) const { return true; }
  /// Whether what the replies say can be checked.
  virtual bool decides() const { return true; }
};

}  // namespace bench
