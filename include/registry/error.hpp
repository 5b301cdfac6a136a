// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <variant>

namespace registry {

/// A value that the protocol cannot express, for instance a path longer than 65,535 bytes.
struct EncodeError {
  std::string reason;
};

/// Bytes that are no message of the protocol: `context` names the field, `expected` and `got` are lengths or values.
struct DecodeError {
  std::string context;
  std::uint64_t expected = 0;
  std::uint64_t got = 0;
};

/// The peer speaks another version of the protocol; nothing of its message was acted on.
struct VersionMismatch {
  unsigned expected = 0;
  unsigned got = 0;
};

/// A message of a type that is unknown, or that has no business where it arrived.
struct InvalidMessageType {
  unsigned got = 0;
};

/// A message that ends before its header does; both in bytes.
struct MessageTooShort {
  std::size_t expected = 0;
  std::size_t got = 0;
};

/// The transport failed: `reason` is its own account (the operation and what the system said).
struct TransportError {
  std::string reason;
};

/// The connection or the client was closed under a call.
struct Disconnected {
  std::string reason;
};

/// Nothing came, or nothing could be handed over, within `duration`.
struct Timeout {
  std::chrono::milliseconds duration{};

  /// Rounded up: less than a millisecond is not no time.
  static Timeout after(std::chrono::nanoseconds duration) {
    return {std::chrono::ceil<std::chrono::milliseconds>(duration)};
  }
};

/// A registration for a key that another holder has leased; `key` is its wire form in hexadecimal.
struct LeaseConflict {
  std::string key;
};

/// The storage behind a hub failed.
struct StorageError {
  std::string reason;
};

/// The peer does not do this.
struct Unsupported {
  std::string operation;
};

/// A bound was met: `limit` names it, as the option that sets it is named.
struct LimitExceeded {
  std::string limit;
  std::uint64_t allowed = 0;
  std::uint64_t got = 0;
};

/// A configuration variable or flag whose value is not what it must be.
struct ConfigError {
  std::string variable;
  std::string value;
  std::string expected;
};

/// The hub answered with an ErrorResponse; `text` is what it said.
struct HubError {
  std::string text;
};

/// Everything that can go wrong, as a value. The alternatives stand in the order of `errc`.
using Error = std::variant<EncodeError, DecodeError, VersionMismatch, InvalidMessageType, MessageTooShort,
                           TransportError, Disconnected, Timeout, LeaseConflict, StorageError, Unsupported,
                           LimitExceeded, ConfigError, HubError>;

/// The cases of `Error` as codes of `registry_category()`, for `std::error_code` and so for Asio.
enum class errc {
  encode_error = 1,
  decode_error,
  version_mismatch,
  invalid_message_type,
  message_too_short,
  transport_error,
  disconnected,
  timeout,
  lease_conflict,
  storage_error,
  unsupported,
  limit_exceeded,
  config_error,
  hub_error,
};

namespace detail {

class RegistryCategory final : public std::error_category {
 public:
  const char* name() const noexcept override { return "registry"; }

  std::string message(int value) const override {
    switch (static_cast<errc>(value)) {
      case errc::encode_error: return "value cannot be encoded";
      case errc::decode_error: return "malformed message";
      case errc::version_mismatch: return "protocol version mismatch";
      case errc::invalid_message_type: return "invalid message type";
      case errc::message_too_short: return "message too short";
      case errc::transport_error: return "transport error";
      case errc::disconnected: return "disconnected";
      case errc::timeout: return "timed out";
      case errc::lease_conflict: return "leased by another holder";
      case errc::storage_error: return "storage error";
      case errc::unsupported: return "not supported by the peer";
      case errc::limit_exceeded: return "limit exceeded";
      case errc::config_error: return "invalid configuration";
      case errc::hub_error: return "refused by the hub";
    }
    return "unknown registry error " + std::to_string(value);
  }

  std::error_condition default_error_condition(int value) const noexcept override {
    switch (static_cast<errc>(value)) {
      case errc::timeout: return std::errc::timed_out;
      case errc::disconnected: return std::errc::not_connected;
      case errc::unsupported: return std::errc::not_supported;
      case errc::encode_error:
      case errc::decode_error:
      case errc::version_mismatch:
      case errc::invalid_message_type:
      case errc::message_too_short:
      case errc::transport_error:
      case errc::lease_conflict:
      case errc::storage_error:
      case errc::limit_exceeded:
      case errc::config_error:
      case errc::hub_error: break;
    }
    return {value, *this};
  }
};

template <class... Cases>
struct Overload : Cases... {
  using Cases::operator()...;
};

}  // namespace detail

inline const std::error_category& registry_category() noexcept {
  static const detail::RegistryCategory category;
  return category;
}

inline std::error_code make_error_code(errc code) noexcept { return {static_cast<int>(code), registry_category()}; }

/// The code of an error; found by `std::make_error_code`'s usual callers through argument-dependent look-up.
inline std::error_code make_error_code(const Error& error) noexcept {
  static_assert(std::variant_size_v<Error> == static_cast<std::size_t>(errc::hub_error));
  return make_error_code(static_cast<errc>(error.index() + 1));
}

/// One line for a person: what was expected and what came.
inline std::string to_string(const Error& error) {
  using std::to_string;
  return std::visit(
      detail::Overload{
          [](const EncodeError& e) { return "cannot encode: " + e.reason; },
          [](const DecodeError& e) {
            return "malformed message: " + e.context + ": expected " + to_string(e.expected) + ", got " +
                   to_string(e.got);
          },
          [](const VersionMismatch& e) {
            return "protocol version mismatch: expected " + to_string(e.expected) + ", got " + to_string(e.got);
          },
          [](const InvalidMessageType& e) { return "invalid message type: got " + to_string(e.got); },
          [](const MessageTooShort& e) {
            return "message too short: expected at least " + to_string(e.expected) + " bytes, got " + to_string(e.got);
          },
          [](const TransportError& e) { return "transport error: " + e.reason; },
          [](const Disconnected& e) { return "disconnected: " + e.reason; },
          [](const Timeout& e) { return "timed out after " + to_string(e.duration.count()) + " ms"; },
          [](const LeaseConflict& e) { return "key " + e.key + " is leased by another holder"; },
          [](const StorageError& e) { return "storage error: " + e.reason; },
          [](const Unsupported& e) { return "not supported by the peer: " + e.operation; },
          [](const LimitExceeded& e) {
            return "limit exceeded: " + e.limit + " allows " + to_string(e.allowed) + ", got " + to_string(e.got);
          },
          [](const ConfigError& e) {
            return "invalid configuration: " + e.variable + "=\"" + e.value + "\": expected " + e.expected;
          },
          [](const HubError& e) { return "the hub refused: " + e.text; },
      },
      error);
}

/// What blocking calls throw: an `Error` with its code (a `std::system_error`, as Asio's tokens throw) and its message.
/// Copies share their state and never throw.
class RegistryError : public std::system_error {
 public:
  explicit RegistryError(Error error)
      : std::system_error(make_error_code(error)), state_(std::make_shared<const State>(std::move(error))) {}

  const Error& error() const noexcept { return state_->error; }

  /// The case at hand, or null: `if (auto* timeout = e.as<registry::Timeout>()) ...`
  template <class Case>
  const Case* as() const noexcept {
    return std::get_if<Case>(&state_->error);
  }

  const char* what() const noexcept override { return state_->message.c_str(); }

 private:
  struct State {
    explicit State(Error e) : error(std::move(e)), message(to_string(error)) {}
    Error error;
    std::string message;
  };
  std::shared_ptr<const State> state_;
};

}  // namespace registry

template <>
struct std::is_error_code_enum<registry::errc> : std::true_type {};
