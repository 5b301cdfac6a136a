// SPDX-License-Identifier: Apache-2.0
// Bytes that are no message: answered with an error or dropped, counted, and without any effect.
#include <chrono>
#include <cstddef>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/test_hub.hpp"
#include "support/catch.hpp"
#include "support/vectors.hpp"

using namespace registry;
using namespace registry::test;
using namespace std::chrono_literals;

namespace {

struct Case {
  std::string hex;
  std::string text;
};

/// What no query may look like; keys are of 8 bytes.
const std::vector<Case> no_queries = {
    {"", "message too short: expected at least 2 bytes, got 0"},
    {"01", "message too short: expected at least 2 bytes, got 1"},
    {"020200000000", "protocol version mismatch: expected 1, got 2"},
    {"000200000000", "protocol version mismatch: expected 1, got 0"},
    {"0100", "invalid message type: got 0"},
    {"010b00000000", "invalid message type: got 11"},
    {"011f00000000", "invalid message type: got 31"},
    {"012d00000000", "invalid message type: got 45"},
    {"01ff00000000", "invalid message type: got 255"},
    // Known types that are no query.
    {"010400000000", "invalid message type: got 4"},
    {"010500000000", "invalid message type: got 5"},
    {"01070000000000000000", "invalid message type: got 7"},
    {"01090000000000000000", "invalid message type: got 9"},
    {"010a0000", "invalid message type: got 10"},
    {"01210000", "invalid message type: got 33"},
    {"01230000000000000000", "invalid message type: got 35"},
    {"012600000000", "invalid message type: got 38"},
    {"012800000000", "invalid message type: got 40"},
    {"012900000000", "invalid message type: got 41"},
    {"012c0000000000000000", "invalid message type: got 44"},
    // Queries whose body is wrong.
    {"0102000000", "message too short: expected at least 6 bytes, got 5"},
    {"010301000000", "malformed message: keys, in bytes: expected 10, got 0"},
    {"010601000000080001000000000000", "malformed message: keys, in bytes: expected 10, got 9"},
    {"0108010000000800010000000000000000", "malformed message: keys, in bytes: expected 10, got 11"},
    {"012202000000"
     "08000100000000000000",
     "malformed message: keys, in bytes: expected 20, got 10"},
    {"0124ffffffff"
     "08000100000000000000",
     "malformed message: keys, in bytes: expected 42949672950, got 10"},
    {"010201000000"
     "07000100000000000000",
     "malformed message: key length: expected 8, got 7"},
    {"0120", "message too short: expected at least 4 bytes, got 2"},
    {"0125", "message too short: expected at least 8 bytes, got 2"},
    {"0125000000000000", "message too short: expected at least 6 bytes, got 0"},
    {"012500000000", "message too short: expected at least 8 bytes, got 6"},
    {"0125ffffffff0000000000000000", "malformed message: keys, in bytes: expected 42949672950, got 0"},
    {"0127", "message too short: expected at least 8 bytes, got 2"},
    {"0127010000000000000000000000", "malformed message: keys, in bytes: expected 10, got 0"},
    {"0101ffffffff", "malformed message: entries, in bytes at least: expected 94489280490, got 0"},
    {"012a01000000", "malformed message: entries, in bytes at least: expected 22, got 0"},
    {"012b00", "message too short: expected at least 10 bytes, got 3"},
    {"01200700"
     "64",
     "malformed message: text, in bytes: expected 7, got 1"},
    {"01200000"
     "64",
     "malformed message: text, in bytes: expected 0, got 1"},
};

const std::vector<Case> no_registrations = {
    {"", "message too short: expected at least 2 bytes, got 0"},
    {"020100000000", "protocol version mismatch: expected 1, got 2"},
    {"01ff00000000", "invalid message type: got 255"},
    {"010200000000", "invalid message type: got 2"},
    {"010500000000", "invalid message type: got 5"},
    {"012000000000", "invalid message type: got 32"},
    {"0101000000", "message too short: expected at least 6 bytes, got 5"},
    {"010101000000", "malformed message: entries, in bytes at least: expected 22, got 0"},
    {"0101ffffffff", "malformed message: entries, in bytes at least: expected 94489280490, got 0"},
    {"010101000000"
     "08000100000000000000"
     "08000200000000000000"
     "0000"
     "00",
     "malformed message: bytes behind the last entry: expected 0, got 1"},
    {"010101000000"
     "08000100000000000000"
     "07000200000000000000"
     "0000",
     "malformed message: value of the registered type, in bytes: expected 8, got 7"},
    {"010101000000"
     "08000100000000000000"
     "09000200000000000000"
     "0000",
     "malformed message: value of the registered type, in bytes: expected 8, got 9"},
    {"010101000000"
     "08000100000000000000"
     "08000200000000000000"
     "0100",
     "malformed message: metadata, in bytes: expected 1, got 0"},
    {"010101000000"
     "07000100000000000000"
     "08000200000000000000"
     "0000",
     "malformed message: key length: expected 8, got 7"},
    // The first entry is right, the second is not: neither is stored.
    {"010102000000"
     "08000100000000000000"
     "08000200000000000000"
     "0000"
     "08000200000000000000"
     "0000"
     "0000"
     "0000000000000000",
     "malformed message: value of the registered type, in bytes: expected 8, got 0"},
};

struct Before {
  explicit Before(TestHub<>& hub) : alice(client(1)) {
    hub.put(alice, {{1, 10, {}}});
    hub.can_offload(alice, {2});
  }
  Asker alice;
};

bool unchanged(const TestHub<>& hub) {
  const HubStats stats = hub.stats();
  return stats.stored == 1 && stats.leases.active == 1 && stats.leases.granted == 1 && stats.leases.renewed == 0 &&
         stats.leases.released == 0 && stats.removed == 0 && stats.entries_registered == 1 &&
         stats.entries_refused == 0 && hub.gone.empty();
}

}  // namespace

TEST_CASE("a malformed query is answered with an error and changes nothing") {
  for (const Case& one : no_queries) {
    CAPTURE(one.hex);
    TestHub<> hub;
    Before before(hub);
    Asker rust = anonymous("rust1");
    CHECK(hub.refusal(before.alice, from_hex(one.hex)) == one.text);
    CHECK(hub.refusal(rust, from_hex(one.hex)) == one.text);
    CHECK(hub.stats().malformed == 2);
    CHECK(hub.stats().queries == 3);
    CHECK(hub.log.empty());
    CHECK(unchanged(hub));
  }
}

TEST_CASE("a malformed registration is counted, reported and dropped") {
  for (const Case& one : no_registrations) {
    CAPTURE(one.hex);
    TestHub<> hub;
    const Before before(hub);
    hub.replies.clear();
    hub.put_raw("tcp://somewhere", std::nullopt, from_hex(one.hex));
    CHECK(hub.stats().malformed == 1);
    CHECK(hub.stats().registrations == 2);
    CHECK(hub.log == std::vector<std::string>{"a registration from tcp://somewhere was dropped: " + one.text});
    CHECK(hub.replies.empty());
    CHECK(unchanged(hub));
  }
}

TEST_CASE("a registration whose second frame is no envelope is dropped, not taken for an anonymous one") {
  for (const char* hex : {"", "00", "445201"}) {
    CAPTURE(hex);
    TestHub<> hub;
    const Before before(hub);
    hub.put_raw("peer9", from_hex(hex), TestHub<>::registration({{5, 50, {}}}));
    CHECK(hub.stats().malformed == 1);
    CHECK(hub.stats().registrations == 2);
    CHECK(hub.log ==
          std::vector<std::string>{"a registration from peer9 was dropped: its second frame is no envelope"});
    CHECK(unchanged(hub));
  }
}

TEST_CASE("what the transport could not take apart is counted and reported") {
  TestHub<> hub;
  hub.core.malformed("peer1", "three frames", hub.now);
  CHECK(hub.stats().malformed == 1);
  CHECK(hub.stats().queries == 0);
  CHECK(hub.stats().registrations == 0);
  CHECK(hub.log == std::vector<std::string>{"a message from peer1 was dropped: three frames"});
}

TEST_CASE("a malformed query in a foreign namespace is malformed") {
  TestHub<> hub;
  Asker tenant = client(1);
  tenant.name_space = "tenant-a";
  CHECK(hub.refusal(tenant, from_hex("020200000000")) == "protocol version mismatch: expected 1, got 2");
  CHECK(hub.stats().malformed == 1);
}

TEST_CASE("reports are limited to ten in a second, and then the number of those left out is told") {
  TestHub<> hub;
  const auto junk = [&] { hub.put_raw("peer1", std::nullopt, bytes("?")); };
  for (int i = 0; i < 25; ++i) junk();
  CHECK(hub.log.size() == 10);
  CHECK(hub.stats().malformed == 25);
  hub.pass(1s - 1ns);
  junk();
  CHECK(hub.log.size() == 10);
  hub.pass(1ns);
  junk();
  REQUIRE(hub.log.size() == 12);
  CHECK(hub.log[10] == "16 more reports were left out");
  CHECK(hub.log[11] == hub.log[0]);
  for (int i = 0; i < 8; ++i) junk();
  CHECK(hub.log.size() == 20);
  // Nothing was left out in this second.
  junk();
  hub.pass(1s);
  junk();
  CHECK(hub.log.size() == 22);
  CHECK(hub.log.back() == hub.log[0]);
}

TEST_CASE("without a log nothing is reported and everything is counted") {
  HubOptions options;
  options.log = nullptr;
  HubCore<Plain> core(Plain(PlainStorage{}), options);
  const Instant now{SteadyTime{1000s}, WallTime{1000s}};
  const auto reply = [](ByteView, Frames, ByteView) { return true; };
  for (int i = 0; i < 20; ++i) core.registration("peer1", std::nullopt, {}, now, reply);
  core.malformed("peer1", "three frames", now);
  CHECK(core.stats().malformed == 21);
}

namespace malformed_cases {

/// A type whose `wire` throws on bytes that it does not like, instead of answering nothing.
struct Touchy {
  std::uint64_t number = 0;
  friend bool operator==(const Touchy&, const Touchy&) = default;
};

}  // namespace malformed_cases

using malformed_cases::Touchy;

template <>
struct registry::wire<Touchy> {
  static constexpr std::size_t size = 8;
  static void encode(const Touchy& value, std::span<std::byte, size> out) { store_le(value.number, out.data()); }
  static std::optional<Touchy> decode(std::span<const std::byte, size> in) {
    const auto number = load_le<std::uint64_t>(in.data());
    if (number == 13) throw std::invalid_argument{"thirteen"};
    return Touchy{number};
  }
};

TEST_CASE("a decoder of the user's that throws makes a message malformed, and ends nothing") {
  using Policy = NoEviction<HashMapStorage<Touchy, Touchy>>;
  TestHub<Policy> hub;
  Asker alice = client(1);
  CHECK(hub.refusal(alice, TestHub<Policy>::keys(MessageType::can_offload, {Touchy{1}, Touchy{13}})) ==
        "malformed message: bytes for which a decoder threw \"thirteen\": expected 0, got 26");
  hub.put(alice, {{Touchy{1}, Touchy{2}, {}}, {Touchy{2}, Touchy{13}, {}}});
  CHECK(hub.stats().malformed == 2);
  CHECK(hub.stats().stored == 0);
  CHECK(hub.stats().leases.granted == 0);
  CHECK(hub.log.size() == 1);
  hub.put(alice, {{Touchy{1}, Touchy{2}, {}}});
  CHECK(hub.stats().stored == 1);
}
