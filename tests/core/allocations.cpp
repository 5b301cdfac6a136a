// SPDX-License-Identifier: Apache-2.0
#include "support/count_allocations.hpp"

#include <vector>

#include "support/catch.hpp"

TEST_CASE("the counter sees what a vector allocates") {
  std::vector<char> bytes;
  CHECK(registry::test::allocated_by([&] { bytes.reserve(12345); }) == 12345);
  CHECK(registry::test::allocated_by([&] { bytes.resize(12345); }) == 0);
}
