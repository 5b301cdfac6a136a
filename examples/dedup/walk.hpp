// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cerrno>
#include <filesystem>
#include <string>

#include <sys/stat.h>

namespace dedup {

namespace fs = std::filesystem;

/// What a walk meets: `path` is where it is, `name` what it is called in the manifest.
class Visitor {
 public:
  virtual ~Visitor() = default;
  virtual void directory(const std::string& name, mode_t mode) = 0;
  virtual void file(const fs::path& path, const std::string& name) = 0;
  virtual void link(const std::string& name, const fs::path& target) = 0;
  /// A device, a socket or a pipe: nothing with content to store.
  virtual void special(const fs::path& path) = 0;
  virtual void unreadable(const fs::path& path, const std::string& why) = 0;
};

/// Visits a file, or a directory and all that is in it, in the order of names. Symbolic links are visited, not
/// followed. The directory `leave_out` is passed over.
void walk(const fs::path& path, const std::string& name, const struct stat& leave_out, Visitor& visitor);

/// What a path given by the user is called in the manifest: as it was given, without a leading `/` or `..`; empty for
/// the current directory.
std::string recorded_name(const fs::path& path);

}  // namespace dedup
