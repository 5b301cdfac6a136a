// SPDX-License-Identifier: Apache-2.0
#include "support/catch.hpp"

#include <chrono>
#include <set>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <registry/error.hpp>

using namespace registry;

namespace {

struct Expected {
  Error error;
  errc code;
  std::string text;     // of this error
  std::string message;  // of its code
};

const std::vector<Expected>& all() {
  static const std::vector<Expected> cases{
      {EncodeError{"a value of 70000 bytes"}, errc::encode_error, "cannot encode: a value of 70000 bytes",
       "value cannot be encoded"},
      {DecodeError{"key length", 8, 7}, errc::decode_error, "malformed message: key length: expected 8, got 7",
       "malformed message"},
      {VersionMismatch{1, 2}, errc::version_mismatch, "protocol version mismatch: expected 1, got 2",
       "protocol version mismatch"},
      {InvalidMessageType{99}, errc::invalid_message_type, "invalid message type: got 99", "invalid message type"},
      {MessageTooShort{6, 1}, errc::message_too_short, "message too short: expected at least 6 bytes, got 1",
       "message too short"},
      {TransportError{"bind: address in use"}, errc::transport_error, "transport error: bind: address in use",
       "transport error"},
      {Disconnected{"closed"}, errc::disconnected, "disconnected: closed", "disconnected"},
      {Timeout{std::chrono::milliseconds{5000}}, errc::timeout, "timed out after 5000 ms", "timed out"},
      {LeaseConflict{"0100"}, errc::lease_conflict, "key 0100 is leased by another holder", "leased by another holder"},
      {StorageError{"disk full"}, errc::storage_error, "storage error: disk full", "storage error"},
      {Unsupported{"hello"}, errc::unsupported, "not supported by the peer: hello", "not supported by the peer"},
      {LimitExceeded{"capacity", 10, 11}, errc::limit_exceeded, "limit exceeded: capacity allows 10, got 11",
       "limit exceeded"},
      {ConfigError{"PORT", "x", "a number"}, errc::config_error, "invalid configuration: PORT=\"x\": expected a number",
       "invalid configuration"},
      {HubError{"no"}, errc::hub_error, "the hub refused: no", "refused by the hub"},
  };
  return cases;
}

}  // namespace

TEST_CASE("every error is in the list of this file") { CHECK(all().size() == std::variant_size_v<Error>); }

TEST_CASE("every error says in one line what was expected and what came") {
  for (const Expected& expected : all()) {
    CHECK(to_string(expected.error) == expected.text);
    CHECK(RegistryError{expected.error}.what() == expected.text);
  }
}

TEST_CASE("every error has its code, and every code its message") {
  std::set<std::string> messages;
  for (const Expected& expected : all()) {
    const std::error_code code = make_error_code(expected.error);
    CHECK(code == expected.code);
    CHECK(code == make_error_code(expected.code));
    CHECK(code.value() == static_cast<int>(expected.code));
    CHECK(code.message() == expected.message);
    CHECK(std::string{code.category().name()} == "registry");
    CHECK(code);
    messages.insert(code.message());
  }
  CHECK(messages.size() == all().size());
}

TEST_CASE("codes count from 1, for 0 is success in every category") {
  CHECK(static_cast<int>(errc::encode_error) == 1);
  CHECK(static_cast<std::size_t>(errc::hub_error) == std::variant_size_v<Error>);
  CHECK(registry_category().message(0) == "unknown registry error 0");
  CHECK(registry_category().message(15) == "unknown registry error 15");
}

TEST_CASE("what the standard has a word for compares equal to it") {
  CHECK(make_error_code(errc::timeout) == std::errc::timed_out);
  CHECK(make_error_code(errc::disconnected) == std::errc::not_connected);
  CHECK(make_error_code(errc::unsupported) == std::errc::not_supported);
  for (const Expected& expected : all()) {
    const std::error_condition condition = make_error_code(expected.code).default_error_condition();
    const bool has_word =
        expected.code == errc::timeout || expected.code == errc::disconnected || expected.code == errc::unsupported;
    CHECK((condition.category() == std::generic_category()) == has_word);
  }
}

TEST_CASE("an errc is an error code where one is wanted") {
  const std::error_code code = errc::timeout;
  CHECK(code.category() == registry_category());
  CHECK(code == errc::timeout);
  CHECK(code != errc::disconnected);
}

TEST_CASE("what is thrown carries the error, its code and its text") {
  try {
    throw RegistryError{DecodeError{"value length", 8, 9}};
  } catch (const std::system_error& thrown) {
    CHECK(thrown.code() == errc::decode_error);
    const auto* error = dynamic_cast<const RegistryError*>(&thrown);
    REQUIRE(error != nullptr);
    REQUIRE(error->as<DecodeError>() != nullptr);
    CHECK(error->as<DecodeError>()->context == "value length");
    CHECK(error->as<DecodeError>()->expected == 8);
    CHECK(error->as<DecodeError>()->got == 9);
    CHECK(error->as<Timeout>() == nullptr);
    CHECK(std::holds_alternative<DecodeError>(error->error()));
  }
}

TEST_CASE("copies of a thrown error never throw and say the same") {
  STATIC_REQUIRE(std::is_nothrow_copy_constructible_v<RegistryError>);
  STATIC_REQUIRE(std::is_nothrow_copy_assignable_v<RegistryError>);
  const RegistryError first{StorageError{"full"}};
  RegistryError second{Timeout{}};
  second = first;
  CHECK(std::string{second.what()} == first.what());
  CHECK(second.code() == errc::storage_error);
  CHECK(second.as<StorageError>() == first.as<StorageError>());
}
