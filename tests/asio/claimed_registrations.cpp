// SPDX-License-Identifier: Apache-2.0
// What asynchronous claims register at a hub that insists on the holder and has taken the place of the one that
// granted.
#include <asio/bind_cancellation_slot.hpp>
#include <asio/cancellation_signal.hpp>

#include <chrono>
#include <cstddef>
#include <optional>
#include <utility>
#include <vector>

#include "asio/common.hpp"
#include "support/catch.hpp"
#include "zmq/sockets.hpp"

using namespace asio_test;

namespace {

using BlockClaim = Client::ClaimType;
using Statuses = std::vector<RegisterStatus>;

constexpr auto conflict = RegisterStatus::lease_conflict;

/// A claim of key 1 whose hub refuses, as the test's last query, that it registers keys 1 and 2.
struct Refused {
  explicit Refused(std::chrono::nanoseconds register_timeout = 20s, std::chrono::nanoseconds resend_interval = 10s)
      : client(builder(io, hub.address())
                   .resend_interval(resend_interval)
                   .register_timeout(register_timeout)
                   .request_timeout(20s)
                   .build()) {
    REQUIRE(introduce(hub, io, client));
    hub.confirms = false;
    Completed<BlockClaim> claimed;
    client.async_claim({1}, 0s, claimed.token());
    REQUIRE(received(2));
    hub.answer(1, claim_answer({OffloadStatus::granted}));
    REQUIRE(hub.run(io, [&] { return claimed.calls > 0; }));
    claim = std::move(claimed.result);
    claim.async_register_blocks({{1, 10}, {2, 20}}, asio::bind_cancellation_slot(signal.slot(), registered.token()));
    REQUIRE(received(3));
    hub.answer(2, register_answer({conflict, conflict}));
    REQUIRE(received(4));
    REQUIRE(hub.type(3) == MessageType::sync);
    REQUIRE(registered.calls == 0);
  }

  bool received(std::size_t queries) {
    return hub.run(io, [&] { return hub.seen.queries.size() == queries; });
  }

  bool is_registered() {
    return hub.run(io, [&] { return registered.calls > 0; });
  }

  /// The hub is another one, and the claim is had back of it.
  void have_claim_back() {
    hub.answer(3, sync_answer({.incarnation = 8}));
    REQUIRE(received(5));
    REQUIRE(hub.type(4) == MessageType::renew);
    hub.answer(4, renew_answer({RenewStatus::held}, {.incarnation = 8}));
  }

  ScriptedHub hub;
  asio::io_context io;
  Client client;
  BlockClaim claim;
  asio::cancellation_signal signal;
  Completed<RegisterResult<Block>> registered;
};

}  // namespace

TEST_CASE("what another hub refuses to an asynchronous claim is registered once more when the claim was had back") {
  Refused world;
  world.have_claim_back();
  REQUIRE(world.received(6));
  REQUIRE(world.hub.type(5) == MessageType::register_entries);
  REQUIRE(world.hub.envelope(5).claim == world.hub.envelope(2).claim);
  REQUIRE(world.hub.envelope(5).sequence > world.hub.envelope(2).sequence);
  REQUIRE_FALSE(world.hub.envelope(5).resent);
  Blocks entries;
  REQUIRE_FALSE(Messages::decode_entries(as_bytes(world.hub.seen.queries[5].message), entries));
  REQUIRE(entries == Blocks{{1, 10}});
  world.hub.answer(5, register_answer({RegisterStatus::stored}));
  REQUIRE(world.is_registered());
  REQUIRE(world.registered.succeeded());
  REQUIRE(world.registered.result.statuses == Statuses{RegisterStatus::stored, conflict});
  REQUIRE(world.registered.result.refused == Blocks{{2, 20}});
  REQUIRE(world.claim.held().empty());
  REQUIRE(world.claim.lost().empty());
}

TEST_CASE("what the hub that has granted an asynchronous claim refuses to it stays refused") {
  Refused world;
  world.hub.answer(3, sync_answer({.incarnation = 7}));
  REQUIRE(world.is_registered());
  REQUIRE(world.registered.succeeded());
  REQUIRE(world.registered.result.statuses == Statuses{conflict, conflict});
  REQUIRE(world.claim.lost() == Keys{1});
  REQUIRE(world.hub.seen.queries.size() == 4);
}

TEST_CASE("what was refused to an asynchronous claim stays refused where its hub does not say which it is") {
  Refused world;
  world.hub.answer(3, text_answer(MessageType::error_response, "not now"));
  REQUIRE(world.is_registered());
  REQUIRE(world.registered.succeeded());
  REQUIRE(world.registered.result.statuses == Statuses{conflict, conflict});
}

TEST_CASE("a registration that is cancelled before it is made once more ends as it was answered at first") {
  Refused world;
  world.signal.emit(asio::cancellation_type::terminal);
  REQUIRE(world.is_registered());
  REQUIRE(world.registered.succeeded());
  REQUIRE(world.registered.result.statuses == Statuses{conflict, conflict});
  REQUIRE(introduce(world.hub, world.io, world.client));
}

TEST_CASE("a registration that was made once more and has no answer has failed, for it may have been stored") {
  enum class End { cancelled, closed, out_of_time, unreadable };
  const auto end = GENERATE(End::cancelled, End::closed, End::out_of_time, End::unreadable);
  Refused world(end == End::out_of_time ? 2s : 20s);
  world.have_claim_back();
  REQUIRE(world.received(6));
  Completed<Blocks> closed;
  if (end == End::cancelled) world.signal.emit(asio::cancellation_type::terminal);
  if (end == End::closed) world.client.async_close(0s, closed.token());
  if (end == End::unreadable) world.hub.answer(5, register_answer({conflict, conflict}));
  REQUIRE(world.is_registered());
  REQUIRE(world.registered.calls == 1);
  REQUIRE(world.registered.code);
  REQUIRE(world.registered.result.statuses.empty());
  REQUIRE(world.registered.result.refused == Blocks{{1, 10}, {2, 20}});
  REQUIRE(world.claim.held() == Keys{1});
}

TEST_CASE("a registration that was made once more and that the hub does not take ends as it was answered at first") {
  Refused world;
  world.have_claim_back();
  REQUIRE(world.received(6));
  world.hub.answer(5, text_answer(MessageType::error_response, "not now"));
  REQUIRE(world.is_registered());
  REQUIRE(world.registered.succeeded());
  REQUIRE(world.registered.result.statuses == Statuses{conflict, conflict});
}

TEST_CASE("a registration that was made once more without an answer, and is refused then, may have been stored") {
  Refused world(20s, 2s);
  world.have_claim_back();
  REQUIRE(world.received(6));
  std::size_t last = 5;
  const auto is_sent_again = [&] {
    last = world.hub.seen.queries.size() - 1;
    return last > 5 && world.hub.type(last) == MessageType::register_entries;
  };
  REQUIRE(world.hub.run(world.io, is_sent_again));
  REQUIRE(world.hub.envelope(last).sequence == world.hub.envelope(5).sequence);
  REQUIRE(world.hub.envelope(last).resent);
  world.hub.answer(last, text_answer(MessageType::error_response, "not now"));
  REQUIRE(world.is_registered());
  REQUIRE(world.registered.calls == 1);
  REQUIRE(world.registered.code);
  REQUIRE(world.registered.result.refused == Blocks{{1, 10}, {2, 20}});
}

TEST_CASE("a registration that is refused once more is refused") {
  Refused world;
  world.have_claim_back();
  REQUIRE(world.received(6));
  world.hub.answer(5, register_answer({conflict}));
  REQUIRE(world.is_registered());
  REQUIRE(world.registered.result.statuses == Statuses{conflict, conflict});
  REQUIRE(world.hub.seen.queries.size() == 6);
}

TEST_CASE("an asynchronous claim registers what it holds at once at a hub that insists and was restarted") {
  HubOptions insisting;
  insisting.insist_on_holder = true;
  const zmq_test::SocketDirectory directory;
  std::optional<ServedHub> hub(std::in_place, directory.hub(), insisting);
  asio::io_context io;
  ZmqTransportConfig address = hub->address();
  address.reconnect_interval = 10ms;
  Client client = builder(io, address).build();
  Completed<BlockClaim> claimed;
  client.async_claim({1, 2}, 0s, claimed.token());
  REQUIRE(run_until(io, [&] { return claimed.calls > 0; }));
  REQUIRE(claimed.result.granted() == Keys{1, 2});
  hub.reset();
  hub.emplace(directory.hub(), insisting);
  Completed<RegisterResult<Block>> registered;
  claimed.result.async_register_blocks({{1, 10}, {2, 20}}, registered.token());
  REQUIRE(run_until(io, [&] { return registered.calls > 0; }));
  REQUIRE(registered.succeeded());
  REQUIRE(registered.result.all_stored());
  REQUIRE(hub->stats().stored == 2);
}
