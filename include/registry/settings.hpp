// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <charconv>
#include <chrono>
#include <concepts>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <registry/error.hpp>

namespace registry {

/// The value of an environment variable, or nothing if it is not set.
inline std::optional<std::string> environment(const std::string& variable) {
  const char* value = std::getenv(variable.c_str());
  return value == nullptr ? std::nullopt : std::optional<std::string>{value};
}

/// Reads a setting, from a variable or a flag that `name` names; RegistryError{ConfigError} if it is malformed.
inline bool parse_bool(const std::string& name, std::string_view text) {
  if (text == "true" || text == "1") return true;
  if (text == "false" || text == "0") return false;
  throw RegistryError(ConfigError{name, std::string{text}, "true, false, 1 or 0"});
}

/// A whole decimal number between `least` and `most`.
template <std::unsigned_integral T>
T parse_number(const std::string& name, std::string_view text, T least = 0, T most = std::numeric_limits<T>::max()) {
  T value{};
  const char* end = text.data() + text.size();
  const auto [stopped, problem] = std::from_chars(text.data(), end, value);
  if (text.empty() || stopped != end || problem != std::errc{} || value < least || value > most) {
    throw RegistryError(ConfigError{
        name, std::string{text}, "a whole number from " + std::to_string(least) + " to " + std::to_string(most)});
  }
  return value;
}

/// A ZeroMQ endpoint over tcp or ipc, to listen on: `*` stands for every interface or for any free port.
inline std::string parse_address(const std::string& name, std::string_view text) {
  const auto is_ipc = [&] { return text.starts_with("ipc://") && text.size() > 6; };
  const auto is_tcp = [&] {
    const auto colon = text.rfind(':');
    if (!text.starts_with("tcp://") || colon < 7 || colon == std::string_view::npos) return false;
    if (std::ranges::any_of(text, [](char c) { return static_cast<unsigned char>(c) <= ' '; })) return false;
    const std::string_view port = text.substr(colon + 1);
    if (port == "*") return true;
    std::uint16_t number = 0;
    const auto [stopped, problem] = std::from_chars(port.data(), port.data() + port.size(), number);
    return !port.empty() && stopped == port.data() + port.size() && problem == std::errc{};
  };
  if (!is_ipc() && !is_tcp()) {
    throw RegistryError(ConfigError{name, std::string{text}, "an address such as tcp://host:5555 or ipc:///path"});
  }
  return std::string{text};
}

/// An address to connect to: there is nobody at `*`, and nobody at port 0.
inline std::string parse_peer_address(const std::string& name, std::string_view text) {
  std::string address = parse_address(name, text);
  const std::string_view port = text.substr(text.rfind(':') + 1);
  if (text.starts_with("tcp://") &&
      (text.starts_with("tcp://*:") || port == "*" || port.find_first_not_of('0') == std::string_view::npos)) {
    throw RegistryError(
        ConfigError{name, std::string{text}, "an address to connect to, such as tcp://host:5555 or ipc:///path"});
  }
  return address;
}

/// A namespace: 1 to 255 bytes.
inline std::string parse_namespace(const std::string& name, std::string_view text) {
  if (text.empty() || text.size() > 255) {
    throw RegistryError(ConfigError{name, std::string{text}, "a name of 1 to 255 bytes"});
  }
  return std::string{text};
}

/// A whole number of `Unit`s from 1 up to a year.
template <class Unit>
Unit parse_duration(const std::string& name, std::string_view text) {
  constexpr auto most = std::chrono::duration_cast<Unit>(std::chrono::years{1}).count();
  return Unit{parse_number<std::uint64_t>(name, text, 1, static_cast<std::uint64_t>(most))};
}

/// Replaces `setting` by what `parse(variable, value)` makes of an environment variable, if it is set: also if it is
/// set to nothing, which most parsers refuse, for somebody meant something by it.
template <class Setting, class Parse>
void read_setting(const std::string& variable, Setting& setting, Parse parse) {
  if (const auto text = environment(variable)) setting = parse(variable, *text);
}

}  // namespace registry
