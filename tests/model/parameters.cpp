// SPDX-License-Identifier: Apache-2.0
#include "model/parameters.hpp"

#include <string>

#include "support/catch.hpp"

using namespace registry;
using namespace registry::test;

TEST_CASE("the number of sequences can be told, and what is none is refused with what was expected") {
  CHECK(sequences_from(nullptr) == default_sequences);
  CHECK(sequences_from("1") == 1);
  CHECK(sequences_from("100000") == 100'000);
  const std::string bad = GENERATE("", "0", "-1", "1e5", "100 000", " 1", "99999999999");
  CAPTURE(bad);
  CHECK_THROWS_WITH(sequences_from(bad.c_str()), "invalid configuration: REGISTRY_MODEL_SEQUENCES=\"" + bad +
                                                     "\": expected a whole number from 1 to 2147483647");
}
