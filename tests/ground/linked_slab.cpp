// SPDX-License-Identifier: Apache-2.0
#include "support/catch.hpp"

#include <memory>
#include <string>
#include <vector>

#include <registry/detail/linked_slab.hpp>

using registry::detail::LinkedSlab;

namespace {

template <class T>
std::vector<T> contents(const LinkedSlab<T>& slab, const typename LinkedSlab<T>::List& list) {
  std::vector<T> values;
  typename LinkedSlab<T>::Index last = LinkedSlab<T>::none;
  for (auto at = list.front; at != LinkedSlab<T>::none; at = slab.next(at)) {
    values.push_back(slab[at]);
    last = at;
  }
  CHECK(list.back == last);
  CHECK(list.empty() == values.empty());
  return values;
}

using Numbers = LinkedSlab<int>;

}  // namespace

TEST_CASE("nodes stand in the order in which they were pushed") {
  Numbers slab;
  Numbers::List list;
  CHECK(list.empty());
  for (int i = 1; i <= 4; ++i) slab.push_back(list, i);
  CHECK(contents(slab, list) == std::vector{1, 2, 3, 4});
  CHECK(slab.size() == 4);
}

TEST_CASE("any node can be erased, and gives its value back") {
  Numbers slab;
  Numbers::List list;
  std::vector<Numbers::Index> nodes;
  for (int i = 0; i < 4; ++i) nodes.push_back(slab.push_back(list, i));

  SECTION("the first") {
    CHECK(slab.erase(list, nodes[0]) == 0);
    CHECK(contents(slab, list) == std::vector{1, 2, 3});
  }
  SECTION("one in the middle") {
    CHECK(slab.erase(list, nodes[2]) == 2);
    CHECK(contents(slab, list) == std::vector{0, 1, 3});
  }
  SECTION("the last") {
    CHECK(slab.erase(list, nodes[3]) == 3);
    CHECK(contents(slab, list) == std::vector{0, 1, 2});
  }
  SECTION("all of them") {
    for (const auto node : nodes) slab.erase(list, node);
    CHECK(contents(slab, list).empty());
    CHECK(slab.size() == 0);
    slab.push_back(list, 9);
    CHECK(contents(slab, list) == std::vector{9});
  }
}

TEST_CASE("any node can move to the back") {
  Numbers slab;
  Numbers::List list;
  std::vector<Numbers::Index> nodes;
  for (int i = 0; i < 3; ++i) nodes.push_back(slab.push_back(list, i));
  slab.move_to_back(list, nodes[0]);
  CHECK(contents(slab, list) == std::vector{1, 2, 0});
  slab.move_to_back(list, nodes[2]);
  CHECK(contents(slab, list) == std::vector{1, 0, 2});
  slab.move_to_back(list, nodes[2]);
  CHECK(contents(slab, list) == std::vector{1, 0, 2});
}

TEST_CASE("the only node of a list can move to the back") {
  Numbers slab;
  Numbers::List list;
  slab.move_to_back(list, slab.push_back(list, 1));
  CHECK(contents(slab, list) == std::vector{1});
}

TEST_CASE("freed nodes are used again, the last freed first, before the array grows") {
  Numbers slab;
  Numbers::List list;
  std::vector<Numbers::Index> nodes;
  for (int i = 0; i < 5; ++i) nodes.push_back(slab.push_back(list, i));
  slab.erase(list, nodes[1]);
  slab.erase(list, nodes[3]);
  CHECK(slab.push_back(list, 10) == nodes[3]);
  CHECK(slab.push_back(list, 11) == nodes[1]);
  CHECK(slab.push_back(list, 12) == 5);
  CHECK(contents(slab, list) == std::vector{0, 2, 4, 10, 11, 12});
}

TEST_CASE("several lists share one slab") {
  Numbers slab;
  Numbers::List odd;
  Numbers::List even;
  std::vector<Numbers::Index> nodes;
  for (int i = 0; i < 6; ++i) nodes.push_back(slab.push_back(i % 2 == 0 ? even : odd, i));
  slab.erase(even, nodes[2]);
  slab.move_to_back(odd, nodes[1]);
  CHECK(contents(slab, odd) == std::vector{3, 5, 1});
  CHECK(contents(slab, even) == std::vector{0, 4});
  CHECK(slab.size() == 5);
}

TEST_CASE("a node can move to the back of another list, also as the last of its own") {
  Numbers slab;
  Numbers::List from;
  Numbers::List to;
  std::vector<Numbers::Index> nodes;
  for (int i = 0; i < 3; ++i) nodes.push_back(slab.push_back(from, i));
  slab.move_to_back(from, to, nodes[1]);
  CHECK(contents(slab, from) == std::vector{0, 2});
  CHECK(contents(slab, to) == std::vector{1});
  slab.move_to_back(from, to, nodes[2]);
  slab.move_to_back(from, to, nodes[0]);
  CHECK(from.empty());
  CHECK(contents(slab, to) == std::vector{1, 2, 0});
  CHECK(slab.size() == 3);
}

TEST_CASE("an erased value is let go at once, not when its node is used again") {
  LinkedSlab<std::shared_ptr<int>> slab;
  LinkedSlab<std::shared_ptr<int>>::List list;
  const auto value = std::make_shared<int>(1);
  const auto node = slab.push_back(list, value);
  CHECK(value.use_count() == 2);
  slab.erase(list, node);
  CHECK(value.use_count() == 1);
}
