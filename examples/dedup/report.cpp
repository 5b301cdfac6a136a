// SPDX-License-Identifier: Apache-2.0
#include "dedup/report.hpp"

#include <chrono>
#include <fstream>
#include <functional>
#include <iomanip>
#include <iostream>
#include <string>
#include <string_view>
#include <vector>

#include <unistd.h>

#include "dedup/files.hpp"

namespace dedup {

Report::Report()
    : is_terminal_(::isatty(STDERR_FILENO) == 1),
      interval_(is_terminal_ ? 100 : 5000),
      next_(std::chrono::steady_clock::now() + interval_) {}

Report::~Report() { clear_line(); }

void Report::message(std::string_view text) {
  clear_line();
  std::cerr << "dedup: " << text << std::endl;
}

void Report::progress(const std::function<std::string()>& line) {
  const auto now = std::chrono::steady_clock::now();
  if (now < next_) return;
  next_ = now + interval_;
  clear_line();
  std::cerr << "dedup: " << line();
  if (!is_terminal_) std::cerr << '\n';
  std::cerr << std::flush;
  has_line_ = is_terminal_;
}

void Report::clear_line() {
  if (has_line_) std::cerr << "\r\033[K";
  has_line_ = false;
}

void print_summary(std::string_view title, const std::vector<SummaryRow>& rows, const std::filesystem::path& file) {
  std::cout << title << '\n';
  for (const SummaryRow& row : rows) {
    std::cout << "  " << std::left << std::setw(26) << row.label << std::right << std::setw(18) << grouped(row.value)
              << '\n';
  }
  std::cout << std::flush;
  if (file.empty()) return;
  std::ofstream out(file);
  for (const SummaryRow& row : rows) out << row.name << '=' << row.value << '\n';
  out.close();
  if (!out) fail("write", file);
}

std::string grouped(std::uint64_t number) {
  std::string digits = std::to_string(number);
  for (std::size_t at = digits.size(); at > 3;) {
    at -= 3;
    digits.insert(at, 1, ',');
  }
  return digits;
}

}  // namespace dedup
