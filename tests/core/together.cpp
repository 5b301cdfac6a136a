// SPDX-License-Identifier: Apache-2.0
// A client core and a hub core, with nothing between them but frames that may be lost.
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <registry/core/client_core.hpp>

#include "core/test_hub.hpp"
#include "support/catch.hpp"

using namespace registry;
using namespace registry::test;
using namespace std::chrono_literals;

namespace {

using Core = ClientCore<Number, Number, NoMetadata>;

class Worker {
 public:
  Worker(TestHub<>& hub, std::uint64_t n, ClientOptions options = {})
      : hub_(hub), name_("worker" + std::to_string(n)), core(std::move(options), {21, n}) {}

  template <class AnyCall>
  Outcome<typename AnyCall::Result> run(AnyCall call) {
    if (!core.begin(call, ++requests_, hub_.now.lease)) return core.finish_locally(call);
    hub_.query(name_, {call.envelope}, call.message);
    return finish(call);
  }

  /// The answer is lost; the client gives the call up.
  template <class AnyCall>
  void lose(AnyCall call) {
    core.begin(call, ++requests_, hub_.now.lease);
    hub_.query(name_, {call.envelope}, call.message);
    if (const auto frames = core.withdrawal(call)) hub_.query(name_, {frames->first}, frames->second);
  }

  template <class AnyCall>
  Outcome<typename AnyCall::Result> finish(AnyCall& call) {
    const Reply& reply = hub_.replies.back();
    std::vector<ByteView> frames(reply.envelope.begin(), reply.envelope.end());
    frames.push_back(reply.message);
    const auto answer = core.read(frames);
    if (!answer || answer->id != call.id) throw std::runtime_error{"no answer to this call"};
    return core.finish(call, answer->message, hub_.now.lease);
  }

  void flush() {
    for (const Core::BatchType& batch : hand_over()) hub_.put_raw(name_, batch.envelope, batch.message);
  }

  /// What has been handed over, and is on its way.
  std::vector<Core::BatchType> hand_over() {
    std::vector<Core::BatchType> batches;
    core.batcher().seal();
    while (core.batcher().has_batch()) {
      batches.push_back(core.take_batch());
      core.handed_over(batches.back(), hub_.now.lease);
    }
    return batches;
  }

  OffloadResult<Number> can_offload(Numbers keys) { return value(run(Core::offload(std::move(keys)))); }

  template <class T>
  static T value(Outcome<T> outcome) {
    if (auto* error = std::get_if<Error>(&outcome)) throw RegistryError{*error};
    return std::get<0>(std::move(outcome));
  }

 private:
  TestHub<>& hub_;
  std::string name_;
  std::uint64_t requests_ = 0;

 public:
  Core core;
};

}  // namespace

TEST_CASE("two workers share the work of one hub") {
  TestHub<> hub;
  Worker one(hub, 1);
  Worker two(hub, 2);
  CHECK(one.can_offload({1, 2}).can_offload == Numbers{1, 2});
  CHECK(two.can_offload({1, 2, 3}).can_offload == Numbers{3});
  one.core.add(std::vector<PlainEntry>{{1, 10, {}}, {2, 20, {}}}, hub.now.lease);
  one.flush();
  CHECK(two.can_offload({1, 2}).already_stored == Numbers{1, 2});
  CHECK(Worker::value(two.run(Core::match_prefix({1, 2, 3}))) == std::vector<PlainEntry>{{1, 10, {}}, {2, 20, {}}});
  CHECK(Worker::value(two.run(Core::touch({1, 3}))) == 1);
  CHECK(Worker::value(two.run(Core::release({3}))) == 1);
}

TEST_CASE("a lost answer blocks nobody, and takes nothing back that an earlier answer granted") {
  TestHub<> hub;
  Worker one(hub, 1);
  Worker two(hub, 2);
  one.can_offload({1});
  one.lose(Core::offload({1, 2}));
  CHECK(two.can_offload({1, 2}).can_offload == Numbers{2});
}

TEST_CASE("a remove takes effect behind the registrations before it, in whatever order they arrive") {
  TestHub<> hub;
  Worker one(hub, 1);
  one.core.add(std::vector<PlainEntry>{{1, 10, {}}}, hub.now.lease);
  auto call = Core::remove({1});
  CHECK(one.core.follows_registrations(call, hub.now.lease));
  const auto batches = one.hand_over();
  REQUIRE(one.core.begin(call, 100, hub.now.lease));
  hub.query("worker1", {call.envelope}, call.message);
  CHECK(hub.replies.empty());
  for (const auto& batch : batches) hub.put_raw("worker1", batch.envelope, batch.message);
  CHECK(Worker::value(one.finish(call)) == 1);
  CHECK(hub.stats().stored == 0);
}

TEST_CASE("a hub that does not serve the namespace refuses the client at hello") {
  TestHub<> hub;
  ClientOptions options;
  options.name_space = "tenant-a";
  Worker one(hub, 1, options);
  const auto outcome = one.run(Core::hello());
  const auto* error = std::get_if<Error>(&outcome);
  REQUIRE(error != nullptr);
  CHECK(make_error_code(*error) == errc::unsupported);
  CHECK(to_string(*error) ==
        "not supported by the peer: namespace \"tenant-a\" (the hub says: not supported by the peer: namespace "
        "\"tenant-a\"; this hub serves \"default\")");
}
