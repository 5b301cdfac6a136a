// SPDX-License-Identifier: Apache-2.0
// Peers that do not behave: a hub goes on serving others, and they cannot make it eat the memory of its machine.
#include "support/catch.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include <registry/codec.hpp>
#include <registry/envelope.hpp>
#include <registry/message.hpp>

#include "faults/processes.hpp"
#include "support/vectors.hpp"
#include "zmq/sockets.hpp"

using namespace faults_test;
using zmq_test::Parts;
using zmq_test::Peer;

namespace {

using Codec = registry::BinaryCodec<std::uint64_t, std::uint64_t, registry::NoMetadata>;

std::string keys_message(registry::MessageType type, std::uint64_t first, std::uint64_t count) {
  std::vector<std::uint64_t> keys;
  for (std::uint64_t key = first; key < first + count; ++key) keys.push_back(key);
  registry::Bytes out;
  Codec::encode_keys(type, keys, out);
  return zmq_test::text(out);
}

/// Sends as fast as the hub takes it.
void send(Peer& peer, const Parts& parts) {
  REQUIRE(eventually([&] { return peer.try_send(parts); }));
}

/// Returns when the hub has handled everything that this peer sent before.
void await(Peer& queries) {
  const std::string marker = "the last one";
  send(queries, {marker, keys_message(registry::MessageType::touch, 1, 1)});
  for (Parts parts = queries.receive(); !parts.empty(); parts = queries.receive()) {
    if (parts.front() == marker) return;
  }
  FAIL("the hub did not answer");
}

std::string growth(std::size_t before, std::size_t most) {
  return "the hub grew from " + std::to_string(before / megabyte) + " to " + std::to_string(most / megabyte) + " MB";
}

/// One of every kind: alone, in the name of a claim, of a registration, and of one behind another that never comes.
std::vector<std::string> good_envelopes() {
  constexpr registry::ClientId client{7, 7};
  std::vector<registry::Envelope> envelopes(4, {1, client});
  envelopes[1].claim = 1;
  envelopes[2].sequence = 1;
  envelopes[3].after = 1'000;
  envelopes[3].sequence = 1'001;
  envelopes[3].resent = 1'001;
  std::vector<std::string> texts;
  for (const registry::Envelope& envelope : envelopes) {
    registry::Bytes encoded;
    envelope.encode(encoded);
    texts.push_back(zmq_test::text(encoded));
  }
  return texts;
}

/// Those that there are, and their neighbours.
std::string all_types() {
  std::string types;
  for (char type = 0; type <= 11; ++type) types += type;
  for (char type = 31; type <= 45; ++type) types += type;
  return types;
}

}  // namespace

TEST_CASE("a client that never reads costs the hub its high-water mark and nobody else anything") {
  constexpr std::uint64_t keys_per_query = 400;
  constexpr std::uint64_t queries = 60'000;
  constexpr std::size_t answer_size = 22 * keys_per_query;
  Hub hub;
  auto blocks = client(hub.address());
  for (std::uint64_t key = 1; key <= keys_per_query; ++key) blocks.register_blocks({{key, key}});
  blocks.flush();
  std::vector<std::uint64_t> keys;
  for (std::uint64_t key = 1; key <= keys_per_query; ++key) keys.push_back(key);
  REQUIRE(eventually([&] { return blocks.match(keys).size() == keys_per_query; }));

  const std::size_t before = hub.resident();
  std::size_t most = 0;
  Peer deaf(zmq::socket_type::dealer, hub.address().query_addr);
  const std::string query = keys_message(registry::MessageType::match, 1, keys_per_query);
  for (std::uint64_t i = 0; i < queries; ++i) {
    send(deaf, {query});
    if (i % 5'000 != 0) continue;
    most = std::max(most, hub.resident());
    CHECK(blocks.match(keys).size() == keys_per_query);
  }
  CHECK(serves(hub));
  most = std::max(most, hub.resident());
  const auto statistics = hub.stop();

  // A mark of 10,000 answers, and twice as much again for what libzmq and the allocator keep beside them: half of what
  // all answers would need.
  CHECK(most < before + 3 * 10'000 * answer_size + quarantine);
  CHECK(statistics.at("undeliverable") > queries / 2);
  print("deaf", std::to_string(queries) + " answers of " + std::to_string(answer_size) + " bytes to nobody, " +
                    std::to_string(statistics.at("undeliverable")) + " given up; " + growth(before, most));
}

TEST_CASE("floods of malformed frames are refused, and cost the hub neither memory nor its senses") {
  constexpr std::uint64_t random_messages = 20'000;
  constexpr std::size_t many_frames = 10'000;
  Hub hub;
  CHECK(serves(hub));
  const std::size_t before = hub.resident();
  std::size_t most = 0;
  std::uint64_t messages = 0;
  std::uint64_t bytes = 0;
  Peer dealer(zmq::socket_type::dealer, hub.address().query_addr);
  Peer push(zmq::socket_type::push, hub.address().register_addr);
  const auto flood = [&](const Parts& query, const Parts& registration) {
    send(dealer, query);
    send(push, registration);
    messages += 2;
    for (const std::string& part : query) bytes += 2 * part.size();
    // Its answers are read, so that this is about what the hub is told and not about who does not listen.
    if (messages % 500 == 0) await(dealer);
    if (messages % 5'000 == 0) most = std::max(most, hub.resident());
  };

  const auto flood_both = [&](const Parts& parts) { flood(parts, parts); };
  const std::vector<std::string> envelopes = good_envelopes();
  for (const registry::test::Vector& vector : registry::test::all_vectors()) {
    const std::string whole = zmq_test::text(vector.bytes);
    for (std::size_t size = 0; size < whole.size(); ++size) {
      const std::string prefix = whole.substr(0, size);
      flood_both({prefix});
      flood_both({prefix, whole});
      for (const std::string& envelope : envelopes) flood({envelope, prefix}, {prefix, envelope});
    }
    // More than the bytes can hold, of whatever this message counts.
    if (whole.size() < 6) continue;
    const std::string bomb = whole.substr(0, 2) + "\xff\xff\xff\xff" + whole.substr(6);
    flood_both({bomb});
    for (const std::string& envelope : envelopes) flood({envelope, bomb}, {bomb, envelope});
  }

  std::mt19937 random(7);
  const std::string types = all_types();
  for (std::uint64_t i = 0; i < random_messages; ++i) {
    Parts parts(1 + random() % 3);
    for (std::string& part : parts) {
      part.resize(random() % 200);
      for (char& c : part) c = static_cast<char>(random());
    }
    // Half of them begin as messages do, and half of these are behind what tells who sends them.
    const bool is_like_a_message = random() % 2 == 0;
    if (is_like_a_message) parts.back().insert(0, std::string{"\x01"} + types[random() % types.size()]);
    if (is_like_a_message && random() % 2 == 0) {
      const std::string& envelope = envelopes[random() % envelopes.size()];
      flood({envelope, parts.back()}, {parts.back(), envelope});
    } else {
      flood_both(parts);
    }
  }

  flood_both(Parts(many_frames, "frame"));
  flood_both(Parts(many_frames, ""));
  flood_both({std::string(50 * megabyte, '\x01')});
  await(dealer);

  // Behind everything that was pushed: only then has the hub seen it all.
  registry::Bytes last;
  Codec::begin_entries(registry::MessageType::register_entries, last);
  REQUIRE(!Codec::append_entry({std::uint64_t{1} << 51U, 1, {}}, last));
  send(push, {zmq_test::text(last)});
  auto blocks = client(hub.address());
  CHECK(eventually([&] { return blocks.match({std::uint64_t{1} << 51U}).size() == 1; }));
  CHECK(serves(hub));
  most = std::max(most, hub.resident());
  const auto statistics = hub.stop();

  CHECK(statistics.at("malformed") > messages / 2);
  // The largest message, once as it came and once as libzmq holds the one behind it.
  CHECK(most < before + 150 * megabyte + quarantine);
  print("malformed",
        "seed 7, " + std::to_string(messages) + " messages, " + std::to_string(bytes / megabyte) + " MB, " +
            std::to_string(statistics.at("malformed")) + " found malformed; " + growth(before, most));
}
