// SPDX-License-Identifier: Apache-2.0
// A client that was refused goes on by itself once a hub lets it in.
#include <atomic>
#include <chrono>
#include <cstddef>
#include <optional>
#include <thread>
#include <vector>

#include "support/catch.hpp"
#include "zmq/keys.hpp"
#include "zmq/sockets.hpp"

using namespace registry;
using namespace zmq_test;

namespace {

/// Of a call by a client that the hub refuses.
template <class AnyClient>
void check_that_it_is_answered_once_let_in(AnyClient& worker, RestartedHub& place, const CurveSecretKey& key,
                                           Block block) {
  const std::size_t refused = place.hub->log.texts().size();
  std::size_t granted = 0;
  std::thread call([&] { granted = worker.can_offload({block}).can_offload.size(); });
  CHECK(eventually([&] { return place.hub->log.texts().size() >= refused + 3; }));  // it tries, and tries again
  place.restart(std::vector{allow(key)});
  call.join();
  CHECK(granted == 1);
}

}  // namespace

TEST_CASE("a client whose key is put on the list is let in by the hub that has it, without being built anew") {
  const auto key = CurveSecretKey::random();
  RestartedHub place({});
  auto worker = client_of(place.to(key), "default", 1s);
  worker.register_blocks({{1, 10}});
  worker.flush();
  CHECK(error_of([&] { worker.can_offload({2}); }));
  CHECK(place.hub->log.contains("was refused"));

  place.restart(std::vector{allow(key)});
  CHECK(worker.can_offload({2}).can_offload.size() == 1);
  // What it has registered while it was refused was kept.
  CHECK(eventually([&] { return place.hub->stats().stored == 1; }));
  worker.register_blocks({{2, 20}});
  worker.flush();
  CHECK(eventually([&] { return place.hub->stats().stored == 2; }));
}

TEST_CASE("a call that is made while its client is refused is answered once it is let in") {
  const auto key = CurveSecretKey::random();
  RestartedHub place({});
  auto worker = client_of(place.to(key));
  check_that_it_is_answered_once_let_in(worker, place, key, 1);
}

TEST_CASE("a client that a restarted hub refuses is let in by the next one that does not") {
  const auto key = CurveSecretKey::random();
  RestartedHub place({allow(key)});
  auto worker = client_of(place.to(key), "default", 2s);
  CHECK(worker.can_offload({1}).can_offload.size() == 1);
  worker.register_blocks({{1, 10}});
  worker.flush();
  CHECK(eventually([&] { return place.hub->stats().stored == 1; }));
  place.restart(std::vector<CurveAllowedClient>{});
  CHECK(eventually([&] { return place.hub->log.contains("was refused"); }));
  place.restart(std::vector{allow(key)});
  CHECK(worker.can_offload({2}).can_offload.size() == 1);
  worker.register_blocks({{2, 20}});
  worker.flush();
  CHECK(eventually([&] { return worker.match({2}).size() == 1; }));
}

TEST_CASE("a call of a client that was let in before, made while it is refused, is answered once it is let in again") {
  const auto key = CurveSecretKey::random();
  RestartedHub place({allow(key)});
  auto worker = client_of(place.to(key));
  CHECK(worker.can_offload({1}).can_offload.size() == 1);
  place.restart(std::vector<CurveAllowedClient>{});
  CHECK(eventually([&] { return place.hub->log.contains("was refused"); }));
  // Its sockets hear of that while somebody else tries in vain.
  CHECK(error_of([&] { client_of(place.to(CurveSecretKey::random()), "default", 200ms).can_offload({2}); }));
  check_that_it_is_answered_once_let_in(worker, place, key, 3);
}

TEST_CASE("what a hub has taken in is not sent once more where the next one has refused its client") {
  const auto key = CurveSecretKey::random();
  MuteHub hub({allow(key)});
  auto worker = client_of(hub.to(key), "default", 1s);
  std::atomic<int> failed = 0;
  const auto remove = [&](Block block) {
    return std::thread([&, block] { failed += error_of([&] { worker.remove({block}); }) ? 1 : 0; });
  };
  const auto listen_until = [&](auto done) {
    return eventually([&] {
      hub.listen();
      return done();
    });
  };
  // The first call of a connection, and a later one of which its watch knows less.
  for (const Block first : {10U, 20U}) {
    hub.taken_in = {};
    std::thread call = remove(first);
    CHECK(listen_until([&] { return hub.taken_in.queries.size() == 1; }));
    hub.restart({});
    const std::size_t refused = hub.log.texts().size();
    CHECK(listen_until([&] { return hub.log.texts().size() >= refused + 3; }));
    hub.restart({allow(key)});
    call.join();
    std::thread next = remove(first + 1);
    CHECK(listen_until([&] { return hub.taken_in.queries.size() >= 2; }));
    next.join();
    REQUIRE(hub.taken_in.queries.size() == 2);
    std::vector<Block> keys;
    CHECK_FALSE(Codec64::decode_keys(as_bytes(hub.taken_in.queries.back().message), keys));
    CHECK(keys == std::vector<Block>{first + 1});
  }
  CHECK(failed == 4);
}

TEST_CASE("a client with keys that met a hub without is let in by the hub that has them") {
  const auto key = CurveSecretKey::random();
  RestartedHub place({allow(key)});
  const auto config = place.to(key);
  place.restart(std::nullopt);
  auto worker = client_of(config, "default", 1s);
  worker.register_blocks({{1, 10}});
  worker.flush();
  CHECK(error_of([&] { worker.can_offload({2}); }));
  place.restart(std::vector{allow(key)});
  CHECK(worker.can_offload({2}).can_offload.size() == 1);
  CHECK(eventually([&] { return place.hub->stats().stored == 1; }));
}

TEST_CASE("a client that is refused tries again ever more slowly, up to a bound") {
  const auto key = CurveSecretKey::random();
  KeyedHub hub({});
  ZmqTransportConfig config = hub.to(key);
  config.reconnect_interval = 50ms;
  config.reconnect_interval_max = 200ms;
  auto worker = client_of(config, "default", 1s);
  CHECK(error_of([&] { worker.can_offload({1}); }));
  // The query connection, at 0, 50, 150, 350, 550 ... ms, and once that for registrations, which nobody uses.
  CHECK(hub.log.texts().size() >= 4);
  CHECK(hub.log.texts().size() <= 10);
}
