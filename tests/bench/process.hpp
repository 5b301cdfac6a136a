// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "statistics.hpp"

namespace bench {

/// Every server runs on the first of these, everything that asks it on the second.
constexpr int server_core = 0;
constexpr int client_core = 1;

inline void pin_to(int core) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(core, &set);
  if (sched_setaffinity(0, sizeof set, &set) != 0) throw std::system_error(errno, std::generic_category(), "pin");
}

inline std::filesystem::directory_iterator threads_of(pid_t pid) {
  return std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/task");
}

/// What all threads of a process together have had of the processor.
inline std::chrono::nanoseconds cpu_time_of(pid_t pid) {
  std::uint64_t sum = 0;
  for (const auto& thread : threads_of(pid)) {
    std::uint64_t time = 0;
    std::ifstream(thread.path() / "schedstat") >> time;
    sum += time;
  }
  return std::chrono::nanoseconds{sum};
}

/// This thread runs from now on only where no other wants to.
inline void yield_core() {
  const sched_param priority{};
  if (sched_setscheduler(0, SCHED_IDLE, &priority) != 0) {
    throw std::system_error(errno, std::generic_category(), "schedule");
  }
}

/// A process of ours. It ends with this object, and in any case with the process that made it.
class Process {
 public:
  /// Runs `body` in a child; its result is the exit status.
  static Process fork(int core, const std::function<int()>& body) {
    std::fflush(nullptr);
    const pid_t pid = ::fork();
    if (pid < 0) throw std::system_error(errno, std::generic_category(), "fork");
    if (pid > 0) return Process(pid);
    int status = 1;
    try {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      prctl(PR_SET_TIMERSLACK, 1UL);
      pin_to(core);
      status = body();
    } catch (const std::exception& error) {
      std::fprintf(stderr, "bench: %s\n", error.what());
    }
    std::fflush(nullptr);
    _exit(status);
  }

  /// Starts a program, found by the PATH; what it prints goes to `log`.
  static Process start(int core, std::vector<std::string> command, const std::string& log) {
    return fork(core, [&] {
      const int out = open(log.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
      dup2(out, STDOUT_FILENO);
      dup2(out, STDERR_FILENO);
      std::vector<char*> arguments;
      for (std::string& word : command) arguments.push_back(word.data());
      arguments.push_back(nullptr);
      execvp(arguments.front(), arguments.data());
      std::fprintf(stderr, "%s: %s\n", command.front().c_str(), std::generic_category().message(errno).c_str());
      return 127;
    });
  }

  Process(Process&& other) noexcept : pid_(std::exchange(other.pid_, 0)) {}
  Process& operator=(Process&& other) noexcept {
    std::swap(pid_, other.pid_);
    return *this;
  }
  ~Process() { stop(); }

  pid_t pid() const noexcept { return pid_; }

  /// Whether it has ended; asked again and again by whoever waits for something from it.
  bool ended() {
    if (pid_ == 0 || waitpid(pid_, nullptr, WNOHANG) == 0) return pid_ == 0;
    pid_ = 0;
    return true;
  }

  /// Waits for it; its exit status, or 128 and the signal.
  int wait() {
    int status = 0;
    while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    pid_ = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

  void stop() noexcept {
    if (pid_ == 0) return;
    kill(pid_, SIGTERM);
    const auto end = Clock::now() + std::chrono::seconds{10};
    while (!ended()) {
      if (Clock::now() > end) kill(pid_, SIGKILL);
      std::this_thread::sleep_for(std::chrono::milliseconds{2});
    }
  }

  std::chrono::nanoseconds cpu_time() const { return cpu_time_of(pid_); }

  /// Has its threads of this name scheduled by another policy.
  void schedule(const std::string& name, int policy) const {
    bool is_there = false;
    for (const auto& thread : threads_of(pid_)) {
      std::string its_name;
      std::getline(std::ifstream(thread.path() / "comm"), its_name);
      if (its_name != name) continue;
      const sched_param priority{};
      if (sched_setscheduler(std::stoi(thread.path().filename()), policy, &priority) != 0) {
        throw std::system_error(errno, std::generic_category(), "schedule " + name);
      }
      is_there = true;
    }
    if (!is_there) throw std::runtime_error("no thread " + name + " in process " + std::to_string(pid_));
  }

 private:
  explicit Process(pid_t pid) noexcept : pid_(pid) {}

  pid_t pid_;
};

/// Memory of a process, in bytes: `VmRSS` now, `VmHWM` at most.
inline double memory(const std::string& what, const std::string& process = "self") {
  std::ifstream status("/proc/" + process + "/status");
  for (std::string word; status >> word;) {
    if (word != what + ":") continue;
    double kilobytes = 0;
    status >> kilobytes;
    return kilobytes * 1024;
  }
  throw std::runtime_error("no " + what + " in /proc/" + process + "/status");
}

/// Memory that this process shares with the children that it makes afterwards, filled with zeros at first.
template <class T>
class Shared {
 public:
  explicit Shared(std::size_t count = 1) : count_(count) {
    void* memory = mmap(nullptr, count * sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    items_ = static_cast<T*>(memory);
    for (std::size_t i = 0; i < count; ++i) new (items_ + i) T{};
  }
  Shared(const Shared&) = delete;
  Shared& operator=(const Shared&) = delete;
  ~Shared() { munmap(items_, count_ * sizeof(T)); }

  T& operator[](std::size_t i) const noexcept { return items_[i]; }
  T* operator->() const noexcept { return items_; }
  std::size_t size() const noexcept { return count_; }

 private:
  std::size_t count_;
  T* items_;
};

}  // namespace bench
