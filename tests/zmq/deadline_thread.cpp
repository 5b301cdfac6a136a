// SPDX-License-Identifier: Apache-2.0
#include "support/catch.hpp"

#include <atomic>
#include <chrono>
#include <filesystem>
#include <functional>
#include <future>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <registry/core/instant.hpp>
#include <registry/log.hpp>
#include <registry/transport/deadline_thread.hpp>

#include "zmq/sockets.hpp"

using namespace registry;
using namespace std::chrono_literals;
using namespace zmq_test;

namespace {

/// Counts calls, answers with what it is told, and can be waited for.
struct Handler {
  std::optional<SteadyTime> operator()(SteadyTime now) {
    const std::lock_guard lock(mutex);
    times.push_back(now);
    const auto next = times.size() <= answers.size() ? answers[times.size() - 1] : std::nullopt;
    if (times.size() == wanted) reached.set_value();
    return next;
  }

  bool wait() { return reached.get_future().wait_for(limit) == std::future_status::ready; }

  std::vector<std::optional<SteadyTime>> answers{};
  std::size_t wanted = 1;
  std::mutex mutex{};
  std::vector<SteadyTime> times{};
  std::promise<void> reached{};
};

}  // namespace

TEST_CASE("the handler is called at the time asked for, not before") {
  Handler handler;
  DeadlineThread thread;
  thread.start(std::ref(handler));
  const SteadyTime due = steady_now() + 10ms;
  thread.wake_at(due);
  REQUIRE(handler.wait());
  thread.stop();
  REQUIRE(handler.times.size() == 1);
  CHECK(handler.times[0] >= due);
  CHECK(handler.times[0] <= steady_now());
}

TEST_CASE("an earlier time wins, and a later one changes nothing") {
  Handler handler;
  DeadlineThread thread;
  thread.start(std::ref(handler));
  const SteadyTime start = steady_now();
  const SteadyTime due = start + 10ms;
  thread.wake_at(start + 10 * limit);
  thread.wake_at(due);
  thread.wake_at(start + 20 * limit);
  REQUIRE(handler.wait());
  thread.stop();
  CHECK(handler.times[0] >= due);
  CHECK(handler.times[0] - start < limit);
}

TEST_CASE("the handler's own answer is when it is called next") {
  Handler handler;
  const SteadyTime start = steady_now();
  handler.answers = {start + 5ms, start + 10ms};
  handler.wanted = 3;
  DeadlineThread thread;
  thread.start(std::ref(handler));
  thread.wake_at(start);
  REQUIRE(handler.wait());
  thread.stop();
  REQUIRE(handler.times.size() == 3);
  CHECK(handler.times[1] >= start + 5ms);
  CHECK(handler.times[2] >= start + 10ms);
}

TEST_CASE("of the handler's answer and what was asked for meanwhile the earlier counts") {
  const bool answer_is_earlier = GENERATE(true, false);
  DeadlineThread thread;
  const SteadyTime start = steady_now();
  const SteadyTime far = start + 10 * limit;
  std::atomic<int> calls = 0;
  std::promise<void> again;
  thread.start([&](SteadyTime) -> std::optional<SteadyTime> {
    if (++calls == 1) {
      thread.wake_at(answer_is_earlier ? far : start);
      return answer_is_earlier ? start : far;
    }
    again.set_value();
    return std::nullopt;
  });
  thread.wake_at(start);
  CHECK(again.get_future().wait_for(limit) == std::future_status::ready);
  thread.stop();
  CHECK(calls == 2);
}

TEST_CASE("a time asked for before the start is kept") {
  Handler handler;
  DeadlineThread thread;
  thread.wake_at(steady_now());
  thread.start(std::ref(handler));
  CHECK(handler.wait());
  thread.stop();
}

TEST_CASE("no thread runs until there is a time to wait for") {
  const auto threads = [] {
    std::size_t count = 0;
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/task")) count += entry.exists() ? 1U : 0U;
    return count;
  };
  // A sanitizer starts a thread of its own with the first one that a program starts.
  std::thread([] {}).join();
  Handler handler;
  DeadlineThread thread;
  const std::size_t before = threads();
  thread.start(std::ref(handler));
  CHECK(threads() == before);
  thread.wake_at(steady_now() + 10 * limit);
  CHECK(threads() == before + 1);
  thread.stop();
  CHECK(handler.times.empty());
}

TEST_CASE("stop waits for a handler that is running, and no other call follows") {
  DeadlineThread thread;
  std::atomic<bool> entered = false;
  std::atomic<bool> running = false;
  thread.start([&](SteadyTime now) -> std::optional<SteadyTime> {
    running = true;
    entered = true;
    for (const SteadyTime start = steady_now(); steady_now() - start < 10ms;) std::this_thread::yield();
    running = false;
    return now;
  });
  thread.wake_at(steady_now());
  while (!entered) std::this_thread::yield();
  thread.stop();
  CHECK_FALSE(running);
  entered = false;
  thread.wake_at(steady_now());
  for (const SteadyTime start = steady_now(); steady_now() - start < 10ms;) std::this_thread::yield();
  CHECK_FALSE(entered);
}

TEST_CASE("it can be stopped and started again, with nothing left from before") {
  DeadlineThread thread;
  for (int round = 0; round < 100; ++round) {
    std::atomic<int> calls = 0;
    std::promise<void> called;
    thread.start([&](SteadyTime) -> std::optional<SteadyTime> {
      if (++calls == 1) called.set_value();
      return std::nullopt;
    });
    thread.wake_at(steady_now());
    REQUIRE(called.get_future().wait_for(limit) == std::future_status::ready);
    thread.wake_at(steady_now() + 5ms);
    thread.stop();
    REQUIRE(calls <= 2);
  }
  thread.start([](SteadyTime) -> std::optional<SteadyTime> { return std::nullopt; });
  thread.wake_at(steady_now() + 5ms);
  thread.stop();
  std::atomic<bool> stale = false;
  thread.start([&](SteadyTime) -> std::optional<SteadyTime> {
    stale = true;
    return std::nullopt;
  });
  for (const SteadyTime start = steady_now(); steady_now() - start < 30ms;) std::this_thread::yield();
  thread.stop();
  CHECK_FALSE(stale);
}

TEST_CASE("a new start replaces the handler") {
  DeadlineThread thread;
  std::atomic<int> old_calls = 0;
  Handler handler;
  thread.start([&](SteadyTime now) -> std::optional<SteadyTime> {
    ++old_calls;
    return now;
  });
  thread.wake_at(steady_now());
  while (old_calls == 0) std::this_thread::yield();
  thread.start(std::ref(handler));
  const int before = old_calls;
  thread.wake_at(steady_now());
  REQUIRE(handler.wait());
  thread.stop();
  CHECK(old_calls == before);
}

TEST_CASE("calls from many threads while it is stopped and started") {
  DeadlineThread thread;
  std::atomic<bool> done = false;
  std::atomic<int> calls = 0;
  std::vector<std::thread> askers;
  for (int i = 0; i < 4; ++i) {
    askers.emplace_back([&] {
      while (!done) thread.wake_at(steady_now());
    });
  }
  for (int round = 0; round < 50; ++round) {
    std::atomic<bool> alive = true;
    std::atomic<bool> called_when_dead = false;
    thread.start([&](SteadyTime) -> std::optional<SteadyTime> {
      if (!alive) called_when_dead = true;
      ++calls;
      return std::nullopt;
    });
    const int before = calls;
    while (calls == before) std::this_thread::yield();
    thread.stop();
    alive = false;
    REQUIRE_FALSE(called_when_dead);
  }
  done = true;
  for (std::thread& asker : askers) asker.join();
  thread.stop();
}

TEST_CASE("what escapes from a handler is logged, and the handler is called again") {
  std::mutex mutex;
  std::vector<std::string> log;
  std::atomic<int> calls = 0;
  std::promise<void> again;
  DeadlineThread thread([&](LogLevel level, std::string_view text) {
    const std::lock_guard lock(mutex);
    log.push_back((level == LogLevel::error ? "error: " : "") + std::string{text});
    throw std::runtime_error("a hook that throws, though it must not");
  });
  thread.start([&](SteadyTime) -> std::optional<SteadyTime> {
    switch (++calls) {
      case 1: throw std::runtime_error("no room");
      case 2: throw 7;
      default: again.set_value();
    }
    return std::nullopt;
  });
  thread.wake_at(steady_now());
  REQUIRE(again.get_future().wait_for(limit) == std::future_status::ready);
  thread.stop();
  REQUIRE(log.size() == 2);
  CHECK(log[0] == "error: timed work failed and is tried again in a second: no room");
  CHECK(log[1] == "error: timed work failed and is tried again in a second: something that is no std::exception was thrown");
}
