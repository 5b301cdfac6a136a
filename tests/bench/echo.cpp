// SPDX-License-Identifier: Apache-2.0
// echo ADDRESS: the floor under our hub, in a process of its own.
#include "echo.hpp"

#include <sched.h>
#include <zmq.h>

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  void* context = zmq_ctx_new();
  // As the hub's: a thread of libzmq that does not preempt the one that it works for.
  zmq_ctx_set(context, ZMQ_THREAD_SCHED_POLICY, SCHED_BATCH);
  void* socket = zmq_socket(context, ZMQ_ROUTER);
  const int mark = 10'000;
  zmq_setsockopt(socket, ZMQ_SNDHWM, &mark, sizeof mark);
  zmq_setsockopt(socket, ZMQ_RCVHWM, &mark, sizeof mark);
  if (zmq_bind(socket, argv[1]) != 0) return 1;
  bench::Echo().serve(socket);
}
