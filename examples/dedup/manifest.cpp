// SPDX-License-Identifier: Apache-2.0
#include "dedup/manifest.hpp"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <fstream>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "dedup/text.hpp"

namespace dedup {

namespace {

template <class T>
std::optional<T> number(std::string_view text, int base = 10) {
  T value{};
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (problem != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::string octal(mode_t mode) {
  std::string digits;
  for (unsigned shift = 9; shift > 0; shift -= 3) digits += static_cast<char>('0' + (mode >> (shift - 3) & 7U));
  return digits;
}

class Reader {
 public:
  explicit Reader(const fs::path& path) : path_(path), in_(path) {
    if (!in_) fail("open", path);
  }

  Manifest read() {
    expect(next_line() == "dedup-manifest 1", "\"dedup-manifest 1\"");
    read_block_size();
    while (read_entry()) {
    }
    const bool at_end = !std::getline(in_, line_);
    if (!at_end) ++number_;
    expect(at_end, "nothing behind the end");
    check_parents();
    return std::move(manifest_);
  }

 private:
  using Kind = ManifestEntry::Kind;

  const std::string& next_line() {
    ++number_;
    if (std::getline(in_, line_)) return line_;
    if (in_.bad()) fail("read", path_);
    throw std::runtime_error(
        escaped(path_.native()) + ":" + std::to_string(number_) + ": expected more, got the end of the file");
  }

  /// The words of the line, which one blank each separates.
  std::vector<std::string_view> words() const {
    std::vector<std::string_view> found;
    std::string_view rest = line_;
    for (auto blank = rest.find(' '); blank != std::string_view::npos; blank = rest.find(' ')) {
      found.push_back(rest.substr(0, blank));
      rest.remove_prefix(blank + 1);
    }
    found.push_back(rest);
    return found;
  }

  void expect(bool good, std::string_view expected) const {
    if (good) return;
    constexpr std::size_t shown = 200;
    throw std::runtime_error(escaped(path_.native()) + ":" + std::to_string(number_) + ": expected " +
                             std::string{expected} + ", got \"" + printable(line_.substr(0, shown)) + "\"");
  }

  /// With its blanks.
  static std::string printable(const std::string& line) {
    std::string text;
    for (const char c : line) text += c == ' ' ? std::string{c} : escaped(std::string_view{&c, 1});
    return text;
  }

  void read_block_size() {
    next_line();
    const auto parts = words();
    const bool is_it = parts.size() == 2 && parts[0] == "block-size";
    const std::size_t size = is_it ? number<std::size_t>(parts[1]).value_or(0) : 0;
    expect(
        size > 0 && size <= max_block_size, "\"block-size\" and a number from 1 to " + std::to_string(max_block_size));
    manifest_.block_size = size;
  }

  /// False for the line that ends the manifest.
  bool read_entry() {
    next_line();
    const auto parts = words();
    if (parts[0] == "dir" && parts.size() == 3) {
      add({Kind::directory, name(parts[2]), mode(parts[1]), {}, 0, 0});
    } else if (parts[0] == "file" && parts.size() == 4) {
      const auto size = number<std::uint64_t>(parts[2]);
      expect(size.has_value(), "a number of bytes in the third place");
      add({Kind::file, name(parts[3]), mode(parts[1]), {}, *size, manifest_.blocks.size()});
      read_blocks(*size);
    } else if (parts[0] == "link" && parts.size() == 3) {
      const auto target = unescaped(parts[2]);
      expect(target && !target->empty(), "a target in the third place");
      add({Kind::link, name(parts[1]), 0, *target, 0, 0});
    } else {
      expect(parts[0] == "end" && parts.size() == 2,
             "\"dir MODE NAME\", \"file MODE BYTES NAME\", \"link NAME TARGET\" or \"end ENTRIES\"");
      expect(number<std::uint64_t>(parts[1]) == manifest_.entries.size(),
             "\"end " + std::to_string(manifest_.entries.size()) + "\"");
      return false;
    }
    return true;
  }

  mode_t mode(std::string_view text) const {
    const auto value = number<mode_t>(text, 8);
    expect(text.size() == 3 && value, "a mode of three octal digits in the second place");
    return *value;
  }

  std::string name(std::string_view word) const {
    auto text = unescaped(word);
    expect(text && is_plain_name(*text), "a relative name without \".\", \"..\" or empty parts");
    return std::move(*text);
  }

  void read_blocks(std::uint64_t size) {
    const std::uint64_t count = size / manifest_.block_size + (size % manifest_.block_size != 0 ? 1U : 0U);
    for (std::uint64_t i = 0; i < count; ++i) {
      const auto key = from_hex(next_line());
      if (!key) {
        expect(false, "a digest of 32 hexadecimal digits (block " + std::to_string(i + 1) + " of " +
                          std::to_string(count) + ")");
      }
      manifest_.blocks.push_back(*key);
    }
  }

  void add(ManifestEntry entry) {
    const auto [it, is_new] = kinds_.try_emplace(entry.name, entry.kind, number_);
    expect(is_new, "a name that line " + std::to_string(it->second.second) + " does not have");
    manifest_.entries.push_back(std::move(entry));
  }

  /// Nothing may stand below a file, or below a link, which could lead anywhere.
  void check_parents() const {
    for (const ManifestEntry& entry : manifest_.entries) {
      for (auto slash = entry.name.find('/'); slash != std::string::npos; slash = entry.name.find('/', slash + 1)) {
        const auto parent = kinds_.find(entry.name.substr(0, slash));
        if (parent == kinds_.end() || parent->second.first == Kind::directory) continue;
        throw std::runtime_error(escaped(path_.native()) + ":" + std::to_string(kinds_.at(entry.name).second) +
                                 ": expected a name below directories only, got \"" + escaped(entry.name) +
                                 "\" below what is no directory in line " + std::to_string(parent->second.second));
      }
    }
  }

  fs::path path_;
  std::ifstream in_;
  std::string line_;
  std::size_t number_ = 0;
  Manifest manifest_;
  std::unordered_map<std::string, std::pair<Kind, std::size_t>> kinds_;  // with the line
};

/// A manifest named without a directory lies in the current one.
fs::path directory_of(const fs::path& path) { return path.has_parent_path() ? path.parent_path() : fs::path{"."}; }

}  // namespace

std::size_t Manifest::block_count(const ManifestEntry& file) const {
  return static_cast<std::size_t>(file.size / block_size + (file.size % block_size != 0 ? 1U : 0U));
}

std::size_t Manifest::size_of_block(const ManifestEntry& file, std::size_t index) const {
  return static_cast<std::size_t>(std::min<std::uint64_t>(block_size, file.size - index * block_size));
}

Manifest read_manifest(const fs::path& path) { return Reader(path).read(); }

ManifestWriter::ManifestWriter(fs::path path, std::size_t block_size)
    : path_(std::move(path)), file_(directory_of(path_)) {
  buffer_ = "dedup-manifest 1\nblock-size " + std::to_string(block_size) + "\n";
}

void ManifestWriter::directory(const std::string& name, mode_t mode) {
  put("dir " + octal(mode) + " " + escaped(name) + "\n");
  ++entries_;
}

void ManifestWriter::file(const std::string& name, mode_t mode, std::uint64_t size, const std::vector<Key128>& blocks) {
  put("file " + octal(mode) + " " + std::to_string(size) + " " + escaped(name) + "\n");
  for (const Key128& key : blocks) put(to_hex(key) + "\n");
  ++entries_;
}

void ManifestWriter::link(const std::string& name, const std::string& target) {
  put("link " + escaped(name) + " " + escaped(target) + "\n");
  ++entries_;
}

void ManifestWriter::commit() {
  put("end " + std::to_string(entries_) + "\n");
  hand_over();
  file_.close();
  if (!file_.rename_to(path_)) fail("rename a temporary file to", path_);
}

void ManifestWriter::put(const std::string& text) {
  constexpr std::size_t enough = 1 << 16;
  buffer_ += text;
  if (buffer_.size() >= enough) hand_over();
}

void ManifestWriter::hand_over() {
  file_.write(buffer_);
  buffer_.clear();
}

}  // namespace dedup
