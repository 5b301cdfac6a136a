// SPDX-License-Identifier: Apache-2.0
// Reads tests/wire/*.json: an array of objects whose values are strings, and nothing else of JSON.
#pragma once

#include <cstddef>
#include <fstream>
#include <iterator>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <registry/bytes.hpp>

namespace registry::test {

struct Vector {
  std::string name;
  std::string logical;
  Bytes bytes;
};

inline Bytes from_hex(std::string_view hex) {
  const auto digit = [](char c) -> unsigned {
    if (c >= '0' && c <= '9') return static_cast<unsigned>(c - '0');
    if (c >= 'a' && c <= 'f') return static_cast<unsigned>(c - 'a') + 10;
    throw std::runtime_error{std::string{"no hexadecimal digit: "} + c};
  };
  if (hex.size() % 2 != 0) throw std::runtime_error{"half a byte in " + std::string{hex}};
  Bytes bytes;
  for (std::size_t i = 0; i < hex.size(); i += 2) {
    bytes.push_back(static_cast<std::byte>(digit(hex[i]) << 4U | digit(hex[i + 1])));
  }
  return bytes;
}

inline std::string to_hex(ByteView bytes) {
  static constexpr char digits[] = "0123456789abcdef";
  std::string hex;
  for (const std::byte b : bytes) {
    hex += digits[std::to_integer<unsigned>(b) >> 4U];
    hex += digits[std::to_integer<unsigned>(b) & 15U];
  }
  return hex;
}

class VectorReader {
 public:
  explicit VectorReader(std::string text) : text_(std::move(text)) {}

  std::vector<Vector> read() {
    std::vector<Vector> vectors;
    expect('[');
    do {
      auto object = read_object();
      vectors.push_back({object.at("name"), object.at("logical"), from_hex(object.at("hex"))});
    } while (follows(','));
    expect(']');
    if (peek() != '\0') fail("something behind the array");
    return vectors;
  }

 private:
  std::map<std::string, std::string> read_object() {
    std::map<std::string, std::string> object;
    expect('{');
    do {
      const std::string name = read_string();
      expect(':');
      if (!object.emplace(name, read_string()).second) fail("a second " + name);
    } while (follows(','));
    expect('}');
    return object;
  }

  std::string read_string() {
    std::string value;
    expect('"');
    while (at_ < text_.size() && text_[at_] != '"') {
      if (text_[at_] == '\\' && ++at_ < text_.size() && text_[at_] != '"' && text_[at_] != '\\') {
        fail("an escape other than \\\" and \\\\");
      }
      if (at_ < text_.size()) value += text_[at_++];
    }
    if (at_ == text_.size()) fail("a string without end");
    ++at_;
    return value;
  }

  char peek() {
    at_ = text_.find_first_not_of(" \n\r\t", at_);
    if (at_ == std::string::npos) at_ = text_.size();
    return at_ < text_.size() ? text_[at_] : '\0';
  }

  bool follows(char c) {
    if (peek() != c) return false;
    ++at_;
    return true;
  }

  void expect(char c) {
    if (!follows(c)) fail(std::string{"no "} + c);
  }

  [[noreturn]] void fail(const std::string& what) const {
    throw std::runtime_error{"vectors: " + what + " at byte " + std::to_string(at_)};
  }

  std::string text_;
  std::size_t at_ = 0;
};

inline std::vector<Vector> read_vectors(const std::string& file) {
  const std::string path = std::string{REGISTRY_TESTS_DIR} + "/wire/" + file;
  std::ifstream in{path, std::ios::binary};
  if (!in) throw std::runtime_error{"cannot read " + path};
  return VectorReader{{std::istreambuf_iterator<char>{in}, {}}}.read();
}

/// Those that the Rust encoder produced, and ours for what it has not.
inline std::vector<Vector> all_vectors() {
  std::vector<Vector> all = read_vectors("vectors.json");
  for (Vector& vector : read_vectors("extra_vectors.json")) all.push_back(std::move(vector));
  return all;
}

inline Vector find_vector(std::string_view name) {
  for (Vector& vector : all_vectors()) {
    if (vector.name == name) return std::move(vector);
  }
  throw std::runtime_error{"no vector named " + std::string{name}};
}

}  // namespace registry::test
