// SPDX-License-Identifier: Apache-2.0
#include "dedup/restore.hpp"

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

#include <sys/stat.h>
#include <unistd.h>

#include "dedup/catalogue.hpp"
#include "dedup/files.hpp"
#include "dedup/locator.hpp"
#include "dedup/manifest.hpp"
#include "dedup/object_store.hpp"
#include "dedup/report.hpp"
#include "dedup/text.hpp"

namespace dedup {

namespace {

struct RestoreCounts {
  std::uint64_t files = 0;
  std::uint64_t directories = 0;
  std::uint64_t links = 0;
  std::uint64_t bytes = 0;
  std::uint64_t blocks = 0;
};

class Restoring {
 public:
  Restoring(const Manifest& manifest, Locator& locator, const ObjectStore& objects, Report& report, fs::path into)
      : manifest_(manifest), locator_(locator), objects_(objects), report_(report), into_(std::move(into)) {}

  const RestoreCounts& counts() const noexcept { return counts_; }

  void run() {
    for (const ManifestEntry& entry : manifest_.entries) {
      if (entry.kind == Kind::directory) fs::create_directories(into_ / entry.name);
      if (entry.kind == Kind::file) file(entry);
    }
    // After the files, so that none is written through a link.
    for (const ManifestEntry& entry : manifest_.entries) {
      if (entry.kind == Kind::link) link(entry);
    }
    // Last, and from the inside out: a directory may not be writable.
    for (auto entry = manifest_.entries.rbegin(); entry != manifest_.entries.rend(); ++entry) {
      if (entry->kind == Kind::directory) set_mode(*entry);
    }
  }

 private:
  using Kind = ManifestEntry::Kind;

  fs::path place_of(const ManifestEntry& entry) const {
    fs::path place = into_ / entry.name;
    fs::create_directories(place.parent_path());
    return place;
  }

  void file(const ManifestEntry& entry) {
    const fs::path place = place_of(entry);
    TemporaryFile file(into_, 0600);
    for (std::size_t i = 0; i < manifest_.block_count(entry); ++i) {
      const std::size_t index = entry.first_block + i;
      const std::size_t size = manifest_.size_of_block(entry, i);
      try {
        file.write(objects_.read(locator_.object_of(index, size), manifest_.blocks[index], size));
      } catch (const std::exception& error) {
        throw std::runtime_error(escaped(entry.name) + ", block " + std::to_string(i + 1) + ": " + error.what());
      }
      ++counts_.blocks;
      counts_.bytes += size;
      report_.progress([&] {
        return grouped(counts_.files) + " files, " + grouped(counts_.bytes) + " bytes restored";
      });
    }
    file.set_mode(entry.mode);
    file.close();
    if (!file.rename_to(place)) fail("rename a temporary file to", place);
    ++counts_.files;
  }

  void link(const ManifestEntry& entry) {
    const fs::path place = place_of(entry);
    if (::symlink(entry.target.c_str(), place.c_str()) != 0) fail("make a symbolic link", place);
    ++counts_.links;
  }

  void set_mode(const ManifestEntry& entry) {
    const fs::path place = into_ / entry.name;
    if (::chmod(place.c_str(), entry.mode) != 0) fail("set the mode of", place);
    ++counts_.directories;
  }

  const Manifest& manifest_;
  Locator& locator_;
  const ObjectStore& objects_;
  Report& report_;
  fs::path into_;
  RestoreCounts counts_;
};

/// Nothing of what is there may be replaced, or lead elsewhere.
void make_empty_directory(const fs::path& path) {
  fs::create_directories(path);
  if (!fs::is_empty(path))
    throw std::runtime_error("--into " + escaped(path.native()) + ": expected a new or empty directory");
}

}  // namespace

void restore(const RestoreOptions& options) {
  Report report;
  const Manifest manifest = read_manifest(options.manifest);
  const ObjectStore objects(options.store);
  if (!fs::is_directory(options.store)) {
    throw std::runtime_error("--store " + escaped(options.store.native()) + ": expected a directory");
  }
  make_empty_directory(options.into);
  const auto catalogue = open_catalogue(options.hub, objects, report);
  Locator locator(*catalogue, manifest.blocks);
  Restoring restoring(manifest, locator, objects, report, options.into);
  restoring.run();

  const RestoreCounts& counts = restoring.counts();
  const std::uint64_t located = counts.blocks - locator.unknown();
  print_summary(
      "dedup restore: " + escaped(options.into.native()),
      {{"files", "files", counts.files},
       {"directories", "directories", counts.directories},
       {"links", "symbolic links", counts.links},
       {"bytes", "bytes", counts.bytes},
       {"blocks", "blocks, each verified", counts.blocks},
       {"located", "located by the hub", located},
       {"not_located", "located without it", locator.unknown()}},
      options.summary);
}

}  // namespace dedup
