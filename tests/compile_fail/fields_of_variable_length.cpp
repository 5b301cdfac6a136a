// expect: constraints not satisfied
// expect: wire_fields
// expect: FixedWire
// SPDX-License-Identifier: Apache-2.0
// wire_fields puts fields one behind the other without their lengths.
#include <cstdint>
#include <string>

#include <registry/value.hpp>

struct Place {
  std::uint32_t disk = 0;
#ifdef REGISTRY_COMPILE_FAIL_CONTROL
  std::uint64_t path = 0;
#else
  std::string path;
#endif
};

template <>
struct registry::wire<Place> : registry::wire_fields<&Place::disk, &Place::path> {};
