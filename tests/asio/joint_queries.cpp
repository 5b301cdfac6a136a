// SPDX-License-Identifier: Apache-2.0
// Small calls that are made at the same time travel as one message: nobody may notice but by the time it takes.
#include <asio/bind_cancellation_slot.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/error.hpp>

#include <cstddef>
#include <vector>

#include "asio/common.hpp"
#include "asio/joint.hpp"
#include "support/catch.hpp"

using namespace asio_test;

namespace {

Bytes entries_answer(const Blocks& entries) {
  Bytes message;
  Messages::begin_entries(MessageType::match_response, message);
  for (const Block& entry : entries) Messages::append_entry(entry, message);
  return message;
}

}  // namespace

TEST_CASE("calls made at the same time are one message, and each gets its own answer") {
  Introduced it;
  Offloads outcomes(3);
  it.client.async_can_offload({1, 2}, outcomes[0].token());
  it.client.async_can_offload({3}, outcomes[1].token());
  it.client.async_can_offload({4, 5}, outcomes[2].token());
  REQUIRE(it.received(1));
  REQUIRE(it.hub.keys(1) == Keys{1, 2, 3, 4, 5});
  it.hub.answer(1, statuses_answer({granted, stored, leased, stored, granted}));
  REQUIRE(it.completed(outcomes));
  REQUIRE(outcomes[0].result.statuses == std::vector{granted, stored});
  REQUIRE(outcomes[1].result.statuses == std::vector{leased});
  REQUIRE(outcomes[2].result.statuses == std::vector{stored, granted});
  REQUIRE(outcomes[2].result.can_offload == Keys{5});
}

TEST_CASE("a call that is made alone waits for nobody, and travels as it always did") {
  Introduced it;
  Offloads outcomes(2);
  it.client.async_can_offload({1}, outcomes[0].token());
  REQUIRE(it.received(1));
  it.client.async_can_offload({2}, outcomes[1].token());
  REQUIRE(it.received(2));
  REQUIRE(it.hub.keys(1) == Keys{1});
  REQUIRE(it.hub.keys(2) == Keys{2});
}

TEST_CASE("matches made at the same time are one message, and prefixes end where they end") {
  Introduced it;
  std::vector<Completed<Blocks>> outcomes(3);
  it.client.async_match({1, 2}, outcomes[0].token());
  it.client.async_match_prefix({1, 3, 2}, outcomes[1].token());
  it.client.async_match({7}, outcomes[2].token());
  REQUIRE(it.received(1));
  REQUIRE(it.hub.keys(1) == Keys{1, 2, 1, 3, 2, 7});
  it.hub.answer(1, entries_answer({{1, 10}, {2, 20}, {1, 10}, {2, 20}}));
  REQUIRE(it.completed(outcomes));
  REQUIRE(outcomes[0].result == Blocks{{1, 10}, {2, 20}});
  REQUIRE(outcomes[1].result == Blocks{{1, 10}});
  REQUIRE(outcomes[2].succeeded());
  REQUIRE(outcomes[2].result.empty());
}

TEST_CASE("what may not travel together keeps its order") {
  Introduced it;
  Offloads offloads(4);
  Completed<std::uint64_t> removed;
  it.client.async_can_offload({1}, offloads[0].token());
  it.client.async_can_offload({2}, offloads[1].token());
  it.client.async_can_offload({2, 3}, offloads[2].token());
  it.client.async_remove({2}, removed.token());
  it.client.async_can_offload({2}, offloads[3].token());
  REQUIRE(it.received(4));
  REQUIRE(it.hub.keys(1) == Keys{1, 2});
  REQUIRE(it.hub.keys(2) == Keys{2, 3});
  REQUIRE(it.hub.type(3) == MessageType::remove);
  REQUIRE(it.hub.keys(4) == Keys{2});
}

TEST_CASE("a call cancelled in a joint message gives back its own keys, and the others go on") {
  Introduced it;
  Offloads outcomes(3);
  asio::cancellation_signal signal;
  it.client.async_can_offload({1}, outcomes[0].token());
  it.client.async_can_offload({2, 3}, asio::bind_cancellation_slot(signal.slot(), outcomes[1].token()));
  it.client.async_can_offload({4}, outcomes[2].token());
  REQUIRE(it.received(1));
  signal.emit(asio::cancellation_type::terminal);
  REQUIRE(it.received(2));
  REQUIRE(outcomes[1].code == asio::error::operation_aborted);
  REQUIRE(it.hub.type(2) == MessageType::withdraw);
  REQUIRE(it.hub.keys(2) == Keys{2, 3});
  REQUIRE(it.hub.envelope(2).number == it.hub.envelope(1).number);
  it.hub.answer(1, statuses_answer({granted, granted, leased, stored}));
  REQUIRE(it.hub.run(it.io, [&] { return outcomes[0].calls + outcomes[2].calls == 2; }));
  REQUIRE(outcomes[0].result.statuses == std::vector{granted});
  REQUIRE(outcomes[2].result.statuses == std::vector{stored});
  REQUIRE(outcomes[1].calls == 1);
}

TEST_CASE("a call cancelled before the joint message is sent is not part of it") {
  ScriptedHub hub;
  asio::io_context io;
  Client client = builder(io, hub.address()).build();
  Offloads outcomes(4);
  asio::cancellation_signal signal;
  client.async_can_offload({0}, outcomes[0].token());
  client.async_can_offload({1}, outcomes[1].token());
  client.async_can_offload({2}, asio::bind_cancellation_slot(signal.slot(), outcomes[2].token()));
  client.async_can_offload({3}, outcomes[3].token());
  REQUIRE(hub.run(io, [&] { return hub.seen.queries.size() == 1; }));
  signal.emit(asio::cancellation_type::terminal);
  REQUIRE(hub.run(io, [&] { return outcomes[2].calls == 1; }));
  hub.answer(0, statuses_answer({granted}));
  REQUIRE(hub.run(io, [&] { return hub.seen.queries.size() == 2; }));
  REQUIRE(hub.keys(1) == Keys{1, 3});
  hub.answer(1, statuses_answer({stored, leased}));
  REQUIRE(hub.run(io, [&] { return outcomes[1].calls + outcomes[3].calls == 2; }));
  REQUIRE(outcomes[1].result.statuses == std::vector{stored});
  REQUIRE(outcomes[3].result.statuses == std::vector{leased});
}

TEST_CASE("nothing keeps the io_context when all calls of a joint message are cancelled") {
  Introduced it(1h);
  Offloads outcomes(2);
  std::vector<asio::cancellation_signal> signals(2);
  for (std::size_t i = 0; i < 2; ++i) {
    it.client.async_can_offload({i}, asio::bind_cancellation_slot(signals[i].slot(), outcomes[i].token()));
  }
  REQUIRE(it.received(1));
  for (auto& signal : signals) signal.emit(asio::cancellation_type::terminal);
  it.io.restart();
  it.io.run();
  REQUIRE(outcomes[0].code == asio::error::operation_aborted);
  REQUIRE(outcomes[1].code == asio::error::operation_aborted);
  REQUIRE(it.received(3));
  // Its late answer is nobody's.
  it.hub.answer(1, statuses_answer({granted, granted}));
  REQUIRE(introduce(it.hub, it.io, it.client));
  REQUIRE(outcomes[0].calls == 1);
}

TEST_CASE("a joint message that is not answered fails each call with its timeout, and takes back what each may hold") {
  Introduced it(200ms);
  Offloads outcomes(2);
  it.client.async_can_offload({1}, outcomes[0].token());
  it.client.async_can_offload({2}, outcomes[1].token());
  REQUIRE(it.received(3));
  REQUIRE(it.completed(outcomes));
  for (const auto& outcome : outcomes) REQUIRE(outcome.failed_with(errc::timeout));
  REQUIRE(it.hub.keys(1) == Keys{1, 2});
  for (std::size_t i = 2; i <= 3; ++i) {
    REQUIRE(it.hub.type(i) == MessageType::withdraw);
    REQUIRE(it.hub.envelope(i).number == it.hub.envelope(1).number);
    REQUIRE(it.hub.keys(i) == Keys{i - 1});
  }
}

TEST_CASE("a refusal of a joint message hits only the call that it is meant for") {
  Introduced it;
  Offloads outcomes(3);
  std::vector<Diagnostics> diagnostics(3);
  for (std::size_t i = 0; i < 3; ++i) it.client.async_can_offload({i}, diagnostics[i], outcomes[i].token());
  REQUIRE(it.received(1));
  it.hub.answer(1, text_answer(MessageType::error_response, "max_leases: 2 are allowed"));
  REQUIRE(it.received(4));
  for (std::size_t i = 0; i < 3; ++i) {
    REQUIRE(it.hub.keys(2 + i) == Keys{i});
    // To the hub it is another request: what the first one was granted again is still shared with others.
    REQUIRE(it.hub.envelope(2 + i).number != it.hub.envelope(1).number);
  }
  it.hub.answer(2, statuses_answer({granted}));
  it.hub.answer(3, text_answer(MessageType::error_response, "full"));
  it.hub.answer(4, statuses_answer({stored}));
  REQUIRE(it.completed(outcomes));
  REQUIRE(outcomes[0].result.statuses == std::vector{granted});
  REQUIRE(outcomes[1].failed_with(errc::hub_error));
  REQUIRE(std::get<HubError>(*diagnostics[1].error()).text == "full");
  REQUIRE(outcomes[2].result.statuses == std::vector{stored});
}

TEST_CASE("after a refusal calls travel alone for a while") {
  Introduced it;
  Offloads outcomes(2);
  for (std::size_t i = 0; i < 2; ++i) it.client.async_can_offload({i}, outcomes[i].token());
  REQUIRE(it.received(1));
  it.hub.answer(1, text_answer(MessageType::error_response, "no"));
  REQUIRE(it.received(3));
  Offloads later(2);
  for (std::size_t i = 0; i < 2; ++i) it.client.async_can_offload({10 + i}, later[i].token());
  REQUIRE(it.received(5));
}

TEST_CASE("a call in a joint message that was refused can still be cancelled") {
  Introduced it;
  Offloads outcomes(2);
  asio::cancellation_signal signal;
  it.client.async_can_offload({1}, outcomes[0].token());
  it.client.async_can_offload({2}, asio::bind_cancellation_slot(signal.slot(), outcomes[1].token()));
  REQUIRE(it.received(1));
  it.hub.answer(1, text_answer(MessageType::error_response, "no"));
  REQUIRE(it.received(3));
  signal.emit(asio::cancellation_type::terminal);
  REQUIRE(it.received(4));
  REQUIRE(it.hub.type(4) == MessageType::withdraw);
  REQUIRE(it.hub.keys(4) == Keys{2});
  REQUIRE(it.hub.envelope(4).number == it.hub.envelope(3).number);
  it.hub.answer(2, statuses_answer({granted}));
  REQUIRE(it.completed(outcomes));
  REQUIRE(outcomes[0].succeeded());
}

TEST_CASE("closing during a joint message ends its calls and takes back what each may hold") {
  Introduced it;
  Offloads outcomes(2);
  for (std::size_t i = 0; i < 2; ++i) it.client.async_can_offload({i}, outcomes[i].token());
  REQUIRE(it.received(1));
  Completed<Blocks> closed;
  it.client.async_close(1s, closed.token());
  REQUIRE(it.received(3));
  REQUIRE(it.completed(outcomes));
  for (const auto& outcome : outcomes) REQUIRE(outcome.failed_with(errc::disconnected));
  REQUIRE(it.hub.type(2) == MessageType::withdraw);
  REQUIRE(it.hub.type(3) == MessageType::withdraw);
}

TEST_CASE("calls travel alone to a hub that returns no envelopes") {
  ScriptedHub hub;
  asio::io_context io;
  Client client = builder(io, hub.address()).build();
  Offloads outcomes(3);
  for (std::size_t i = 0; i < 3; ++i) client.async_can_offload({i}, outcomes[i].token());
  for (std::size_t i = 0; i < 3; ++i) {
    REQUIRE(hub.run(io, [&] { return hub.seen.queries.size() == i + 1; }));
    REQUIRE(hub.keys(i) == Keys{i});
    hub.answer_bare(i, statuses_answer({granted}));
    REQUIRE(hub.run(io, [&] { return outcomes[i].calls == 1; }));
  }
}

TEST_CASE("a real hub answers calls made at the same time as it answers one after the other") {
  ServedHub hub;
  asio::io_context io;
  Client client = builder(io, hub.address()).build();
  Client other = builder(io, hub.address()).build();
  Completed<OffloadResult<K>> first;
  other.async_can_offload({100, 101}, first.token());
  io.run();
  REQUIRE(first.succeeded());
  constexpr std::size_t count = 400;
  Offloads outcomes(count);
  for (std::size_t i = 0; i < count; ++i) client.async_can_offload({i % 200, 1'000 + i}, outcomes[i].token());
  io.restart();
  io.run();
  for (std::size_t i = 0; i < count; ++i) {
    REQUIRE(outcomes[i].succeeded());
    const bool is_others = i % 200 == 100 || i % 200 == 101;
    REQUIRE(outcomes[i].result.statuses == std::vector{is_others ? leased : granted, granted});
  }
  REQUIRE(hub.stats().queries < count / 4);
}
