// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace dedup {

inline constexpr std::string_view hex_digits = "0123456789abcdef";

/// The value of a hexadecimal digit (lower case), or nothing.
inline std::optional<unsigned> hex_value(char digit) {
  const auto at = hex_digits.find(digit);
  return at == std::string_view::npos ? std::nullopt : std::optional{static_cast<unsigned>(at)};
}

/// A name as one word of a line: what would end the word, or disturb a terminal, and the sign itself are written as
/// %XX. A name may hold every byte but NUL.
inline std::string escaped(std::string_view name) {
  std::string word;
  for (const char c : name) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte > ' ' && byte != 0x7f && c != '%') {
      word += c;
    } else {
      word += '%';
      word += hex_digits[byte >> 4U];
      word += hex_digits[byte & 15U];
    }
  }
  return word;
}

/// The name that was escaped so, or nothing if the word is none.
inline std::optional<std::string> unescaped(std::string_view word) {
  std::string name;
  for (std::size_t i = 0; i < word.size(); ++i) {
    if (word[i] != '%') {
      name += word[i];
      continue;
    }
    if (i + 2 >= word.size()) return std::nullopt;
    const auto high = hex_value(word[i + 1]);
    const auto low = hex_value(word[i + 2]);
    if (!high || !low || (*high == 0 && *low == 0)) return std::nullopt;
    name += static_cast<char>(*high << 4U | *low);
    i += 2;
  }
  return name;
}

/// Whether a name stays below the directory that it is relative to.
inline bool is_plain_name(std::string_view name) {
  while (true) {
    const auto slash = name.find('/');
    const std::string_view part = name.substr(0, slash);
    if (part.empty() || part == "." || part == "..") return false;
    if (slash == std::string_view::npos) return true;
    name.remove_prefix(slash + 1);
  }
}

}  // namespace dedup
