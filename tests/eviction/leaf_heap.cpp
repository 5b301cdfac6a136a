// SPDX-License-Identifier: Apache-2.0
#include <registry/detail/leaf_heap.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
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

/// A heap with the places of the nodes in it.
class Heap {
 public:
  bool empty() const { return heap_.empty(); }
  std::size_t size() const { return heap_.size(); }
  bool contains(std::uint32_t node) const { return places_.contains(node); }
  const Leaf& front() const { return heap_.front(); }

  void push(const Leaf& leaf) {
    heap_.reserve(heap_.size() + 1);
    heap_.push(leaf, keep_place());
  }
  void postpone(const Leaf& leaf) { heap_.postpone(places_.at(leaf.node), leaf, keep_place()); }
  void erase(std::uint32_t node) {
    const auto place = places_.at(node);
    places_.erase(node);
    heap_.erase(place, keep_place());
  }
  /// Whether every node is where the heap said.
  bool knows_places() const {
    return std::all_of(
        places_.begin(), places_.end(), [&](const auto& known) { return heap_[known.second].node == known.first; });
  }

 private:
  std::function<void(std::uint32_t, std::uint32_t)> keep_place() {
    return [this](std::uint32_t node, std::uint32_t place) { places_[node] = place; };
  }

  LeafHeap<Earliest> heap_;
  std::map<std::uint32_t, std::uint32_t> places_;
};

void push(Heap& heap, std::uint32_t node, std::uint64_t moment) { heap.push({moment, 0, node}); }

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

TEST_CASE("any leaf can be taken out of a heap, or be put off") {
  Heap heap;
  for (std::uint32_t node = 0; node < 6; ++node) push(heap, node, 100 + node);
  heap.erase(2);
  CHECK_FALSE(heap.contains(2));
  CHECK(heap.contains(3));
  CHECK_FALSE(heap.contains(77));
  heap.postpone({104, 0, 1});
  heap.postpone({500, 0, 0});
  heap.postpone({105, 0, 5});
  heap.erase(4);
  push(heap, 4, 1);
  CHECK(drain(heap) == std::vector<std::uint32_t>{4, 3, 1, 5, 0});
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
    if (inside && (moment < moments[node] || random() % 2 == 0)) {
      heap.erase(node);
      moments.erase(node);
    } else {
      inside ? heap.postpone({moment, 0, node}) : push(heap, node, moment);
      model[moment] = node;
      moments[node] = moment;
    }
    same = same && heap.size() == model.size() && heap.empty() == model.empty();
    if (step % 64 == 0) same = same && heap.knows_places();
    if (!model.empty()) same = same && heap.front().node == model.begin()->second;
  }
  CHECK(same);
  CHECK(model.size() > 50);
}

TEST_CASE("once there is room for leaves, putting them in allocates nothing and so cannot fail") {
  // Within the first chunk of the heap's array, and beyond.
  for (const std::uint32_t leaves : {1U, 1'000U, 1'024U, 262'144U, 300'000U}) {
    LeafHeap<Earliest> heap;
    heap.reserve(leaves);
    CHECK(heap.empty());
    CHECK(heap.size() == 0);
    CHECK(registry::test::allocated_by([&] {
            for (std::uint32_t node = 0; node < leaves; ++node) heap.push({node, 0, node}, [](auto, auto) {});
          }) == 0);
    CHECK(heap.size() == leaves);
    CHECK(heap.front().node == 0);
  }
}

TEST_CASE("a large heap is in order, too") {
  std::mt19937_64 random{12};
  std::vector<std::uint64_t> moments(200'000);
  for (std::size_t i = 0; i < moments.size(); ++i) moments[i] = random();
  Heap heap;
  for (std::uint32_t node = 0; node < moments.size(); ++node) push(heap, node, moments[node]);
  CHECK(heap.knows_places());
  std::sort(moments.begin(), moments.end());
  bool same = true;
  for (const std::uint64_t moment : moments) {
    same = same && heap.front().moment == moment;
    heap.erase(heap.front().node);
  }
  CHECK(same);
  CHECK(heap.empty());
}
