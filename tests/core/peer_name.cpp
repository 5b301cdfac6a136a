// SPDX-License-Identifier: Apache-2.0
#include "support/catch.hpp"

#include <string>
#include <string_view>

#include <registry/core/peer_name.hpp>

using registry::PeerName;

TEST_CASE("a peer's name is a text of any kind") {
  const std::string text = "somebody";
  CHECK(std::string_view{PeerName{text}} == "somebody");
  CHECK(std::string_view{PeerName{std::string_view{"somebody else"}}} == "somebody else");
  CHECK(std::string_view{PeerName{"nobody"}} == "nobody");
}

TEST_CASE("a peer's name that must be looked up is looked up only when it is used") {
  int lookups = 0;
  const auto look_up = [&] {
    ++lookups;
    return std::string_view{"10.0.0.1"};
  };
  const PeerName name{look_up};
  CHECK(lookups == 0);
  CHECK(std::string_view{name} == "10.0.0.1");
  CHECK(lookups == 1);
}
