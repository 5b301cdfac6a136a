// SPDX-License-Identifier: Apache-2.0
#include <registry/core/batcher.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <registry/codec.hpp>

#include "core/common.hpp"
#include "core/times.hpp"
#include "support/allocation_counter.hpp"
#include "support/catch.hpp"
#include "support/superstitious.hpp"

using namespace registry;
using namespace registry::test;
using namespace std::chrono_literals;

namespace {

using PlainBatcher = Batcher<Number, Number, NoMetadata, PlainCodec>;

// Metadata that may have no wire form: a ttl that is present but 0.
using TimedCodec = BinaryCodec<Number, Number, TimestampMetadata>;
using TimedBatcher = Batcher<Number, Number, TimestampMetadata, TimedCodec>;

const TimedEntry impossible{99, 99, {1, 0}};

std::vector<PlainEntry> entries(Number first, Number last) {
  std::vector<PlainEntry> all;
  for (Number key = first; key <= last; ++key) all.push_back({key, key * 10, {}});
  return all;
}

std::vector<TimedEntry> timed_entries(Number first, Number last) {
  std::vector<TimedEntry> all;
  for (Number key = first; key <= last; ++key) all.push_back({key, key * 10, {key, std::nullopt}});
  return all;
}

template <class C, class E>
std::vector<E> decode(const Bytes& message) {
  MessageType type{};
  std::vector<E> all;
  if (C::decode_type(message, type) || type != MessageType::register_entries || C::decode_entries(message, all)) {
    throw std::runtime_error{"not a registration"};
  }
  return all;
}

template <class B>
std::uint64_t sequence_of(const B& batch) {
  const auto envelope = Envelope::decode(batch.envelope);
  if (!envelope) throw std::runtime_error{"no envelope"};
  return envelope->number;
}

}  // namespace

TEST_CASE("entries become a batch when there are enough of them") {
  PlainBatcher batcher(3, 10ms, me, "default");
  CHECK(batcher.last_sequence() == 0);
  CHECK_FALSE(batcher.add(entries(1, 2), start));
  CHECK_FALSE(batcher.has_batch());
  CHECK_FALSE(batcher.add(entries(3, 7), start));
  REQUIRE(batcher.has_batch());
  CHECK(decode<PlainCodec, PlainEntry>(batcher.take_batch().message) == entries(1, 3));
  CHECK(decode<PlainCodec, PlainEntry>(batcher.take_batch().message) == entries(4, 6));
  CHECK_FALSE(batcher.has_batch());
  CHECK(batcher.deadline().has_value());
  CHECK(batcher.last_sequence() == 2);
}

TEST_CASE("a batch travels with its number, the client and the namespace") {
  PlainBatcher batcher(1, 10ms, me, "tenant-a");
  batcher.add(entries(1, 2), start);
  for (std::uint64_t number = 1; number <= 2; ++number) {
    const Batch batch = batcher.take_batch();
    const auto envelope = Envelope::decode(batch.envelope);
    REQUIRE(envelope);
    CHECK(envelope->number == number);
    CHECK(envelope->client == me);
    CHECK(envelope->name_space == "tenant-a");
    CHECK(envelope->after == std::nullopt);
  }
}

TEST_CASE("a size of zero is one") {
  PlainBatcher batcher(0, 10ms, me, "default");
  batcher.add(entries(1, 1), start);
  CHECK(batcher.has_batch());
}

TEST_CASE("an entry waits for no longer than the timeout, counted from the first of its batch") {
  PlainBatcher batcher(100, 10ms, me, "default");
  CHECK(batcher.deadline() == std::nullopt);
  batcher.seal_if_due(start + 1h);
  CHECK_FALSE(batcher.has_batch());

  batcher.add(entries(1, 1), start);
  batcher.add(entries(2, 2), start + 5ms);
  CHECK(batcher.deadline() == start + 10ms);
  batcher.seal_if_due(start + 10ms - 1ns);
  CHECK_FALSE(batcher.has_batch());
  batcher.seal_if_due(start + 10ms);
  CHECK(decode<PlainCodec, PlainEntry>(batcher.take_batch().message) == entries(1, 2));
  CHECK(batcher.deadline() == std::nullopt);

  batcher.add(entries(3, 3), start + 20ms);
  CHECK(batcher.deadline() == start + 30ms);
}

TEST_CASE("a batch is sealed at a mebibyte, so that one message does not stand in the way of others") {
  using Location = Entry<Number, StorageLocation, NoMetadata>;
  using C = BinaryCodec<Number, StorageLocation, NoMetadata>;
  Batcher<Number, StorageLocation, NoMetadata, C> batcher(1000, 10ms, me, "default");
  const Location big{1, {StorageBackend::disk, std::string(65'000, 'p'), 1}, {}};
  // Each takes 10 + 2 + 65,011 + 2 bytes: 16 of them are 1,040,406 with the header, and 17 are more than a mebibyte.
  batcher.add(std::vector<Location>(16, big), start);
  CHECK_FALSE(batcher.has_batch());
  batcher.add(std::vector<Location>(1, big), start);
  REQUIRE(batcher.has_batch());
  CHECK(decode<C, Location>(batcher.take_batch().message).size() == 17);
  CHECK(batcher.deadline() == std::nullopt);
}

TEST_CASE("at exactly a mebibyte a batch is full") {
  using Location = Entry<Number, StorageLocation, NoMetadata>;
  using C = BinaryCodec<Number, StorageLocation, NoMetadata>;
  const auto sealed_with_last_path_of = [](std::size_t size) {
    Batcher<Number, StorageLocation, NoMetadata, C> batcher(1000, 10ms, me, "default");
    const auto entry = [](std::size_t path) {
      return Location{1, {StorageBackend::disk, std::string(path, 'p'), 1}, {}};
    };
    batcher.add(std::vector<Location>(16, entry(65'000)), start);
    batcher.add(std::vector<Location>{entry(size)}, start);
    return batcher.has_batch();
  };
  constexpr std::size_t left = (1U << 20U) - (6 + 16 * 65'025) - 25;
  CHECK(sealed_with_last_path_of(left));
  CHECK_FALSE(sealed_with_last_path_of(left - 1));
}

TEST_CASE("sealing nothing makes no batch") {
  PlainBatcher batcher(100, 10ms, me, "default");
  batcher.seal();
  CHECK_FALSE(batcher.has_batch());
  CHECK(batcher.last_sequence() == 0);
  CHECK_FALSE(batcher.add({}, start));
  CHECK(batcher.deadline() == std::nullopt);
}

TEST_CASE("a batch that could not be sent keeps its place") {
  PlainBatcher batcher(1, 10ms, me, "default");
  batcher.add(entries(1, 3), start);
  Batch first = batcher.take_batch();
  batcher.put_back(std::move(first));
  for (std::uint64_t number = 1; number <= 3; ++number) CHECK(sequence_of(batcher.take_batch()) == number);
}

TEST_CASE("numbers that are given up become empty batches, and take no memory each until then") {
  PlainBatcher batcher(1, 10ms, me, "default");
  for (int i = 0; i < 5; ++i) batcher.next_sequence();
  for (const std::uint64_t number : {2U, 4U, 1U, 3U}) batcher.give_up(number);
  CHECK(batcher.has_batch());
  CHECK(batcher.first_sealed() == 1);
  batcher.add(entries(1, 1), start);
  CHECK(batcher.sealed_numbers() == std::vector<std::uint64_t>{1, 2, 3, 4, 6});
  // Before what has come later: the hub must not apply one of them, late, over that.
  for (const std::uint64_t number : {1U, 2U, 3U, 4U}) {
    CHECK(batcher.first_sealed() == number);
    const Batch<Number> batch = batcher.take_batch();
    CHECK(batch.sequence == number);
    CHECK(decode<PlainCodec, PlainEntry>(batch.message).empty());
  }
  CHECK(batcher.take_batch().sequence == 6);
  CHECK_FALSE(batcher.has_batch());
  for (int i = 0; i < 1'000; ++i) batcher.next_sequence();
  batcher.give_up(7);
  CHECK(allocated_by([&] {
          for (std::uint64_t number = 8; number < 1'000; ++number) batcher.give_up(number);
        }) == 0);
}

TEST_CASE("what was not sent comes back in order, sealed or not") {
  PlainBatcher batcher(2, 10ms, me, "default");
  batcher.add(entries(1, 7), start);
  batcher.take_batch();
  CHECK(batcher.take_entries() == entries(3, 7));
  CHECK_FALSE(batcher.has_batch());
  CHECK(batcher.deadline() == std::nullopt);
  CHECK(batcher.take_entries().empty());
}

TEST_CASE("an entry that cannot be encoded takes with it those that came in the same call, and no others") {
  TimedBatcher batcher(3, 10ms, me, "default");
  std::vector<TimedEntry> bad;

  SECTION("nothing was pending") {
    bad = {impossible};
    const auto error = batcher.add(bad, start);
    REQUIRE(error);
    CHECK(std::holds_alternative<EncodeError>(*error));
    CHECK_FALSE(batcher.has_batch());
    CHECK(batcher.deadline() == std::nullopt);
    CHECK(batcher.take_entries().empty());
  }
  SECTION("something was pending, and stays with its time") {
    batcher.add(timed_entries(1, 2), start);
    bad = {impossible};
    CHECK(batcher.add(bad, start + 5ms));
    CHECK(batcher.deadline() == start + 10ms);
    CHECK_FALSE(batcher.has_batch());
    CHECK(batcher.take_entries() == timed_entries(1, 2));
  }
  SECTION("an entry of the call was added before") {
    batcher.add(timed_entries(1, 1), start);
    bad = timed_entries(2, 2);
    bad.push_back(impossible);
    CHECK(batcher.add(bad, start + 5ms));
    CHECK(batcher.take_entries() == timed_entries(1, 1));
  }
  SECTION("several batches were sealed by the call before") {
    batcher.add(timed_entries(1, 2), start);
    bad = timed_entries(3, 9);
    bad.push_back(impossible);
    CHECK(batcher.add(bad, start + 5ms));
    CHECK_FALSE(batcher.has_batch());
    CHECK(batcher.last_sequence() == 0);
    CHECK(batcher.deadline() == start + 10ms);
    batcher.add(timed_entries(3, 3), start + 6ms);
    REQUIRE(batcher.has_batch());
    const Batch batch = batcher.take_batch();
    CHECK(sequence_of(batch) == 1);
    CHECK(decode<TimedCodec, TimedEntry>(batch.message) == timed_entries(1, 3));
  }
  SECTION("nothing was pending, and the call sealed a batch with its very first entries") {
    bad = timed_entries(1, 3);
    bad.push_back(impossible);
    CHECK(batcher.add(bad, start));
    CHECK_FALSE(batcher.has_batch());
    CHECK(batcher.deadline() == std::nullopt);
    batcher.add(timed_entries(1, 3), start);
    CHECK(sequence_of(batcher.take_batch()) == 1);
  }
  SECTION("batches sealed by earlier calls stay") {
    batcher.add(timed_entries(1, 4), start);
    bad = timed_entries(5, 8);
    bad.push_back(impossible);
    CHECK(batcher.add(bad, start));
    CHECK(batcher.last_sequence() == 1);
    CHECK(batcher.take_entries() == timed_entries(1, 4));
  }
}

namespace batcher_cases {

/// A value whose `wire` does not read what it wrote.
struct Unreadable {
  std::uint64_t number = 0;
  friend bool operator==(const Unreadable&, const Unreadable&) = default;
};

}  // namespace batcher_cases

using batcher_cases::Unreadable;

template <>
struct registry::wire<Unreadable> {
  static constexpr std::size_t size = 8;
  static void encode(const Unreadable& value, std::span<std::byte, size> out) { store_le(value.number, out.data()); }
  static std::optional<Unreadable> decode(std::span<const std::byte, size>) { return std::nullopt; }
};

TEST_CASE("entries that cannot be read back are an error, not a loss in silence") {
  using C = BinaryCodec<Number, Unreadable, NoMetadata>;
  Batcher<Number, Unreadable, NoMetadata, C> batcher(10, 10ms, me, "default");
  batcher.add(std::vector<Entry<Number, Unreadable, NoMetadata>>{{1, {1}, {}}}, start);
  CHECK_THROWS_AS(batcher.take_entries(), RegistryError);
}

TEST_CASE("an entry whose wire throws takes nothing with it") {
  using SuperstitiousEntry = Entry<Number, Superstitious, NoMetadata>;
  using SuperstitiousCodec = BinaryCodec<Number, Superstitious, NoMetadata>;
  const std::size_t size = GENERATE(1U, 2U, 100U);
  Batcher<Number, Superstitious, NoMetadata, SuperstitiousCodec> batcher(size, 10ms, me, "default");
  const std::vector<SuperstitiousEntry> before{{1, {1}, {}}};
  const std::vector<SuperstitiousEntry> bad{{2, {2}, {}}, {3, {13}, {}}};
  const std::vector<SuperstitiousEntry> after{{4, {4}, {}}};
  REQUIRE_FALSE(batcher.add(before, start));
  const std::optional<Error> error = batcher.add(bad, start);
  REQUIRE(error);
  CHECK(std::get<EncodeError>(*error).reason == "key 0300000000000000: not that number");
  REQUIRE_FALSE(batcher.add(after, start));
  CHECK(batcher.take_entries() == std::vector<SuperstitiousEntry>{before[0], after[0]});
}
