// SPDX-License-Identifier: Apache-2.0
#include <registry/core/unconfirmed.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <new>
#include <tuple>
#include <vector>

#include "core/test_client.hpp"
#include "support/allocation_counter.hpp"
#include "support/catch.hpp"

using namespace registry;
using namespace registry::test;
using namespace std::chrono_literals;

namespace {

Batch<Number> batch(std::uint64_t sequence, const Numbers& keys) {
  Batch<Number> made;
  made.sequence = sequence;
  made.keys = keys;
  return made;
}

std::vector<PlainEntry> many() {
  std::vector<PlainEntry> entries;
  for (Number key = 0; key < 200; ++key) entries.push_back({key, key, {}});
  return entries;
}

/// A client that keeps at most 100 kB, and a hub in the hands of the test.
struct Keeping {
  PlainClient client;

  Keeping() : client(options(), ClientId{1, 2}) {}

  static ClientOptions options() {
    ClientOptions options;
    options.max_unconfirmed_bytes = 100'000;
    options.batch_size = 1'000;
    return options;
  }

  void push(const std::vector<PlainEntry>& entries) {
    client.add(entries, start);
    client.batcher().seal();
    client.handed_over(client.batcher().take_batch(), start);
  }

  void confirm_all() {
    const auto call = client.sync(false);
    client.synced(call, SyncAnswer{client.batcher().last_sequence(), 7, 0, 0}, start);
  }
};

}  // namespace

TEST_CASE("what is kept is counted as it is after a revision, also one that has failed") {
  Unconfirmed<Number> kept;
  kept.add(batch(1, {1, 2, 3}), start);
  const std::size_t whole = kept.bytes();
  CHECK_THROWS_AS(kept.revise_up_to(1, [](Batch<Number>&) { throw std::bad_alloc{}; }), std::bad_alloc);
  CHECK(kept.bytes() == whole);
  kept.revise_up_to(1, [](Batch<Number>& first) { first.keys.pop_back(); });
  CHECK(kept.bytes() < whole);
  std::ignore = kept.take_first();
  CHECK(kept.bytes() == 0);
}

TEST_CASE("for want of memory nothing is left out, and what is kept is counted as before") {
  const bool is_resent = GENERATE(false, true);
  for (std::size_t left = 0; left < 60; ++left) {
    CAPTURE(left);
    Keeping keeping;
    keeping.push(many());
    if (is_resent) {
      keeping.push({{3, 4, {}}});
      fails_with_allocations(left, [&] { std::ignore = keeping.client.next_to_resend(start, 0, start + 1s); });
    } else {
      auto call = PlainClient::remove_if(std::vector<PlainEntry>{{5, 5, {}}});
      REQUIRE(keeping.client.begin(call, 1, start));
      const Bytes answer = count_answer(MessageType::remove_response, 1);
      std::uint64_t removed = 0;
      CHECK_FALSE(
          fails_with_allocations(left, [&] { removed = value_of(keeping.client.finish(call, answer, start)); }));
      CHECK(removed == 1);
    }
    keeping.confirm_all();
    CHECK_FALSE(keeping.client.has_unconfirmed());
    keeping.push({{1, 1, {}}});
    CHECK_FALSE(keeping.client.is_unconfirmed_full());
  }
}
