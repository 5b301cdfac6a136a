// SPDX-License-Identifier: Apache-2.0
// echo ADDRESS FLAGS...: the floor under our hub, in a process of its own. The flags are those of EchoOptions.
#include "echo.hpp"

#include <cstddef>
#include <cstdio>
#include <exception>
#include <stdexcept>
#include <string>

#include <sched.h>
#include <zmq.h>

#include "arguments.hpp"

int main(int argc, char** argv) try {
  if (argc < 2) return 2;
  const bench::Arguments arguments(argc - 1, argv + 1, {{"joined", "1"}, {"frames", "2"}, {"mark", "10000"}});
  void* context = zmq_ctx_new();
  // As the hub's: a thread of libzmq that does not preempt the one that it works for.
  zmq_ctx_set(context, ZMQ_THREAD_SCHED_POLICY, SCHED_BATCH);
  void* socket = zmq_socket(context, ZMQ_ROUTER);
  const std::size_t joined = arguments.number("joined");
  const std::size_t frames = arguments.number("frames");
  if (joined == 0 || (frames != 1 && frames != 2)) {
    throw std::runtime_error("--joined must be 1 or more, not " + std::to_string(joined) +
                             ", and --frames 1 or 2, not " + std::to_string(frames));
  }
  const int mark = static_cast<int>(arguments.number("mark"));
  zmq_setsockopt(socket, ZMQ_SNDHWM, &mark, sizeof mark);
  zmq_setsockopt(socket, ZMQ_RCVHWM, &mark, sizeof mark);
  if (zmq_bind(socket, argv[1]) != 0) return 1;
  bench::Echo({joined, frames, mark}).serve(socket);
} catch (const std::exception& error) {
  std::fprintf(stderr, "bench_echo: %s\n", error.what());
  return 1;
}
