// SPDX-License-Identifier: Apache-2.0
// What small messages would cost if they were sent otherwise: bare sockets of libzmq on the clients' core ask an echo
// on the servers'. Nothing of this is judged; the README says what was made of it.
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include <unistd.h>

#include <registry/registry.hpp>
#include <zmq.hpp>

#include "arguments.hpp"
#include "dealer.hpp"
#include "echo.hpp"
#include "keys.hpp"
#include "process.hpp"
#include "report.hpp"
#include "servers.hpp"
#include "threads.hpp"

namespace bench {

namespace {

/// One way to send messages, and how many keys each has.
struct Kind {
  std::string name;
  EchoOptions options = {};
  std::size_t batch = 1;
};

/// A thread's call that another may make for it. The wait of std::atomic yields before it sleeps, with which joining
/// brings more than with a bare futex.
class Call {
 public:
  enum State { waits, leads, is_answered };

  void begin(std::uint64_t key) {
    key_ = key;
    state_ = waits;
  }
  std::uint64_t key() const noexcept { return key_; }

  State wait() {
    state_.wait(waits);
    return state_;
  }

  void wake(State state) {
    state_ = state;
    state_.notify_one();
  }

 private:
  std::uint64_t key_ = 0;
  std::atomic<State> state_ = waits;
};

/// Calls of several threads joined into messages, one of which is on its way at a time: a call that finds none goes out
/// at once, those that come meanwhile go together when it is answered. One of their threads leads: it sends, reads and
/// wakes the rest.
class Joined {
 public:
  explicit Joined(Dealer& dealer) : dealer_(dealer) {}

  void operator()(Call& call) {
    std::unique_lock lock(mutex_);
    waiting_.push_back(&call);
    const bool has_to_wait = std::exchange(is_out_, true);
    lock.unlock();
    if (has_to_wait && call.wait() == Call::is_answered) return;

    lock.lock();
    const std::vector<Call*> ours = std::exchange(waiting_, {});
    lock.unlock();
    keys_.clear();
    for (const Call* one : ours) keys_.push_back(one->key());
    dealer_.send(keys_);
    dealer_.receive(keys_.size());
    ++messages_;
    lock.lock();
    Call* next = waiting_.empty() ? nullptr : waiting_.front();
    is_out_ = next != nullptr;
    lock.unlock();
    if (next != nullptr) next->wake(Call::leads);
    for (Call* one : ours) {
      if (one != &call) one->wake(Call::is_answered);
    }
  }

  std::uint64_t messages() const noexcept { return messages_; }

 private:
  std::mutex mutex_;
  std::vector<Call*> waiting_;
  bool is_out_ = false;
  // The leader's.
  Dealer& dealer_;
  std::vector<std::uint64_t> keys_;
  std::uint64_t messages_ = 0;
};

/// The least that joining can cost: no message at all. Calls of all threads are handed over, and who comes last wakes
/// the rest. A leader that answered at once would never be waited for where all have one core.
class Handover {
 public:
  explicit Handover(std::size_t threads) : threads_(threads) {}

  void operator()(Call& call) {
    {
      const std::lock_guard lock(mutex_);
      waiting_.push_back(&call);
    }
    wake_if_all_wait();
    call.wait();
  }

  /// A thread calls no more.
  void leave() {
    {
      const std::lock_guard lock(mutex_);
      --threads_;
    }
    wake_if_all_wait();
  }

 private:
  void wake_if_all_wait() {
    std::unique_lock lock(mutex_);
    if (waiting_.size() < threads_) return;
    const std::vector<Call*> all = std::exchange(waiting_, {});
    lock.unlock();
    for (Call* one : all) one->wake(Call::is_answered);
  }

  std::mutex mutex_;
  std::vector<Call*> waiting_;
  std::size_t threads_;
};

struct Measured {
  double messages_per_second, echo_busy, client_busy;
};

class Experiments {
 public:
  explicit Experiments(const Arguments& arguments)
      : report_(arguments.text("report")),
        runs_(arguments.number("runs")),
        time_(arguments.time("seconds")),
        servers_(arguments.text("programs"), arguments.text("work")) {}

  /// All kinds in turn, each against the first.
  void compare(const std::string& title, const std::vector<Kind>& kinds) {
    report_.begin_table(title + ", against " + kinds.front().name + ": median (least .. most)",
                        {"window", "", "M messages/s", "messages/s, ratio", "keys/s, ratio",
                         "CPU of both a message, ratio", "echo busy, %", "client busy, %"});
    std::vector<Server> echoes;
    for (const Kind& kind : kinds) echoes.push_back(servers_.echo(kind.options));
    for (const std::size_t window : {64U, 256U}) {
      std::vector<std::array<std::vector<double>, 6>> values(kinds.size());
      for (std::uint64_t run = 0; run < runs_; ++run) {
        Measured first{};
        for (std::size_t i = 0; i < kinds.size(); ++i) {
          const Measured now = measure(kinds[i], echoes[i], window);
          if (i == 0) first = now;
          const double ratio = now.messages_per_second / first.messages_per_second;
          const std::array all{
              now.messages_per_second / 1e6,
              ratio,
              ratio * static_cast<double>(kinds[i].batch) / static_cast<double>(kinds[0].batch),
              (now.echo_busy + now.client_busy) / (first.echo_busy + first.client_busy) / ratio,
              100 * now.echo_busy,
              100 * now.client_busy};
          for (std::size_t j = 0; j < all.size(); ++j) values[i][j].push_back(all[j]);
        }
      }
      for (std::size_t i = 0; i < kinds.size(); ++i) {
        std::vector<std::string> cells{std::to_string(window), kinds[i].name};
        for (const std::vector<double>& of_runs : values[i]) cells.push_back(figure(Spread::of(of_runs)));
        report_.row(cells);
      }
    }
  }

  /// What it can bring at all to join the blocking calls of several threads.
  void blocking_calls() {
    report_.begin_table(
        "Blocking calls of one key from several threads, against a socket and a message for each: median (least .. "
        "most)",
        {"threads", "apart, M calls/s", "joined", "ratio", "calls a message", "handed over only", "ratio"});
    const Server echo = servers_.echo();
    for (const std::size_t threads : {4U, 16U, 64U}) {
      std::array<std::vector<double>, 6> values;
      for (std::uint64_t run = 0; run < runs_; ++run) {
        const double apart = naive_rate(*context_, peer_of(echo), threads, 1, time_);
        const auto [joined, calls_per_message] = rate_joined(echo, threads);
        const double handed_over = rate_handed_over(threads);
        const std::array all{
            apart / 1e6, joined / 1e6, joined / apart, calls_per_message, handed_over / 1e6, handed_over / apart};
        for (std::size_t i = 0; i < all.size(); ++i) values[i].push_back(all[i]);
      }
      std::vector<std::string> cells{std::to_string(threads)};
      for (const std::vector<double>& of_runs : values) cells.push_back(figure(Spread::of(of_runs)));
      report_.row(cells);
    }
  }

 private:
  static const Hub& peer_of(const Server& echo) { return static_cast<const Hub&>(echo.peer()); }

  Measured measure(const Kind& kind, const Server& echo, std::size_t window) {
    Dealer dealer(*context_, peer_of(echo), 1, kind.options);
    dealer.pipeline(kind.options.joined, kind.batch, {});  // for which it connects
    const auto echo_before = echo.process.cpu_time();
    const auto client_before = cpu_time_of(getpid());
    const auto start = Clock::now();
    const std::uint64_t messages = dealer.pipeline(window, kind.batch, time_);
    const double time = seconds(Clock::now() - start);
    return {static_cast<double>(messages) / time, seconds(echo.process.cpu_time() - echo_before) / time,
            seconds(cpu_time_of(getpid()) - client_before) / time};
  }

  /// And how many calls a message has.
  std::pair<double, double> rate_joined(const Server& echo, std::size_t threads) {
    Dealer dealer(*context_, peer_of(echo), 1);
    Joined joined(dealer);
    // They outlive the threads: who has woken one may still look at its call.
    std::vector<Call> calls(threads);
    std::vector<std::uint64_t> made(threads);
    const double calls_per_second = rate(threads, time_, [&](std::size_t thread) -> std::function<void()> {
      return [&, thread, random = Random(thread)]() mutable {
        calls[thread].begin(stored_keys(random, 1).front());
        joined(calls[thread]);
        ++made[thread];
      };
    });
    double sum = 0;
    for (const std::uint64_t count : made) sum += static_cast<double>(count);
    return {calls_per_second, sum / static_cast<double>(joined.messages())};
  }

  double rate_handed_over(std::size_t threads) {
    Handover handover(threads);
    std::vector<Call> calls(threads);
    return rate(threads, time_, [&](std::size_t thread) -> std::function<void()> {
      const std::shared_ptr<void> member(nullptr, [&handover](void*) { handover.leave(); });
      return [&, thread, member, random = Random(thread)]() mutable {
        calls[thread].begin(stored_keys(random, 1).front());
        handover(calls[thread]);
      };
    });
  }

  Report report_;
  std::uint64_t runs_;
  std::chrono::nanoseconds time_;
  Servers servers_;
  /// As our transports open it.
  std::shared_ptr<zmq::context_t> context_ = registry::detail::context_or_own(nullptr);
};

}  // namespace

}  // namespace bench

int main(int argc, char** argv) try {
  bench::pin_to(bench::client_core);
  bench::Experiments experiments(bench::Arguments(
      argc, argv, {{"programs", ""}, {"report", "."}, {"work", "/tmp"}, {"runs", "5"}, {"seconds", "1"}}));
  experiments.compare(
      "Replies to one peer joined, one key a message",
      {{"an answer a message"}, {"an answer to 4", {.joined = 4}}, {"an answer to 16", {.joined = 16}}});
  experiments.compare(
      "Envelope and message, one key a message", {{"two frames"}, {"one frame of the same bytes", {.frames = 1}}});
  experiments.compare("High-water marks of both ends, one key a message",
                      {{"10,000"}, {"1,000", {.mark = 1'000}}, {"100,000", {.mark = 100'000}}, {"none", {.mark = 0}}});
  experiments.compare("Keys a message", {{"1 key"}, {"16 keys", {}, 16}});
  experiments.blocking_calls();
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "bench_libzmq: %s\n", error.what());
  return 1;
}
