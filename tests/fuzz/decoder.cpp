// SPDX-License-Identifier: Apache-2.0
// No bytes may crash a decoder, and what one accepts is the one form of what it read: encoded again it is the same.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <registry/bytes.hpp>
#include <registry/codec.hpp>
#include <registry/envelope.hpp>
#include <registry/key.hpp>
#include <registry/message.hpp>
#include <registry/metadata.hpp>
#include <registry/value.hpp>

namespace {

using namespace registry;

void require(bool condition) {
  if (!condition) std::abort();
}

/// Decoders leave version and type to `decode_type`: only what stands behind them has to come back.
void require_same_body(ByteView in, const Bytes& out) {
  constexpr std::size_t header = 2;
  require(std::ranges::equal(in.subspan(header), ByteView{out}.subspan(header)));
}

template <class K, class V, class M>
void decode_all(ByteView in) {
  using C = BinaryCodec<K, V, M>;
  Bytes out;

  MessageType type = MessageType::error_response;
  if (!C::decode_type(in, type)) {
    C::encode_count(type, 0, out);
    MessageType again{};
    require(!C::decode_type(out, again) && again == type);
    require(std::equal(out.begin(), out.begin() + 2, in.begin()));
  }

  std::vector<K> keys;
  if (!C::decode_keys(in, keys)) {
    C::encode_keys(type, std::span<const K>{keys}, out);
    require_same_body(in, out);
    std::vector<K> again;
    require(!C::decode_keys(out, again) && again == keys);
  }

  std::vector<Entry<K, V, M>> entries;
  if (!C::decode_entries(in, entries)) {
    C::begin_entries(type, out);
    for (const auto& entry : entries) require(!C::append_entry(entry, out));
    require_same_body(in, out);
    std::vector<Entry<K, V, M>> again;
    require(!C::decode_entries(out, again) && again == entries);
  }

  std::vector<OffloadStatus> statuses;
  if (!C::decode_statuses(in, statuses)) {
    C::encode_statuses(MessageType::can_offload_response, std::span<const OffloadStatus>{statuses}, out);
    require_same_body(in, out);
  }

  std::uint64_t count = 0;
  if (!C::decode_count(in, count)) {
    C::encode_count(type, count, out);
    require_same_body(in, out);
  }

  std::string text;
  if (!C::decode_text(in, text)) {
    C::encode_text(type, text, out);
    require_same_body(in, out);
  }
}

void decode_envelope(ByteView in) {
  const auto envelope = Envelope::decode(in);
  if (!envelope) return;
  require(!envelope->name_space.empty() && envelope->name_space.size() <= Envelope::max_namespace);
  Bytes out;
  envelope->encode(out);
  const auto again = Envelope::decode(out);
  require(again && again->number == envelope->number && again->client == envelope->client &&
          again->after == envelope->after && again->name_space == envelope->name_space);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const ByteView in = std::as_bytes(std::span{data, size});
  decode_all<std::uint64_t, std::uint64_t, NoMetadata>(in);
  decode_all<Key128, StorageLocation, TimestampMetadata>(in);
  decode_all<CompositeKey, StorageLocation, NoMetadata>(in);
  decode_all<PositionalKey, std::uint64_t, PositionMetadata>(in);
  decode_envelope(in);
  return 0;
}
