// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace bench {

/// The flags of our programs, `--name value` each; an unknown one is an error.
class Arguments {
 public:
  Arguments(int argc, char** argv, std::map<std::string, std::string> defaults) : values_(std::move(defaults)) {
    for (int i = 1; i < argc; i += 2) {
      const std::string name = argv[i];
      const auto known = values_.find(name.substr(name.starts_with("--") ? 2 : 0));
      if (known == values_.end() || i + 1 == argc) throw std::runtime_error("what is " + name + "?");
      known->second = argv[i + 1];
    }
  }

  const std::string& text(const std::string& name) const { return values_.at(name); }
  std::uint64_t number(const std::string& name) const { return std::stoull(text(name)); }
  std::chrono::nanoseconds time(const std::string& name) const {
    return std::chrono::nanoseconds{static_cast<std::int64_t>(1e9 * std::stod(text(name)))};
  }
  /// A list of numbers, separated by commas.
  std::vector<std::uint64_t> numbers(const std::string& name) const {
    std::vector<std::uint64_t> numbers;
    std::istringstream list(text(name));
    for (std::string number; std::getline(list, number, ',');) numbers.push_back(std::stoull(number));
    return numbers;
  }
  /// What the word stands for, which must be one of these.
  template <class T>
  T choice(const std::string& name, const std::vector<std::pair<std::string, T>>& choices) const {
    std::string known;
    for (const auto& [word, value] : choices) {
      if (word == text(name)) return value;
      known += (known.empty() ? "" : ", ") + word;
    }
    throw std::runtime_error("--" + name + " " + text(name) + " is none of: " + known);
  }
  /// Whether a list of words, separated by commas, has this one, or is `all`.
  bool lists(const std::string& name, const std::string& word) const {
    return text(name) == "all" || ("," + text(name) + ",").find("," + word + ",") != std::string::npos;
  }

 private:
  std::map<std::string, std::string> values_;
};

}  // namespace bench
