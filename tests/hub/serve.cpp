// SPDX-License-Identifier: Apache-2.0
// The loop of a hub: how it begins and ends, what it answers on the way out, and by what time leases run.
#include "support/catch.hpp"

#include <atomic>
#include <chrono>
#include <cstddef>
#include <future>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "hub/fake_transport.hpp"

using namespace hub_test;

namespace {

using enum OffloadStatus;

const Bytes one_granted = statuses({granted});
const Bytes one_leased = statuses({leased});

}  // namespace

TEST_CASE("serve answers what comes until it is stopped") {
  auto hub = block_hub().build();
  FakeTransport transport;
  transport.waits = {[&] { transport.put_query("a", can_offload({1})); },
                     [&] {
                       transport.put_query("b", can_offload({1}));
                       transport.put_registration("c", registration({{2, 20, {}}}));
                     },
                     [&] { transport.put_query("b", can_offload({2})); }, [&] { hub.stop(); }};
  hub.serve(transport);
  CHECK(transport.answers ==
        std::vector<FakeTransport::Answer>{{"a", one_granted}, {"b", one_leased}, {"b", statuses({already_stored})}});
  CHECK(transport.asked.size() == 4);
  CHECK(hub.stats().queries == 3);
  CHECK(hub.stats().registrations == 1);
  CHECK(hub.stats().stored == 1);
}

TEST_CASE("stop ends a serve on another thread, also one that waits") {
  auto hub = block_hub().build();
  FakeTransport transport;
  std::promise<void> waiting;
  transport.waits = {[&] { waiting.set_value(); }};
  auto serving = std::async(std::launch::async, [&] { hub.serve(transport); });
  waiting.get_future().wait();
  hub.stop();
  serving.get();
  CHECK(transport.answers.empty());
}

TEST_CASE("a stop before serve ends it, and only once") {
  auto hub = block_hub().build();
  FakeTransport transport;
  transport.put_query("a", can_offload({1}));
  hub.stop();
  hub.stop();
  hub.serve(transport);
  CHECK(transport.asked.empty());
  // What has arrived is answered even then.
  CHECK(transport.answers == std::vector<FakeTransport::Answer>{{"a", one_granted}});
  transport.waits = {[&] { transport.put_query("a", can_offload({2})); }, [&] { hub.stop(); }};
  hub.serve(transport);
  CHECK(transport.answers.size() == 2);
}

TEST_CASE("what had arrived when it was stopped is answered, however much it is") {
  auto hub = block_hub().build();
  FakeTransport transport;
  transport.budget = 3;
  constexpr Block queries = 100;
  transport.waits = {[&] {
    for (Block key = 0; key < queries; ++key) transport.put_query("a", can_offload({key}));
    transport.put_registration("b", registration({{1'000, 1, {}}}));
    hub.stop();
  }};
  hub.serve(transport);
  CHECK(transport.left() == 0);
  CHECK(transport.answers.size() == queries);
  CHECK(hub.stats().stored == 1);
}

TEST_CASE("what still waits when a hub stops is refused, and is nothing to the next serve") {
  auto hub = block_hub().build();
  FakeTransport transport;
  Envelope asked;
  asked.number = 1;
  asked.client = {7, 1};
  asked.after = 1;
  Envelope registered;
  registered.number = 1;
  registered.client = {7, 1};
  transport.waits = {[&] { transport.put_query("a", keys(MessageType::remove, {1}), asked); }, [&] { hub.stop(); }};
  SECTION("what it waits for does not come") {
    hub.serve(transport);
    REQUIRE(transport.answers.size() == 1);
    CHECK(transport.answers[0].recipient == "a");
    CHECK(refusal(transport.answers[0]) == "the hub is stopping");
    FakeTransport other;
    other.put_registration("c", registration({{1, 10, {}}}), registered);
    hub.stop();
    hub.serve(other);
    CHECK(other.answers.empty());
    CHECK(hub.stats().stored == 1);
  }
  SECTION("what it waits for had arrived by then") {
    transport.waits.back() = [&] {
      hub.stop();
      transport.put_registration("a", registration({{1, 10, {}}}), registered);
    };
    hub.serve(transport);
    CHECK(transport.answers == std::vector<FakeTransport::Answer>{{"a", count(MessageType::remove_response, 1)}});
    CHECK(hub.stats().stored == 0);
  }
}

TEST_CASE("those who do not stop asking do not keep a hub from stopping") {
  auto hub = block_hub().build();
  FakeTransport transport;
  transport.budget = 1;
  std::size_t asked = 0;
  transport.waits = {[&] { hub.stop(); }};
  transport.after_drain = [&] {
    transport.put_query("a", can_offload({++asked}));
    transport.time.lease += 10ms;
  };
  hub.serve(transport);
  CHECK(asked > 2);
}

TEST_CASE("a transport that fails ends serve with its error, and the hub can be served again") {
  auto hub = block_hub().build();
  FakeTransport transport;
  const bool while_waiting = GENERATE(false, true);
  const auto fail = [] { throw RegistryError(TransportError{"the socket is gone"}); };
  transport.waits = {[&] { transport.put_query("a", can_offload({1})); },
                     [&] {
                       if (while_waiting) fail();
                     }};
  transport.after_drain = [&] {
    if (!while_waiting && transport.waits.empty()) fail();
  };
  try {
    hub.serve(transport);
    FAIL("nothing was thrown");
  } catch (const RegistryError& error) {
    REQUIRE(error.as<TransportError>() != nullptr);
    CHECK(error.as<TransportError>()->reason == "the socket is gone");
  }
  transport.after_drain = [] {};
  transport.waits = {[&] { transport.put_query("b", can_offload({1})); }, [&] { hub.stop(); }};
  hub.serve(transport);
  REQUIRE(transport.answers.size() == 2);
  CHECK(transport.answers[1] == FakeTransport::Answer{"b", one_leased});
}

TEST_CASE("after serve the transport is not touched, and the next may be another") {
  auto hub = block_hub().build();
  FakeTransport transport;
  transport.waits = {[&] { hub.stop(); }};
  hub.serve(transport);
  CHECK(transport.interrupts == 1);
  hub.stop();
  CHECK(transport.interrupts == 1);
  FakeTransport other;
  other.put_query("a", can_offload({1}));
  hub.serve(other);
  CHECK(other.answers.size() == 1);
}

TEST_CASE("while there is nothing to wait for a hub waits for ever, and else until its next cleanup") {
  auto hub = block_hub().lease_ttl(1h).lease_cleanup_interval(90s).build();
  FakeTransport transport;
  transport.waits = {[&] {}, [&] { transport.put_query("a", can_offload({1})); }, [&] {}, [&] { hub.stop(); }};
  hub.serve(transport);
  REQUIRE(transport.asked.size() == 4);
  CHECK(transport.asked[0] == std::nullopt);
  CHECK(transport.asked[1] == std::nullopt);
  REQUIRE(transport.asked[2]);
  CHECK(*transport.asked[2] > 0s);
  CHECK(*transport.asked[2] <= 90s);
  REQUIRE(transport.asked[3]);
  CHECK(*transport.asked[3] <= *transport.asked[2]);
}

TEST_CASE("leases keep their time while a hub is not served") {
  auto hub = block_hub().lease_ttl(1ms).lease_cleanup_interval(1h).stall_tolerance(0ns).build();
  FakeTransport transport;
  transport.put_query("a", can_offload({1}));
  hub.stop();
  hub.serve(transport);
  // By the steady clock the lease would be over.
  transport.time.lease += 3ms;
  transport.put_query("b", can_offload({1}));
  hub.stop();
  hub.serve(transport);
  REQUIRE(transport.answers.size() == 2);
  CHECK(transport.answers[0] == FakeTransport::Answer{"a", one_granted});
  CHECK(transport.answers[1] == FakeTransport::Answer{"b", one_leased});
}

TEST_CASE("time that passed while a hub was served is over when it is served again") {
  auto hub = block_hub().lease_ttl(30ms).lease_cleanup_interval(1h).stall_tolerance(0ns).build();
  FakeTransport transport;
  transport.waits = {[&] { transport.put_query("a", can_offload({1})); },
                     [&] {
                       transport.time.lease += 30ms;
                       hub.stop();
                     }};
  hub.serve(transport);
  transport.put_query("b", can_offload({1}));
  hub.stop();
  hub.serve(transport);
  CHECK(transport.answers == std::vector<FakeTransport::Answer>{{"a", one_granted}, {"b", one_granted}});
}

TEST_CASE("time in which the hub could not run does not count against the holders of leases") {
  const auto outlive = [](std::chrono::nanoseconds tolerance) {
    auto hub = block_hub().lease_ttl(40ms).lease_cleanup_interval(1ns).stall_tolerance(tolerance).build();
    FakeTransport transport;
    transport.waits = {[&] { transport.put_query("a", can_offload({1})); },
                       [&] {
                         // Asked to sleep for next to nothing, it comes back long after the lease's end.
                         transport.time.lease += 60ms;
                         transport.put_query("b", can_offload({1}));
                       },
                       [&] { hub.stop(); }};
    hub.serve(transport);
    return transport.answers.at(1) == FakeTransport::Answer{"b", one_leased};
  };
  CHECK(outlive(0ns));
  CHECK_FALSE(outlive(1h));
}

TEST_CASE("of a stop that falls into a sleep next to nothing counts, whatever the hub meant to sleep until") {
  auto hub = block_hub().lease_ttl(1s).build();
  FakeTransport transport;
  const auto stop_for_long = [&] {
    transport.time.lease += 10s;
    transport.put_query("b", can_offload({1}));
  };
  transport.waits = {
      [&] { transport.put_query("a", can_offload({1})); }, stop_for_long, stop_for_long, [&] { hub.stop(); }};
  hub.serve(transport);
  CHECK(transport.asked.at(1) == 100ms);
  CHECK(transport.answers ==
        std::vector<FakeTransport::Answer>{{"a", one_granted}, {"b", one_leased}, {"b", one_leased}});
}

TEST_CASE("what is granted lasts from when it was asked for, however long the hub was busy before") {
  auto hub = block_hub().lease_ttl(40ms).build();
  FakeTransport transport;
  // A turn in which messages come while others are handled.
  transport.before_message = [&] { transport.time.lease += 10ms; };
  transport.waits = {
      [&] {
        for (int i = 0; i < 3; ++i) transport.put_query("a", keys(MessageType::match, {7}));
        transport.put_query("a", can_offload({1}));  // at 40 ms, until 80 ms
      },
      [&] {
        transport.before_message = [] {};
        transport.time.lease += 39ms;
        transport.put_query("b", can_offload({1}));
      },
      [&] {
        transport.time.lease += 1ms;
        transport.put_query("b", can_offload({1}));
      },
      [&] { hub.stop(); }};
  hub.serve(transport);
  CHECK(transport.answers.at(4) == FakeTransport::Answer{"b", one_leased});
  CHECK(transport.answers.at(5) == FakeTransport::Answer{"b", one_granted});
}

TEST_CASE("leases end while a hub waits as long as it meant to") {
  auto hub = block_hub().lease_ttl(30ms).lease_cleanup_interval(1h).stall_tolerance(0ns).build();
  FakeTransport transport;
  transport.waits = {[&] { transport.put_query("a", can_offload({1})); },
                     [&] {
                       transport.time.lease += 30ms;
                       transport.put_query("b", can_offload({1}));
                     },
                     [&] { hub.stop(); }};
  hub.serve(transport);
  CHECK(transport.answers.at(1) == FakeTransport::Answer{"b", one_granted});
  CHECK(hub.stats().leases.expired == 1);
}

TEST_CASE("an answer that cannot be delivered takes back what it granted") {
  auto hub = block_hub().build();
  FakeTransport transport;
  transport.send_result = [&] { return transport.asked.size() > 1; };
  transport.waits = {[&] { transport.put_query("a", can_offload({1})); },
                     [&] { transport.put_query("b", can_offload({1})); }, [&] { hub.stop(); }};
  hub.serve(transport);
  CHECK(transport.answers == std::vector<FakeTransport::Answer>{{"b", one_granted}});
  CHECK(hub.stats().undeliverable == 1);
}

TEST_CASE("the statistics of a hub may be read while it is served") {
  auto hub = block_hub().build();
  FakeTransport transport;
  std::atomic<bool> watching = true;
  constexpr Block rounds = 300;
  for (Block i = 0; i < rounds; ++i) {
    transport.waits.push_back([&, i] {
      transport.put_query("a", can_offload({i}));
      transport.put_registration("a", registration({{i, i, {}}}));
    });
  }
  transport.waits.push_back([&] { hub.stop(); });
  auto watcher = std::async(std::launch::async, [&] {
    bool in_order = true;
    HubStats before;
    while (watching) {
      const HubStats now = hub.stats();
      in_order = in_order && now.queries >= before.queries && now.stored >= before.stored &&
                 now.leases.granted >= before.leases.granted;
      before = now;
    }
    return in_order;
  });
  hub.serve(transport);
  watching = false;
  CHECK(watcher.get());
  const HubStats stats = hub.stats();
  CHECK(stats.queries == rounds);
  CHECK(stats.granted == rounds);
  CHECK(stats.stored == rounds);
  CHECK(stats.leases.converted == rounds);
  CHECK(stats.leases.active == 0);
}

TEST_CASE("several hubs in one process know nothing of each other") {
  auto one = block_hub().build();
  auto two = block_hub().build();
  FakeTransport to_one;
  FakeTransport to_two;
  to_one.waits = {[&] { to_one.put_query("a", can_offload({1})); }, [&] { one.stop(); }};
  to_two.waits = {[&] { to_two.put_query("a", can_offload({1})); }, [&] { two.stop(); }};
  auto other_thread = std::async(std::launch::async, [&] { two.serve(to_two); });
  one.serve(to_one);
  other_thread.get();
  CHECK(to_one.answers == to_two.answers);
  CHECK(to_one.answers == std::vector<FakeTransport::Answer>{{"a", one_granted}});
  CHECK(one.stats().queries == 1);
}

TEST_CASE("a hub may be moved before it is served") {
  auto hub = block_hub().build();
  FakeTransport transport;
  hub.stop();
  auto moved = std::move(hub);
  transport.put_query("a", can_offload({1}));
  moved.serve(transport);
  CHECK(transport.answers.size() == 1);
}
