// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <optional>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include <registry/core/failure.hpp>
#include <registry/core/instant.hpp>
#include <registry/error.hpp>
#include <registry/log.hpp>
#include <registry/transport/transport.hpp>

namespace registry {

/// A thread that sleeps until the earliest time that was asked for and then calls a handler: what a blocking transport
/// is made of that has no loop of its own. The thread starts when first needed. All calls are safe from any thread;
/// `start` and `stop` not from the handler, which is called without a lock and may call `wake_at`.
class DeadlineThread {
 public:
  explicit DeadlineThread(LogHook log = log_to_stderr) : log_(std::move(log)) {}
  DeadlineThread(const DeadlineThread&) = delete;
  DeadlineThread& operator=(const DeadlineThread&) = delete;
  ~DeadlineThread() { stop(); }

  /// From now on the handler is called whenever a time has come that `wake_at` or its own answer asked for. An
  /// exception that escapes from it is logged, and it is called again a second later: there may be work left undone.
  void start(TickHandler handler) {
    const std::lock_guard starting(lifecycle_);
    finish();
    const std::lock_guard lock(mutex_);
    handler_ = std::move(handler);
    if (due_) launch();
  }

  /// Asks for a call at that time, if none is due before. Throws RegistryError{TransportError} if there can be no
  /// thread.
  void wake_at(SteadyTime time) {
    const std::lock_guard lock(mutex_);
    if (due_ && *due_ <= time) return;
    due_ = time;
    if (thread_.joinable()) {
      changed_.notify_one();
    } else if (handler_ && !stopping_) {
      launch();
    }
  }

  /// After it returns the handler is not running and will not run, unless there is another `start`.
  void stop() {
    const std::lock_guard stopping(lifecycle_);
    finish();
    const std::lock_guard lock(mutex_);
    due_.reset();
  }

 private:
  void launch() {
    try {
      thread_ = std::thread([this] { run(); });
    } catch (const std::system_error& error) {
      // Or the next `wake_at` would take it that somebody waits for this time.
      due_.reset();
      throw RegistryError(TransportError{std::string{"start a thread: "} + error.what()});
    }
  }

  void finish() {
    std::thread thread;
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
      changed_.notify_one();
      thread.swap(thread_);
    }
    if (thread.joinable()) thread.join();
    const std::lock_guard lock(mutex_);
    stopping_ = false;
    handler_ = nullptr;
  }

  void run() {
    std::unique_lock lock(mutex_);
    while (!stopping_) {
      if (!due_) {
        changed_.wait(lock);
        continue;
      }
      const SteadyTime due = *due_;
      const SteadyTime now = std::chrono::steady_clock::now();
      if (now < due) {
        changed_.wait_until(lock, due);
        continue;
      }
      due_.reset();
      lock.unlock();
      const std::optional<SteadyTime> next = call(now);
      lock.lock();
      if (next) due_ = due_ ? std::min(*due_, *next) : *next;
    }
  }

  std::optional<SteadyTime> call(SteadyTime now) noexcept {
    try {
      return handler_(now);
    } catch (const std::exception& error) {
      report(error.what());
    } catch (...) {
      report(no_std_exception);
    }
    return std::chrono::steady_clock::now() + std::chrono::seconds{1};
  }

  void report(const char* what) const noexcept {
    try {
      if (log_) log_(LogLevel::error, std::string{"timed work failed and is tried again in a second: "} + what);
    } catch (...) {
      // No memory to say so, or a hook that throws: trying again matters more.
    }
  }

  std::mutex lifecycle_;  // held while a thread is joined; taken before `mutex_`
  std::mutex mutex_;
  std::condition_variable changed_;
  TickHandler handler_;  // changes only while there is no thread
  std::optional<SteadyTime> due_;
  bool stopping_ = false;
  std::thread thread_;
  LogHook log_;
};

}  // namespace registry
