// SPDX-License-Identifier: Apache-2.0
#include "dedup/store.hpp"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <sys/stat.h>

#include "dedup/catalogue.hpp"
#include "dedup/files.hpp"
#include "dedup/hashing.hpp"
#include "dedup/manifest.hpp"
#include "dedup/object_store.hpp"
#include "dedup/report.hpp"
#include "dedup/text.hpp"
#include "dedup/uploader.hpp"
#include "dedup/walk.hpp"

namespace dedup {

namespace {

struct TreeCounts {
  std::uint64_t files = 0;
  std::uint64_t directories = 0;
  std::uint64_t links = 0;
  std::uint64_t special = 0;
  std::uint64_t unreadable = 0;
};

/// Cuts what a walk meets into blocks, hands those on, and takes everything down in the manifest.
class Storing final : public Visitor {
 public:
  Storing(Uploader& uploader, ManifestWriter& manifest, Report& report, std::size_t block_size)
      : uploader_(uploader), manifest_(manifest), report_(report), buffer_(block_size) {}

  const TreeCounts& counts() const noexcept { return counts_; }

  void directory(const std::string& name, mode_t mode) override {
    ++counts_.directories;
    manifest_.directory(name, mode);
  }

  void file(const fs::path& path, const std::string& name) override {
    const auto file = attempt(path, [&] { return std::make_unique<InputFile>(path); });
    if (!file) return;
    std::vector<Key128> keys;
    std::uint64_t size = 0;
    std::optional<std::size_t> got;
    do {
      got = attempt(path, [&] { return (*file)->read(buffer_); });
      if (!got) return;
      if (*got == 0) break;
      const std::span<const std::byte> block{buffer_.data(), *got};
      size += *got;
      keys.push_back(hash(block));
      uploader_.add(keys.back(), block);
      report_.progress([&] { return progress(); });
    } while (*got == buffer_.size());
    ++counts_.files;
    manifest_.file(name, (*file)->mode(), size, keys);
  }

  void link(const std::string& name, const fs::path& target) override {
    ++counts_.links;
    manifest_.link(name, target.native());
  }

  void special(const fs::path& path) override {
    ++counts_.special;
    report_.message("left out " + escaped(path.native()) + ": a device, socket or pipe");
  }

  void unreadable(const fs::path& path, const std::string& why) override {
    ++counts_.unreadable;
    report_.message("left out " + escaped(path.native()) + ": " + why);
  }

 private:
  /// What `read` returns, or nothing if it fails, which concerns only this file.
  template <class Read>
  auto attempt(const fs::path& path, Read read) -> std::optional<decltype(read())> {
    try {
      return read();
    } catch (const std::system_error& error) {
      unreadable(path, error.code().message());
      return std::nullopt;
    }
  }

  std::string progress() const {
    const BlockCounts& blocks = uploader_.counts();
    return grouped(counts_.files) + " files, " + grouped(blocks.bytes) + " bytes, " + grouped(blocks.written) +
           " blocks written, " + grouped(blocks.already_stored) + " already stored";
  }

  Uploader& uploader_;
  ManifestWriter& manifest_;
  Report& report_;
  std::vector<std::byte> buffer_;
  TreeCounts counts_;
};

/// Whether the way from `path` to `rest` leads through a symbolic link, which a walk does not follow.
bool crosses_link(fs::path path, const fs::path& rest) {
  for (const fs::path& part : rest) {
    if (fs::is_symlink(path)) return true;
    path /= part;
  }
  return false;
}

/// Without what lies below another of the paths, and is walked with it.
std::map<std::string, fs::path> without_nested(std::map<std::string, fs::path> planned) {
  std::erase_if(planned, [&](const auto& each) {
    for (const auto& [name, path] : planned) {
      const bool is_below = name.empty() ? !each.first.empty() : each.first.starts_with(name + "/");
      if (!is_below) continue;
      const fs::path rest = name.empty() ? each.first : each.first.substr(name.size() + 1);
      const bool is_same = fs::absolute(path / rest).lexically_normal() == fs::absolute(each.second).lexically_normal();
      if (is_same && !crosses_link(path, rest)) return true;
      throw std::runtime_error("expected paths with names of their own, got " + escaped(path.native()) + " and " +
                               escaped(each.second.native()) + ", which have names below one another");
    }
    return false;
  });
  return planned;
}

/// What to walk, by its name in the manifest; what another of the paths holds anyway is left out. Throws
/// std::runtime_error for a path that does not exist, or where two would have one name.
std::map<std::string, fs::path> plan(const std::vector<fs::path>& paths) {
  std::map<std::string, fs::path> planned;
  for (const fs::path& path : paths) {
    const fs::file_status status = fs::symlink_status(path);
    if (!fs::exists(status)) throw std::runtime_error(escaped(path.native()) + ": no such file or directory");
    // A name that ends in a slash would be that of an empty file in it.
    const fs::path normal = path.lexically_normal();
    const fs::path walked = normal.has_filename() ? normal : normal.parent_path();
    const auto [it, is_new] = planned.try_emplace(recorded_name(path), walked);
    if (!is_new && fs::absolute(it->second) != fs::absolute(walked)) {
      throw std::runtime_error("expected paths with names of their own, got " + escaped(it->second.native()) + " and " +
                               escaped(walked.native()) + ", both \"" + escaped(it->first) + "\" in the manifest");
    }
  }
  return without_nested(std::move(planned));
}

std::vector<SummaryRow> rows(const TreeCounts& tree, const BlockCounts& blocks, std::size_t unregistered) {
  return {
      {"files", "files", tree.files},
      {"directories", "directories", tree.directories},
      {"links", "symbolic links", tree.links},
      {"special", "left out: special", tree.special},
      {"unreadable", "left out: unreadable", tree.unreadable},
      {"bytes", "bytes", blocks.bytes},
      {"blocks", "blocks", blocks.blocks},
      {"granted", "granted", blocks.granted},
      {"already_stored", "already stored", blocks.already_stored},
      {"leased", "leased (waited for)", blocks.leased},
      {"written", "objects written", blocks.written},
      {"found", "objects found", blocks.found},
      {"bytes_written", "bytes written", blocks.bytes_written},
      {"bytes_saved", "bytes not written twice", blocks.bytes_saved},
      {"unregistered", "objects not registered", unregistered},
  };
}

}  // namespace

bool store(const StoreOptions& options) {
  const auto planned = plan(options.paths);
  Report report;
  const ObjectStore objects(options.store);
  objects.create();
  struct stat store_status{};
  if (::stat(options.store.c_str(), &store_status) != 0) fail("look at", options.store);
  std::ofstream written;
  if (!options.written.empty()) {
    written.open(options.written);
    if (!written) fail("open", options.written);
  }
  const auto catalogue = open_catalogue(options.hub, objects, report);
  ManifestWriter manifest(options.manifest, options.block_size);
  Uploader uploader(*catalogue, objects, report, written);
  Storing storing(uploader, manifest, report, options.block_size);

  for (const auto& [name, path] : planned) walk(path, name, store_status, storing);
  uploader.finish();
  const std::size_t unregistered = catalogue->close();
  if (unregistered > 0) report.message(std::to_string(unregistered) + " objects could not be registered with the hub");
  // Last: a manifest names nothing that is not stored.
  manifest.commit();

  print_summary("dedup store: " + escaped(options.manifest.native()),
                rows(storing.counts(), uploader.counts(), unregistered), options.summary);
  return storing.counts().unreadable == 0 && unregistered == 0;
}

}  // namespace dedup
