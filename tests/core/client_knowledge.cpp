// SPDX-License-Identifier: Apache-2.0
// What a client knows without asking: what it has registered itself, and, if it is told to, what the hub called stored.
#include <chrono>
#include <cstdint>
#include <numeric>
#include <optional>
#include <string>
#include <vector>

#include "core/test_client.hpp"
#include "support/catch.hpp"

using namespace registry;
using namespace registry::test;
using namespace std::chrono_literals;

namespace {

ClientOptions cached(std::size_t keys, std::chrono::nanoseconds ttl = 10s) {
  ClientOptions options;
  options.local_cache = keys;
  options.local_cache_ttl = ttl;
  return options;
}

std::vector<PlainEntry> entries(const Numbers& keys) {
  std::vector<PlainEntry> all;
  for (const Number key : keys) all.push_back({key, key * 10, {}});
  return all;
}

/// Of these keys, those for which the hub is asked.
Numbers asked(PlainClient& client, const Numbers& keys, SteadyTime now) {
  auto call = PlainClient::offload(keys);
  if (!client.begin(call, 1, now)) {
    const auto result = client.finish_locally(call);
    if (result.already_stored != keys || result.statuses != Statuses(keys.size(), already_stored)) {
      throw std::runtime_error{"known, but not as stored"};
    }
    return {};
  }
  return keys_of(call.message, MessageType::can_offload);
}

/// Asks for the keys and hears this of those that were not known.
OffloadResult<Number> offload(PlainClient& client, const Numbers& keys, const Statuses& said, SteadyTime now) {
  auto call = PlainClient::offload(keys);
  if (!client.begin(call, 1, now)) return client.finish_locally(call);
  return value_of(client.finish(call, statuses_answer(said), now));
}

}  // namespace

TEST_CASE("what this client has registered is stored to it, before the hub says so") {
  PlainClient client({}, me);
  CHECK(asked(client, {1, 2, 3}, start) == Numbers{1, 2, 3});
  CHECK_FALSE(client.add(entries({2}), start));
  CHECK(asked(client, {1, 2, 3}, start) == Numbers{1, 3});
  const auto result = offload(client, {1, 2, 3}, {granted, leased}, start);
  CHECK(result.statuses == Statuses{granted, already_stored, leased});
  CHECK(result.can_offload == Numbers{1});
  CHECK(result.already_stored == Numbers{2});
  CHECK(result.leased == Numbers{3});
}

TEST_CASE("if all keys are known the hub is not asked") {
  PlainClient client({}, me);
  client.add(entries({1, 2}), start);
  CHECK(asked(client, {1, 2, 1}, start).empty());
  CHECK(asked(client, {3}, start) == Numbers{3});
}

namespace {

/// Sends what is pending, as far as the client can tell.
void hand_over(PlainClient& client, SteadyTime now) {
  client.batcher().seal();
  while (client.batcher().has_batch()) client.handed_over(client.batcher().take_batch(), now);
}

}  // namespace

TEST_CASE("a key registered is known until it is handed over, then for registered_ttl, and then no longer") {
  ClientOptions options;
  options.registered_ttl = 4s;
  PlainClient client(options, me);
  client.add(entries({1}), start);
  client.add(entries({1}), start);
  CHECK(asked(client, {1}, start + 1h).empty());
  CHECK(client.follows_registrations(PlainClient::remove({1}), start + 1h));
  hand_over(client, start + 1h);
  CHECK(asked(client, {1}, start + 1h + 2s - 1ns).empty());
  CHECK(client.follows_registrations(PlainClient::remove({1}), start + 1h + 2s - 1ns));
  CHECK(asked(client, {1}, start + 1h + 4s) == Numbers{1});
  CHECK_FALSE(client.follows_registrations(PlainClient::remove({1}), start + 1h + 4s));
}

TEST_CASE("a key that is about to be registered is known until that is given up") {
  PlainClient client({}, me);
  client.expect(entries({1, 2}));
  client.expect(entries({2}));
  CHECK(asked(client, {1, 2, 3}, start) == Numbers{3});
  client.expect_no_more(entries({1, 2}));
  CHECK(asked(client, {1, 2, 3}, start) == Numbers{1, 3});
  client.expect_no_more(entries({2}));
  CHECK(asked(client, {2}, start) == Numbers{2});
}

TEST_CASE("the answer may count only the keys that were asked for") {
  PlainClient client({}, me);
  client.add(entries({1}), start);
  auto call = PlainClient::offload({1, 2});
  REQUIRE(client.begin(call, 1, start));
  const auto error = error_of<DecodeError>(client.finish(call, statuses_answer({granted, granted}), start));
  CHECK(error.expected == 1);
  CHECK(error.got == 2);
}

TEST_CASE("a withdrawal names the keys that were asked for") {
  PlainClient client({}, me);
  show_envelope(client);
  client.add(entries({1}), start);
  auto call = PlainClient::offload({1, 2, 3});
  client.begin(call, 1, start);
  const auto frames = client.withdrawal(call);
  REQUIRE(frames);
  CHECK(keys_of(frames->second, MessageType::withdraw) == Numbers{2, 3});
}

TEST_CASE("what was registered while the query was on its way is stored, whatever the hub says") {
  PlainClient client({}, me);
  SECTION("nothing was known before") {
    auto call = PlainClient::offload({1, 2, 3});
    client.begin(call, 1, start);
    client.add(entries({1, 3}), start);
    const auto result = value_of(client.finish(call, statuses_answer({granted, granted, leased}), start));
    CHECK(result.statuses == Statuses{already_stored, granted, already_stored});
  }
  SECTION("something was known before") {
    client.add(entries({2}), start);
    auto call = PlainClient::offload({1, 2, 3});
    client.begin(call, 1, start);
    client.add(entries({3}), start);
    const auto result = value_of(client.finish(call, statuses_answer({granted, granted}), start));
    CHECK(result.statuses == Statuses{granted, already_stored, already_stored});
    CHECK(result.can_offload == Numbers{1});
  }
}

TEST_CASE("entries that could not be taken are not known") {
  using TimedClient = ClientCore<Number, Number, TimestampMetadata>;
  TimedClient client({}, me);
  const std::vector<TimedClient::EntryType> bad = {{1, 1, {1, std::nullopt}}, {2, 2, {1, 0}}};
  const auto error = client.add(bad, start);
  REQUIRE(error);
  CHECK(std::holds_alternative<EncodeError>(*error));
  auto call = TimedClient::offload({1, 2});
  REQUIRE(client.begin(call, 1, start));
  CHECK(keys_of(call.message, MessageType::can_offload) == Numbers{1, 2});
  CHECK(client.batcher().take_entries().empty());
}

TEST_CASE("added entries are pending in the batcher, under the client's name") {
  ClientOptions options;
  options.batch_size = 2;
  options.batch_timeout = 20ms;
  options.name_space = "tenant-a";
  PlainClient client(options, me);
  client.add(entries({1}), start);
  CHECK(client.batcher().deadline() == start + 20ms);
  client.add(entries({2}), start);
  REQUIRE(client.batcher().has_batch());
  const Envelope envelope = envelope_of(client.batcher().take_batch().envelope);
  CHECK(envelope.client == me);
  CHECK(envelope.number == 1);
}

TEST_CASE("a remove of what was just registered follows it, and makes the client forget it") {
  ClientOptions options;
  options.batch_size = 1;
  options.max_unconfirmed_bytes = 0;
  PlainClient client(options, me);
  client.add(entries({1, 2}), start);

  auto call = PlainClient::remove({1, 9});
  CHECK(client.follows_registrations(call, start));
  hand_over(client, start);
  REQUIRE(client.begin(call, 7, start));
  CHECK(envelope_of(call.envelope).after == 2U);
  CHECK(envelope_of(call.envelope).number == 7);
  CHECK(asked(client, {1, 2}, start) == Numbers{1});

  // The second time there is nothing to follow, unless the hub has not confirmed it yet.
  auto again = PlainClient::remove({1, 9});
  CHECK_FALSE(client.follows_registrations(again, start));
  client.begin(again, 8, start);
  CHECK(envelope_of(again.envelope).after == std::nullopt);
}

TEST_CASE("a remove follows also if its last key is not the one registered") {
  ClientOptions options;
  options.batch_size = 1;
  PlainClient client(options, me);
  client.add(entries({1}), start);
  hand_over(client, start);
  auto call = PlainClient::remove({9, 1, 8});
  client.begin(call, 7, start);
  CHECK(envelope_of(call.envelope).after == 1U);
}

TEST_CASE("a remove follows what has been handed over, not what is registered after it") {
  PlainClient client({}, me);
  client.expect(entries({1}));
  auto call = PlainClient::remove({1, 2});
  CHECK_FALSE(client.follows_registrations(call, start));
  client.add(entries({2}), start);
  client.begin(call, 7, start);
  CHECK(envelope_of(call.envelope).after == std::nullopt);
}

TEST_CASE("what changes a key of a registration that was given up follows what takes its place, until that has come") {
  const bool is_removal = GENERATE(false, true);
  PlainClient client({}, me);
  auto given_up = PlainClient::registration(entries({1, 2}), std::nullopt);
  client.begin(given_up, 1, start);
  client.give_up(given_up);
  const auto follows = [&](std::uint64_t key) {
    if (is_removal) {
      auto call = PlainClient::remove({key});
      client.begin(call, 2, start);
      return envelope_of(call.envelope).after;
    }
    auto call = PlainClient::registration(entries({key}), std::nullopt);
    client.begin(call, 2, start);
    const auto after = envelope_of(call.envelope).after;
    client.finish(call, register_answer({RegisterStatus::stored}), start);
    return after;
  };
  CHECK(follows(2) == given_up.sequence);
  CHECK(follows(3) == std::nullopt);
  hand_over(client, start);
  CHECK(follows(1) == given_up.sequence);
  const auto call = client.sync(false);
  CHECK(call.first == given_up.sequence);
  client.synced(call, {.applied = 1, .incarnation = 1}, start);
  CHECK_FALSE(client.has_unconfirmed());
  CHECK(follows(1) == std::nullopt);
}

TEST_CASE("of registrations that are given up nothing is kept while too much is unconfirmed") {
  ClientOptions options;
  options.max_unconfirmed_bytes = 10'000;
  PlainClient client(options, me);
  const auto give_up_one = [&] {
    auto call = PlainClient::registration(entries({1}), std::nullopt);
    client.begin(call, 1, start);
    client.give_up(call);
    hand_over(client, start);
  };
  while (!client.is_unconfirmed_full()) give_up_one();
  const std::uint64_t last = client.batcher().last_sequence();
  for (int i = 0; i < 1'000; ++i) give_up_one();
  CHECK_FALSE(client.batcher().has_batch());
  client.synced(client.sync(false), {.applied = last, .incarnation = 1}, start);
  CHECK_FALSE(client.has_unconfirmed());
}

TEST_CASE("a registration of more keys than may be kept unconfirmed is given up without holding up anything") {
  ClientOptions options;
  options.max_unconfirmed_bytes = 10'000;
  PlainClient client(options, me);
  Numbers keys(1'000);
  std::iota(keys.begin(), keys.end(), Number{1});
  auto call = PlainClient::registration(entries(keys), std::nullopt);
  client.begin(call, 1, start);
  client.give_up(call);
  client.give_up(call);
  CHECK(client.is_unconfirmed_full());
  REQUIRE(client.batcher().has_batch());
  hand_over(client, start);
  client.synced(client.sync(false), {.applied = 1, .incarnation = 1}, start);
  CHECK_FALSE(client.is_unconfirmed_full());
  auto after = PlainClient::remove({1});
  client.begin(after, 2, start);
  CHECK(envelope_of(after.envelope).after == std::nullopt);
}

TEST_CASE("a claim on a hub that insists is told of a lease that it was granted, also where its client registers") {
  const bool insists = GENERATE(false, true);
  PlainClient client({}, me);
  client.synced(client.sync(false), {.incarnation = 1, .flags = insists ? hub_insists_on_holder : 0}, start);
  auto call = PlainClient::claim(1, {1}, {});
  client.begin(call, 2, start);
  client.expect(entries({1}));
  Bytes answer = statuses_answer({granted});
  answer[1] = static_cast<std::byte>(MessageType::claim_response);
  append_trailer<4>({1, 1, 1'000'000'000, 0}, answer);
  const auto outcome = value_of(client.finish(call, answer, start));
  CHECK(outcome.result.can_offload == (insists ? Numbers{1} : Numbers{}));
  CHECK(outcome.result.already_stored == (insists ? Numbers{} : Numbers{1}));
}

TEST_CASE("what was given up says nothing of registrations before it: they are sent again") {
  ClientOptions options;
  options.batch_size = 1;
  PlainClient client(options, me);
  client.add(entries({1}), start);
  hand_over(client, start);
  auto given_up = PlainClient::registration(entries({1}), std::nullopt);
  client.begin(given_up, 1, start);
  client.give_up(given_up);
  hand_over(client, start);
  const auto batch = client.next_to_resend(start, 1, start + 1s);
  REQUIRE(batch);
  CHECK(batch->keys == Numbers{1});
}

TEST_CASE("a copy for which there was no room is made anew, without what was removed meanwhile") {
  ClientOptions options;
  options.batch_size = 2;
  PlainClient client(options, me);
  client.add(entries({1, 2}), start);
  hand_over(client, start);
  const auto first = client.next_to_resend(start, 1, start + 1s);
  REQUIRE(first);
  CHECK(first->keys == Numbers{1, 2});
  client.not_resent(*first);
  auto call = PlainClient::remove({1});
  client.begin(call, 7, start);
  client.finish(call, count_answer(MessageType::remove_response, 1), start);
  const auto second = client.next_to_resend(start, 1, start + 1s);
  REQUIRE(second);
  CHECK(second->keys == Numbers{2});
  CHECK_FALSE(client.next_to_resend(start, 1, start + 1s));
  CHECK(client.stats().batches_resent == 0);
  client.has_resent();
  CHECK(client.stats().batches_resent == 1);
}

TEST_CASE("only a remove follows registrations") {
  PlainClient client({}, me);
  client.add(entries({1}), start);
  client.batcher().seal();
  for (auto call : {PlainClient::touch({1}), PlainClient::release({1})}) {
    CHECK_FALSE(client.follows_registrations(call, start));
    client.begin(call, 1, start);
    CHECK(envelope_of(call.envelope).after == std::nullopt);
  }
  CHECK(asked(client, {1}, start).empty());
}

TEST_CASE("without a local cache nothing is learned from the hub") {
  PlainClient client({}, me);
  offload(client, {1}, {already_stored}, start);
  CHECK(asked(client, {1}, start) == Numbers{1});
}

TEST_CASE("the local cache learns what the hub calls stored") {
  PlainClient client(cached(100), me);
  offload(client, {1, 2, 3}, {already_stored, granted, leased}, start);
  CHECK(asked(client, {1, 2, 3}, start) == Numbers{2, 3});
  CHECK(asked(client, {1}, start).empty());
}

TEST_CASE("the local cache learns from an answer to some of the keys") {
  PlainClient client(cached(100), me);
  offload(client, {1}, {already_stored}, start);
  const auto result = offload(client, {2, 1, 3}, {granted, already_stored}, start);
  CHECK(result.statuses == Statuses{granted, already_stored, already_stored});
  CHECK(asked(client, {1, 2, 3}, start) == Numbers{2});
}

TEST_CASE("the local cache does not believe what it knows for longer than its ttl, however often it is asked") {
  PlainClient client(cached(100, 10s), me);
  offload(client, {1}, {already_stored}, start);
  for (int second = 1; second < 10; ++second) {
    // With a key that is not known, so that the hub answers each time.
    offload(client, {1, static_cast<Number>(100 + second)}, {granted}, start + std::chrono::seconds{second});
  }
  CHECK(asked(client, {1}, start + 10s) == Numbers{1});
}

TEST_CASE("what this client registered meanwhile is not learned as if the hub had said it") {
  ClientOptions options = cached(100, 1h);
  options.registered_ttl = 1s;
  PlainClient client(options, me);
  auto call = PlainClient::offload({1});
  client.begin(call, 1, start);
  client.add(entries({1}), start);
  CHECK(value_of(client.finish(call, statuses_answer({leased}), start)).already_stored == Numbers{1});
  hand_over(client, start);
  CHECK(asked(client, {1}, start + 1s) == Numbers{1});
}

TEST_CASE("the local cache is bounded") {
  PlainClient client(cached(2), me);
  offload(client, {1, 2, 3, 4}, Statuses(4, already_stored), start);
  CHECK(asked(client, {1, 2}, start) == Numbers{1, 2});
}

TEST_CASE("a remove takes keys out of the local cache, and follows nothing") {
  PlainClient client(cached(100), me);
  offload(client, {1, 2}, {already_stored, already_stored}, start);
  auto call = PlainClient::remove({1});
  CHECK_FALSE(client.follows_registrations(call, start));
  client.begin(call, 1, start);
  CHECK(envelope_of(call.envelope).after == std::nullopt);
  CHECK(asked(client, {1, 2}, start) == Numbers{1});
}

TEST_CASE("a miss in match takes keys out of the local cache, a hit does not") {
  PlainClient client(cached(100), me);
  offload(client, {1, 2, 3}, Statuses(3, already_stored), start);
  auto call = PlainClient::match({1, 2, 3});
  client.begin(call, 1, start);
  CHECK(keys_of(call.message, MessageType::match) == Numbers{1, 2, 3});
  client.finish(call, entries_answer({{1, 10, {}}, {3, 30, {}}}), start);
  CHECK(asked(client, {1, 2, 3}, start) == Numbers{2});
}

TEST_CASE("a miss behind the prefix takes keys out of the local cache, too") {
  PlainClient client(cached(100), me);
  offload(client, {1, 2, 3}, Statuses(3, already_stored), start);
  auto call = PlainClient::match_prefix({1, 2, 3});
  client.begin(call, 1, start);
  CHECK(value_of(client.finish(call, entries_answer({{2, 20, {}}}), start)).empty());
  CHECK(asked(client, {1, 2, 3}, start) == Numbers{1, 3});
}
