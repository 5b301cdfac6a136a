// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <iterator>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <registry/codec.hpp>
#include <registry/core/encode.hpp>
#include <registry/core/instant.hpp>
#include <registry/envelope.hpp>
#include <registry/error.hpp>

namespace registry {

/// A registration ready to travel: its number, its message, the frame behind it, and which keys it is about.
template <class K>
struct Batch {
  std::uint64_t sequence = 0;
  Bytes message;
  Bytes envelope;
  std::vector<K> keys;
  std::vector<bool> dropped;  // which entries are left out when it is sent again; none if it is empty
  std::vector<K> left_out;    // what it was sent with at first, and is not any more
};

/// Gathers entries into registrations. Entries are encoded as they come and exist only so: what could not be sent is
/// read back from its own bytes. Not thread-safe.
template <Key K, Value V, Metadata M, class C>
  requires Codec<C, K, V, M>
class Batcher {
 public:
  using EntryType = Entry<K, V, M>;

  /// A batch is sealed at `size` entries (at least 1), at 1 MiB, or `timeout` after its first entry.
  Batcher(std::size_t size, std::chrono::nanoseconds timeout, ClientId client, std::string name_space)
      : size_(std::max<std::size_t>(size, 1)), timeout_(timeout), client_(client), name_space_(std::move(name_space)) {}

  /// Adds all entries, or, if one of them cannot be encoded, none. So it is too if a `wire` of the user's throws, which
  /// counts as an EncodeError.
  std::optional<Error> add(std::span<const EntryType> entries, SteadyTime now) {
    const std::size_t sealed_before = sealed_.size();
    const std::size_t count_before = open_keys_.size();
    const SteadyTime since_before = open_since_;
    const std::uint64_t batch_before = last_batch_;
    for (const EntryType& entry : entries) {
      if (open_keys_.empty()) {
        C::begin_entries(MessageType::register_entries, open_);
        open_since_ = now;
      }
      if (auto error = append(entry)) {
        roll_back(sealed_before, count_before);
        open_since_ = since_before;
        last_batch_ = batch_before;
        return error;
      }
      if (open_keys_.size() >= size_ || open_.size() >= max_bytes) seal();
    }
    return std::nullopt;
  }

  /// Makes what is pending a batch.
  void seal() {
    if (open_keys_.empty()) return;
    Batch<K> batch;
    batch.sequence = last_batch_ = ++sequence_;
    Envelope{batch.sequence, client_, std::nullopt, name_space_}.encode(batch.envelope);
    batch.message = std::exchange(open_, Bytes{});
    batch.keys = std::exchange(open_keys_, {});
    sealed_.push_back(std::move(batch));
  }

  void seal_if_due(SteadyTime now) {
    if (!open_keys_.empty() && now >= open_since_ + timeout_) seal();
  }

  /// When the pending entries are to be sealed, if there are any.
  std::optional<SteadyTime> deadline() const {
    if (open_keys_.empty()) return std::nullopt;
    return open_since_ + timeout_;
  }

  bool has_batch() const noexcept { return !sealed_.empty() || !given_up_.empty(); }

  /// The next batch to send, taken out; one that could not be sent is put back in its place. In the order of their
  /// numbers: what was given up must not be applied, late, over what was registered after it.
  Batch<K> take_batch() {
    if (sealed_.empty() || (!given_up_.empty() && given_up_.begin()->first < sealed_.front().sequence)) {
      Batch<K> batch = empty_batch(given_up_.begin()->first);
      drop_first_given_up();
      return batch;
    }
    Batch<K> batch = std::move(sealed_.front());
    sealed_.pop_front();
    return batch;
  }

  void put_back(Batch<K> batch) { sealed_.push_front(std::move(batch)); }

  /// The number of the last registration; 0 before the first.
  std::uint64_t last_sequence() const noexcept { return sequence_; }

  /// The number of the last batch sealed; 0 before the first.
  std::uint64_t last_batch() const noexcept { return last_batch_; }

  /// A number for a registration that is not a batch.
  std::uint64_t next_sequence() noexcept { return ++sequence_; }

  /// To be called before a batch that has been sent is sent again: the hub must know that it may have been applied.
  void mark_resent(Batch<K>& batch) const {
    Envelope envelope{batch.sequence, client_, std::nullopt, name_space_};
    envelope.resent = sequence_;
    envelope.encode(batch.envelope);
  }

  /// Nobody will send what was to have this number: an empty batch takes it, so that the hub does not wait for it, and
  /// does not apply it should it still come.
  void give_up(std::uint64_t sequence) {
    auto next = given_up_.lower_bound(sequence);
    auto before = next == given_up_.begin() ? given_up_.end() : std::prev(next);
    const bool goes_on = before != given_up_.end() && before->second + 1 == sequence;
    if (!goes_on) before = given_up_.emplace_hint(next, sequence, sequence);
    before->second = sequence;
    if (next == given_up_.end() || next->first != sequence + 1) return;
    before->second = next->second;
    given_up_.erase(next);
  }

  Batch<K> empty_batch(std::uint64_t sequence) const {
    Batch<K> batch;
    batch.sequence = sequence;
    C::begin_entries(MessageType::register_entries, batch.message);
    mark_resent(batch);
    return batch;
  }

  /// The lowest number of the batches not taken, if there are any.
  std::optional<std::uint64_t> first_sealed() const {
    std::optional<std::uint64_t> first;
    if (!given_up_.empty()) first = given_up_.begin()->first;
    for (const Batch<K>& batch : sealed_) first = std::min(first.value_or(batch.sequence), batch.sequence);
    return first;
  }

  /// The numbers of the batches not taken, ascending.
  std::vector<std::uint64_t> sealed_numbers() const {
    std::vector<std::uint64_t> numbers;
    for (const Batch<K>& batch : sealed_) numbers.push_back(batch.sequence);
    for (const auto& [first, last] : given_up_) {
      for (std::uint64_t number = first; number <= last; ++number) numbers.push_back(number);
    }
    std::ranges::sort(numbers);
    return numbers;
  }

  /// The entries of a batch. Throws if a `wire` of the user's does not read what it wrote.
  static std::vector<EntryType> entries_of(const Batch<K>& batch) { return read_back(batch.message); }

  /// Everything not taken, in the order it came; the batcher is empty afterwards.
  std::vector<EntryType> take_entries() {
    seal();
    given_up_.clear();
    std::vector<EntryType> all;
    for (const Batch<K>& batch : std::exchange(sealed_, {})) {
      std::vector<EntryType> some = entries_of(batch);
      all.insert(all.end(), std::make_move_iterator(some.begin()), std::make_move_iterator(some.end()));
    }
    return all;
  }

 private:
  static constexpr std::size_t max_bytes = 1 << 20;

  /// Throws if a `wire` of the user's does not read what it wrote.
  static std::vector<EntryType> read_back(ByteView message) {
    std::vector<EntryType> entries;
    if (auto error = C::decode_entries(message, entries)) throw RegistryError(std::move(*error));
    return entries;
  }

  void drop_first_given_up() {
    auto run = given_up_.extract(given_up_.begin());
    if (run.key()++ != run.mapped()) given_up_.insert(std::move(run));
  }

  std::optional<Error> append(const EntryType& entry) {
    if (auto error = append_guarded<C>(entry, open_)) return error;
    open_keys_.push_back(entry.key);
    return std::nullopt;
  }

  /// Only an entry that cannot be encoded leads here, so that it may take its time.
  void roll_back(std::size_t sealed, std::size_t count) {
    if (sealed_.size() > sealed) {
      // The first batch sealed since then begins with what was pending.
      sequence_ -= sealed_.size() - sealed;
      open_ = std::move(sealed_[sealed].message);
      open_keys_ = std::move(sealed_[sealed].keys);
      sealed_.resize(sealed);
    }
    const std::vector<EntryType> entries = count > 0 ? read_back(open_) : std::vector<EntryType>{};
    C::begin_entries(MessageType::register_entries, open_);
    for (std::size_t i = 0; i < count; ++i)
      C::append_entry(entries[i].key, entries[i].value, entries[i].metadata, open_);
    open_keys_.resize(count);
  }

  std::size_t size_;
  std::chrono::nanoseconds timeout_;
  ClientId client_;
  std::string name_space_;
  Bytes open_;
  std::vector<K> open_keys_;
  SteadyTime open_since_{};
  std::deque<Batch<K>> sealed_;
  std::map<std::uint64_t, std::uint64_t> given_up_;  // the first and the last of each run of numbers
  std::uint64_t sequence_ = 0;
  std::uint64_t last_batch_ = 0;
};

}  // namespace registry
