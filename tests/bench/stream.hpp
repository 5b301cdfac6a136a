// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "keys.hpp"
#include "peers/peer.hpp"
#include "process.hpp"
#include "socket.hpp"

namespace bench {

/// What a server knows before it is measured.
struct Catalogue {
  std::uint64_t entries = 0;
  std::uint64_t leases = 0;
};

/// A connection with what is on its way in either direction.
class Stream {
 public:
  Stream(const Peer& peer, Operation operation, std::size_t batch)
      : peer_(peer),
        operation_(operation),
        socket_(peer.connect(operation)),
        reader_(peer.reader(operation, batch)),
        in_(std::size_t{1} << 16U) {}

  /// Where to append requests.
  std::string& out() noexcept { return out_; }
  std::size_t unsent() const noexcept { return out_.size() - sent_; }

  /// Appends a request for these keys, the `number`-th of this client.
  void ask(std::span<const std::uint64_t> keys, std::uint64_t client, std::uint64_t number) {
    Request request;
    peer_.encode(operation_, keys, request);
    peer_.stamp(request.bytes, client, number);
    out_ += request.bytes;
  }

  /// Sends and receives what is possible at once; how many batches were completed.
  std::uint64_t advance() {
    if (unsent() > 0) {
      sent_ += socket_.send_some(std::string_view(out_).substr(sent_));
      if (unsent() == 0) {
        out_.clear();
        sent_ = 0;
      }
    }
    if (filled_ == in_.size()) in_.resize(in_.size() * 2);
    const std::size_t received = socket_.receive_some(in_.data() + filled_, in_.size() - filled_);
    if (received == 0) return 0;
    filled_ += received;
    std::uint64_t batches = 0;
    const char* rest = reader_->read(in_.data(), in_.data() + filled_, tally_, batches);
    filled_ -= static_cast<std::size_t>(rest - in_.data());
    std::memmove(in_.data(), rest, filled_);
    return batches;
  }

  void wait(std::optional<std::chrono::nanoseconds> limit) { socket_.wait(unsent() > 0, limit); }

  const Tally& tally() const noexcept { return tally_; }

 private:
  const Peer& peer_;
  Operation operation_;
  Socket socket_;
  std::unique_ptr<Reader> reader_;
  std::string out_;
  std::size_t sent_ = 0;
  std::vector<char> in_;
  std::size_t filled_ = 0;
  Tally tally_;
};

/// Numbers of keys, one behind the other.
struct Range {
  std::uint64_t first = 0, count = 0;
};

/// Asks for all keys of a range in order, so many at a time; what the replies said.
inline Tally sweep(const Peer& peer, Operation operation, Range range, std::uint64_t client, std::size_t batch = 1000) {
  constexpr std::size_t window = 16;
  std::vector<std::uint64_t> keys;
  Tally tally;
  std::uint64_t number = 0;  // over all of them: what comes under a number that has been before is not stored
  // What does not fill a batch is asked for by itself: a reader knows one size of batch.
  for (const std::size_t size : {batch, static_cast<std::size_t>(range.count % batch)}) {
    std::uint64_t batches = size == 0 ? 0 : size == batch ? range.count / batch : 1;
    if (batches == 0) continue;
    Stream stream(peer, operation, size);
    for (std::uint64_t in_flight = 0; batches > 0 || in_flight > 0 || stream.unsent() > 0;) {
      while (batches > 0 && in_flight < window && stream.unsent() < 100'000) {
        keys.clear();
        for (std::size_t i = 0; i < size; ++i) keys.push_back(key_of(range.first++));
        stream.ask(keys, client, ++number);
        --batches;
        if (peer.replies(operation)) ++in_flight;
      }
      const std::uint64_t done = stream.advance();
      in_flight -= done;
      if (done == 0 && (in_flight > 0 || stream.unsent() > 0)) stream.wait(std::nullopt);
    }
    tally += stream.tally();
  }
  return tally;
}

/// Who fills a server, and asks what has become of it: a client that is none of those that are measured.
constexpr std::uint64_t somebody_else = 1;

/// Waits until a server that does not reply to `store` has stored the key of this number, which somebody sent it.
inline void wait_until_stored(const Peer& peer, std::uint64_t number) {
  const Clock::time_point end = Clock::now() + std::chrono::minutes{2};
  Stream stream(peer, Operation::match, 1);
  for (std::uint64_t asked = 0;; std::this_thread::sleep_for(std::chrono::milliseconds{1})) {
    stream.ask(std::array{key_of(number)}, somebody_else, ++asked);
    while (stream.advance() == 0 && Clock::now() < end) stream.wait(std::chrono::seconds{1});
    if (stream.tally().found > 0) return;
    if (Clock::now() > end) {
      throw std::runtime_error(
          peer.name() + " has not stored within 2 minutes what was sent last: key " + std::to_string(number));
    }
  }
}

/// Brings a server to know the catalogue: entries, and leases.
inline void fill(const Peer& peer, Catalogue catalogue) {
  sweep(peer, Operation::store, {first_stored, catalogue.entries}, somebody_else);
  if (catalogue.entries > 0 && !peer.replies(Operation::store)) {
    wait_until_stored(peer, first_stored + catalogue.entries - 1);
  }
  // As many at a time as most of what is measured: what one message is granted the hub keeps together.
  const Tally tally = sweep(peer, Operation::claim, {first_leased, catalogue.leases}, somebody_else, 100);
  if (tally.granted != catalogue.leases) throw std::runtime_error(peer.name() + " did not grant all leases");
}

}  // namespace bench
