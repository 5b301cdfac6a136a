// SPDX-License-Identifier: Apache-2.0
// A hub core with everything around it: the time it is told, the clients that ask it, what it answered and logged.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <new>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <registry/bytes.hpp>
#include <registry/codec.hpp>
#include <registry/core/hub_core.hpp>
#include <registry/core/instant.hpp>
#include <registry/envelope.hpp>
#include <registry/eviction.hpp>
#include <registry/message.hpp>
#include <registry/storage.hpp>
#include <registry/trailer.hpp>

#include "core/common.hpp"
#include "core/times.hpp"

namespace registry::test {

using Plain = NoEviction<PlainStorage>;
using Timed = NoEviction<TimedStorage>;

inline TimedEntry timed(Number key, std::optional<std::uint32_t> ttl = {}) { return {key, key * 10, {created, ttl}}; }

/// Somebody who asks: by its routing id and, unless it is anonymous, an envelope.
struct Asker {
  std::string sender;
  std::optional<ClientId> id;
  std::string name_space{default_namespace};
  std::uint64_t request = 0;
  std::uint64_t sequence = 0;

  std::vector<Bytes> envelope(std::optional<std::uint64_t> after = {}) {
    if (!id) return {};
    std::vector<Bytes> frames(1);
    Envelope{++request, *id, after, name_space}.encode(frames[0]);
    return frames;
  }
};

inline Asker client(std::uint64_t n) { return {"peer" + std::to_string(n), ClientId{7, n}}; }
inline Asker anonymous(std::string sender) { return {std::move(sender), {}}; }

inline Bytes bytes(std::string_view text) {
  const ByteView view = as_bytes(text);
  return {view.begin(), view.end()};
}

struct Reply {
  std::string recipient;
  std::vector<Bytes> envelope;
  Bytes message;
};

template <class P = Plain,
          class C = BinaryCodec<typename P::key_type, typename P::value_type, typename P::metadata_type>>
class TestHub {
 public:
  using K = typename P::key_type;
  using V = typename P::value_type;
  using M = typename P::metadata_type;
  using EntryType = Entry<K, V, M>;
  using Gone = std::pair<EntryType, EvictionReason>;

  explicit TestHub(HubOptions options = {}, P policy = P{typename PolicyStorage<P>::type{}})
      : core(
            std::move(policy), logging(std::move(options)),
            [this](
                const K& key, const V& value, const M& metadata, EvictionReason reason, const Departure<K>& departure) {
              gone.push_back({{key, value, metadata}, reason});
              if (on_gone) on_gone(departure);
            },
            [this](std::string_view name_space, std::span<const EntryType> entries, const Error& why) {
              refused.push_back({std::string{name_space}, {entries.begin(), entries.end()}, why});
              if (on_refused) on_refused();
            }) {}
  TestHub(const TestHub&) = delete;
  TestHub& operator=(const TestHub&) = delete;

  void pass(std::chrono::nanoseconds time) {
    now.lease += time;
    now.wall += std::chrono::duration_cast<WallTime::duration>(time);
  }

  auto reply() {
    return [this](ByteView recipient, Frames envelope, ByteView message) {
      Reply one{std::string{as_text(recipient)}, {}, {message.begin(), message.end()}};
      for (const ByteView frame : envelope) one.envelope.emplace_back(frame.begin(), frame.end());
      if (is_out_of_memory) throw std::bad_alloc{};
      replies.push_back(std::move(one));
      return reachable;
    };
  }

  void query(const std::string& sender, const std::vector<Bytes>& envelope, const Bytes& message) {
    const std::vector<ByteView> frames(envelope.begin(), envelope.end());
    core.query(as_bytes(sender), frames, message, now, reply());
  }

  /// Asks, and answers what came back, which goes to the asker with its own envelope.
  Bytes ask(Asker& asker, const Bytes& message, std::optional<std::uint64_t> after = {}) {
    const std::size_t before = replies.size();
    const std::vector<Bytes> envelope = asker.envelope(after);
    query(asker.sender, envelope, message);
    if (replies.size() != before + 1) throw std::runtime_error{"not exactly one answer"};
    if (replies.back().recipient != asker.sender || replies.back().envelope != envelope) {
      throw std::runtime_error{"an answer to somebody else"};
    }
    return replies.back().message;
  }

  static Bytes keys(MessageType type, const std::vector<K>& keys) {
    Bytes message;
    C::encode_keys(type, keys, message);
    return message;
  }

  static Bytes registration(const std::vector<EntryType>& entries) {
    Bytes message;
    C::begin_entries(MessageType::register_entries, message);
    for (const EntryType& entry : entries) {
      if (auto error = C::append_entry(entry.key, entry.value, entry.metadata, message)) throw RegistryError{*error};
    }
    return message;
  }

  Statuses can_offload(Asker& asker, const std::vector<K>& which) {
    const Bytes answer = ask(asker, keys(MessageType::can_offload, which));
    Statuses statuses;
    expect(answer, MessageType::can_offload_response);
    require_none(C::decode_statuses(answer, statuses));
    return statuses;
  }

  std::vector<EntryType> match(Asker& asker, const std::vector<K>& which) {
    const Bytes answer = ask(asker, keys(MessageType::match, which));
    std::vector<EntryType> found;
    expect(answer, MessageType::match_response);
    require_none(C::decode_entries(answer, found));
    return found;
  }

  std::uint64_t count(Asker& asker, MessageType type, const std::vector<K>& which) {
    return read_count(ask(asker, keys(type, which)), answer_of(type));
  }
  std::uint64_t remove(Asker& asker, const std::vector<K>& which) { return count(asker, MessageType::remove, which); }
  std::uint64_t touch(Asker& asker, const std::vector<K>& which) { return count(asker, MessageType::touch, which); }
  std::uint64_t release(Asker& asker, const std::vector<K>& which) { return count(asker, MessageType::release, which); }

  /// Takes back what request number `request` of this asker was granted.
  std::uint64_t withdraw(Asker asker, std::uint64_t request, const std::vector<K>& which) {
    asker.request = request - 1;
    return count(asker, MessageType::withdraw, which);
  }

  /// The text of the ErrorResponse that this message brings.
  std::string refusal(Asker& asker, const Bytes& message) { return error_text(ask(asker, message)); }

  static std::string error_text(const Bytes& answer) {
    std::string text;
    expect(answer, MessageType::error_response);
    require_none(C::decode_text(answer, text));
    return text;
  }

  static std::uint64_t read_count(const Bytes& answer, MessageType type) {
    std::uint64_t n = 0;
    expect(answer, type);
    require_none(C::decode_count(answer, n));
    return n;
  }

  void put(Asker& asker, const std::vector<EntryType>& entries) {
    if (!asker.id) return put_raw(asker.sender, std::nullopt, registration(entries));
    Bytes envelope;
    Envelope{++asker.sequence, *asker.id, std::nullopt, asker.name_space}.encode(envelope);
    put_raw(asker.sender, envelope, registration(entries));
  }

  void put_raw(const std::string& sender, const std::optional<Bytes>& envelope, const Bytes& message) {
    const std::optional<ByteView> frame = envelope ? std::optional<ByteView>{*envelope} : std::nullopt;
    core.registration(sender, frame, message, now, reply());
  }

  void tick() { core.tick(now, reply()); }
  HubStats stats() const { return core.stats(); }

  /// Lease clock and wall clock, which start nowhere near each other.
  Instant now{start, wall_start};
  bool reachable = true;
  bool is_out_of_memory = false;  // when it is to send an answer
  std::vector<Reply> replies;
  std::vector<std::string> log;
  std::vector<Gone> gone;
  std::function<void(const Departure<K>&)> on_gone;
  struct Refused {
    std::string name_space;
    std::vector<EntryType> entries;
    Error why;
  };
  std::vector<Refused> refused;
  std::function<void()> on_refused;
  HubCore<P, C> core;

 private:
  template <class Policy>
  struct PolicyStorage;
  template <template <class> class Policy, class S>
  struct PolicyStorage<Policy<S>> {
    using type = S;
  };

  HubOptions logging(HubOptions options) {
    options.log = [this](LogLevel, std::string_view text) { log.emplace_back(text); };
    return options;
  }

  static MessageType answer_of(MessageType query) {
    return query == MessageType::remove  ? MessageType::remove_response
           : query == MessageType::touch ? MessageType::touch_response
                                         : MessageType::release_response;
  }

  static void expect(const Bytes& answer, MessageType type) {
    MessageType is{};
    require_none(C::decode_type(answer, is));
    if (is == type) return;
    std::string text;
    if (is == MessageType::error_response) require_none(C::decode_text(answer, text));
    throw std::runtime_error{"an answer of type " + std::to_string(static_cast<unsigned>(is)) + " " + text};
  }

  static void require_none(const std::optional<Error>& error) {
    if (error) throw RegistryError{*error};
  }
};

/// Asks for keys in the name of a claim that may wait.
inline Bytes claim_message(const Numbers& keys, std::chrono::nanoseconds wait) {
  Bytes message = TestHub<>::keys(MessageType::claim, keys);
  append_trailer<1>({static_cast<std::uint64_t>(wait.count())}, message);
  return message;
}

}  // namespace registry::test
