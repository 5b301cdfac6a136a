// SPDX-License-Identifier: Apache-2.0
// What the tests of the Asio transport share: a hub that says what a test wants it to say, and one that is real.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <asio/io_context.hpp>

#include <registry/registry.hpp>
#include <registry/transport/asio_zmq.hpp>

#include "zmq/sockets.hpp"

namespace asio_test {

using namespace std::chrono_literals;
using namespace registry;

using K = std::uint64_t;
using Client = RegistryClient<K, std::uint64_t, NoMetadata, AsioZmqTransport>;
using Block = Client::EntryType;
using Messages = BinaryCodec<K, std::uint64_t, NoMetadata>;
using Keys = std::vector<K>;
using Blocks = std::vector<Block>;

inline auto builder(asio::io_context& io, ZmqTransportConfig config) {
  return client<K, std::uint64_t>(AsioZmqTransport::connect(io.get_executor(), std::move(config)));
}

/// What a call completed with.
template <class Result>
struct Completed {
  int calls = 0;
  std::error_code code;
  Result result{};

  /// A completion token that writes here.
  auto token() {
    return [this](std::error_code got, Result value) {
      ++calls;
      code = got;
      result = std::move(value);
    };
  }
  bool succeeded() const { return calls == 1 && !code; }
  bool failed_with(errc expected) const { return calls == 1 && code == expected; }
};

struct ClaimTerms {
  std::chrono::nanoseconds ttl = 30s;
  std::uint64_t incarnation = 7;
  std::uint64_t token = 1;
};

inline Bytes sync_answer(const SyncAnswer& answer) {
  Bytes message;
  Messages::encode_count(MessageType::sync_response, answer.applied, message);
  append_trailer<3>({answer.incarnation, answer.flags, answer.first_refusal}, message);
  return message;
}

/// A hub under the test's control: it keeps what comes, and answers what it is told to.
class ScriptedHub {
 public:
  explicit ScriptedHub(ZmqHubConfig config = zmq_test::local_hub())
      : transport_(ZmqHubTransport::bind(std::move(config))) {}

  ZmqTransportConfig address() const { return zmq_test::to_hub(transport_.endpoints()); }

  /// Lets the hub receive and the client work until `done`; false if that takes too long.
  template <class Done>
  bool run(asio::io_context& io, Done done) {
    const SteadyTime end = zmq_test::steady_now() + zmq_test::limit;
    while (!done()) {
      if (zmq_test::steady_now() > end) return false;
      io.restart();
      io.poll();
      transport_.wait(1ms);
      transport_.drain(seen);
      if (confirms) confirm();
    }
    return true;
  }

  /// The number of a registration that was pushed.
  std::uint64_t number(std::size_t registration) const {
    return Envelope::decode(as_bytes(seen.registrations.at(registration).second.value())).value().number;
  }

  MessageType type(std::size_t query) const {
    MessageType type{};
    if (Messages::decode_type(as_bytes(seen.queries.at(query).message), type)) throw std::runtime_error("no message");
    return type;
  }

  Keys keys(std::size_t query) const {
    Keys keys;
    if (Messages::decode_keys(as_bytes(seen.queries.at(query).message), keys)) throw std::runtime_error("no keys");
    return keys;
  }

  Envelope envelope(std::size_t query) const {
    return Envelope::decode(as_bytes(seen.queries.at(query).envelope.at(0))).value();
  }

  std::size_t entries_registered() const {
    std::size_t count = 0;
    for (const auto& registration : seen.registrations) {
      Blocks entries;
      if (Messages::decode_entries(as_bytes(registration.message), entries)) throw std::runtime_error("no entries");
      count += entries.size();
    }
    return count;
  }

  /// Answers as this library's hubs do, behind the query's envelope.
  void answer(std::size_t query, const Bytes& message) {
    if (!zmq_test::answer(transport_, seen.queries.at(query), as_text(message)))
      throw std::runtime_error("unreachable");
  }

  /// Answers as if it had been asked under another number.
  void answer_as(RequestId number, std::size_t query, const Bytes& message) {
    zmq_test::Recorder::Query to = seen.queries.at(query);
    Envelope other = *Envelope::decode(as_bytes(to.envelope.at(0)));
    other.number = number;
    Bytes envelope;
    other.encode(envelope);
    to.envelope = {zmq_test::text(envelope)};
    if (!zmq_test::answer(transport_, to, as_text(message))) throw std::runtime_error("unreachable");
  }

  /// Answers as a hub does that knows no envelopes.
  void answer_bare(std::size_t query, const Bytes& message) {
    zmq_test::Recorder::Query to = seen.queries.at(query);
    to.envelope.clear();
    if (!zmq_test::answer(transport_, to, as_text(message))) throw std::runtime_error("unreachable");
  }

  zmq_test::Recorder seen;
  /// Whether it confirms by itself what was pushed: then the questions for that are not among the queries seen.
  bool confirms = true;

 private:
  void confirm() {
    while (looked_at_ < seen.queries.size()) {
      if (type(looked_at_) != MessageType::sync) {
        ++looked_at_;
        continue;
      }
      const std::uint64_t last = seen.registrations.empty() ? 0 : number(seen.registrations.size() - 1);
      const Bytes message = sync_answer({.applied = last, .incarnation = ClaimTerms{}.incarnation});
      zmq_test::answer(transport_, seen.queries[looked_at_], as_text(message));
      seen.queries.erase(seen.queries.begin() + static_cast<std::ptrdiff_t>(looked_at_));
    }
  }

  std::size_t looked_at_ = 0;
  ZmqHubTransport transport_;
};

inline Bytes count_answer(MessageType type, std::uint64_t count) {
  Bytes message;
  Messages::encode_count(type, count, message);
  return message;
}

inline Bytes statuses_answer(const std::vector<OffloadStatus>& statuses) {
  Bytes message;
  Messages::encode_statuses(MessageType::can_offload_response, std::span<const OffloadStatus>{statuses}, message);
  return message;
}

inline Bytes claim_answer(const std::vector<OffloadStatus>& statuses, ClaimTerms terms = {}) {
  Bytes message;
  Messages::encode_statuses(MessageType::claim_response, std::span<const OffloadStatus>{statuses}, message);
  append_trailer<4>({terms.incarnation, terms.token, static_cast<std::uint64_t>(terms.ttl.count()), 0}, message);
  return message;
}

inline Bytes renew_answer(const std::vector<RenewStatus>& statuses, ClaimTerms terms = {}) {
  Bytes message;
  Messages::encode_statuses(MessageType::renew_response, std::span<const RenewStatus>{statuses}, message);
  append_trailer<2>({terms.incarnation, static_cast<std::uint64_t>(terms.ttl.count())}, message);
  return message;
}

inline Bytes register_answer(const std::vector<RegisterStatus>& statuses) {
  Bytes message;
  Messages::encode_statuses(MessageType::register_response, std::span<const RegisterStatus>{statuses}, message);
  return message;
}

inline Bytes text_answer(MessageType type, std::string_view text) {
  Bytes message;
  Messages::encode_text(type, text, message);
  return message;
}

/// For co_spawn: what the coroutine throws is thrown by whoever runs it.
inline void rethrow(std::exception_ptr failure) {
  if (failure) std::rethrow_exception(failure);
}

/// Lets the client work until `done`, also of what happens elsewhere; false if that takes too long.
template <class Done>
bool run_until(asio::io_context& io, Done done) {
  const SteadyTime end = zmq_test::steady_now() + zmq_test::limit;
  while (!done()) {
    if (zmq_test::steady_now() > end) return false;
    io.restart();
    if (io.run_one_for(10ms) == 0) std::this_thread::yield();
  }
  return true;
}

/// Asks something and answers it, after which the client knows that its hub returns envelopes.
template <class AnyClient>
bool introduce(ScriptedHub& hub, asio::io_context& io, AnyClient& client) {
  Completed<std::uint64_t> outcome;
  client.async_touch({0}, outcome.token());
  const std::size_t query = hub.seen.queries.size();
  if (!hub.run(io, [&] { return hub.seen.queries.size() > query; })) return false;
  hub.answer(query, count_answer(MessageType::touch_response, 0));
  return hub.run(io, [&] { return outcome.calls > 0; }) && outcome.succeeded();
}

/// A hub that serves on a thread of its own.
class ServedHub {
 public:
  explicit ServedHub(ZmqHubConfig config = zmq_test::local_hub(), HubOptions options = {})
      : catalogue_(Policy(HashMapStorage<K, std::uint64_t>{}), std::move(options)),
        transport_(ZmqHubTransport::bind(std::move(config))),
        thread_([this] { catalogue_.serve(transport_); }) {}
  ServedHub(const ServedHub&) = delete;
  ServedHub& operator=(const ServedHub&) = delete;
  ~ServedHub() {
    catalogue_.stop();
    thread_.join();
  }

  ZmqTransportConfig address() const { return zmq_test::to_hub(transport_.endpoints()); }
  HubStats stats() const { return catalogue_.stats(); }

 private:
  using Policy = NoEviction<HashMapStorage<K, std::uint64_t>>;

  RegistryHub<Policy> catalogue_;
  ZmqHubTransport transport_;
  std::thread thread_;
};

/// A log that a test can read.
struct Log {
  std::vector<std::string> lines;
  LogHook hook() {
    return [this](LogLevel, std::string_view text) { lines.emplace_back(text); };
  }
};

}  // namespace asio_test
