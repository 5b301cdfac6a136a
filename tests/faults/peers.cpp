// SPDX-License-Identifier: Apache-2.0
// Peers that do not behave: a hub goes on serving others, and they cannot make it eat the memory of its machine.
#include "support/catch.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <random>
#include <string>
#include <vector>

#include <registry/codec.hpp>
#include <registry/message.hpp>

#include "faults/processes.hpp"
#include "support/vectors.hpp"
#include "zmq/sockets.hpp"

using namespace faults_test;
using zmq_test::Parts;
using zmq_test::Peer;

namespace {

using Codec = registry::BinaryCodec<std::uint64_t, std::uint64_t, registry::NoMetadata>;

constexpr std::size_t megabyte = 1'000'000;

// What a sanitizer keeps of the memory that was freed is no memory that the hub holds on to.
#if defined(__SANITIZE_ADDRESS__)
constexpr std::size_t quarantine = 400 * megabyte;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
constexpr std::size_t quarantine = 400 * megabyte;
#else
constexpr std::size_t quarantine = 0;
#endif
#else
constexpr std::size_t quarantine = 0;
#endif

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
  std::printf("%-10s %lu answers of %zu bytes to nobody, %lu given up; the hub grew from %zu to %zu MB\n", "deaf",
              queries, answer_size, statistics.at("undeliverable"), before / megabyte, most / megabyte);
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
  const auto flood = [&](const Parts& parts) {
    send(dealer, parts);
    send(push, parts);
    messages += 2;
    for (const std::string& part : parts) bytes += 2 * part.size();
    // Its answers are read, so that this is about what the hub is told and not about who does not listen.
    if (messages % 500 == 0) await(dealer);
    if (messages % 5'000 == 0) most = std::max(most, hub.resident());
  };

  for (const registry::test::Vector& vector : registry::test::all_vectors()) {
    const std::string whole = zmq_test::text(vector.bytes);
    for (std::size_t size = 0; size < whole.size(); ++size) {
      flood({whole.substr(0, size)});
      flood({whole.substr(0, size), whole});
    }
    // More than the bytes can hold, of whatever this message counts.
    if (whole.size() >= 6) flood({whole.substr(0, 2) + "\xff\xff\xff\xff" + whole.substr(6)});
  }

  std::mt19937 random(7);
  for (std::uint64_t i = 0; i < random_messages; ++i) {
    Parts parts(1 + random() % 3);
    for (std::string& part : parts) {
      part.resize(random() % 200);
      for (char& c : part) c = static_cast<char>(random());
    }
    // Half of them begin as messages do.
    if (random() % 2 == 0) parts.back().insert(0, std::string{"\x01"} + static_cast<char>(random() % 12));
    flood(parts);
  }

  flood(Parts(many_frames, "frame"));
  flood(Parts(many_frames, ""));
  flood({std::string(50 * megabyte, '\x01')});
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
  std::printf("%-10s %lu messages, %lu MB, %lu found malformed; the hub grew from %zu to %zu MB\n", "malformed",
              messages, bytes / megabyte, statistics.at("malformed"), before / megabyte, most / megabyte);
}
