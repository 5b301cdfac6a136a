// SPDX-License-Identifier: Apache-2.0
#include "support/catch.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include <registry/codec.hpp>

struct Note {
  std::string text;
};
template <>
struct registry::wire<Note> {
  static std::size_t encoded_size(const Note& note) { return note.text.size(); }
  static void encode(const Note& note, std::span<std::byte> out) { copy_bytes(as_bytes(note.text), out.data()); }
  static std::optional<Note> decode(std::span<const std::byte> in) { return Note{std::string{as_text(in)}}; }
};

using namespace registry;

namespace {

using Number = std::uint64_t;

/// Whether the entry is refused with an EncodeError that says `text`, and the message is as before.
template <class V, class M>
void check_refused(const Entry<Number, V, M>& good, const Entry<Number, V, M>& bad, const std::string& text) {
  using C = BinaryCodec<Number, V, M>;
  Bytes out;
  C::begin_entries(MessageType::register_entries, out);
  REQUIRE_FALSE(C::append_entry(good, out));
  const Bytes before = out;
  const std::optional<Error> error = C::append_entry(bad, out);
  REQUIRE(error);
  REQUIRE(std::holds_alternative<EncodeError>(*error));
  CHECK(to_string(*error) == "cannot encode: " + text);
  CHECK(out == before);

  REQUIRE_FALSE(C::append_entry(good, out));
  std::vector<Entry<Number, V, M>> decoded;
  CHECK_FALSE(C::decode_entries(out, decoded));
  CHECK(decoded.size() == 2);
}

StorageLocation with_path(std::size_t size) { return {StorageBackend::disk, std::string(size, 'p'), 1}; }

}  // namespace

TEST_CASE("an optional that is present but 0 has no wire form, for 0 says that there is none") {
  const std::string text = "metadata that has no wire form (an optional field that is present but 0?)";
  check_refused<Number, TimestampMetadata>({1, 2, {3, 4}}, {1, 2, {3, 0}}, text);
  check_refused<Number, PositionMetadata>({1, 2, {3, 4, 5, 6}}, {1, 2, {3, 0, 5, 6}}, text);
  check_refused<Number, PositionMetadata>({1, 2, {3, 4, 5, 6}}, {1, 2, {3, 4, 0, 6}}, text);
}

TEST_CASE("a value beyond the 65,535 bytes of its length field is refused") {
  const Entry<Number, StorageLocation, NoMetadata> small{1, with_path(3), {}};
  check_refused(small, {1, with_path(65'600), {}}, "a value of 65611 bytes, at most 65535");
  check_refused(small, {1, with_path(65'525), {}}, "a value of 65536 bytes, at most 65535");
}

TEST_CASE("the largest value that its length field can say is carried") {
  using C = BinaryCodec<Number, StorageLocation, NoMetadata>;
  const Entry<Number, StorageLocation, NoMetadata> entry{1, with_path(65'524), {}};
  Bytes out;
  C::begin_entries(MessageType::register_entries, out);
  REQUIRE_FALSE(C::append_entry(entry, out));
  std::vector<Entry<Number, StorageLocation, NoMetadata>> decoded;
  REQUIRE_FALSE(C::decode_entries(out, decoded));
  CHECK(decoded == std::vector{entry});
}

TEST_CASE("a location in no known kind of store has no wire form") {
  check_refused<StorageLocation, NoMetadata>(
      {1, with_path(3), {}}, {1, {static_cast<StorageBackend>(2), "p", 1}, {}}, "a value that has no wire form");
}

TEST_CASE("a path beyond the 65,535 bytes of its own length field has no wire form") {
  const auto encodes = [](const StorageLocation& location) {
    Bytes out(wire_size(location));
    return wire_encode(location, out.data(), out.size());
  };
  CHECK(encodes(with_path(65'535)));
  CHECK_FALSE(encodes(with_path(65'536)));
}

TEST_CASE("metadata beyond the 65,535 bytes of its length field is refused") {
  check_refused<Number, Note>(
      {1, 2, {"short"}}, {1, 2, {std::string(65'536, 'n')}}, "metadata of 65536 bytes, at most 65535");
}

TEST_CASE("a text is cut where its length field ends, between two characters") {
  using C = BinaryCodec<Number, Number, NoMetadata>;
  const auto sent = [](const std::string& text) {
    Bytes out;
    C::encode_text(MessageType::error_response, text, out);
    std::string decoded;
    CHECK_FALSE(C::decode_text(out, decoded));
    return decoded;
  };
  const std::string letters(65'533, 'x');
  CHECK(sent(letters + "yz") == letters + "yz");
  CHECK(sent(letters + "yzz") == letters + "yz");
  CHECK(sent(letters + "y\xc3\xa4") == letters + "y");
  CHECK(sent(letters + "\xe2\x82\xac") == letters);
  CHECK(sent(letters + "\xc3\xa4z") == letters + "\xc3\xa4");
}
