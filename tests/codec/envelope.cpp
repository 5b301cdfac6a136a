// SPDX-License-Identifier: Apache-2.0
#include <registry/envelope.hpp>

#include <cstddef>
#include <set>
#include <string>
#include <vector>

#include "support/allocation_counter.hpp"
#include "support/catch.hpp"
#include "support/vectors.hpp"

using namespace registry;
using namespace registry::test;

namespace {

struct Case {
  std::string name;
  Envelope envelope;
};

std::vector<Case> valid_envelopes() {
  constexpr ClientId client{0x0011223344556677, 0x8899aabbccddeeff};
  constexpr std::uint64_t max = ~std::uint64_t{0};
  return {
      {"envelope", {1, client, std::nullopt, default_namespace}},
      {"envelope_after", {0x0102030405060708, client, 9, default_namespace}},
      {"envelope_after_zero", {2, client, 0, default_namespace}},
      {"envelope_namespace", {3, client, std::nullopt, "tenant-a"}},
      {"envelope_after_namespace", {max, {}, max, "t"}},
      {"envelope_claim", {4, client, std::nullopt, default_namespace, 5}},
      {"envelope_acknowledged", {6, client, 7, "tenant-a", 8, 9, 10}},
      {"envelope_sequence", {6, client, std::nullopt, default_namespace, std::nullopt, 9}},
      {"envelope_resent", {6, client, std::nullopt, default_namespace, std::nullopt, std::nullopt, 10}},
  };
}

/// Of the bytes, the part in front of the namespace.
std::size_t fixed_part(const Envelope& envelope) {
  std::size_t size = Envelope::fixed_size;
  for (const auto& field : {envelope.after, envelope.claim, envelope.sequence, envelope.resent}) size += field ? 8 : 0;
  return size;
}

}  // namespace

TEST_CASE("every envelope among the vectors has its place in this test") {
  std::set<std::string> vectors;
  for (const Vector& vector : all_vectors()) {
    if (vector.name.starts_with("envelope")) CHECK(vectors.insert(vector.name).second);
  }
  std::set<std::string> tested;
  for (const Case& one : valid_envelopes()) tested.insert(one.name);
  CHECK(vectors == tested);
}

TEST_CASE("every envelope is encoded to exactly the bytes of its vector") {
  for (const Case& one : valid_envelopes()) {
    CAPTURE(one.name);
    Bytes out{std::byte{1}};
    one.envelope.encode(out);
    CHECK(to_hex(out) == to_hex(find_vector(one.name).bytes));
  }
}

TEST_CASE("every envelope is read from the bytes of its vector") {
  for (const Case& one : valid_envelopes()) {
    CAPTURE(one.name);
    const Bytes bytes = find_vector(one.name).bytes;
    const auto envelope = Envelope::decode(bytes);
    REQUIRE(envelope);
    CHECK(envelope->number == one.envelope.number);
    CHECK(envelope->client == one.envelope.client);
    CHECK(envelope->after == one.envelope.after);
    CHECK(envelope->name_space == one.envelope.name_space);
    CHECK(envelope->claim == one.envelope.claim);
    CHECK(envelope->sequence == one.envelope.sequence);
    CHECK(envelope->resent == one.envelope.resent);
  }
}

TEST_CASE("in the common case an envelope takes 28 bytes, which libzmq does not allocate for") {
  Bytes out;
  Envelope{1, {2, 3}, std::nullopt, default_namespace}.encode(out);
  CHECK(out.size() == 28);
}

TEST_CASE("an envelope cut short within its fixed part is none of ours") {
  for (const Case& one : valid_envelopes()) {
    const Bytes bytes = find_vector(one.name).bytes;
    for (std::size_t size = 0; size < fixed_part(one.envelope); ++size) {
      CAPTURE(one.name, size);
      CHECK_FALSE(Envelope::decode(Bytes(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size))));
    }
  }
}

TEST_CASE("what stands behind the fixed part is the namespace, up to 255 bytes") {
  Bytes bytes = find_vector("envelope").bytes;
  bytes.resize(28 + 255, std::byte{'n'});
  const auto envelope = Envelope::decode(bytes);
  REQUIRE(envelope);
  CHECK(envelope->name_space == std::string(255, 'n'));
  bytes.push_back(std::byte{'n'});
  CHECK_FALSE(Envelope::decode(bytes));
}

TEST_CASE("a frame that is no envelope of ours means nothing") {
  for (const char* name :
       {"bad_envelope_magic", "bad_envelope_version", "bad_envelope_flags", "bad_envelope_after_missing"}) {
    CAPTURE(name);
    CHECK_FALSE(Envelope::decode(find_vector(name).bytes));
  }
}

TEST_CASE("every malformed envelope among the vectors is tested here") {
  std::size_t count = 0;
  for (const Vector& vector : all_vectors()) count += vector.name.starts_with("bad_envelope") ? 1U : 0U;
  CHECK(count == 4);
}

TEST_CASE("reading an envelope allocates nothing") {
  const Bytes bytes = find_vector("envelope_after_namespace").bytes;
  bool read = false;
  CHECK(allocated_by([&] { read = Envelope::decode(bytes).has_value(); }) == 0);
  CHECK(read);
}

TEST_CASE("two clients have two identities") {
  CHECK(ClientId::random() != ClientId::random());
  CHECK(ClientId::random() != ClientId{});
}
