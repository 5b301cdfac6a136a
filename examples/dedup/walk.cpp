// SPDX-License-Identifier: Apache-2.0
#include "dedup/walk.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <string>
#include <system_error>
#include <vector>

#include <sys/stat.h>

namespace dedup {

namespace {

/// The names in a directory, sorted: so that a tree always gives the same manifest.
std::vector<fs::path> names_in(const fs::path& path, std::error_code& error) {
  std::vector<fs::path> names;
  fs::directory_iterator next(path, error);
  while (!error && next != fs::directory_iterator{}) {
    names.push_back(next->path().filename());
    next.increment(error);
  }
  std::ranges::sort(names, {}, &fs::path::native);
  return names;
}

void walk_directory(const fs::path& path, const std::string& name, const struct stat& leave_out, Visitor& visitor) {
  std::error_code error;
  const std::vector<fs::path> names = names_in(path, error);
  if (error) visitor.unreadable(path, error.message());
  for (const fs::path& each : names) {
    walk(path / each, name.empty() ? each.native() : name + "/" + each.native(), leave_out, visitor);
  }
}

}  // namespace

void walk(const fs::path& path, const std::string& name, const struct stat& leave_out, Visitor& visitor) {
  struct stat status{};
  if (::lstat(path.c_str(), &status) != 0) return visitor.unreadable(path, std::strerror(errno));
  if (S_ISREG(status.st_mode)) return visitor.file(path, name);
  if (S_ISLNK(status.st_mode)) {
    std::error_code error;
    const fs::path target = fs::read_symlink(path, error);
    return error ? visitor.unreadable(path, error.message()) : visitor.link(name, target);
  }
  if (!S_ISDIR(status.st_mode)) return visitor.special(path);
  if (status.st_dev == leave_out.st_dev && status.st_ino == leave_out.st_ino) return;
  if (!name.empty()) visitor.directory(name, status.st_mode & 0777U);
  walk_directory(path, name, leave_out, visitor);
}

std::string recorded_name(const fs::path& path) {
  std::string name;
  for (const fs::path& part : path.lexically_normal().relative_path()) {
    if (part.empty() || part == "." || part == "..") continue;
    if (!name.empty()) name += '/';
    name += part.native();
  }
  return name;
}

}  // namespace dedup
