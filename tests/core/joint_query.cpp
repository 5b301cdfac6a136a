// SPDX-License-Identifier: Apache-2.0
#include "core/test_client.hpp"
#include "support/catch.hpp"

#include <cstddef>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include <registry/bytes.hpp>
#include <registry/core/joint_query.hpp>
#include <registry/error.hpp>
#include <registry/message.hpp>
#include <registry/metadata.hpp>
#include <registry/wire.hpp>

using namespace registry;
using namespace registry::test;

namespace joint_query_cases {

/// A value that keeps something, and cannot be written.
struct Keeper {
  static inline const auto kept = std::make_shared<int>();
  std::shared_ptr<int> keeps = kept;
  friend bool operator==(const Keeper&, const Keeper&) = default;
};

}  // namespace joint_query_cases

using joint_query_cases::Keeper;

template <>
struct registry::wire<Keeper> {
  static std::size_t encoded_size(const Keeper&) { return 8; }
  static bool encode(const Keeper&, std::span<std::byte>) { return false; }
  static std::optional<Keeper> decode(std::span<const std::byte>) { return Keeper{}; }
};

namespace {

using Joint = JointQuery<Number, Number, NoMetadata, PlainCodec>;

Bytes message_of(const Joint& joint) {
  Bytes message;
  joint.encode(message);
  return message;
}

Bytes answer_of(Joint& joint, std::size_t call) {
  const ByteView answer = joint.answer(call);
  return {answer.begin(), answer.end()};
}

Numbers numbers(Number first, std::size_t count) {
  Numbers keys(count);
  for (std::size_t i = 0; i < count; ++i) keys[i] = first + i;
  return keys;
}

}  // namespace

TEST_CASE("calls that travel together ask for all of their keys, in their order") {
  const MessageType type = GENERATE(MessageType::can_offload, MessageType::match);
  Joint joint;
  CHECK(joint.add(type, Numbers{3, 1}));
  CHECK(joint.add(type, Numbers{2}));
  CHECK(joint.add(type, Numbers{9, 8, 7}));
  CHECK(keys_of(message_of(joint), type) == Numbers{3, 1, 2, 9, 8, 7});
}

TEST_CASE("each call gets the statuses of its own keys") {
  Joint joint;
  REQUIRE(joint.add(MessageType::can_offload, Numbers{1, 2, 1}));
  REQUIRE(joint.add(MessageType::can_offload, Numbers{3}));
  REQUIRE(joint.add(MessageType::can_offload, Numbers{4, 5}));
  REQUIRE(joint.read(statuses_answer({granted, leased, leased, already_stored, granted, already_stored})));
  CHECK(answer_of(joint, 0) == statuses_answer({granted, leased, leased}));
  CHECK(answer_of(joint, 1) == statuses_answer({already_stored}));
  CHECK(answer_of(joint, 2) == statuses_answer({granted, already_stored}));
  CHECK(answer_of(joint, 0) == statuses_answer({granted, leased, leased}));
}

TEST_CASE("each call gets the entries of its own keys, however often and by whomever they are named") {
  Joint joint;
  REQUIRE(joint.add(MessageType::match, Numbers{1, 2, 1}));
  REQUIRE(joint.add(MessageType::match, Numbers{1, 3}));
  REQUIRE(joint.add(MessageType::match, Numbers{2, 4}));
  REQUIRE(joint.add(MessageType::match, Numbers{3, 3, 1}));
  const PlainEntry one{1, 10, {}};
  const PlainEntry three{3, 30, {}};
  REQUIRE(joint.read(entries_answer({one, one, one, three, three, three, one})));
  CHECK(answer_of(joint, 0) == entries_answer({one, one}));
  CHECK(answer_of(joint, 1) == entries_answer({one, three}));
  CHECK(answer_of(joint, 2) == entries_answer({}));
  CHECK(answer_of(joint, 3) == entries_answer({three, three, one}));
}

TEST_CASE("calls that would be granted the same key do not travel together") {
  Joint joint;
  REQUIRE(joint.add(MessageType::can_offload, Numbers{1, 2}));
  CHECK_FALSE(joint.add(MessageType::can_offload, Numbers{3, 2}));
  CHECK(joint.add(MessageType::can_offload, Numbers{3}));
  CHECK(keys_of(message_of(joint), MessageType::can_offload) == Numbers{1, 2, 3});
}

TEST_CASE("what a refused call asked for does not keep others away") {
  Joint joint;
  REQUIRE(joint.add(MessageType::can_offload, Numbers{1}));
  REQUIRE_FALSE(joint.add(MessageType::can_offload, Numbers{5, 1}));
  CHECK(joint.add(MessageType::can_offload, Numbers{5}));
}

TEST_CASE("calls that ask different things do not travel together") {
  Joint joint;
  REQUIRE(joint.add(MessageType::match, Numbers{1}));
  CHECK_FALSE(joint.add(MessageType::can_offload, Numbers{2}));
  CHECK(joint.add(MessageType::match, Numbers{2}));
}

TEST_CASE("calls whose answer is one count, and those that are no calls, travel alone") {
  const MessageType type = GENERATE(
      MessageType::touch, MessageType::remove, MessageType::release, MessageType::hello, MessageType::withdraw);
  Joint joint;
  CHECK_FALSE(joint.add(type, Numbers{1}));
  CHECK(joint.add(MessageType::match, Numbers{1}));
  CHECK_FALSE(joint.add(type, Numbers{1}));
}

TEST_CASE("large calls travel alone, and small ones up to a number of keys together") {
  Joint joint;
  CHECK_FALSE(joint.add(MessageType::can_offload, numbers(1'000'000, Joint::max_keys_of_a_call + 1)));
  std::size_t keys = 0;
  while (joint.add(MessageType::can_offload, numbers(keys, Joint::max_keys_of_a_call))) {
    keys += Joint::max_keys_of_a_call;
    REQUIRE(keys <= Joint::max_keys);
  }
  CHECK(keys + Joint::max_keys_of_a_call > Joint::max_keys);
  CHECK(keys_of(message_of(joint), MessageType::can_offload) == numbers(0, keys));
}

TEST_CASE("what does not answer all of the keys is no answer") {
  Joint offload;
  REQUIRE(offload.add(MessageType::can_offload, Numbers{1}));
  REQUIRE(offload.add(MessageType::can_offload, Numbers{2}));
  Joint match;
  REQUIRE(match.add(MessageType::match, Numbers{1, 2}));
  REQUIRE(match.add(MessageType::match, Numbers{3}));
  const Bytes refusal = text_answer(MessageType::error_response, "too many");
  CHECK_FALSE(offload.read(refusal));
  CHECK_FALSE(match.read(refusal));
  CHECK_FALSE(offload.read({}));
  CHECK_FALSE(match.read({}));
  CHECK_FALSE(offload.read(statuses_answer({granted})));
  CHECK_FALSE(offload.read(statuses_answer({granted, granted, granted})));
  CHECK_FALSE(offload.read(entries_answer({})));
  CHECK_FALSE(match.read(statuses_answer({granted, granted, granted})));
  CHECK_FALSE(match.read(entries_answer({{3, 30, {}}, {1, 10, {}}})));
  CHECK_FALSE(match.read(entries_answer({{4, 40, {}}})));
  Bytes cut = entries_answer({{1, 10, {}}});
  cut.pop_back();
  CHECK_FALSE(match.read(cut));
  CHECK(offload.read(statuses_answer({granted, leased})));
  CHECK(match.read(entries_answer({{1, 10, {}}, {3, 30, {}}})));
}

TEST_CASE("a joint query that was cleared is as new") {
  Joint joint;
  REQUIRE(joint.add(MessageType::match, Numbers{1, 2}));
  REQUIRE(joint.read(entries_answer({{1, 10, {}}})));
  joint.clear();
  REQUIRE(joint.add(MessageType::can_offload, Numbers{1}));
  REQUIRE(joint.add(MessageType::can_offload, Numbers{2}));
  REQUIRE(joint.read(statuses_answer({granted, leased})));
  CHECK(answer_of(joint, 1) == statuses_answer({leased}));
  joint.clear();
  CHECK(joint.add(MessageType::can_offload, Numbers{1}));
}

TEST_CASE("matches do not travel together to a client that could not take the answer") {
  constexpr std::size_t max_answer = 1'000;
  Joint joint(max_answer);
  CHECK_FALSE(joint.add(MessageType::match, Numbers{1}));
  CHECK(joint.add(MessageType::can_offload, Numbers{1}));
  Joint roomy(100 * max_answer);
  CHECK(roomy.add(MessageType::match, Numbers{1}));
}

TEST_CASE("a value that cannot be written is not left out in silence, and not kept") {
  JointQuery<Number, Keeper, NoMetadata, BinaryCodec<Number, Keeper, NoMetadata>> joint;
  REQUIRE(joint.add(MessageType::match, Numbers{1}));
  REQUIRE(joint.add(MessageType::match, Numbers{2}));
  REQUIRE(joint.read(entries_answer({{1, 10, {}}, {2, 20, {}}})));
  CHECK(Keeper::kept.use_count() > 1);
  CHECK_THROWS_AS(joint.answer(0), RegistryError);
  joint.clear();
  CHECK(Keeper::kept.use_count() == 1);
}

TEST_CASE("together or alone, every call is answered alike") {
  std::mt19937 random(7);
  const auto below = [&](std::size_t bound) { return random() % bound; };
  for (int round = 0; round < 200; ++round) {
    const std::set<Number> kept_by_hub{below(20), below(20), below(20), below(20), below(20)};
    const auto matched = [&](const Numbers& keys) {
      std::vector<PlainEntry> found;
      for (const Number key : keys) {
        if (kept_by_hub.contains(key)) found.push_back({key, key * 10, {}});
      }
      return entries_answer(found);
    };
    Joint joint;
    std::vector<Numbers> calls;
    Numbers all;
    for (std::size_t i = 0, count = 1 + below(12); i < count; ++i) {
      Numbers keys(below(6));
      for (Number& key : keys) key = below(20);
      REQUIRE(joint.add(MessageType::match, keys));
      all.insert(all.end(), keys.begin(), keys.end());
      calls.push_back(std::move(keys));
    }
    REQUIRE(joint.read(matched(all)));
    for (std::size_t i = 0; i < calls.size(); ++i) REQUIRE(answer_of(joint, i) == matched(calls[i]));
  }
}
