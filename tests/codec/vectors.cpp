// SPDX-License-Identifier: Apache-2.0
#include "support/vectors.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "codec/messages.hpp"
#include "support/allocation_counter.hpp"
#include "support/catch.hpp"

using namespace registry;
using namespace registry::test;

namespace {

bool is_envelope(const Vector& vector) { return vector.name.find("envelope") != std::string::npos; }
bool is_malformed(const Vector& vector) { return vector.name.starts_with("bad_"); }

Answer decode(const Message& message, ByteView bytes) {
  std::optional<Error> error;
  return message.decode(bytes, error);
}

}  // namespace

TEST_CASE("every valid vector has a message in this test, and every message a vector") {
  std::set<std::string> vectors;
  for (const Vector& vector : all_vectors()) {
    if (is_malformed(vector) || is_envelope(vector)) continue;
    CHECK(vectors.insert(vector.name).second);
  }
  std::set<std::string> messages;
  for (const Message& message : valid_messages()) messages.insert(message.name);
  CHECK(vectors == messages);
}

TEST_CASE("every message is encoded to exactly the bytes of its vector") {
  for (const Message& message : valid_messages()) {
    CAPTURE(message.name);
    CHECK(to_hex(message.encode()) == to_hex(find_vector(message.name).bytes));
  }
}

TEST_CASE("every vector is decoded to exactly its message") {
  for (const Message& message : valid_messages()) {
    CAPTURE(message.name);
    CHECK(decode(message, find_vector(message.name).bytes) == Answer::same);
  }
}

TEST_CASE("a message cut short anywhere is refused") {
  for (const Message& message : valid_messages()) {
    const Bytes bytes = find_vector(message.name).bytes;
    for (std::size_t size = 0; size < bytes.size(); ++size) {
      CAPTURE(message.name, size);
      // A copy of its own, so that a sanitizer sees the first byte read beyond it.
      CHECK(decode(message, Bytes(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size))) ==
            Answer::refused);
    }
  }
}

TEST_CASE("a message with any byte behind it is refused") {
  for (const Message& message : valid_messages()) {
    Bytes bytes = find_vector(message.name).bytes;
    bytes.push_back({});
    for (unsigned last = 0; last < 256; ++last) {
      CAPTURE(message.name, last);
      bytes.back() = static_cast<std::byte>(last);
      CHECK(decode(message, bytes) == Answer::refused);
    }
  }
}

TEST_CASE("a message in another version or of another type is refused whatever it holds") {
  for (const Message& message : valid_messages()) {
    CAPTURE(message.name);
    Bytes bytes = find_vector(message.name).bytes;
    bytes[0] = std::byte{3};
    CHECK(decode(message, bytes) == Answer::refused);
    bytes[0] = std::byte{1};
    bytes[1] = std::byte{77};
    CHECK(decode(message, bytes) == Answer::refused);
  }
}

namespace {

/// How a malformed vector is refused: by which decoder, and with what to say.
struct Malformed {
  std::string name;
  Message reader;
  std::string error;
};

std::vector<Malformed> malformed() {
  using T = MessageType;
  const auto keys = keys_message<std::uint64_t>("", T::can_offload, {});
  const auto numbers = entries_message<std::uint64_t, std::uint64_t, NoMetadata>("", T::register_entries, {});
  const auto timed = entries_message<std::uint64_t, std::uint64_t, TimestampMetadata>("", T::register_entries, {});
  const auto places = entries_message<std::uint64_t, StorageLocation, NoMetadata>("", T::register_entries, {});
  const auto found = entries_message<std::uint64_t, StorageLocation, NoMetadata>("", T::match_response, {});
  const auto statuses = statuses_message("", {});
  const auto text = text_message("", T::error_response, "");
  const auto count = count_message("", T::touch_response, 0);
  const std::string bad = "malformed message: ";
  return {
      {"bad_count_bomb", keys, bad + "keys, in bytes: expected 42949672950, got 0"},
      {"bad_trailing_query", keys, bad + "keys, in bytes: expected 10, got 12"},

      {"bad_empty", keys, "message too short: expected at least 2 bytes, got 0"},
      {"bad_version_alone", keys, "message too short: expected at least 2 bytes, got 1"},
      {"bad_version_0", keys, "protocol version mismatch: expected 1, got 0"},
      {"bad_version_2", keys, "protocol version mismatch: expected 1, got 2"},
      {"bad_version_255", keys, "protocol version mismatch: expected 1, got 255"},
      {"bad_request_id_in_front", keys, "protocol version mismatch: expected 1, got 7"},
      {"bad_type_0", keys, "invalid message type: got 0"},
      {"bad_type_11", keys, "invalid message type: got 11"},
      {"bad_type_31", keys, "invalid message type: got 31"},
      {"bad_type_45", keys, "invalid message type: got 45"},
      {"bad_type_255", keys, "invalid message type: got 255"},
      {"bad_no_count", keys, "message too short: expected at least 6 bytes, got 5"},
      {"bad_key_too_short", keys, bad + "keys, in bytes: expected 10, got 9"},
      {"bad_key_length_lies", keys, bad + "key length: expected 8, got 7"},
      {"bad_key_of_other_type", keys, bad + "keys, in bytes: expected 10, got 18"},
      {"bad_count_too_small", keys, bad + "keys, in bytes: expected 10, got 20"},
      {"bad_count_too_large", keys, bad + "keys, in bytes: expected 20, got 10"},
      {"bad_register_count_bomb", numbers, bad + "entries, in bytes at least: expected 94489280490, got 0"},
      {"bad_match_response_count_bomb", found, bad + "entries, in bytes at least: expected 60129542130, got 26"},
      {"bad_register_count_too_large", places, bad + "a key, in bytes: expected 10, got 0"},
      {"bad_register_count_too_small", numbers, bad + "bytes behind the last entry: expected 0, got 22"},
      {"bad_register_key_length", numbers, bad + "key length: expected 8, got 9"},
      {"bad_value_length", numbers, bad + "value of the registered type, in bytes: expected 8, got 7"},
      {"bad_value_beyond_end", places, bad + "value, in bytes: expected 65535, got 14"},
      {"bad_metadata_length", numbers, bad + "metadata of the registered type, in bytes: expected 0, got 1"},
      {"bad_metadata_of_other_type", timed, bad + "metadata of the registered type, in bytes: expected 12, got 24"},
      {"bad_backend", places, bad + "value of the registered type, in bytes: expected 12, got 12"},
      {"bad_path_length", places, bad + "value of the registered type, in bytes: expected 14, got 14"},
      {"bad_status", statuses, bad + "a status, at most: expected 2, got 3"},
      {"bad_status_count_bomb", statuses, bad + "statuses, in bytes: expected 4294967295, got 1"},
      {"bad_text_length", text, bad + "text, in bytes: expected 3, got 2"},
      {"bad_text_trailing", text, bad + "text, in bytes: expected 2, got 3"},
      {"bad_count_short", count, "message too short: expected at least 10 bytes, got 9"},
      {"bad_count_trailing", count, bad + "a count, in bytes: expected 10, got 11"},
  };
}

}  // namespace

TEST_CASE("every malformed vector has its place in this test") {
  std::set<std::string> vectors;
  for (const Vector& vector : all_vectors()) {
    if (is_malformed(vector) && !is_envelope(vector)) CHECK(vectors.insert(vector.name).second);
  }
  std::set<std::string> tested;
  for (const Malformed& one : malformed()) tested.insert(one.name);
  CHECK(vectors == tested);
}

TEST_CASE("every malformed vector is refused with what was expected and what came") {
  for (const Malformed& one : malformed()) {
    CAPTURE(one.name);
    std::optional<Error> error;
    CHECK(one.reader.decode(find_vector(one.name).bytes, error) == Answer::refused);
    REQUIRE(error);
    CHECK(to_string(*error) == one.error);
  }
}

TEST_CASE("the types of the protocol are 1 to 10 and 32 to 44, whatever follows") {
  for (unsigned number = 0; number < 256; ++number) {
    CAPTURE(number);
    const Bytes bytes{std::byte{1}, static_cast<std::byte>(number)};
    MessageType type{};
    const std::optional<Error> error = AnyCodec::decode_type(bytes, type);
    if ((number >= 1 && number <= 10) || (number >= 32 && number <= 44)) {
      CHECK_FALSE(error);
      CHECK(static_cast<unsigned>(type) == number);
    } else {
      REQUIRE(error);
      CHECK(to_string(*error) == "invalid message type: got " + std::to_string(number));
    }
  }
}

TEST_CASE("a count is believed only when its bytes are there: nothing is allocated from it") {
  const auto check = [](auto codec, const char* name) {
    CAPTURE(name);
    const Bytes bytes = find_vector(name).bytes;
    std::optional<Error> error;
    // The text of the error is all there is.
    CHECK(allocated_by([&] { error = codec(ByteView{bytes}); }) < 100);
    CHECK(error);
  };
  using Places = BinaryCodec<std::uint64_t, StorageLocation, NoMetadata>;
  std::vector<std::uint64_t> keys;
  std::vector<Entry<std::uint64_t, std::uint64_t, NoMetadata>> entries;
  std::vector<Entry<std::uint64_t, StorageLocation, NoMetadata>> places;
  std::vector<OffloadStatus> statuses;
  check([&](ByteView in) { return AnyCodec::decode_keys(in, keys); }, "bad_count_bomb");
  check([&](ByteView in) { return AnyCodec::decode_entries(in, entries); }, "bad_register_count_bomb");
  check([&](ByteView in) { return Places::decode_entries(in, places); }, "bad_match_response_count_bomb");
  check([&](ByteView in) { return AnyCodec::decode_statuses(in, statuses); }, "bad_status_count_bomb");
}

TEST_CASE("decoding again into the same containers allocates nothing") {
  const Bytes query = find_vector("query_can_offload_u64").bytes;
  const Bytes registration = find_vector("register_u64_nometadata").bytes;
  const Bytes answer = find_vector("response_can_offload").bytes;
  std::vector<std::uint64_t> keys;
  std::vector<Entry<std::uint64_t, std::uint64_t, NoMetadata>> entries;
  std::vector<OffloadStatus> statuses;
  const auto decode_all = [&] {
    const bool refused = AnyCodec::decode_keys(query, keys) || AnyCodec::decode_entries(registration, entries) ||
                         AnyCodec::decode_statuses(answer, statuses);
    if (refused) throw std::runtime_error{"refused"};
  };
  CHECK(allocated_by(decode_all) > 0);
  CHECK(allocated_by(decode_all) == 0);
}
