// SPDX-License-Identifier: Apache-2.0
// The threads that libzmq starts for us.
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>

#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>
#include <asio/io_context.hpp>
#include <zmq.hpp>

#include <registry/builder.hpp>
#include <registry/storage.hpp>
#include <registry/transport/asio_zmq.hpp>
#include <registry/transport/zmq.hpp>
#include <registry/transport/zmq_hub.hpp>

#include "support/catch.hpp"

using namespace registry;

namespace {

/// I/O threads of libzmq in this process: all, and those that leave the processor to whoever gives them work.
struct IoThreads {
  std::size_t all = 0;
  std::size_t yielding = 0;
};

IoThreads io_threads() {
  IoThreads threads;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    std::string name;
    std::getline(std::ifstream(task.path() / "comm"), name);
    if (!name.starts_with("ZMQbg/IO")) continue;
    ++threads.all;
    if (sched_getscheduler(std::stoi(task.path().filename())) == SCHED_BATCH) ++threads.yielding;
  }
  return threads;
}

/// Once there are so many: a thread of libzmq takes its policy, and behind it its name, when it runs first.
IoThreads io_threads_once_there_are(std::size_t all) {
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds{30};
  IoThreads threads = io_threads();
  while (threads.all < all && std::chrono::steady_clock::now() < give_up) {
    std::this_thread::yield();
    threads = io_threads();
  }
  return threads;
}

ZmqHubConfig anywhere() {
  ZmqHubConfig config;
  config.query_addr = config.register_addr = "tcp://127.0.0.1:*";
  return config;
}

bool a_call_is_answered() {
  auto catalogue = hub<std::uint64_t, std::uint64_t>(HashMapStorage<std::uint64_t, std::uint64_t>{}).build();
  auto transport = ZmqHubTransport::bind(anywhere());
  std::thread serving([&] { catalogue.serve(transport); });
  ZmqTransportConfig config;
  config.query_addr = transport.endpoints().query_addr;
  config.register_addr = transport.endpoints().register_addr;
  auto blocks = client<std::uint64_t, std::uint64_t>(ZmqTransport::connect(config)).build();
  const bool answered = blocks.can_offload({1}).can_offload.size() == 1;
  catalogue.stop();
  serving.join();
  return answered;
}

}  // namespace

TEST_CASE("the I/O thread of a hub's own context does not take the processor from the hub") {
  const IoThreads before = io_threads();
  const auto hub = ZmqHubTransport::bind(anywhere());
  const IoThreads after = io_threads_once_there_are(before.all + 1);
  CHECK(after.all == before.all + 1);
  CHECK(after.yielding == before.yielding + 1);
}

TEST_CASE("the I/O thread of a client's own context takes the processor from whoever computes") {
  const IoThreads before = io_threads();
  ZmqTransportConfig config;
  config.query_addr = config.register_addr = "tcp://127.0.0.1:1";
  asio::io_context io;
  SECTION("blocking") {
    const auto client = ZmqTransport::connect(config);
    const IoThreads after = io_threads_once_there_are(before.all + 1);
    CHECK(after.all == before.all + 1);
    CHECK(after.yielding == before.yielding);
  }
  SECTION("over Asio") {
    const auto client = AsioZmqTransport::connect(io.get_executor(), config);
    const IoThreads after = io_threads_once_there_are(before.all + 1);
    CHECK(after.all == before.all + 1);
    CHECK(after.yielding == before.yielding);
  }
}

TEST_CASE("a context that was given is used as it is") {
  const IoThreads before = io_threads();
  ZmqHubConfig config = anywhere();
  config.context = std::make_shared<zmq::context_t>();
  const auto hub = ZmqHubTransport::bind(config);
  const IoThreads after = io_threads_once_there_are(before.all + 1);
  CHECK(after.all == before.all + 1);
  CHECK(after.yielding == before.yielding);
}

TEST_CASE("a process that is scheduled in another way than usual can open contexts and use them") {
  // Real time is refused to most, and only they may not leave SCHED_IDLE again: one of the two is always a trial.
  const int policy = GENERATE(SCHED_FIFO, SCHED_IDLE);
  constexpr int refused = 2;
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    const sched_param priority{policy == SCHED_FIFO ? 1 : 0};
    if (sched_setscheduler(0, policy, &priority) != 0) _exit(refused);
    alarm(60);
    std::signal(SIGABRT, SIG_DFL);  // not Catch's, which would report for the parent
    _exit(a_call_is_answered() ? 0 : 1);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  CAPTURE(policy, status);
  REQUIRE(WIFEXITED(status));
  CHECK((WEXITSTATUS(status) == 0 || (WEXITSTATUS(status) == refused && policy == SCHED_FIFO)));
}
