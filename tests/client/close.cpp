// SPDX-License-Identifier: Apache-2.0
// How a client ends, and that it loses nothing silently.
#include "support/catch.hpp"

#include <chrono>
#include <condition_variable>
#include <future>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "client/fake_transport.hpp"

using namespace client_test;

TEST_CASE("close hands over what is pending") {
  const auto script = std::make_shared<Script>();
  auto worker = fake_client(script).build();
  worker.register_blocks(blocks(1, 5));
  CHECK(worker.close(2s).empty());
  CHECK(script->batches() == std::vector<std::vector<BlockEntry>>{blocks(1, 5)});
  CHECK(script->calls == "scS");
  CHECK(script->linger == 2s);
}

TEST_CASE("close returns what it could not hand over, in order") {
  const auto script = std::make_shared<Script>();
  auto worker = fake_client(script).batch_size(2).build();
  script->push = at_the_mark;
  worker.register_blocks(blocks(1, 5));
  std::optional<SteadyTime> waited_until;
  script->push = [&](SteadyTime deadline) {
    waited_until = deadline;
    script->now = deadline;
    return false;
  };
  const SteadyTime deadline = script->now + 3s;
  CHECK(worker.close(3s) == blocks(1, 5));
  CHECK(waited_until == deadline);
  CHECK(script->linger == 0s);
  CHECK(worker.close(3s).empty());
  CHECK(script->calls == "scS");
}

TEST_CASE("what was handed over while closing is not returned, and is given the rest of the time") {
  const auto script = std::make_shared<Script>();
  auto worker = fake_client(script).batch_size(2).build();
  script->push = at_the_mark;
  worker.register_blocks(blocks(1, 5));
  int calls = 0;
  script->push = [&](SteadyTime) {
    script->now += 1s;
    return ++calls == 1;
  };
  CHECK(worker.close(10s) == blocks(3, 3));
  CHECK(script->batches() == std::vector<std::vector<BlockEntry>>{blocks(1, 2)});
  CHECK(script->linger == 8s);
}

TEST_CASE("close takes any limit") {
  const auto script = std::make_shared<Script>();
  const auto limit =
      GENERATE(std::chrono::nanoseconds::max(), std::chrono::nanoseconds{0}, std::chrono::nanoseconds{-5s});
  {
    auto worker = fake_client(script).build();
    worker.register_blocks(blocks(1, 1));
    CHECK(worker.close(limit).empty());
  }
  CHECK(script->batch_sizes() == std::vector<std::size_t>{1});
  REQUIRE(script->linger);
  CHECK(*script->linger >= 0s);
}

TEST_CASE("after close every call fails with Disconnected") {
  const auto script = std::make_shared<Script>();
  auto worker = fake_client(script).build();
  worker.close(1s);
  CHECK(is<Disconnected>(error_of([&] { worker.can_offload({1}); })));
  CHECK(is<Disconnected>(error_of([&] { worker.register_blocks(blocks(1, 1)); })));
  CHECK(is<Disconnected>(error_of([&] { worker.flush(); })));
  CHECK(is<Disconnected>(error_of([&] { worker.match({1}); })));
  CHECK(is<Disconnected>(error_of([&] { worker.match_prefix({1}); })));
  CHECK(is<Disconnected>(error_of([&] { worker.remove({1}); })));
  CHECK(is<Disconnected>(error_of([&] { worker.touch({1}); })));
  CHECK(is<Disconnected>(error_of([&] { worker.release({1}); })));
  CHECK(script->asked.empty());
  CHECK(script->pushed.empty());
}

TEST_CASE("the destructor hands over what is pending, within the close timeout") {
  const auto script = std::make_shared<Script>();
  const Log log;
  {
    auto worker = fake_client(script).close_timeout(4s).log(log).build();
    worker.register_blocks(blocks(1, 3));
  }
  CHECK(script->batches() == std::vector<std::vector<BlockEntry>>{blocks(1, 3)});
  CHECK(script->linger == 4s);
  CHECK(log.lines->empty());
}

TEST_CASE("the destructor reports what it could not hand over") {
  const auto script = std::make_shared<Script>();
  const Log log;
  std::optional<SteadyTime> waited_until;
  {
    auto worker = fake_client(script).close_timeout(4s).log(log).build();
    worker.register_blocks(blocks(1, 3));
    script->push = [&](SteadyTime deadline) {
      waited_until = deadline;
      return false;
    };
  }
  CHECK(waited_until == script->now + 4s);
  REQUIRE(log.lines->size() == 1);
  CHECK(log.lines->front().first == LogLevel::error);
  CHECK(log.lines->front().second == "3 entries were not registered: timed out after 4000 ms");
}

TEST_CASE("the destructor of a client that was closed does nothing") {
  const auto script = std::make_shared<Script>();
  const Log log;
  {
    auto worker = fake_client(script).log(log).build();
    script->push = at_the_mark;
    worker.register_blocks(blocks(1, 3));
    CHECK(worker.close(0s).size() == 3);
  }
  CHECK(script->calls == "scS");
  CHECK(log.lines->empty());
}

TEST_CASE("a destructor does not throw, whatever the transport does") {
  const auto script = std::make_shared<Script>();
  const Log log;
  {
    auto worker = fake_client(script).log(log).build();
    worker.register_blocks(blocks(1, 2));
    script->push = [](SteadyTime) -> bool { throw RegistryError(TransportError{"broken"}); };
    script->on_close = [] { throw RegistryError(TransportError{"broken while closing"}); };
  }
  REQUIRE(log.lines->size() == 3);
  CHECK(log.lines->at(0).second == "handing over what is pending failed: transport error: broken");
  CHECK(log.lines->at(1).second == "closing the transport failed: transport error: broken while closing");
  CHECK(log.lines->at(2).first == LogLevel::error);
  CHECK(log.lines->at(2).second == "2 entries were not registered: timed out after 1000 ms");
}

TEST_CASE("without a log hook nothing is reported") {
  const auto script = std::make_shared<Script>();
  {
    auto worker = fake_client(script).log(nullptr).build();
    worker.register_blocks(blocks(1, 3));
    script->push = at_the_mark;
  }
  CHECK(script->calls == "scS");
}

TEST_CASE("a client may be moved") {
  const auto script = std::make_shared<Script>();
  auto worker = fake_client(script).batch_timeout(10ms).build();
  worker.register_blocks(blocks(1, 1));
  auto moved = std::move(worker);
  script->advance(10ms);
  CHECK(script->batch_sizes() == std::vector<std::size_t>{1});
  CHECK(script->calls == "s");

  const auto other_script = std::make_shared<Script>();
  auto other = fake_client(other_script).build();
  other.register_blocks(blocks(5, 1));
  other = std::move(moved);
  CHECK(other_script->batch_sizes() == std::vector<std::size_t>{1});
  CHECK(other_script->calls == "scS");
  other.register_blocks(blocks(2, 1));
  other.flush();
  CHECK(script->batch_sizes() == std::vector<std::size_t>{1, 1});
}

namespace {

/// Lets a test hold a call inside the transport.
class Gate {
 public:
  void arrive_and_wait() {
    std::unique_lock lock(mutex_);
    has_arrived_ = true;
    changed_.notify_all();
    changed_.wait(lock, [&] { return is_open_; });
  }
  void wait_for_arrival() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return has_arrived_; });
  }
  void open() {
    const std::lock_guard lock(mutex_);
    is_open_ = true;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool has_arrived_ = false;
  bool is_open_ = false;
};

}  // namespace

TEST_CASE("a batch that another thread has in its hands while the client is closed is not lost") {
  const auto script = std::make_shared<Script>();
  auto worker = fake_client(script).build();
  worker.register_blocks(blocks(1, 3));
  Gate gate;
  script->push = [&](SteadyTime) -> bool {
    gate.arrive_and_wait();
    throw RegistryError(Disconnected{"closed meanwhile"});
  };
  auto flushing = std::async(std::launch::async, [&] { return error_of([&] { worker.flush(); }); });
  gate.wait_for_arrival();
  // As a transport does that ends the calls in progress.
  script->on_close = [&] { gate.open(); };
  CHECK(worker.close(0s) == blocks(1, 3));
  CHECK(is<Disconnected>(flushing.get()));
}

TEST_CASE("a registration that waits at the mark while the client is closed is not accepted") {
  const auto script = std::make_shared<Script>();
  auto worker = fake_client(script).batch_size(2).log(nullptr).build();
  script->push = at_the_mark;
  worker.register_blocks(blocks(1, 2));
  Gate gate;
  const bool is_sent = GENERATE(false, true);
  script->push = [&](SteadyTime) -> bool {
    gate.arrive_and_wait();
    if (!is_sent) throw RegistryError(Disconnected{"closed meanwhile"});
    return true;
  };
  auto registering =
      std::async(std::launch::async, [&] { return undelivered([&] { worker.register_blocks(blocks(3, 2)); }); });
  gate.wait_for_arrival();
  script->on_close = [&] { gate.open(); };
  CHECK(worker.close(0s) == (is_sent ? std::vector<BlockEntry>{} : blocks(1, 2)));
  const auto error = registering.get();
  REQUIRE(error);
  CHECK(error->as<Disconnected>() != nullptr);
  CHECK(error->entries() == blocks(3, 2));
}

TEST_CASE("a flush that waits for another thread's while the client is closed does not claim success") {
  const auto script = std::make_shared<Script>();
  auto worker = fake_client(script).build();
  worker.register_blocks(blocks(1, 3));
  Gate gate;
  script->push = [&](SteadyTime) -> bool {
    gate.arrive_and_wait();
    return false;
  };
  auto first = std::async(std::launch::async, [&] { return error_of([&] { worker.flush(); }); });
  gate.wait_for_arrival();
  auto second = std::async(std::launch::async, [&] { return error_of([&] { worker.flush(); }); });
  script->on_close = [&] { gate.open(); };
  CHECK(worker.close(0s) == blocks(1, 3));
  CHECK(first.get());
  CHECK(second.get());
}
