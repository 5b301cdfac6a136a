// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "statistics.hpp"

namespace bench {

/// A number with three significant digits, as it stands in a table.
inline std::string figure(double value) {
  if (!std::isfinite(value)) return "-";
  char text[32];
  const int digits = value == 0 ? 0 : static_cast<int>(std::floor(std::log10(std::fabs(value))));
  std::snprintf(text, sizeof text, "%.*f", std::clamp(2 - digits, 0, 4), value);
  return text;
}

/// The figures of several runs, as they stand in a table.
inline std::string figure(const Spread& spread) {
  return figure(spread.median) + " (" + figure(spread.least) + " .. " + figure(spread.most) + ")";
}

/// What a figure shall be.
struct Target {
  enum class Sense { at_least, at_most } sense;
  double value;
  std::string unit = "";
};

inline Target at_least(double value, std::string unit = "") {
  return {Target::Sense::at_least, value, std::move(unit)};
}
inline Target at_most(double value, std::string unit = "") { return {Target::Sense::at_most, value, std::move(unit)}; }

/// Where results go: every table to the terminal and to `tables.md`, rows that have a target also to `targets.md`, and
/// the points of a plot to a `.dat` of its own. Several programs of a run append to the same files.
class Report {
 public:
  explicit Report(std::string directory)
      : directory_(std::move(directory)),
        tables_(directory_ + "/tables.md", std::ios::app),
        targets_(directory_ + "/targets.md", std::ios::app) {
    if (!tables_ || !targets_) throw std::runtime_error("cannot write to " + directory_);
  }

  void begin_table(std::string_view title, const std::vector<std::string>& columns) {
    print("\n### " + std::string{title} + "\n\n");
    row(columns);
    row(std::vector<std::string>(columns.size(), "---"));
  }

  void row(const std::vector<std::string>& cells) {
    std::string line = "|";
    for (const std::string& cell : cells) line += " " + cell + " |";
    print(line + "\n");
  }

  void note(std::string_view text) { print("\n" + std::string{text} + "\n"); }

  /// A row of the final table. It is judged by the median; how it was measured stands behind its name.
  void judge(const std::string& name, const Target& target, const Spread& ours) {
    const bool is_least = target.sense == Target::Sense::at_least;
    const bool met = is_least ? ours.median >= target.value : ours.median <= target.value;
    const double apart = std::fabs(ours.median - target.value);
    const std::string missed =
        target.value == 0 ? figure(apart) + target.unit : figure(apart / target.value * 100) + " %";
    const std::string line =
        "| " + name + " | " + (is_least ? "at least " : "at most ") + figure(target.value) + target.unit + " | " +
        figure(ours.median) + target.unit + " (" + figure(ours.least) + " .. " + figure(ours.most) + ") | " +
        (met ? "met" : "missed by " + missed) + " |";
    targets_ << line << std::endl;
    std::cerr << "TARGET " << line << std::endl;
  }

  /// A file of points for gnuplot.
  std::ofstream plot(std::string name) const {
    std::ranges::replace_if(name, [](unsigned char c) { return std::isalnum(c) == 0; }, '-');
    return std::ofstream(directory_ + "/" + name + ".dat");
  }

 private:
  void print(const std::string& text) {
    tables_ << text << std::flush;
    std::cout << text << std::flush;
  }

  std::string directory_;
  std::ofstream tables_;
  std::ofstream targets_;
};

}  // namespace bench
