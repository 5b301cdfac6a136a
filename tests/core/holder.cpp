// SPDX-License-Identifier: Apache-2.0
#include <registry/holder.hpp>

#include <string>
#include <vector>

#include "support/catch.hpp"

using namespace registry;

namespace {

Holder connection(const std::string& routing_id) { return Holder::connection(as_bytes(routing_id)); }

}  // namespace

TEST_CASE("a client is a holder by its identity") {
  CHECK(Holder::client({1, 2}) == Holder::client({1, 2}));
  CHECK_FALSE(Holder::client({1, 2}) == Holder::client({2, 1}));
  CHECK_FALSE(Holder::client({1, 2}) == Holder::client({1, 3}));
}

TEST_CASE("a connection is a holder by its routing id, whatever its length") {
  std::vector<Holder> all;
  for (std::size_t size = 0; size <= 40; ++size) {
    const std::string name(size, '\0');
    const Holder holder = connection(name);
    CHECK(holder == connection(name));
    all.push_back(holder);
    if (size > 0) {
      for (const std::size_t at : {std::size_t{0}, size - 1}) {
        std::string other = name;
        other[at] = 'x';
        CAPTURE(size, at);
        CHECK_FALSE(connection(other) == holder);
      }
    }
  }
  for (std::size_t a = 0; a < all.size(); ++a) {
    for (std::size_t b = 0; b < a; ++b) CHECK_FALSE(all[a] == all[b]);
  }
}

TEST_CASE("no client can pass itself off as a connection") {
  for (const std::string& name : {std::string{"five!"}, std::string(200, 'n')}) {
    const Holder holder = connection(name);
    CHECK_FALSE(Holder::client(holder.id) == holder);
  }
}

TEST_CASE("a routing id of 15 bytes is kept whole, and one byte more cannot look like it") {
  const Holder fifteen = connection("123456789012345");
  CHECK(fifteen.id.high >> 56U == 16);
  CHECK(connection("1234567890123456").id.high >> 56U == 0);
  CHECK(connection("").id.high >> 56U == 1);
}
