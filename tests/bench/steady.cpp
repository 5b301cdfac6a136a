// SPDX-License-Identifier: Apache-2.0
// What does not depend on how fast the machine is, one line each, `name value`: allocations per key, and per message on
// the thread that serves; and, under callgrind, instructions per key (--count instructions; the counts are then in its
// output, under the names that are printed here with the number of keys).
#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <optional>
#include <string>
#include <string_view>
#include <thread>

#include <valgrind/callgrind.h>
#include <registry/registry.hpp>
#include <zmq.hpp>

#include "arguments.hpp"
#include "echo.hpp"
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
int posix_memalign(void** memory, std::size_t alignment, std::size_t size) {
  count_allocation();
  *memory = __libc_memalign(alignment, size);
  return *memory == nullptr ? ENOMEM : 0;
}
}

namespace bench {

namespace {

/// Calls `each` with every phase, at a size that is soon reached also where instructions are counted.
template <class Each>
void for_each_phase(Each each) {
  const Phases phases(20'000, 200);
  phases.codec(each);
  phases.table(each);
  phases.leases(each);
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

/// What is asked of a thread that serves, a hundred keys a message.
struct Question {
  Operation operation;
  Mix mix;
  std::uint64_t client;
};
constexpr std::array questions{
    // Again, by the client that has the leases.
    Question{Operation::claim, Mix::leased, 1},
    Question{Operation::claim, Mix::thirds, 2},
    // With the longest answers.
    Question{Operation::match, Mix::stored, 2},
};

/// Allocations per message at the other end, of the question that needs most. It is asked one message at a time, and
/// everything twice, of which the second time counts.
double allocations_per_message(const Hub& peer) {
  constexpr Catalogue catalogue{20'000, 2'000};
  if (peer.decides()) fill(peer, catalogue);
  double most = 0;
  for (const Question& question : questions) {
    const Requests requests(peer, question.operation, question.mix, 100, catalogue);
    Stream stream(peer, question.operation, requests.batch());
    constexpr std::size_t messages = 2000;
    std::uint64_t number = 0;
    const auto ask_all = [&] {
      std::uint64_t next_new = first_new;
      for (std::size_t i = 0; i < messages; ++i) {
        requests.append(i, question.client, ++number, next_new, stream.out());
        while (stream.advance() == 0) stream.wait(std::nullopt);
      }
      return next_new - first_new;
    };
    const std::uint64_t granted = ask_all();
    if (peer.decides()) sweep(peer, Operation::release, {first_new, granted}, question.client);
    const std::uint64_t before = allocations;
    ask_all();
    most = std::max(most, static_cast<double>(allocations - before) / messages);
  }
  return most;
}

double allocations_per_message_of_hub() {
  auto hub =
      registry::hub<std::uint64_t, std::uint64_t>(registry::HashMapStorage<std::uint64_t, std::uint64_t>{}).build();
  const Hub peer("hub", free_port(), free_port());
  registry::ZmqHubConfig config;
  config.query_addr = "tcp://127.0.0.1:" + peer.query_address();
  config.register_addr = "tcp://127.0.0.1:" + peer.register_address();
  auto transport = registry::ZmqHubTransport::bind(config);
  std::thread server([&] {
    is_counted = true;
    hub.serve(transport);
  });
  const double count = allocations_per_message(peer);
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
  const Echo echo;
  std::thread server([&] {
    is_counted = true;
    echo.serve(router.handle());
    router.close();
  });
  const double count = allocations_per_message(Hub("libzmq", port, port, false));
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
