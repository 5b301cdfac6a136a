// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <utility>
#include <vector>

#include <registry/bytes.hpp>
#include <registry/codec.hpp>
#include <registry/detail/flat_map.hpp>
#include <registry/error.hpp>
#include <registry/key.hpp>
#include <registry/message.hpp>
#include <registry/wire.hpp>

namespace registry {

/// Small calls of one client as one message, and its answer as the answers that they would have had alone: what a
/// message costs beside its keys is then paid once for all of them. Not thread-safe.
template <Key K, Value V, Metadata M, class C>
  requires Codec<C, K, V, M>
class JointQuery {
 public:
  /// A call of more keys is worth a message of its own.
  static constexpr std::size_t max_keys_of_a_call = 16;
  /// Beyond this many keys another message costs next to nothing more.
  static constexpr std::size_t max_keys = 256;

  /// For a client that takes answers of at most `max_answer` bytes. A longer one would cost it the connection: unless
  /// none can be, matches travel alone, and only who asks for too much has to bear it.
  explicit JointQuery(std::size_t max_answer = std::numeric_limits<std::size_t>::max())
      : joins_matches_(max_keys * longest_entry <= max_answer) {}

  /// Takes in a call behind those before it. False if it must not travel with them: it asks something else, there are
  /// too many keys, or one of its keys is theirs too. A hub grants a key once in a message, but to each of these calls.
  bool add(MessageType type, std::span<const K> keys) {
    if (!may_join(type, keys.size())) return false;
    if (type == MessageType::can_offload) {
      if (std::ranges::any_of(keys, [&](const K& key) { return granted_once_.contains(key); })) return false;
      granted_once_.insert(keys.begin(), keys.end());
    }
    type_ = type;
    keys_.insert(keys_.end(), keys.begin(), keys.end());
    ends_.push_back(keys_.size());
    return true;
  }

  /// Forgets all calls; memory is kept.
  void clear() noexcept {
    keys_.clear();
    ends_.clear();
    granted_once_.clear();
    found_.clear();
  }

  void encode(Bytes& message) const { C::encode_keys(type_, keys_, message); }

  /// Reads the answer to all. False if it does not answer them, a refusal for instance: then each has to ask alone, so
  /// that it hears what it would have heard, and of nobody else's failure.
  bool read(ByteView answer) {
    MessageType type{};
    if (C::decode_type(answer, type)) return false;
    if (type_ == MessageType::can_offload) {
      return type == MessageType::can_offload_response && !C::decode_statuses(answer, statuses_) &&
             statuses_.size() == keys_.size();
    }
    return type == MessageType::match_response && !C::decode_entries(answer, found_) && find_entries_of_calls();
  }

  /// The answer to one of the calls, which are counted from 0 in the order that they came in. After a `read` that said
  /// true; valid until the next call. Throws RegistryError if what was read cannot be written again.
  ByteView answer(std::size_t call) {
    const std::size_t first = call == 0 ? 0 : ends_[call - 1];
    if (type_ == MessageType::can_offload) {
      const std::span<const OffloadStatus> all{statuses_};
      C::encode_statuses(MessageType::can_offload_response, all.subspan(first, ends_[call] - first), answer_);
    } else {
      C::begin_entries(MessageType::match_response, answer_);
      for (std::size_t i = call == 0 ? 0 : found_ends_[call - 1]; i < found_ends_[call]; ++i) {
        const auto& [key, value, metadata] = found_[i];
        if (auto error = C::append_entry(key, value, metadata, answer_)) throw RegistryError(std::move(*error));
      }
    }
    return answer_;
  }

 private:
  template <class T>
  static constexpr std::size_t longest_field() {
    if constexpr (FixedWire<T>) return wire<T>::size;
    return std::numeric_limits<std::uint16_t>::max();
  }

  /// With what a codec may put around the fields.
  static constexpr std::size_t longest_entry = longest_field<K>() + longest_field<V>() + longest_field<M>() + 16;

  bool may_join(MessageType type, std::size_t count) const {
    if (type != MessageType::can_offload && !(type == MessageType::match && joins_matches_)) return false;
    if (count > max_keys_of_a_call || keys_.size() + count > max_keys) return false;
    return ends_.empty() || type == type_;
  }

  /// The entries come in the order of the keys, those that are not stored left out.
  bool find_entries_of_calls() {
    found_ends_.clear();
    std::size_t next = 0;
    std::size_t key = 0;
    for (const std::size_t end : ends_) {
      for (; key < end; ++key) {
        if (next < found_.size() && found_[next].key == keys_[key]) ++next;
      }
      found_ends_.push_back(next);
    }
    return next == found_.size();
  }

  bool joins_matches_;
  MessageType type_{};
  std::vector<K> keys_;
  std::vector<std::size_t> ends_;  // of each call's keys
  detail::FlatSet<K> granted_once_;
  std::vector<OffloadStatus> statuses_;
  std::vector<Entry<K, V, M>> found_;
  std::vector<std::size_t> found_ends_;  // of each call's entries
  Bytes answer_;
};

}  // namespace registry
