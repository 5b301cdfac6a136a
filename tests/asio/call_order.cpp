// SPDX-License-Identifier: Apache-2.0
// What an asynchronous client does to one key takes effect in call order, though nobody awaits anything.
#include <asio/bind_cancellation_slot.hpp>
#include <asio/cancellation_signal.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <system_error>
#include <thread>
#include <vector>

#include "asio/common.hpp"
#include "support/catch.hpp"

using namespace asio_test;

namespace {

using Acknowledged = RegisterResult<Block>;

const Bytes stored_one = register_answer({RegisterStatus::stored});
const Bytes removed_one = count_answer(MessageType::remove_response, 1);

/// A client whose every registration travels by itself, and what it has asked its hub.
class Order {
 public:
  explicit Order(std::chrono::milliseconds resend_interval = 10s)
      : client(builder(io, hub.address())
                   .batch_size(1)
                   .resend_interval(resend_interval)
                   .request_timeout(20s)
                   .register_timeout(20s)
                   .build()) {
    REQUIRE(introduce(hub, io, client));
    first = hub.seen.queries.size();
  }

  /// Asks something that waits for nothing; true once that has come, and with it whatever was sent before.
  bool hear_of_everything() {
    Completed<std::uint64_t> ignored;
    const std::size_t before = count(MessageType::touch);
    client.async_touch({99}, ignored.token());
    if (!hub.run(io, [&] { return count(MessageType::touch) > before; })) return false;
    hub.answer(hub.seen.queries.size() - 1, count_answer(MessageType::touch_response, 0));
    return hub.run(io, [&] { return ignored.calls > 0; });
  }

  std::size_t count(MessageType wanted) const {
    std::size_t found = 0;
    for (std::size_t i = 0; i < hub.seen.queries.size(); ++i) found += hub.type(i) == wanted ? 1 : 0;
    return found;
  }

  bool comes(MessageType wanted) {
    return hub.run(io, [&] { return count(wanted) > 0; });
  }

  void remove(bool is_by_value, const Blocks& blocks) {
    if (is_by_value) return client.async_remove_if(blocks, removed.token());
    Keys keys;
    for (const Block& block : blocks) keys.push_back(block.key);
    client.async_remove(keys, removed.token());
  }

  std::size_t removals() const { return count(MessageType::remove) + count(MessageType::remove_if); }

  ScriptedHub hub;
  asio::io_context io;
  Client client;
  std::size_t first = 0;  // the number of the next query
  Completed<Blocks> batched;
  Completed<Acknowledged> registered;
  Completed<std::uint64_t> removed;
};

}  // namespace

TEST_CASE("a batched registration waits for the answer to an acknowledged one of its key") {
  Order order;
  order.client.async_register_acknowledged({{1, 10}, {2, 20}}, order.registered.token());
  order.client.async_register_blocks({{2, 21}, {3, 30}}, order.batched.token());
  REQUIRE(order.comes(MessageType::register_entries));
  REQUIRE(order.hear_of_everything());
  REQUIRE(order.hub.seen.registrations.empty());
  REQUIRE(order.batched.calls == 0);
  order.hub.answer(order.first, register_answer({RegisterStatus::stored, RegisterStatus::stored}));
  REQUIRE(order.hub.run(order.io, [&] { return order.hub.seen.registrations.size() == 2; }));
  REQUIRE(order.registered.succeeded());
  REQUIRE(order.batched.succeeded());
  REQUIRE(order.hub.number(0) > order.hub.envelope(order.first).sequence.value());
}

TEST_CASE("a removal waits for the answer to a registration of its key, also where that is sent again") {
  const bool is_by_value = GENERATE(false, true);
  Order order(10ms);
  order.client.async_register_acknowledged({{1, 10}}, order.registered.token());
  order.remove(is_by_value, {{1, 10}});
  REQUIRE(order.hub.run(order.io, [&] { return order.count(MessageType::register_entries) >= 3; }));
  REQUIRE(order.hear_of_everything());
  REQUIRE(order.removals() == 0);
  order.hub.answer(order.first, stored_one);
  REQUIRE(order.hub.run(order.io, [&] { return order.removals() == 1; }));
  REQUIRE(order.registered.succeeded());
}

TEST_CASE("a registration waits for the answer to a removal of its key") {
  const bool is_by_value = GENERATE(false, true);
  const bool is_acknowledged = GENERATE(false, true);
  Order order;
  order.remove(is_by_value, {{1, 10}, {2, 20}});
  REQUIRE(order.hub.run(order.io, [&] { return order.removals() == 1; }));
  if (is_acknowledged) {
    order.client.async_register_acknowledged({{2, 21}}, order.registered.token());
  } else {
    order.client.async_register_blocks({{2, 21}}, order.batched.token());
  }
  const auto registrations = [&] {
    return order.count(MessageType::register_entries) + order.hub.seen.registrations.size();
  };
  REQUIRE(order.hear_of_everything());
  REQUIRE(registrations() == 0);
  order.hub.answer(order.first, removed_one);
  REQUIRE(order.hub.run(order.io, [&] { return order.removed.calls > 0 && registrations() == 1; }));
  REQUIRE(order.removed.succeeded());
}

TEST_CASE("what waits for a call that is cancelled goes on") {
  Order order;
  asio::cancellation_signal signal;
  Completed<Acknowledged> cancelled;
  order.client.async_register_acknowledged({{1, 10}}, asio::bind_cancellation_slot(signal.slot(), cancelled.token()));
  order.client.async_register_blocks({{1, 11}}, order.batched.token());
  REQUIRE(order.comes(MessageType::register_entries));
  REQUIRE(order.hear_of_everything());
  REQUIRE(order.hub.seen.registrations.empty());
  signal.emit(asio::cancellation_type::terminal);
  REQUIRE(order.hub.run(order.io, [&] { return order.batched.calls > 0 && order.hub.seen.registrations.size() == 2; }));
  REQUIRE(order.batched.succeeded());
  // The number of what was cancelled is taken first: it must not be applied, late, over what follows.
  REQUIRE(order.hub.number(0) == order.hub.envelope(order.first).sequence);
  REQUIRE(order.hub.number(1) > order.hub.number(0));
  REQUIRE(order.hub.entries_registered() == 1);
}

TEST_CASE("calls for other keys wait for none of that, in whatever number they are in progress") {
  Order order;
  constexpr K calls = 50;
  std::vector<Completed<Acknowledged>> registered(calls);
  std::vector<Completed<std::uint64_t>> removed(calls);
  for (K key = 0; key < calls; ++key) {
    order.client.async_register_acknowledged({{key, key}}, registered[key].token());
    order.client.async_remove({1'000 + key}, removed[key].token());
    order.client.async_register_blocks({{2'000 + key, key}}, order.batched.token());
  }
  REQUIRE(order.hub.run(order.io, [&] {
    return order.count(MessageType::register_entries) == calls && order.count(MessageType::remove) == calls &&
           order.hub.entries_registered() == calls;
  }));
}

TEST_CASE("calls for one key come one after the other, also behind one that waits because of another key") {
  Order order;
  Completed<Acknowledged> again;
  order.client.async_register_acknowledged({{1, 10}}, order.registered.token());
  order.client.async_remove({1, 2}, order.removed.token());
  // Nothing is known to change its key but what waits.
  order.client.async_register_acknowledged({{2, 20}}, again.token());
  REQUIRE(order.comes(MessageType::register_entries));
  REQUIRE(order.hear_of_everything());
  REQUIRE(order.count(MessageType::register_entries) == 1);
  REQUIRE(order.count(MessageType::remove) == 0);
  order.hub.answer(order.first, stored_one);
  REQUIRE(order.comes(MessageType::remove));
  REQUIRE(order.hear_of_everything());
  REQUIRE(order.count(MessageType::register_entries) == 1);
  order.hub.answer(order.hub.seen.queries.size() - 2, removed_one);
  REQUIRE(order.hub.run(order.io, [&] { return order.count(MessageType::register_entries) == 2; }));
  order.hub.answer(order.hub.seen.queries.size() - 1, stored_one);
  REQUIRE(order.hub.run(order.io, [&] { return again.calls > 0; }));
  REQUIRE(again.succeeded());
  REQUIRE(order.removed.succeeded());
}

TEST_CASE("what nothing comes before follows nothing, whatever is called after it") {
  Order order;
  const bool is_by_value = GENERATE(false, true);
  order.remove(is_by_value, {{1, 10}});
  order.remove(is_by_value, {{1, 10}});
  order.client.async_register_blocks({{1, 11}}, order.batched.token());
  for (std::size_t i = 0; i < 2; ++i) {
    REQUIRE(order.hub.run(order.io, [&] { return order.removals() == i + 1; }));
    REQUIRE_FALSE(order.hub.envelope(order.first + i).after);
    order.hub.answer(order.first + i, removed_one);
  }
  REQUIRE(order.hub.run(order.io, [&] { return order.hub.seen.registrations.size() == 1; }));
}

TEST_CASE("behind a call that nobody answers only calls for its keys wait") {
  Order order;
  order.client.async_remove({1}, order.removed.token());
  order.client.async_register_blocks({{1, 11}}, order.batched.token());
  constexpr K calls = 20;
  std::vector<Completed<Blocks>> batched(calls);
  std::vector<Completed<Acknowledged>> registered(calls);
  std::vector<Completed<std::uint64_t>> removed(calls);
  for (K key = 0; key < calls; ++key) {
    order.client.async_register_blocks({{100 + key, key}}, batched[key].token());
    order.client.async_register_acknowledged({{200 + key, key}}, registered[key].token());
    order.client.async_remove({300 + key}, removed[key].token());
  }
  REQUIRE(order.hub.run(order.io, [&] {
    return order.count(MessageType::register_entries) == calls && order.count(MessageType::remove) == calls + 1 &&
           order.hub.entries_registered() == calls;
  }));
  REQUIRE(std::ranges::all_of(batched, [](const auto& one) { return one.succeeded(); }));
  REQUIRE(order.batched.calls == 0);
}

TEST_CASE("a batched registration that waits for a call is accepted when that has failed, though it is as old") {
  ScriptedHub hub;
  asio::io_context io;
  Client client = builder(io, hub.address()).batch_size(1).request_timeout(30ms).register_timeout(30ms).build();
  REQUIRE(introduce(hub, io, client));
  // The client knows then that this hub does not insist.
  Completed<Blocks> before;
  client.async_register_blocks({{9, 90}}, before.token());
  REQUIRE(hub.run(io, [&] { return before.calls > 0; }));
  Completed<std::uint64_t> removed;
  Completed<Blocks> batched;
  client.async_remove({1}, removed.token());
  client.async_register_blocks({{1, 11}}, batched.token());
  io.poll();
  std::this_thread::sleep_for(35ms);
  REQUIRE(hub.run(io, [&] { return removed.calls > 0 && batched.calls > 0; }));
  REQUIRE(removed.failed_with(errc::timeout));
  REQUIRE(batched.succeeded());
}

TEST_CASE("flush waits for registrations before it that wait for a call, and for none behind it") {
  Order order;
  Completed<Blocks> later;
  int flushed = 0;
  const auto flush = [&] { order.client.async_flush([&](std::error_code code) { flushed += code ? 100 : 1; }); };
  order.client.async_remove({1, 2}, order.removed.token());
  flush();
  order.client.async_register_blocks({{1, 11}}, order.batched.token());
  REQUIRE(order.hear_of_everything());
  REQUIRE(flushed == 1);
  flush();
  order.client.async_register_blocks({{2, 21}}, later.token());
  REQUIRE(order.hear_of_everything());
  REQUIRE(flushed == 1);
  order.hub.answer(order.first, removed_one);
  REQUIRE(order.hub.run(order.io, [&] { return flushed > 1; }));
  REQUIRE(flushed == 2);
  REQUIRE(order.batched.succeeded());
}

TEST_CASE("a registration that the client has every hub acknowledge has its place among the calls") {
  ScriptedHub hub;
  asio::io_context io;
  Client client = builder(io, hub.address()).acknowledged(true).batch_size(1).resend_interval(10s).build();
  REQUIRE(introduce(hub, io, client));
  Completed<Blocks> first, second;
  client.async_register_blocks({{1, 10}}, first.token());
  client.async_register_blocks({{1, 11}}, second.token());
  client.async_register_blocks({{2, 20}}, first.token());
  REQUIRE(hub.run(io, [&] { return hub.seen.queries.size() == 3; }));
  hub.answer(2, stored_one);
  REQUIRE(hub.run(io, [&] { return first.calls > 0; }));
  REQUIRE(hub.seen.queries.size() == 3);
  hub.answer(1, stored_one);
  REQUIRE(hub.run(io, [&] { return hub.seen.queries.size() == 4; }));
  // It has waited, and others wait for it.
  Completed<std::uint64_t> removed, touched;
  client.async_remove({1}, removed.token());
  client.async_touch({9}, touched.token());
  REQUIRE(hub.run(io, [&] { return hub.seen.queries.size() == 5; }));
  REQUIRE(hub.type(4) == MessageType::touch);
  hub.answer(3, stored_one);
  REQUIRE(hub.run(io, [&] { return hub.seen.queries.size() == 6; }));
  REQUIRE(hub.type(5) == MessageType::remove);
  REQUIRE(second.succeeded());
}

TEST_CASE("a claim's registration has its place among the calls, and the claim's end does not overtake it") {
  Order order;
  Completed<Client::ClaimType> claimed;
  order.client.async_claim({1}, 0s, claimed.token());
  REQUIRE(order.comes(MessageType::claim));
  order.hub.answer(order.first, claim_answer({OffloadStatus::granted}));
  REQUIRE(order.hub.run(order.io, [&] { return claimed.calls > 0; }));
  const bool removes_first = GENERATE(true, false);
  const auto remove = [&] { order.client.async_remove({1}, order.removed.token()); };
  if (removes_first) remove();
  claimed.result.async_register_blocks({{1, 10}}, order.registered.token());
  if (!removes_first) remove();
  claimed.result = {};
  REQUIRE(order.hub.run(order.io, [&] { return order.hub.seen.queries.size() > order.first + 1; }));
  REQUIRE(order.hear_of_everything());
  const std::size_t earlier = order.first + 1;
  if (removes_first) {
    REQUIRE(order.hub.type(earlier) == MessageType::remove);
    REQUIRE(order.count(MessageType::register_entries) == 0);
    REQUIRE(order.count(MessageType::release) == 0);
    order.hub.answer(earlier, removed_one);
    REQUIRE(order.comes(MessageType::release));
    const std::size_t last = order.hub.seen.queries.size() - 1;
    REQUIRE(order.hub.type(last - 1) == MessageType::register_entries);
    REQUIRE(order.hub.type(last) == MessageType::release);
  } else {
    REQUIRE(order.hub.type(earlier) == MessageType::register_entries);
    REQUIRE(order.removals() == 0);
    order.hub.answer(earlier, stored_one);
    REQUIRE(order.hub.run(order.io, [&] { return order.removals() == 1; }));
  }
}

TEST_CASE("what changes a key of a registration that was cancelled waits at the hub for what takes its number") {
  Order order;
  asio::cancellation_signal signal;
  Completed<Acknowledged> cancelled;
  order.client.async_register_acknowledged({{1, 10}}, asio::bind_cancellation_slot(signal.slot(), cancelled.token()));
  REQUIRE(order.comes(MessageType::register_entries));
  signal.emit(asio::cancellation_type::terminal);
  order.client.async_remove({1}, order.removed.token());
  REQUIRE(order.comes(MessageType::remove));
  const std::size_t removal = order.hub.seen.queries.size() - 1;
  REQUIRE(order.hub.type(removal) == MessageType::remove);
  REQUIRE(order.hub.envelope(removal).after == order.hub.envelope(order.first).sequence);
}

TEST_CASE("a claim gives back what it holds behind its registration, however long that has waited") {
  ScriptedHub hub;
  asio::io_context io;
  Client client = builder(io, hub.address()).resend_interval(10s).request_timeout(30ms).register_timeout(20s).build();
  REQUIRE(introduce(hub, io, client));
  Completed<Client::ClaimType> claimed;
  Completed<Acknowledged> first, second;
  client.async_claim({1, 2}, 0s, claimed.token());
  REQUIRE(hub.run(io, [&] { return hub.seen.queries.size() == 2; }));
  hub.answer(1, claim_answer({OffloadStatus::granted, OffloadStatus::granted}));
  REQUIRE(hub.run(io, [&] { return claimed.calls > 0; }));
  client.async_register_acknowledged({{1, 10}}, first.token());
  claimed.result.async_register_blocks({{1, 11}}, second.token());
  claimed.result = {};
  // This one runs out after it.
  Completed<std::uint64_t> unanswered;
  client.async_touch({9}, unanswered.token());
  REQUIRE(hub.run(io, [&] { return unanswered.calls > 0; }));
  REQUIRE(hub.seen.queries.size() == 4);
  REQUIRE(hub.type(2) == MessageType::register_entries);
  hub.answer(2, stored_one);
  REQUIRE(hub.run(io, [&] { return hub.seen.queries.size() == 6; }));
  REQUIRE(hub.type(4) == MessageType::register_entries);
  REQUIRE(hub.type(5) == MessageType::release);
  Keys released = hub.keys(5);
  std::ranges::sort(released);
  REQUIRE(released == Keys{1, 2});
}

TEST_CASE("flush waits for acknowledged registrations before it that wait for a call") {
  Order order;
  int flushed = 0;
  order.client.async_remove({1}, order.removed.token());
  order.client.async_register_acknowledged({{1, 10}}, order.registered.token());
  order.client.async_flush([&](std::error_code code) { flushed += code ? 100 : 1; });
  REQUIRE(order.hear_of_everything());
  REQUIRE(flushed == 0);
  order.hub.answer(order.first, removed_one);
  REQUIRE(order.comes(MessageType::register_entries));
  REQUIRE(order.hub.run(order.io, [&] { return flushed > 0; }));
  REQUIRE(flushed == 1);
}
