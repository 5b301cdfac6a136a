// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <registry/builder.hpp>
#include <registry/bytes.hpp>
#include <registry/codec.hpp>
#include <registry/core/instant.hpp>
#include <registry/envelope.hpp>
#include <registry/error.hpp>
#include <registry/message.hpp>
#include <registry/metadata.hpp>
#include <registry/transport/transport.hpp>
#include <registry/undelivered.hpp>

namespace client_test {

using namespace registry;
using namespace std::chrono_literals;

using Block = std::uint64_t;
using BlockEntry = Entry<Block, Block, NoMetadata>;
using BlockCodec = BinaryCodec<Block, Block, NoMetadata>;
using BlockUndelivered = Undelivered<Block, Block, NoMetadata>;

struct Message {
  Bytes message;
  Bytes envelope;
};

/// For Script::push: no room for another registration.
inline bool at_the_mark(SteadyTime) { return false; }

/// What a FakeTransport does and what was done to it, in the hands of the test. Without locks: a test with threads
/// brings its own in `push` and `answer`.
struct Script {
  SteadyTime now{1h};
  /// Answers what `push` answers, or throws.
  std::function<bool(SteadyTime deadline)> push = [](SteadyTime) { return true; };
  std::vector<Message> pushed;
  std::vector<Message> posted;
  /// Makes what arrives after a query: messages of frames.
  std::function<std::vector<std::vector<Bytes>>(ByteView envelope, ByteView message)> answer;
  /// What a query comes to that was not answered; nothing: Timeout.
  std::optional<Error> failure;
  std::vector<Message> asked;
  std::vector<Message> withdrawn;
  std::optional<bool> kept_connection;

  TickHandler tick;
  std::optional<SteadyTime> due;
  std::string calls;  // s(tart), S(top), c(lose), in their order
  std::function<void()> on_wake = [] {};
  std::function<void()> on_close = [] {};
  std::optional<std::chrono::nanoseconds> linger;

  /// Moves the time on and calls the tick if it is due.
  void advance(std::chrono::nanoseconds duration) {
    now += duration;
    if (!tick || !due || *due > now) return;
    due.reset();
    if (const auto next = tick(now)) wake_at(*next);
  }

  void wake_at(SteadyTime time) { due = due ? std::min(*due, time) : time; }

  /// The entries of every registration pushed, a list for each.
  std::vector<std::vector<BlockEntry>> batches() const {
    std::vector<std::vector<BlockEntry>> all;
    for (const Message& message : pushed) {
      if (BlockCodec::decode_entries(message.message, all.emplace_back()))
        throw std::runtime_error("not a registration");
    }
    return all;
  }

  std::vector<std::size_t> batch_sizes() const {
    std::vector<std::size_t> sizes;
    for (const auto& batch : batches()) sizes.push_back(batch.size());
    return sizes;
  }

  /// Numbers of the registrations pushed.
  std::vector<std::uint64_t> sequence() const {
    std::vector<std::uint64_t> numbers;
    for (const Message& message : pushed) numbers.push_back(Envelope::decode(message.envelope).value().number);
    return numbers;
  }
};

class FakeTransport {
 public:
  explicit FakeTransport(std::shared_ptr<Script> script) : script_(std::move(script)) {}

  SteadyTime now() const { return script_->now; }

  template <Exchange E>
  std::optional<Error> exchange(E& exchange, SteadyTime deadline) {
    script_->asked.push_back({copy(exchange.message()), copy(exchange.envelope())});
    if (script_->answer) {
      for (const std::vector<Bytes>& message : script_->answer(exchange.envelope(), exchange.message())) {
        const std::vector<ByteView> frames(message.begin(), message.end());
        if (exchange.accept(frames)) return std::nullopt;
      }
    }
    if (auto withdrawal = exchange.withdrawal()) script_->withdrawn.push_back({withdrawal->second, withdrawal->first});
    script_->kept_connection = exchange.keep_connection();
    if (script_->failure) return script_->failure;
    return Timeout{std::chrono::ceil<std::chrono::milliseconds>(deadline - script_->now)};
  }

  void post(ByteView envelope, ByteView message, const DropHandler&) noexcept {
    script_->posted.push_back({copy(message), copy(envelope)});
  }

  bool push(ByteView message, ByteView envelope, SteadyTime deadline) {
    if (!script_->push(deadline)) return false;
    script_->pushed.push_back({copy(message), copy(envelope)});
    return true;
  }

  void start(TickHandler handler) {
    script_->calls += 's';
    script_->tick = std::move(handler);
  }
  void wake_at(SteadyTime time) {
    script_->on_wake();
    script_->wake_at(time);
  }
  void stop() {
    script_->calls += 'S';
    script_->tick = nullptr;
  }
  void close(std::chrono::nanoseconds linger) {
    script_->calls += 'c';
    script_->linger = linger;
    script_->on_close();
  }

 private:
  static Bytes copy(ByteView bytes) { return {bytes.begin(), bytes.end()}; }

  std::shared_ptr<Script> script_;
};

static_assert(BlockingTransport<FakeTransport>);

/// Keeps what is logged.
struct Log {
  std::shared_ptr<std::vector<std::pair<LogLevel, std::string>>> lines =
      std::make_shared<std::vector<std::pair<LogLevel, std::string>>>();

  void operator()(LogLevel level, std::string_view text) const { lines->emplace_back(level, std::string{text}); }
};

/// One that asks for no confirmations: a script answers what its test is about.
inline auto fake_client(const std::shared_ptr<Script>& script) {
  return client<Block, Block>(FakeTransport(script)).max_unconfirmed_bytes(0);
}

inline std::vector<BlockEntry> blocks(Block first, std::size_t count) {
  std::vector<BlockEntry> entries;
  for (Block key = first; key < first + count; ++key) entries.push_back({key, 10 * key, {}});
  return entries;
}

inline Bytes statuses(std::vector<OffloadStatus> list) {
  Bytes out;
  BlockCodec::encode_statuses(MessageType::can_offload_response, std::span<const OffloadStatus>{list}, out);
  return out;
}

inline Bytes matched(const std::vector<BlockEntry>& entries) {
  Bytes out;
  BlockCodec::begin_entries(MessageType::match_response, out);
  for (const BlockEntry& entry : entries) BlockCodec::append_entry(entry, out);
  return out;
}

inline Bytes count(MessageType type, std::uint64_t number) {
  Bytes out;
  BlockCodec::encode_count(type, number, out);
  return out;
}

inline Bytes words(MessageType type, std::string_view text) {
  Bytes out;
  BlockCodec::encode_text(type, text, out);
  return out;
}

inline Bytes bytes(std::initializer_list<unsigned char> list) {
  Bytes out;
  for (const unsigned char byte : list) out.push_back(std::byte{byte});
  return out;
}

inline std::vector<Block> keys_of(ByteView message) {
  std::vector<Block> keys;
  if (BlockCodec::decode_keys(message, keys)) throw std::runtime_error("not a list of keys");
  return keys;
}

inline MessageType type_of(ByteView message) {
  MessageType type{};
  if (BlockCodec::decode_type(message, type)) throw std::runtime_error("not a message");
  return type;
}

/// Answers every query with this message behind its envelope.
inline auto always(Bytes message) {
  return [message = std::move(message)](ByteView envelope, ByteView) {
    return std::vector<std::vector<Bytes>>{{Bytes(envelope.begin(), envelope.end()), message}};
  };
}

/// As a hub does that knows no envelopes.
inline auto always_bare(Bytes message) {
  return [message = std::move(message)](ByteView, ByteView) { return std::vector<std::vector<Bytes>>{{message}}; };
}

/// What `call` throws as a RegistryError; nothing if it does not throw.
template <class Call>
std::optional<RegistryError> error_of(Call call) {
  try {
    call();
  } catch (const RegistryError& error) {
    return error;
  }
  return std::nullopt;
}

template <class Case>
bool is(const std::optional<RegistryError>& error) {
  return error && error->as<Case>() != nullptr;
}

/// What `call` throws as a registration that was not accepted.
template <class Call>
std::optional<BlockUndelivered> undelivered(Call call) {
  try {
    call();
  } catch (const BlockUndelivered& error) {
    return error;
  }
  return std::nullopt;
}

}  // namespace client_test
