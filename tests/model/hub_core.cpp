// SPDX-License-Identifier: Apache-2.0
// Random sequences of everything that can be done to a hub core, with time steps and restarts: it must answer what its
// model answers. What is found wrong is shown as the shortest sequence that still goes wrong, with all answers in it.
#include <cstddef>
#include <exception>
#include <stdexcept>
#include <string>
#include <vector>

#include "model/generators.hpp"
#include "model/hub_beside_model.hpp"
#include "model/kinds.hpp"
#include "model/parameters.hpp"
#include "support/catch.hpp"

using namespace registry;
using namespace registry::test;

namespace {

constexpr auto every_sequence = "a sequence";

/// Whether hub and model agree in all sequences.
template <class Kind>
bool agrees(const std::string& description, Seen& seen, rc::Gen<Sequence> (*made)() = sequences) {
  set_parameters();
  const rc::Gen<Sequence> all = made();
  return rc::check(description, [&] {
    const Sequence sequence = *all;
    ++seen[every_sequence];
    HubBesideModel<Kind> both(sequence.setup, seen);
    for (std::size_t i = 0; i < sequence.commands.size(); ++i) {
      try {
        both.step(sequence.commands[i]);
      } catch (const std::exception& failure) {
        throw std::runtime_error{"in step " + std::to_string(i + 1) + ": " + failure.what() +
                                 "\n\nWhat was done and answered:\n" + both.account()};
      }
    }
  });
}

const std::vector<std::string> always{
    "wait that brought a grant",
    "wait that was over",
    "wait until all was stored",
    "renewed held",
    "renewed stored",
    "renewed lost",
    "claimed back held",
    "claimed back stored",
    "claimed back lost",
    "registration stored",
    "registration lease_conflict",
    "limit exceeded: max_leases",
    "limit exceeded: max_leases_per_client",
    "limit exceeded: max_keys_per_query",
    "limit exceeded: max_waiting",
    "limit exceeded: max_waiting_claims",
    "limit exceeded: max_waiting_bytes",
    "let go",
    "the wall clock went back",
    "the registration that this must follow has not arrived within 3000 ms",
    "the hub is stopping",
    "undeliverable",
    "repeated",
    "overtaken",
    "removed",
    "superseded",
    "lease expired",
    "lease released",
    "lease converted",
};

/// A run in which something never happened says nothing of it. A short one, which somebody has asked for, may.
void check_that_it_happened(const Seen& seen, std::vector<std::string> also) {
  also.insert(also.end(), always.begin(), always.end());
  for (const std::string& what : also) {
    INFO("did not happen: " << what);
    CHECK((seen.at(every_sequence) < default_sequences || (seen.contains(what) && seen.at(what) > 0)));
  }
}

}  // namespace

TEST_CASE("a hub core answers as its model does, without ends of entries") {
  Seen seen;
  REQUIRE(agrees<WithoutEnd>("entries without an end", seen));
  check_that_it_happened(seen, {"registration limit_exceeded"});
}

TEST_CASE("a hub core answers as its model does, over a storage without a table") {
  Seen seen;
  REQUIRE(agrees<WithoutTable>("a storage without a table", seen));
  check_that_it_happened(seen, {"registration limit_exceeded", "expired"});
}

TEST_CASE("a hub core answers as its model does, with a policy that evicts") {
  Seen seen;
  REQUIRE(agrees<Evicting>("a policy that evicts", seen));
  check_that_it_happened(seen, {"evicted", "expired"});
}

TEST_CASE("a hub core answers as its model does, where many wait for few keys") {
  Seen seen;
  REQUIRE(agrees<WithoutEnd>("many who wait", seen, sequences_of_those_who_wait));
  CHECK((seen.at(every_sequence) < default_sequences || seen["wait that brought a grant"] > 0));
}
