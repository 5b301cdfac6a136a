// SPDX-License-Identifier: Apache-2.0
// Registrations that the hub answers, and removals by value, of asynchronous clients.
#include <asio/awaitable.hpp>
#include <asio/bind_cancellation_slot.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/co_spawn.hpp>
#include <asio/error.hpp>
#include <asio/executor_work_guard.hpp>
#include <asio/experimental/as_tuple.hpp>
#include <asio/steady_timer.hpp>
#include <asio/use_awaitable.hpp>
#include <asio/use_future.hpp>

#include <exception>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "asio/common.hpp"
#include "support/catch.hpp"

using namespace asio_test;

namespace acknowledged_cases {

/// A value that has a wire form unless it is 13.
struct Superstitious {
  std::uint64_t number = 0;
  friend bool operator==(const Superstitious&, const Superstitious&) = default;
};

}  // namespace acknowledged_cases

using acknowledged_cases::Superstitious;

template <>
struct registry::wire<Superstitious> {
  static std::size_t encoded_size(const Superstitious&) { return 8; }
  static bool encode(const Superstitious& value, std::span<std::byte> out) {
    store_le(value.number, out.data());
    return value.number != 13;
  }
  static std::optional<Superstitious> decode(std::span<const std::byte> in) {
    if (in.size() != 8) return std::nullopt;
    return Superstitious{load_le<std::uint64_t>(in.data())};
  }
};

namespace {

using Result = RegisterResult<Block>;

const Bytes stored_answer = register_answer({RegisterStatus::stored});

}  // namespace

TEST_CASE("a coroutine registers, hears what became of it, and removes what it knows") {
  ServedHub hub;
  asio::io_context io;
  Client client = builder(io, hub.address()).build();
  Client reader = builder(io, hub.address()).build();
  bool done = false;
  const auto work = [&]() -> asio::awaitable<void> {
    const Blocks entries{{1, 10}, {2, 20}};
    const auto result = co_await client.async_register_acknowledged(entries, asio::use_awaitable);
    CHECK(result.all_stored());
    CHECK(result.statuses.size() == 2);
    const Keys keys{1, 2};
    const Blocks found = co_await reader.async_match(keys, asio::use_awaitable);
    CHECK(found == entries);
    const Blocks known{{1, 10}, {2, 21}};
    const std::uint64_t removed = co_await reader.async_remove_if(known, asio::use_awaitable);
    CHECK(removed == 1);
    const Blocks left = co_await reader.async_match(keys, asio::use_awaitable);
    CHECK(left == Blocks{{2, 20}});
    done = true;
  };
  asio::co_spawn(io, work(), [](std::exception_ptr failure) {
    if (failure) std::rethrow_exception(failure);
  });
  io.run();
  REQUIRE(done);
}

TEST_CASE("acknowledged registrations of many threads are seen by everybody as soon as their futures are there") {
  ServedHub hub;
  asio::io_context io;
  auto work = asio::make_work_guard(io);
  std::vector<std::thread> runners;
  for (int i = 0; i < 2; ++i) runners.emplace_back([&] { io.run(); });
  {
    Client writer = builder(io, hub.address()).build();
    Client reader = builder(io, hub.address()).build();
    std::vector<std::thread> callers;
    for (K caller = 0; caller < 3; ++caller) {
      callers.emplace_back([&, caller] {
        for (K key = 100 * caller; key < 100 * caller + 50; ++key) {
          const Blocks entries{{key, key + 1}};
          if (!writer.async_register_acknowledged(entries, asio::use_future).get().all_stored()) std::terminate();
          if (reader.async_match({key}, asio::use_future).get() != entries) std::terminate();
        }
      });
    }
    for (std::thread& caller : callers) caller.join();
    REQUIRE(reader.async_remove_if({{1, 2}, {2, 2}}, asio::use_future).get() == 1);
  }
  work.reset();
  for (std::thread& runner : runners) runner.join();
  REQUIRE(hub.stats().entries_registered == 150);
}

TEST_CASE("an asynchronous registration is sent again under its number until it is answered") {
  ScriptedHub hub;
  asio::io_context io;
  Client client = builder(io, hub.address()).resend_interval(10ms).register_timeout(20s).build();
  REQUIRE(introduce(hub, io, client));
  Completed<Result> outcome;
  client.async_register_acknowledged({{1, 10}}, outcome.token());
  REQUIRE(hub.run(io, [&] { return hub.seen.queries.size() >= 4; }));
  REQUIRE(outcome.calls == 0);
  REQUIRE(hub.type(1) == MessageType::register_entries);
  REQUIRE(hub.envelope(1).sequence == 1);
  REQUIRE_FALSE(hub.envelope(1).resent);
  for (const std::size_t i : {2U, 3U}) {
    REQUIRE(hub.envelope(i).sequence == 1);
    REQUIRE(hub.envelope(i).resent == 1);
    REQUIRE(hub.seen.queries[i].message == hub.seen.queries[1].message);
    REQUIRE(hub.seen.queries[i].sender == hub.seen.queries[1].sender);
  }
  hub.answer(3, stored_answer);
  REQUIRE(hub.run(io, [&] { return outcome.calls > 0; }));
  REQUIRE(outcome.succeeded());
  REQUIRE(outcome.result.all_stored());
  // Other answers are nobody's, and nothing is sent any more.
  hub.answer(2, stored_answer);
  io.restart();
  io.run_for(10s);
  REQUIRE(io.stopped());
  REQUIRE(outcome.calls == 1);
}

TEST_CASE("an asynchronous registration that is refused because what it follows has not come is sent again as it is") {
  ScriptedHub hub;
  asio::io_context io;
  Client client = builder(io, hub.address()).resend_interval(10s).register_timeout(20s).build();
  REQUIRE(introduce(hub, io, client));
  Completed<Result> outcome;
  client.async_register_acknowledged({{1, 10}}, outcome.token());
  REQUIRE(hub.run(io, [&] { return hub.seen.queries.size() == 2; }));
  hub.answer(1, text_answer(MessageType::error_response, registration_missing));
  REQUIRE(hub.run(io, [&] { return outcome.calls > 0 || hub.seen.queries.size() == 3; }));
  REQUIRE(outcome.calls == 0);
  REQUIRE(hub.envelope(2).sequence == hub.envelope(1).sequence);
  REQUIRE_FALSE(hub.envelope(2).resent);
  REQUIRE(hub.seen.queries[2].message == hub.seen.queries[1].message);
  hub.answer(2, stored_answer);
  REQUIRE(hub.run(io, [&] { return outcome.calls > 0; }));
  REQUIRE(outcome.succeeded());
  REQUIRE(outcome.result.all_stored());
}

TEST_CASE("a registration that is refused for now can be cancelled, and is given up") {
  ScriptedHub hub;
  asio::io_context io;
  Client client = builder(io, hub.address()).resend_interval(10s).register_timeout(20s).build();
  REQUIRE(introduce(hub, io, client));
  asio::cancellation_signal signal;
  Completed<Result> outcome;
  client.async_register_acknowledged({{1, 10}}, asio::bind_cancellation_slot(signal.slot(), outcome.token()));
  REQUIRE(hub.run(io, [&] { return hub.seen.queries.size() == 2; }));
  hub.answer(1, text_answer(MessageType::error_response, registration_missing));
  REQUIRE(hub.run(io, [&] { return outcome.calls > 0 || hub.seen.queries.size() == 3; }));
  signal.emit(asio::cancellation_type::terminal);
  REQUIRE(hub.run(io, [&] { return outcome.calls > 0; }));
  REQUIRE(outcome.code == asio::error::operation_aborted);
  REQUIRE(outcome.result.refused == Blocks{{1, 10}});
}

TEST_CASE("a late answer to the first try counts, too") {
  ScriptedHub hub;
  asio::io_context io;
  Client client = builder(io, hub.address()).resend_interval(10ms).register_timeout(20s).build();
  REQUIRE(introduce(hub, io, client));
  Completed<Result> outcome;
  client.async_register_acknowledged({{1, 10}}, outcome.token());
  REQUIRE(hub.run(io, [&] { return hub.seen.queries.size() >= 3; }));
  hub.answer(1, stored_answer);
  REQUIRE(hub.run(io, [&] { return outcome.calls > 0; }));
  REQUIRE(outcome.succeeded());
}

TEST_CASE("when the first answer is lost, the hub answers the repeat, and applies it once") {
  auto catalogue = hub<K, std::uint64_t>(HashMapStorage<K, std::uint64_t>{}).build();
  ScriptedHub hub;
  asio::io_context io;
  Client client = builder(io, hub.address()).resend_interval(10ms).register_timeout(20s).build();
  Completed<Result> outcome;
  client.async_register_acknowledged({{1, 10}}, outcome.token());
  const auto decide = [&](std::size_t query) {
    const auto& [sender, envelope, message] = hub.seen.queries.at(query);
    const ByteView frame = as_bytes(envelope.at(0));
    Bytes answer;
    catalogue.core().query(as_bytes(sender), Frames{&frame, 1}, as_bytes(message), Instant{SteadyTime{1h}, WallTime{}},
                           [&](ByteView, Frames, ByteView made) {
                             answer.assign(made.begin(), made.end());
                             return true;
                           });
    return answer;
  };
  REQUIRE(hub.run(io, [&] { return hub.seen.queries.size() >= 1; }));
  decide(0);
  REQUIRE(hub.run(io, [&] { return hub.seen.queries.size() >= 2; }));
  hub.answer(1, decide(1));
  REQUIRE(hub.run(io, [&] { return outcome.calls > 0; }));
  REQUIRE(outcome.succeeded());
  REQUIRE(outcome.result.all_stored());
  REQUIRE(catalogue.stats().repeated == 1);
  REQUIRE(catalogue.stats().entries_registered == 1);
}

TEST_CASE("an asynchronous registration that nobody answers comes back with its entries") {
  ScriptedHub hub;
  asio::io_context io;
  Client client = builder(io, hub.address()).resend_interval(20ms).register_timeout(50ms).build();
  REQUIRE(introduce(hub, io, client));
  Completed<Result> outcome;
  Diagnostics diagnostics;
  client.async_register_acknowledged({{1, 10}, {2, 20}}, diagnostics, outcome.token());
  REQUIRE(hub.run(io, [&] { return outcome.calls > 0; }));
  REQUIRE(outcome.failed_with(errc::timeout));
  REQUIRE(std::get<Timeout>(*diagnostics.error()).duration == 50ms);
  REQUIRE(outcome.result.refused == Blocks{{1, 10}, {2, 20}});
  REQUIRE(outcome.result.statuses.empty());
  REQUIRE_FALSE(outcome.result.all_stored());
}

TEST_CASE("a cancelled registration comes back with its entries, and is not sent again") {
  ScriptedHub hub;
  asio::io_context io;
  Client client = builder(io, hub.address()).resend_interval(10ms).register_timeout(20s).build();
  REQUIRE(introduce(hub, io, client));
  asio::cancellation_signal signal;
  Completed<Result> outcome;
  client.async_register_acknowledged({{1, 10}}, asio::bind_cancellation_slot(signal.slot(), outcome.token()));
  REQUIRE(hub.run(io, [&] { return hub.seen.queries.size() >= 3; }));
  signal.emit(asio::cancellation_type::terminal);
  io.restart();
  io.run_for(10s);
  REQUIRE(io.stopped());
  REQUIRE(outcome.calls == 1);
  REQUIRE(outcome.code == asio::error::operation_aborted);
  REQUIRE(outcome.result.refused == Blocks{{1, 10}});
}

TEST_CASE("a coroutine has its entries back with as_tuple") {
  asio::io_context io;
  Client client =
      builder(io, zmq_test::to_hub(zmq_test::nowhere())).resend_interval(10ms).register_timeout(30ms).build();
  bool done = false;
  const auto work = [&]() -> asio::awaitable<void> {
    const Blocks entries{{1, 10}};
    const auto [code, result] =
        co_await client.async_register_acknowledged(entries, asio::experimental::as_tuple(asio::use_awaitable));
    CHECK(code == errc::timeout);
    CHECK(result.refused == entries);
    done = true;
  };
  asio::co_spawn(io, work(), [](std::exception_ptr failure) {
    if (failure) std::rethrow_exception(failure);
  });
  io.run();
  REQUIRE(done);
}

TEST_CASE("an asynchronous registration and a removal by value follow the registrations before them") {
  ScriptedHub hub;
  asio::io_context io;
  Client client = builder(io, hub.address()).batch_timeout(std::chrono::hours{1}).build();
  REQUIRE(introduce(hub, io, client));
  Completed<Blocks> batched;
  Completed<Result> registered;
  Completed<Result> other;
  Completed<std::uint64_t> removed;
  client.async_register_blocks({{1, 10}, {2, 20}}, batched.token());
  client.async_register_acknowledged({{3, 30}}, other.token());
  client.async_register_acknowledged({{1, 11}}, registered.token());
  client.async_remove_if({{2, 20}}, removed.token());
  REQUIRE(hub.run(io, [&] { return hub.seen.queries.size() == 4 && hub.seen.registrations.size() == 1; }));
  std::optional<std::size_t> of_3;
  for (std::size_t i = 1; i <= 3; ++i) {
    const Envelope envelope = hub.envelope(i);
    if (hub.type(i) == MessageType::remove_if) {
      REQUIRE(envelope.after == 2);
    } else if (envelope.after) {
      REQUIRE(envelope.after == 2);
      REQUIRE(envelope.sequence == 3);
    } else {
      of_3 = i;
      REQUIRE(envelope.sequence == 1);
    }
  }
  REQUIRE(of_3);
}

TEST_CASE("the hub applies what one client says of one key in the order of its calls") {
  ServedHub hub;
  asio::io_context io;
  Client client = builder(io, hub.address()).build();
  Client reader = builder(io, hub.address()).build();
  for (K key = 1; key <= 200; ++key) {
    Completed<Blocks> batched;
    Completed<Result> registered;
    Completed<std::uint64_t> removed;
    client.async_register_blocks({{key, 10}}, batched.token());
    client.async_register_acknowledged({{key, 11}}, registered.token());
    REQUIRE(run_until(io, [&] { return registered.calls > 0; }));
    REQUIRE(registered.result.all_stored());
    client.async_register_blocks({{key, 12}}, batched.token());
    client.async_remove_if({{key, 12}}, removed.token());
    REQUIRE(run_until(io, [&] { return removed.calls > 0; }));
    REQUIRE(removed.result == 1);
  }
}

TEST_CASE("an entry without a wire form fails its own call, and no number is missing") {
  ScriptedHub hub;
  asio::io_context io;
  auto client = registry::client<K, Superstitious>(AsioZmqTransport::connect(io.get_executor(), hub.address())).build();
  using SuperstitiousBlock = decltype(client)::EntryType;
  const std::vector<SuperstitiousBlock> bad{{1, {7}, {}}, {2, {13}, {}}};
  Completed<RegisterResult<SuperstitiousBlock>> registered;
  Completed<std::uint64_t> removed;
  Completed<RegisterResult<SuperstitiousBlock>> good;
  Completed<std::vector<SuperstitiousBlock>> batched;
  Diagnostics why_batched;
  Diagnostics why_registered;
  Diagnostics why_removed;
  client.async_register_blocks(bad, why_batched, batched.token());
  client.async_register_acknowledged(bad, why_registered, registered.token());
  client.async_remove_if(bad, why_removed, removed.token());
  client.async_register_acknowledged({{1, {7}, {}}}, good.token());
  REQUIRE(hub.run(io, [&] { return hub.seen.queries.size() == 1 && registered.calls > 0 && removed.calls > 0; }));
  REQUIRE(registered.failed_with(errc::encode_error));
  REQUIRE(registered.result.refused == bad);
  REQUIRE(removed.failed_with(errc::encode_error));
  const std::string reason = std::get<EncodeError>(why_batched.error().value()).reason;
  REQUIRE(std::get<EncodeError>(why_registered.error().value()).reason == reason);
  REQUIRE(std::get<EncodeError>(why_removed.error().value()).reason == reason);
  REQUIRE(hub.envelope(0).sequence == 1);
  hub.answer(0, stored_answer);
  REQUIRE(hub.run(io, [&] { return good.calls > 0; }));
  REQUIRE(good.succeeded());
}

TEST_CASE("nothing to register and nothing to remove is done at once") {
  ScriptedHub hub;
  asio::io_context io;
  Client client = builder(io, hub.address()).build();
  Completed<Result> registered;
  Completed<std::uint64_t> removed;
  client.async_register_acknowledged(Blocks{}, registered.token());
  client.async_remove_if(Blocks{}, removed.token());
  REQUIRE(registered.calls + removed.calls == 0);
  io.run();
  REQUIRE(registered.succeeded());
  REQUIRE(registered.result.all_stored());
  REQUIRE(removed.succeeded());
  REQUIRE(removed.result == 0);
  // Nor has it taken a number.
  Completed<Result> first;
  client.async_register_acknowledged({{1, 10}}, first.token());
  REQUIRE(hub.run(io, [&] { return hub.seen.queries.size() == 1; }));
  REQUIRE(hub.envelope(0).sequence == 1);
}

TEST_CASE("a hub that returns no envelopes is asked again on a new connection") {
  ScriptedHub hub;
  asio::io_context io;
  Client client = builder(io, hub.address()).resend_interval(200ms).register_timeout(20s).build();
  Completed<Result> outcome;
  Diagnostics diagnostics;
  client.async_register_acknowledged({{1, 10}}, diagnostics, outcome.token());
  REQUIRE(hub.run(io, [&] { return hub.seen.queries.size() == 2; }));
  REQUIRE(hub.seen.queries[1].sender != hub.seen.queries[0].sender);
  hub.answer_bare(1, text_answer(MessageType::error_response, "what is this?"));
  REQUIRE(hub.run(io, [&] { return outcome.calls > 0; }));
  REQUIRE(outcome.failed_with(errc::unsupported));
  REQUIRE(outcome.result.refused == Blocks{{1, 10}});
  REQUIRE(std::get<Unsupported>(*diagnostics.error()).operation ==
          "acknowledged registration (the hub says: what is this?)");
}

TEST_CASE("a registration that has not been sent yet is not sent again, and comes back in its time") {
  const bool is_welcome = GENERATE(true, false);
  ScriptedHub hub;
  asio::io_context io;
  Client client =
      builder(io, hub.address())
          .name_space("tenant")
          .resend_interval(5ms)
          .register_timeout(is_welcome ? 20s : 50ms)
          .build();
  Completed<Result> outcome;
  client.async_register_acknowledged({{1, 10}}, outcome.token());
  bool has_waited = false;
  asio::steady_timer timer(io, 100ms);
  timer.async_wait([&](std::error_code) { has_waited = true; });
  REQUIRE(hub.run(io, [&] { return has_waited && hub.seen.queries.size() == 1; }));
  REQUIRE(hub.type(0) == MessageType::hello);
  if (!is_welcome) {
    REQUIRE(outcome.failed_with(errc::timeout));
    REQUIRE(outcome.result.refused == Blocks{{1, 10}});
    return;
  }
  REQUIRE(outcome.calls == 0);
  hub.answer(0, text_answer(MessageType::hello_response, "tenant"));
  REQUIRE(hub.run(io, [&] { return hub.seen.queries.size() >= 2; }));
  REQUIRE(hub.type(1) == MessageType::register_entries);
  REQUIRE_FALSE(hub.envelope(1).resent);
}
