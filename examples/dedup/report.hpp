// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace dedup {

/// What goes to standard error: messages, and a progress line that renews itself on a terminal and elsewhere comes
/// rarely.
class Report {
 public:
  Report();
  Report(const Report&) = delete;
  Report& operator=(const Report&) = delete;
  ~Report();

  void message(std::string_view text);
  /// Calls `line` only when it is time for one.
  void progress(const std::function<std::string()>& line);

 private:
  void clear_line();

  bool is_terminal_;
  bool has_line_ = false;
  std::chrono::milliseconds interval_;
  std::chrono::steady_clock::time_point next_;
};

/// A row of the table at the end. `name` is its name in the file that --summary writes.
struct SummaryRow {
  std::string_view name;
  std::string_view label;
  std::uint64_t value = 0;
};

/// Prints the table to standard output and, if `file` is not empty, writes it there as lines `name=value`.
void print_summary(std::string_view title, const std::vector<SummaryRow>& rows, const std::filesystem::path& file);

/// A number with its digits in groups of three.
std::string grouped(std::uint64_t number);

}  // namespace dedup
