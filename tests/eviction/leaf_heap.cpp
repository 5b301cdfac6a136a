// SPDX-License-Identifier: Apache-2.0
#include <registry/detail/leaf_heap.hpp>

#include <cstdint>
#include <map>
#include <random>
#include <vector>

#include "support/allocation_counter.hpp"
#include "support/catch.hpp"

using registry::detail::Leaf;
using registry::detail::LeafHeap;

namespace {

struct Earliest {
  static bool before(const Leaf& a, const Leaf& b) noexcept { return a.moment < b.moment; }
};

using Heap = LeafHeap<Earliest>;

void push(Heap& heap, std::uint32_t node, std::uint64_t moment) {
  heap.make_room_for(node);
  heap.push({moment, 0, node});
}

std::vector<std::uint32_t> drain(Heap& heap) {
  std::vector<std::uint32_t> nodes;
  while (!heap.empty()) {
    nodes.push_back(heap.front().node);
    heap.erase(nodes.back());
  }
  return nodes;
}

}  // namespace

TEST_CASE("leaves leave a heap in order, however they came") {
  Heap heap;
  CHECK(heap.empty());
  for (const std::uint32_t node : {3U, 0U, 4U, 1U, 2U, 6U, 5U}) push(heap, node, node * 10);
  CHECK(heap.size() == 7);
  CHECK(drain(heap) == std::vector<std::uint32_t>{0, 1, 2, 3, 4, 5, 6});
}

TEST_CASE("any leaf can be taken out of a heap, or change its place") {
  Heap heap;
  for (std::uint32_t node = 0; node < 6; ++node) push(heap, node, 100 + node);
  heap.erase(2);
  CHECK_FALSE(heap.contains(2));
  CHECK(heap.contains(3));
  CHECK_FALSE(heap.contains(77));
  heap.update({1, 0, 5});
  heap.update({500, 0, 0});
  CHECK(drain(heap) == std::vector<std::uint32_t>{5, 1, 3, 4, 0});
}

TEST_CASE("a heap holds what an ordered map would") {
  std::mt19937_64 random{11};
  Heap heap;
  std::map<std::uint64_t, std::uint32_t> model;
  std::map<std::uint32_t, std::uint64_t> moments;
  bool same = true;
  for (std::uint64_t step = 1; step <= 50'000; ++step) {
    const auto node = static_cast<std::uint32_t>(random() % 300);
    const std::uint64_t moment = (random() % 1000) * 100'000 + step;
    const bool inside = moments.contains(node);
    same = same && heap.contains(node) == inside;
    if (inside) model.erase(moments[node]);
    if (inside && random() % 2 == 0) {
      heap.erase(node);
      moments.erase(node);
    } else {
      inside ? heap.update({moment, 0, node}) : push(heap, node, moment);
      model[moment] = node;
      moments[node] = moment;
    }
    same = same && heap.size() == model.size();
    if (!model.empty()) same = same && heap.front().node == model.begin()->second;
  }
  CHECK(same);
  CHECK(model.size() > 50);
}

TEST_CASE("once there is room for a node, putting it in allocates nothing and so cannot fail") {
  Heap heap;
  for (std::uint32_t node = 0; node < 1'000; ++node) heap.make_room_for(node);
  CHECK(registry::test::allocated_by([&] {
          for (std::uint32_t node = 0; node < 1'000; ++node) heap.push({node, 0, node});
        }) == 0);
  CHECK(heap.size() == 1'000);
}
