// expect: constraints not satisfied
// expect: V = Slot
// expect: equality_comparable
// SPDX-License-Identifier: Apache-2.0
// Whether a second registration is a retry or supersedes the first is a question of equality.
#include <cstdint>

#include <registry/storage.hpp>

struct Slot {
  std::uint32_t disk = 0;
  std::uint64_t offset = 0;
#ifdef REGISTRY_COMPILE_FAIL_CONTROL
  friend bool operator==(const Slot&, const Slot&) = default;
#endif
};

template <>
struct registry::wire<Slot> : registry::wire_fields<&Slot::disk, &Slot::offset> {};

registry::HashMapStorage<std::uint64_t, Slot> storage;
