// SPDX-License-Identifier: Apache-2.0
#include <registry/core/catalogue.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <registry/eviction/recency.hpp>
#include <registry/eviction/tail.hpp>
#include <registry/storage.hpp>

#include "core/common.hpp"
#include "core/times.hpp"
#include "support/catch.hpp"

using namespace registry;
using namespace registry::test;
using namespace std::chrono_literals;

namespace {

template <class E>
struct Gone {
  E entry;
  EvictionReason reason;
  friend bool operator==(const Gone&, const Gone&) = default;
};

template <class P>
struct Recording {
  using E = Entry<typename P::key_type, typename P::value_type, typename P::metadata_type>;
  explicit Recording(P policy)
      : catalogue(std::move(policy),
                  [this](const auto& key, const auto& value, const auto& metadata, EvictionReason reason, const auto&) {
                    gone.push_back({{key, value, metadata}, reason});
                  },
                  {}) {}
  HubStats stats() const {
    HubStats stats;
    catalogue.add_to(stats);
    return stats;
  }
  std::vector<Gone<E>> gone;
  Catalogue<P> catalogue;
};

using TimedCatalogue = Recording<NoEviction<TimedStorage>>;

TimedEntry timed(Number key, Number value, std::optional<std::uint32_t> ttl, std::uint64_t created_at = created) {
  return {key, value, {created_at, ttl}};
}

/// Throws from what it is told to.
class FailingCalls {
 public:
  using key_type = Number;
  using value_type = Number;
  using metadata_type = TimestampMetadata;
  struct Plan {
    bool insert = false;
    bool erase = false;
  };
  explicit FailingCalls(std::shared_ptr<Plan> plan) : plan_(std::move(plan)) {}
  const Stored<Number, TimestampMetadata>* find(const Number& key) const { return storage_.find(key); }
  std::optional<Stored<Number, TimestampMetadata>> insert(TimedEntry entry) {
    if (plan_->insert) throw std::runtime_error{"disk full"};
    return storage_.insert(std::move(entry));
  }
  std::optional<Stored<Number, TimestampMetadata>> erase(const Number& key) {
    if (plan_->erase) throw std::runtime_error{"disk gone"};
    return storage_.erase(key);
  }
  std::size_t size() const { return storage_.size(); }

 private:
  std::shared_ptr<Plan> plan_;
  TimedStorage storage_;
};

}  // namespace

TEST_CASE("what is inserted is found until it is removed, and what is removed is handed on") {
  Recording<NoEviction<PlainStorage>> test{NoEviction(PlainStorage{})};
  CHECK(test.catalogue.insert({1, 10, {}}, wall_start));
  REQUIRE(test.catalogue.find(1) != nullptr);
  CHECK(test.catalogue.find(1)->value == 10);
  CHECK(test.stats().stored == 1);
  CHECK(test.catalogue.touch(1, wall_start));
  CHECK_FALSE(test.catalogue.touch(2, wall_start));
  CHECK_FALSE(test.catalogue.remove(2, wall_start));
  CHECK(test.gone.empty());
  CHECK(test.catalogue.remove(1, wall_start));
  CHECK_FALSE(test.catalogue.remove(1, wall_start));
  CHECK(test.gone == std::vector<Gone<Entry<Number, Number, NoMetadata>>>{{{1, 10, {}}, EvictionReason::removed}});
  CHECK(test.stats().stored == 0);
  CHECK(test.stats().removed == 1);
  CHECK_FALSE(test.catalogue.has_expiring());
  CHECK(test.catalogue.expire(wall_start + 1h, 10) == 0);
}

TEST_CASE("a policy that is not empty counts from the start") {
  NoEviction policy(PlainStorage{});
  std::vector<Entry<Number, Number, NoMetadata>> evicted;
  policy.insert({1, 10, {}}, evicted);
  Recording<NoEviction<PlainStorage>> test{std::move(policy)};
  CHECK(test.stats().stored == 1);
  CHECK(test.catalogue.policy().size() == 1);
}

TEST_CASE("a value that differs is superseded, an equal one is a retry") {
  TimedCatalogue test{NoEviction(TimedStorage{})};
  test.catalogue.insert(timed(1, 10, 5), wall_start);
  test.catalogue.insert(timed(1, 10, 7), wall_start);
  CHECK(test.gone.empty());
  CHECK(test.catalogue.find(1)->metadata.ttl_secs == 7U);
  test.catalogue.insert(timed(1, 11, 9), wall_start);
  CHECK(test.gone == std::vector<Gone<TimedEntry>>{{timed(1, 10, 7), EvictionReason::superseded}});
  CHECK(test.catalogue.find(1)->value == 11);
  CHECK(test.stats().superseded == 1);
  CHECK(test.stats().stored == 1);
}

TEST_CASE("an entry whose time is over is as good as absent to every call") {
  TimedCatalogue test{NoEviction(TimedStorage{})};
  const WallTime end = wall_start + 5s;
  test.catalogue.insert(timed(1, 10, 5), wall_start);
  CHECK(test.catalogue.has_expiring());
  const std::vector<Gone<TimedEntry>> expired{{timed(1, 10, 5), EvictionReason::expired}};

  SECTION("not before its end") {
    test.catalogue.drop_if_over(1, end - 1us);
    CHECK(test.catalogue.find(1) != nullptr);
    CHECK(test.catalogue.expire(end - 1us, 10) == 0);
    CHECK(test.gone.empty());
  }
  SECTION("find, after drop_if_over") {
    test.catalogue.drop_if_over(1, end);
    CHECK(test.catalogue.find(1) == nullptr);
    CHECK(test.gone == expired);
  }
  SECTION("remove") {
    CHECK_FALSE(test.catalogue.remove(1, end));
    CHECK(test.gone == expired);
  }
  SECTION("touch") {
    CHECK_FALSE(test.catalogue.touch(1, end));
    CHECK(test.gone == expired);
  }
  SECTION("insert supersedes nothing") {
    CHECK(test.catalogue.insert(timed(1, 11, 5), end));
    CHECK(test.gone == expired);
    CHECK(test.catalogue.find(1)->value == 11);
    CHECK(test.stats().superseded == 0);
  }
  SECTION("expire") {
    CHECK(test.catalogue.expire(end, 10) == 1);
    CHECK(test.gone == expired);
    CHECK(test.stats().expired == 1);
    CHECK(test.stats().stored == 0);
  }
  if (test.catalogue.find(1) == nullptr) CHECK_FALSE(test.catalogue.has_expiring());
}

TEST_CASE("the end counts from the arrival for a block that says it was made later") {
  TimedCatalogue test{NoEviction(TimedStorage{})};
  test.catalogue.insert(timed(1, 10, 5, created + 3600), wall_start + 500ms);
  test.catalogue.insert(timed(2, 10, 5, created - 3), wall_start);
  CHECK(test.catalogue.expire(wall_start + 2s, 10) == 1);
  CHECK(test.catalogue.find(2) == nullptr);
  CHECK(test.catalogue.expire(wall_start + 5s - 1us, 10) == 0);
  CHECK(test.catalogue.expire(wall_start + 5s, 10) == 1);
}

TEST_CASE("registering anew moves the end or takes it away") {
  TimedCatalogue test{NoEviction(TimedStorage{})};
  test.catalogue.insert(timed(1, 10, 5), wall_start);
  test.catalogue.insert(timed(1, 10, 60), wall_start);
  CHECK(test.catalogue.expire(wall_start + 5s, 10) == 0);
  test.catalogue.insert(timed(1, 10, std::nullopt), wall_start);
  CHECK_FALSE(test.catalogue.has_expiring());
  CHECK(test.catalogue.expire(wall_start + 1h, 10) == 0);
  CHECK(test.catalogue.find(1) != nullptr);
}

TEST_CASE("entries leave in bounded slices, the first over first") {
  TimedCatalogue test{NoEviction(TimedStorage{})};
  for (Number key = 1; key <= 5; ++key)
    test.catalogue.insert(timed(key, key, static_cast<std::uint32_t>(10 - key)), wall_start);
  CHECK(test.catalogue.expire(wall_start + 1h, 0) == 0);
  CHECK(test.catalogue.expire(wall_start + 1h, 2) == 2);
  REQUIRE(test.gone.size() == 2);
  CHECK(test.gone[0].entry.key == 5);
  CHECK(test.gone[1].entry.key == 4);
  CHECK(test.catalogue.expire(wall_start + 1h, 10) == 3);
}

TEST_CASE("what is evicted or removed leaves the index of ends, too") {
  Recording<TailEviction<TimedStorage>> test{TailEviction(TimedStorage{}, 2)};
  for (Number key = 1; key <= 3; ++key) CHECK(test.catalogue.insert(timed(key, key, 5), wall_start));
  REQUIRE(test.gone.size() == 1);
  CHECK(test.gone[0] == Gone<TimedEntry>{timed(1, 1, 5), EvictionReason::evicted});
  CHECK(test.stats().evicted == 1);
  CHECK(test.stats().stored == 2);
  test.catalogue.remove(2, wall_start);
  CHECK(test.catalogue.expire(wall_start + 5s, 10) == 1);
  CHECK(test.gone.back().entry.key == 3);
  CHECK_FALSE(test.catalogue.has_expiring());
}

TEST_CASE("an end whose entry the policy has let go by itself is not tried for ever") {
  Recording<TailEviction<TimedStorage>> test{TailEviction(TimedStorage{}, 2)};
  test.catalogue.insert(timed(1, 1, 5), wall_start);
  test.catalogue.policy().evict(1);
  CHECK(test.catalogue.expire(wall_start + 5s, 10) == 1);
  CHECK_FALSE(test.catalogue.has_expiring());
  CHECK(test.gone.empty());
}

TEST_CASE("where there is no room the entry is not stored, and has no end") {
  TimedCatalogue test{NoEviction(TimedStorage{}, 1)};
  CHECK(test.catalogue.insert(timed(1, 1, std::nullopt), wall_start));
  CHECK_FALSE(test.catalogue.insert(timed(2, 2, 5), wall_start));
  CHECK_FALSE(test.catalogue.has_expiring());
  CHECK(test.catalogue.find(2) == nullptr);
  CHECK(test.stats().stored == 1);
}

TEST_CASE("an entry that is over takes no room from another") {
  TimedCatalogue test{NoEviction(TimedStorage{}, 1)};
  test.catalogue.insert(timed(1, 1, 5), wall_start);
  CHECK_FALSE(test.catalogue.insert(timed(2, 2, 5), wall_start + 5s - 1us));
  CHECK(test.gone.empty());
  CHECK(test.catalogue.insert(timed(2, 2, 60), wall_start + 5s));
  CHECK(test.gone == std::vector<Gone<TimedEntry>>{{timed(1, 1, 5), EvictionReason::expired}});
  CHECK(test.catalogue.find(2) != nullptr);
  CHECK(test.stats().stored == 1);
  CHECK(test.stats().expired == 1);
  CHECK(test.catalogue.expire(wall_start + 6s, 10) == 0);
}

TEST_CASE("what is over leaves before what lives, and no more of it than there must") {
  Recording<RecencyEviction<TimedStorage>> test{RecencyEviction(TimedStorage{}, 2)};
  test.catalogue.insert(timed(1, 1, 60), wall_start);
  test.catalogue.insert(timed(2, 2, 5), wall_start);
  SECTION("although it was used later") {
    CHECK(test.catalogue.insert(timed(3, 3, 60), wall_start + 5s));
    CHECK(test.gone == std::vector<Gone<TimedEntry>>{{timed(2, 2, 5), EvictionReason::expired}});
    CHECK(test.stats().evicted == 0);
    CHECK(test.catalogue.find(1) != nullptr);
  }
  SECTION("while nothing is over, something is evicted") {
    CHECK(test.catalogue.insert(timed(3, 3, 60), wall_start + 5s - 1us));
    CHECK(test.gone == std::vector<Gone<TimedEntry>>{{timed(1, 1, 60), EvictionReason::evicted}});
  }
  SECTION("one at a time") {
    CHECK(test.catalogue.insert(timed(3, 3, 600), wall_start + 60s));
    CHECK(test.gone == std::vector<Gone<TimedEntry>>{{timed(2, 2, 5), EvictionReason::expired}});
  }
  SECTION("none for a key that is stored and needs no room") {
    CHECK(test.catalogue.insert(timed(1, 1, 60), wall_start + 5s));
    CHECK(test.gone.empty());
  }
  SECTION("none while there is room") {
    test.catalogue.remove(1, wall_start);
    test.gone.clear();
    CHECK(test.catalogue.insert(timed(3, 3, 60), wall_start + 5s));
    CHECK(test.gone.empty());
  }
}

TEST_CASE("an end whose entry the policy has let go by itself makes no room") {
  Recording<TailEviction<TimedStorage>> test{TailEviction(TimedStorage{}, 2)};
  test.catalogue.insert(timed(1, 1, 5), wall_start);
  test.catalogue.policy().evict(1);
  test.catalogue.insert(timed(2, 2, 60), wall_start);
  test.catalogue.insert(timed(3, 3, 7), wall_start);
  CHECK(test.catalogue.insert(timed(4, 4, 60), wall_start + 7s));
  CHECK(test.gone == std::vector<Gone<TimedEntry>>{{timed(3, 3, 7), EvictionReason::expired}});
}

TEST_CASE("a storage that throws changes nothing") {
  const auto plan = std::make_shared<FailingCalls::Plan>();
  Recording<NoEviction<FailingCalls>> test{NoEviction(FailingCalls{plan})};
  test.catalogue.insert(timed(1, 1, 5), wall_start);

  SECTION("insert") {
    plan->insert = true;
    CHECK_THROWS_AS(test.catalogue.insert(timed(2, 2, 5), wall_start), std::runtime_error);
    CHECK(test.stats().stored == 1);
    CHECK(test.catalogue.find(2) == nullptr);
    CHECK(test.catalogue.expire(wall_start + 5s, 10) == 1);
  }
  SECTION("remove") {
    plan->erase = true;
    CHECK_THROWS_AS(test.catalogue.remove(1, wall_start), std::runtime_error);
    CHECK(test.stats().stored == 1);
    CHECK(test.stats().removed == 0);
    CHECK(test.catalogue.find(1) != nullptr);
  }
  SECTION("an entry that is over stays over until it can be erased") {
    plan->erase = true;
    CHECK_THROWS_AS(test.catalogue.drop_if_over(1, wall_start + 5s), std::runtime_error);
    CHECK_THROWS_AS(test.catalogue.drop_if_over(1, wall_start + 5s), std::runtime_error);
    CHECK_THROWS_AS(test.catalogue.expire(wall_start + 5s, 10), std::runtime_error);
    CHECK(test.catalogue.has_expiring());
    CHECK(test.gone.empty());
    plan->erase = false;
    CHECK(test.catalogue.expire(wall_start + 5s, 10) == 1);
    CHECK(test.gone.size() == 1);
  }
}

TEST_CASE("what had left before a storage threw is handed on all the same") {
  const auto plan = std::make_shared<FailingCalls::Plan>();
  Recording<TailEviction<FailingCalls>> test{TailEviction(FailingCalls{plan}, 1)};
  test.catalogue.insert(timed(1, 1, 5), wall_start);
  plan->insert = true;
  CHECK_THROWS_AS(test.catalogue.insert(timed(2, 2, 5), wall_start), std::runtime_error);
  REQUIRE(test.gone.size() == 1);
  CHECK(test.gone[0] == Gone<TimedEntry>{timed(1, 1, 5), EvictionReason::evicted});
  CHECK(test.stats().evicted == 1);
  CHECK(test.stats().stored == 0);
  CHECK_FALSE(test.catalogue.has_expiring());
}

TEST_CASE("a hook that throws is counted and logged, and what it said is kept") {
  std::vector<std::string> log;
  LogHook hook = [&](LogLevel level, std::string_view text) {
    CHECK(level == LogLevel::error);
    log.emplace_back(text);
  };
  const auto throws = [](const Number& key, const Number&, const NoMetadata&, EvictionReason, const auto&) {
    if (key == 1) throw std::runtime_error{"no bucket"};
    throw 42;
  };
  HubStats stats;
  SECTION("with a log") {
    Catalogue<NoEviction<PlainStorage>> catalogue(NoEviction(PlainStorage{}), throws, hook);
    for (const Number key : {1U, 2U}) {
      catalogue.insert({key, 1, {}}, wall_start);
      CHECK(catalogue.remove(key, wall_start));
    }
    catalogue.add_to(stats);
    CHECK(log == std::vector<std::string>{
                     "on_evict threw for key 0100000000000000: no bucket",
                     "on_evict threw for key 0200000000000000: something that is no std::exception was thrown"});
  }
  SECTION("without") {
    Catalogue<NoEviction<PlainStorage>> catalogue(NoEviction(PlainStorage{}), throws, {});
    for (const Number key : {1U, 2U}) {
      catalogue.insert({key, 1, {}}, wall_start);
      CHECK(catalogue.remove(key, wall_start));
    }
    catalogue.add_to(stats);
  }
  CHECK(stats.hook_failures == 2);
  CHECK(stats.removed == 2);
}

TEST_CASE("without a hook what leaves is counted") {
  Catalogue<NoEviction<PlainStorage>> catalogue(NoEviction(PlainStorage{}), {}, {});
  catalogue.insert({1, 1, {}}, wall_start);
  CHECK(catalogue.remove(1, wall_start));
  HubStats stats;
  catalogue.add_to(stats);
  CHECK(stats.removed == 1);
  CHECK(stats.hook_failures == 0);
}

TEST_CASE("a hook can hold the key of what leaves") {
  EvictionHandle handle;
  Catalogue<NoEviction<PlainStorage>> catalogue(
      NoEviction(PlainStorage{}),
      [&](const auto&, const auto&, const auto&, EvictionReason, const Departure<Number>& departure) {
        handle = departure.hold();
      },
      {});
  catalogue.insert({1, 1, {}}, wall_start);
  CHECK_FALSE(catalogue.is_held(1));
  catalogue.remove(1, wall_start);
  CHECK(catalogue.is_held(1));
  CHECK_FALSE(catalogue.is_held(2));
  handle.reset();
  CHECK_FALSE(catalogue.is_held(1));
}
