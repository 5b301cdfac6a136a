// SPDX-License-Identifier: Apache-2.0
// What does not depend on how fast the machine is, one line each, `name value`: allocations per key, and per message on
// the thread that serves; and, under callgrind, instructions per key (--count instructions; the counts are then in its
// output, under the names that are printed here with the number of keys).
#include <algorithm>
#include <atomic>
#include <cctype>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <string>
#include <string_view>
#include <thread>

#include <valgrind/callgrind.h>
#include <registry/registry.hpp>
#include <zmq.hpp>

#include "arguments.hpp"
#include "peers/hub.hpp"
#include "phases.hpp"
#include "report.hpp"

namespace {

std::atomic<std::uint64_t> allocations = 0;
thread_local bool is_counted = false;

void count_allocation() {
  if (is_counted) allocations.fetch_add(1, std::memory_order_relaxed);
}

}  // namespace

// Everybody's on a thread that is counted, libzmq's too. What its own thread allocates depends on how the two are
// scheduled, not on us.
extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);

void* malloc(std::size_t size) {
  count_allocation();
  return __libc_malloc(size);
}
void* calloc(std::size_t count, std::size_t size) {
  count_allocation();
  return __libc_calloc(count, size);
}
void* realloc(void* memory, std::size_t size) {
  count_allocation();
  return __libc_realloc(memory, size);
}
void* aligned_alloc(std::size_t alignment, std::size_t size) {
  count_allocation();
  return __libc_memalign(alignment, size);
}
}

namespace bench {

namespace {

/// The name as it stands in a file of figures.
std::string slug(std::string_view name) {
  std::string text;
  for (const char c : name) {
    if (std::isalnum(static_cast<unsigned char>(c)) != 0) {
      text += c;
    } else if (!text.empty() && text.back() != '-') {
      text += '-';
    }
  }
  while (text.ends_with('-')) text.pop_back();
  return text;
}

/// Calls `each` with every phase, at a size that is soon reached also where instructions are counted.
template <class Each>
void for_each_phase(Each each) {
  const Phases phases(20'000, 200);
  phases.codec(each);
  phases.table(each);
  phases.hub(each);
  phases.eviction(each);
}

/// Everything has been done once before it is counted: what is counted is the steady state.
void warm_up(const Phase& phase) {
  phase.work();
  phase.undo();
}

void count_instructions() {
  for_each_phase([](const Phase& phase) {
    warm_up(phase);
    const std::string name = slug(phase.name);
    CALLGRIND_START_INSTRUMENTATION;
    phase.work();
    CALLGRIND_STOP_INSTRUMENTATION;
    CALLGRIND_DUMP_STATS_AT(name.c_str());
    phase.undo();
    std::printf("%s %zu\n", name.c_str(), phase.keys);
  });
}

/// Asks for the same hundred keys again and again, one message at a time; allocations per message at the other end.
double allocations_per_message(const std::string& port) {
  const Hub peer("", port, port);
  std::vector<std::uint64_t> keys;
  for (std::uint64_t n = 0; n < 100; ++n) keys.push_back(key_of(n));
  Request request;
  peer.encode(Operation::claim, keys, request);
  Stream stream(peer, Operation::claim, keys.size());
  std::uint64_t number = 0;
  const auto round_trip = [&] {
    peer.stamp(request.bytes, 2, ++number);
    stream.out() += request.bytes;
    while (stream.advance() == 0) stream.wait(std::nullopt);
  };
  constexpr int messages = 2000;
  for (int i = 0; i < messages; ++i) round_trip();
  const std::uint64_t before = allocations;
  for (int i = 0; i < messages; ++i) round_trip();
  return static_cast<double>(allocations - before) / messages;
}

double allocations_per_message_of_hub() {
  auto hub =
      registry::hub<std::uint64_t, std::uint64_t>(registry::HashMapStorage<std::uint64_t, std::uint64_t>{}).build();
  registry::ZmqHubConfig config;
  const std::string port = free_port();
  config.query_addr = "tcp://127.0.0.1:" + port;
  config.register_addr = "tcp://127.0.0.1:*";
  auto transport = registry::ZmqHubTransport::bind(config);
  std::thread server([&] {
    is_counted = true;
    hub.serve(transport);
  });
  double count = 0;
  std::thread client([&] { count = allocations_per_message(port); });
  client.join();
  hub.stop();
  server.join();
  return count;
}

/// What libzmq itself needs for a query of three frames and an answer of three.
double allocations_per_message_of_libzmq() {
  zmq::context_t context;
  zmq::socket_t router(context, zmq::socket_type::router);
  const std::string port = free_port();
  router.bind("tcp://127.0.0.1:" + port);
  std::thread server([&] {
    is_counted = true;
    zmq::message_t frames[3];
    while (true) {
      for (zmq::message_t& frame : frames) {
        if (zmq_msg_recv(frame.handle(), router.handle(), 0) < 0) return router.close();
      }
      const std::size_t keys = (frames[2].size() - 6) / 10;
      frames[2].rebuild(6 + keys);
      std::memset(frames[2].data(), 1, frames[2].size());
      *(static_cast<char*>(frames[2].data()) + 1) = 4;
      zmq_msg_send(frames[0].handle(), router.handle(), ZMQ_SNDMORE);
      zmq_msg_send(frames[1].handle(), router.handle(), ZMQ_SNDMORE);
      zmq_msg_send(frames[2].handle(), router.handle(), 0);
    }
  });
  double count = 0;
  std::thread client([&] { count = allocations_per_message(port); });
  client.join();
  context.shutdown();
  server.join();
  return count;
}

void count_allocations(Report report) {
  double per_key = 0;
  for_each_phase([&](const Phase& phase) {
    if (!phase.name.starts_with("decide")) return;
    warm_up(phase);
    const std::uint64_t before = allocations;
    is_counted = true;
    phase.work();
    is_counted = false;
    const double count = static_cast<double>(allocations - before) / static_cast<double>(phase.keys);
    phase.undo();
    std::printf("allocations-per-key-%s %.6f\n", slug(phase.name).c_str(), count);
    per_key = std::max(per_key, count);
  });
  const double hub = allocations_per_message_of_hub();
  const double libzmq = allocations_per_message_of_libzmq();
  std::printf("allocations-per-message %.3f\nallocations-per-message-of-libzmq %.3f\n", hub, libzmq);
  report.judge("allocations per key on the hub's query path, at steady state", at_most(0), {per_key, per_key, per_key});
  report.judge(
      "allocations per message of the hub's thread, against a bare libzmq echo's", at_most(libzmq), {hub, hub, hub});
}

}  // namespace

}  // namespace bench

int main(int argc, char** argv) try {
  const bench::Arguments arguments(argc, argv, {{"count", "allocations"}, {"report", "."}});
  if (arguments.text("count") == "instructions") {
    bench::count_instructions();
  } else {
    bench::count_allocations(bench::Report(arguments.text("report")));
  }
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "bench_steady: %s\n", error.what());
  return 1;
}
