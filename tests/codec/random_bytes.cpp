// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <random>
#include <span>
#include <string>
#include <vector>

#include <registry/codec.hpp>
#include <registry/envelope.hpp>

#include "support/catch.hpp"
#include "support/vectors.hpp"

using namespace registry;
using namespace registry::test;

namespace {

/// Every decoder reads the bytes. What one accepts must encode to the same bytes again: no message has two forms.
template <class K, class V, class M>
class Readers {
 public:
  /// How many of the decoders accepted the bytes; -1 if one of those did not give them back.
  int read(ByteView in) {
    using C = BinaryCodec<K, V, M>;
    MessageType type{};
    if (C::decode_type(in, type)) return 0;
    int accepted = 0;
    bool same = true;
    const auto check = [&] {
      ++accepted;
      same = same && std::equal(out_.begin(), out_.end(), in.begin(), in.end());
    };
    if (!C::decode_keys(in, keys_)) {
      C::encode_keys(type, std::span<const K>{keys_}, out_);
      check();
    }
    if (!C::decode_entries(in, entries_)) {
      C::begin_entries(type, out_);
      for (const auto& entry : entries_) same = same && !C::append_entry(entry, out_);
      check();
    }
    if (!C::decode_statuses(in, statuses_) && type == MessageType::can_offload_response) {
      C::encode_statuses(MessageType::can_offload_response, std::span<const OffloadStatus>{statuses_}, out_);
      check();
    }
    if (std::uint64_t count = 0; !C::decode_count(in, count)) {
      C::encode_count(type, count, out_);
      check();
    }
    if (!C::decode_text(in, text_)) {
      C::encode_text(type, text_, out_);
      check();
    }
    return same ? accepted : -1;
  }

 private:
  Bytes out_;
  std::vector<K> keys_;
  std::vector<Entry<K, V, M>> entries_;
  std::vector<OffloadStatus> statuses_;
  std::string text_;
};

struct AllReaders {
  Readers<std::uint64_t, std::uint64_t, NoMetadata> numbers;
  Readers<Key128, std::uint64_t, TimestampMetadata> timed;
  Readers<PositionalKey, StorageLocation, PositionMetadata> placed;
  Readers<CompositeKey, StorageLocation, NoMetadata> bare;
  int accepted = 0;

  void read(ByteView in) {
    for (const int count : {numbers.read(in), timed.read(in), placed.read(in), bare.read(in)}) {
      if (count < 0) FAIL("what was accepted is encoded differently: " << to_hex(in));
      accepted += count;
    }
    if (const auto envelope = Envelope::decode(in); envelope && envelope->name_space.size() > 255) FAIL("long name");
  }
};

}  // namespace

TEST_CASE("no bytes make a decoder crash or accept what it would write differently") {
  std::mt19937_64 random{20240601};
  AllReaders readers;
  Bytes bytes;
  for (int round = 0; round < 200'000; ++round) {
    bytes.resize(random() % 80);
    for (std::byte& b : bytes) b = static_cast<std::byte>(random() % 4 == 0 ? random() : random() % 4);
    // Otherwise nearly all of them end at the version.
    if (!bytes.empty() && round % 8 != 0) bytes[0] = std::byte{1};
    readers.read(bytes);
  }
  CHECK(readers.accepted > 1000);
}

TEST_CASE("no change of a good message makes a decoder crash or accept what it would write differently") {
  std::mt19937_64 random{20240602};
  AllReaders readers;
  const std::vector<Vector> vectors = all_vectors();
  for (int round = 0; round < 200'000; ++round) {
    Bytes bytes = vectors[random() % vectors.size()].bytes;
    for (auto changes = 1 + random() % 3; changes > 0 && !bytes.empty(); --changes) {
      const auto at = bytes.begin() + static_cast<std::ptrdiff_t>(random() % bytes.size());
      switch (random() % 4) {
        case 0: *at = static_cast<std::byte>(random()); break;
        case 1: *at ^= static_cast<std::byte>(1U << random() % 8); break;
        case 2:
          bytes.erase(
              at, at + static_cast<std::ptrdiff_t>(1 + random() % static_cast<std::uint64_t>(bytes.end() - at)));
          break;
        case 3: bytes.insert(at, static_cast<std::byte>(random())); break;
      }
    }
    readers.read(bytes);
  }
  CHECK(readers.accepted > 10'000);
}
