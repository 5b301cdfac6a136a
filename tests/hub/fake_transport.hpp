// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
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
#include <registry/storage.hpp>
#include <registry/transport/transport.hpp>

namespace hub_test {

using namespace registry;
using namespace std::chrono_literals;

using Block = std::uint64_t;
using BlockEntry = Entry<Block, Block, NoMetadata>;
using BlockCodec = BinaryCodec<Block, Block, NoMetadata>;
using Duration = std::optional<std::chrono::nanoseconds>;

inline Bytes copy(ByteView bytes) { return {bytes.begin(), bytes.end()}; }

/// A hub's transport in the hands of the test: messages are put into it, a script says what happens in each wait, and
/// the test moves the time.
/// Used by one thread, except `interrupt` and `wait_for_interrupt`.
class FakeTransport {
 public:
  struct Answer {
    std::string recipient;
    Bytes message;
    friend bool operator==(const Answer&, const Answer&) = default;
  };

  /// What each `wait` does, in turn; one without a script waits to be interrupted.
  std::deque<std::function<void()>> waits;
  /// For how long each `wait` was told to wait.
  std::vector<Duration> asked;
  std::vector<Answer> answers;
  /// Messages handed over by one drain.
  std::size_t budget = 1'000;
  /// What is done before each message is handed over, and at the end of a drain.
  std::function<void()> before_message = [] {};
  std::function<void()> after_drain = [] {};
  std::function<bool()> send_result = [] { return true; };
  std::atomic<int> interrupts = 0;
  /// Stands still unless the test moves it.
  Instant time{SteadyTime{1h}, WallTime{std::chrono::seconds{1'700'000'000}}};

  Instant now() const { return time; }

  void put_query(std::string sender, Bytes message, std::optional<Envelope> envelope = std::nullopt) {
    std::optional<Bytes> frame;
    if (envelope) envelope->encode(frame.emplace());
    messages_.push_back({false, std::move(sender), std::move(message), std::move(frame)});
  }

  void put_registration(std::string sender, Bytes message, std::optional<Envelope> envelope = std::nullopt) {
    std::optional<Bytes> frame;
    if (envelope) envelope->encode(frame.emplace());
    messages_.push_back({true, std::move(sender), std::move(message), std::move(frame)});
  }

  std::size_t left() const { return messages_.size(); }

  void wait(Duration timeout) {
    asked.push_back(timeout);
    if (!waits.empty()) {
      const auto next = std::move(waits.front());
      waits.pop_front();
      return next();
    }
    std::unique_lock lock(mutex_);
    interrupted_.wait(lock, [&] { return is_interrupted_; });
    is_interrupted_ = false;
  }

  template <HubHandler H>
  void drain(H& handler) {
    for (std::size_t i = 0; i < budget && !messages_.empty(); ++i) {
      const Message next = std::move(messages_.front());
      messages_.pop_front();
      before_message();
      const ByteView frame = next.envelope ? ByteView{*next.envelope} : ByteView{};
      if (next.is_registration) {
        handler.registration(next.sender, next.envelope ? std::optional{frame} : std::nullopt, next.message);
      } else {
        handler.query(as_bytes(next.sender), next.envelope ? Frames{&frame, 1} : Frames{}, next.message);
      }
    }
    after_drain();
  }

  bool send(ByteView recipient, Frames, ByteView message) {
    if (!send_result()) return false;
    answers.push_back({std::string{as_text(recipient)}, copy(message)});
    return true;
  }

  void interrupt() noexcept {
    ++interrupts;
    const std::lock_guard lock(mutex_);
    is_interrupted_ = true;
    interrupted_.notify_all();
  }

 private:
  struct Message {
    bool is_registration;
    std::string sender;
    Bytes message;
    std::optional<Bytes> envelope;
  };

  std::deque<Message> messages_;
  std::mutex mutex_;
  std::condition_variable interrupted_;
  bool is_interrupted_ = false;
};

static_assert(HubTransport<FakeTransport>);

inline auto block_hub() { return hub<Block, Block>(HashMapStorage<Block, Block>{}); }

inline Bytes keys(MessageType type, std::vector<Block> list) {
  Bytes out;
  BlockCodec::encode_keys(type, list, out);
  return out;
}

inline Bytes can_offload(std::vector<Block> list) { return keys(MessageType::can_offload, std::move(list)); }

inline Bytes registration(const std::vector<BlockEntry>& entries) {
  Bytes out;
  BlockCodec::begin_entries(MessageType::register_entries, out);
  for (const BlockEntry& entry : entries) BlockCodec::append_entry(entry, out);
  return out;
}

inline Bytes statuses(std::vector<OffloadStatus> list) {
  Bytes out;
  BlockCodec::encode_statuses(MessageType::can_offload_response, std::span<const OffloadStatus>{list}, out);
  return out;
}

inline Bytes count(MessageType type, std::uint64_t number) {
  Bytes out;
  BlockCodec::encode_count(type, number, out);
  return out;
}

/// The words of an ErrorResponse; what is none fails.
inline std::string refusal(const FakeTransport::Answer& answer) {
  MessageType type{};
  std::string text;
  if (BlockCodec::decode_type(answer.message, type) || type != MessageType::error_response ||
      BlockCodec::decode_text(answer.message, text)) {
    throw std::runtime_error("not an ErrorResponse");
  }
  return text;
}

/// Asks the core of a hub at a time of the test's choosing.
template <class Hub>
FakeTransport::Answer ask(Hub& hub, const std::string& sender, const Bytes& message,
                          std::chrono::nanoseconds time = 0ns) {
  FakeTransport::Answer answer;
  hub.core().query(as_bytes(sender), {}, message, Instant{SteadyTime{1h} + time, WallTime{}},
                   [&](ByteView recipient, Frames, ByteView bytes) {
                     answer = {std::string{as_text(recipient)}, copy(bytes)};
                     return true;
                   });
  return answer;
}

}  // namespace hub_test
