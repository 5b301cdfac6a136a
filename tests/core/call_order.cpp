// SPDX-License-Identifier: Apache-2.0
#include "support/catch.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <utility>
#include <vector>

#include <registry/core/call_order.hpp>

using namespace registry;

namespace {

using Number = std::uint64_t;
using Keys = std::vector<Number>;
using Order = CallOrder<Number, int>;

struct Calls {
  std::shared_ptr<Order> order = std::make_shared<Order>();
  std::map<int, Order::Place> places;

  /// Whether it may go on at once.
  bool enter(int call, const Keys& keys) {
    return places.emplace(call, Order::enter(order, call, keys)).first->second.is_first();
  }

  /// The calls that go on because this one has left.
  std::vector<int> leave(int call) {
    places.erase(call);
    return order->take_ready();
  }
};

}  // namespace

TEST_CASE("calls that share a key go on one after the other, and others pass") {
  Calls calls;
  CHECK(calls.enter(1, {1, 2}));
  CHECK_FALSE(calls.enter(2, {2, 3}));
  CHECK_FALSE(calls.enter(3, {3, 4}));
  CHECK(calls.enter(4, {5}));
  CHECK(calls.leave(4).empty());
  CHECK(calls.leave(1) == std::vector{2});
  CHECK(calls.places.at(2).is_first());
  CHECK(calls.leave(2) == std::vector{3});
  CHECK(calls.leave(3).empty());
  CHECK(calls.order->empty());
}

TEST_CASE("a call waits for all that have one of its keys, and names a key twice for nothing") {
  Calls calls;
  CHECK(calls.enter(1, {1, 1}));
  CHECK(calls.enter(2, {2}));
  CHECK_FALSE(calls.enter(3, {2, 1, 2, 1}));
  CHECK(calls.leave(2).empty());
  CHECK(calls.leave(1) == std::vector{3});
  CHECK(calls.leave(3).empty());
  CHECK(calls.order->empty());
}

TEST_CASE("a call that is over before it is the first holds nobody up once it would be") {
  Calls calls;
  CHECK(calls.enter(1, {1}));
  CHECK_FALSE(calls.enter(2, {1, 2}));
  CHECK_FALSE(calls.enter(3, {2}));
  CHECK(calls.leave(2).empty());
  CHECK_FALSE(calls.enter(4, {2}));
  CHECK(calls.leave(1) == std::vector{3});
  CHECK(calls.leave(3) == std::vector{4});
  CHECK(calls.leave(4).empty());
  CHECK(calls.order->empty());
}

TEST_CASE("a call that ends after it has become the first, and before anybody asked, is not among those that go on") {
  Calls calls;
  CHECK(calls.enter(1, {1}));
  CHECK_FALSE(calls.enter(2, {1}));
  CHECK_FALSE(calls.enter(3, {1}));
  calls.places.erase(1);
  CHECK(calls.order->has_ready());
  CHECK(calls.leave(2) == std::vector{3});
  CHECK_FALSE(calls.order->has_ready());
}

TEST_CASE("whether calls wait that came before another is known, until they are taken or over") {
  Calls calls;
  CHECK(calls.enter(1, {1}));
  const auto first = calls.order->last();
  CHECK_FALSE(calls.enter(2, {1}));
  const auto second = calls.order->last();
  CHECK_FALSE(calls.enter(3, {1}));
  CHECK_FALSE(calls.order->waits_up_to(first));
  CHECK(calls.order->waits_up_to(second));
  calls.places.erase(1);
  CHECK(calls.order->waits_up_to(second));
  CHECK(calls.order->take_ready() == std::vector{2});
  CHECK_FALSE(calls.order->waits_up_to(second));
  CHECK(calls.order->waits_up_to(calls.order->last()));
  calls.places.erase(3);
  CHECK_FALSE(calls.order->waits_up_to(calls.order->last()));
}

TEST_CASE("calls of no keys wait for nothing") {
  Calls calls;
  CHECK(calls.enter(1, {}));
  CHECK(calls.leave(1).empty());
}

TEST_CASE("a place may outlive whoever made the order") {
  std::optional<Calls> calls{std::in_place};
  CHECK(calls->enter(1, {1}));
  CHECK_FALSE(calls->enter(2, {1}));
  std::map<int, Order::Place> places = std::move(calls->places);
  calls.reset();
  places.erase(1);
  CHECK(places.at(2).is_first());
}

TEST_CASE("a key that is never free takes memory for those that wait, not for all that have waited") {
  Calls calls;
  CHECK(calls.enter(0, {1}));
  // Each is there to be counted again as the next comes and the one before leaves.
  for (int call = 1; call <= 100'000; ++call) {
    REQUIRE_FALSE(calls.enter(call, {1}));
    REQUIRE(calls.leave(call - 1) == std::vector{call});
  }
  CHECK(calls.leave(100'000).empty());
  CHECK(calls.order->empty());
}

TEST_CASE("whatever comes and goes, a call goes on when the last before it with one of its keys has left") {
  std::mt19937 random(GENERATE(range(1U, 21U)));
  const auto below = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
  struct Known {
    Keys keys;
    bool goes_on = false;
    bool is_over = false;  // before it went on: it has its place until it would
  };
  Calls calls;
  std::map<int, Known> known;  // in the order of the calls
  const auto may_go = [&](int call) {
    return std::none_of(known.begin(), known.find(call), [&](const auto& earlier) {
      return std::ranges::any_of(earlier.second.keys, [&](Number key) {
        const Keys& keys = known.at(call).keys;
        return std::ranges::find(keys, key) != keys.end();
      });
    });
  };
  const auto leave = [&](int call) {
    if (known.at(call).goes_on) {
      known.erase(call);
    } else {
      known.at(call).is_over = true;
    }
    for (auto it = known.begin(); it != known.end();) {
      it = it->second.is_over && may_go(it->first) ? known.erase(it) : std::next(it);
    }
    for (const int next : calls.leave(call)) known.at(next).goes_on = true;
  };
  const auto present = [&] {
    std::vector<int> all;
    for (const auto& [call, what] : known) {
      if (!what.is_over) all.push_back(call);
    }
    return all;
  };
  for (int call = 0; call < 3'000; ++call) {
    Keys keys(below(4));
    for (Number& key : keys) key = below(12);
    known[call].keys = keys;
    known[call].goes_on = calls.enter(call, keys);
    while (present().size() > below(15)) {
      const std::vector<int> all = present();
      leave(all[below(all.size())]);
    }
    for (const auto& [one, what] : known) REQUIRE(what.goes_on == (may_go(one) && !what.is_over));
  }
  for (const int call : present()) leave(call);
  CHECK(calls.order->empty());
}
