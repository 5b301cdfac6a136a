// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <functional>
#include <thread>
#include <utility>

#include <pthread.h>
#include <signal.h>

namespace registry_hub {

/// Blocks SIGINT and SIGTERM in the calling thread and in those that it starts. To be called before there are others:
/// a thread that does not block a signal may be the one that gets it, and the process would end.
inline sigset_t block_stop_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  return signals;
}

/// Calls `stop` when one of the blocked signals comes: on a thread that waits for them, so that `stop` may do what no
/// signal handler may.
class StopOnSignal {
 public:
  StopOnSignal(sigset_t signals, std::function<void()> stop)
      : thread_([this, signals, stop = std::move(stop)] {
          int signal = 0;
          sigwait(&signals, &signal);
          if (!over_) stop();
        }) {}
  StopOnSignal(const StopOnSignal&) = delete;
  StopOnSignal& operator=(const StopOnSignal&) = delete;

  /// Ends the thread, also if no signal has come.
  ~StopOnSignal() {
    over_ = true;
    pthread_kill(thread_.native_handle(), SIGTERM);
    thread_.join();
  }

 private:
  std::atomic<bool> over_ = false;
  std::thread thread_;
};

}  // namespace registry_hub
