// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "keys.hpp"
#include "peers/peer.hpp"
#include "process.hpp"
#include "statistics.hpp"
#include "stored_watch.hpp"
#include "stream.hpp"

namespace bench {

/// Which keys are asked for: all of one sort, or a third of each, in random order.
enum class Mix { fresh, stored, leased, thirds };

/// How many of the keys asked for are new, stored, and leased by somebody else.
struct Asked {
  std::uint64_t fresh = 0, stored = 0, leased = 0;
};

/// Requests encoded beforehand, some million keys of them, so that the keys come from all over the catalogue and no
/// cache holds them. Only what must differ from one use to the next is written when they are sent: new keys, the
/// client and the number.
class Requests {
 public:
  Requests(const Peer& peer, Operation operation, Mix mix, std::size_t batch, Catalogue catalogue)
      : peer_(peer), operation_(operation), batch_(batch) {
    constexpr std::size_t keys_in_all = 3'000'000;
    Random random(batch);
    std::vector<std::uint64_t> keys(batch);
    std::vector<bool> is_new(batch);
    for (std::size_t left = std::max<std::size_t>(keys_in_all / batch, 16); left > 0; --left) {
      Item item{bytes_.size(), 0, new_at_.size(), 0, {}};
      for (std::size_t i = 0; i < batch; ++i) {
        const std::uint64_t sort =
            mix == Mix::fresh    ? 0
            : mix == Mix::stored ? 1
            : mix == Mix::leased ? 2
                                 : random.below(3);
        is_new[i] = sort == 0;
        if (sort == 0) {
          ++item.asked.fresh;
        } else if (sort == 1) {
          keys[i] = key_of(first_stored + random.below(catalogue.entries));
          ++item.asked.stored;
        } else {
          keys[i] = key_of(first_leased + random.below(catalogue.leases));
          ++item.asked.leased;
        }
      }
      Request request;
      peer.encode(operation, keys, request);
      for (std::size_t i = 0; i < batch; ++i) {
        if (is_new[i]) new_at_.push_back(request.key_at[i]);
      }
      item.size = request.bytes.size();
      item.new_count = new_at_.size() - item.first_new;
      bytes_ += request.bytes;
      items_.push_back(item);
    }
  }

  /// Appends the n-th request (they come round again), as the `number`-th of this client, with new keys counted from
  /// `next_new` on; what it asks for.
  Asked append(std::size_t n, std::uint64_t client, std::uint64_t number, std::uint64_t& next_new,
               std::string& out) const {
    const Item& item = items_[n % items_.size()];
    const std::size_t begin = out.size();
    out.append(bytes_, item.begin, item.size);
    for (std::size_t i = 0; i < item.new_count; ++i) {
      peer_.put_key(out.data() + begin + new_at_[item.first_new + i], key_of(next_new++));
    }
    peer_.stamp({out.data() + begin, item.size}, client, number);
    return item.asked;
  }

  const Peer& peer() const noexcept { return peer_; }
  Operation operation() const noexcept { return operation_; }
  std::size_t batch() const noexcept { return batch_; }
  std::size_t size() const noexcept { return items_.size(); }
  /// Whether every key is a new one.
  bool are_new() const noexcept { return new_at_.size() == batch_ * items_.size(); }

 private:
  struct Item {
    std::size_t begin, size, first_new, new_count;
    Asked asked;
  };

  const Peer& peer_;
  Operation operation_;
  std::size_t batch_;
  std::string bytes_;
  std::vector<std::uint32_t> new_at_;
  std::vector<Item> items_;
};

/// What a group of equal clients does. With a rate, a batch is due at its time whatever became of those before, and
/// its latency counts from then: a server that stalls is charged for all who would have asked meanwhile.
struct Load {
  const Requests* requests = nullptr;
  std::size_t clients = 1;
  std::size_t window = 1;
  /// Batches a second, of all clients together; nothing: each asks again as soon as its window has room.
  std::optional<double> rate = std::nullopt;
  /// Whether the replies must say what is true of the catalogue; not where others change it meanwhile.
  bool checked = true;
  /// Whether these clients have of their core only what the others leave: what they do shall disturb those in the
  /// server, not here.
  bool yields = false;
  /// Whether they remove afterwards what they stored, and give back the new keys that they were granted.
  bool tidies_up = true;

  bool is_replied_to() const { return requests->peer().replies(requests->operation()); }
  /// Two batches of one client that are due at the rate.
  std::chrono::nanoseconds between() const {
    if (!(*rate > 0)) throw std::runtime_error("a rate of nothing: was anything answered before?");
    return std::chrono::nanoseconds{static_cast<std::int64_t>(1e9 * static_cast<double>(clients) / *rate)};
  }
};

/// What a group of clients got.
struct Result {
  double keys_per_second = 0;
  /// Where nothing is replied to, of what is due at a rate until it is stored; otherwise nothing then.
  Histogram latency;
  /// Of the keys asked for as stored, warming up included, the part that was: others may have it evicted.
  double stored_found = 0;
  /// New keys that were asked for or stored, from the first to the last.
  std::uint64_t new_keys = 0;
  /// Of the server, over all groups at once.
  double busy = 0;
  double cpu_ns_per_key = 0;
  /// Of the core that all clients share.
  double clients_busy = 0;
  /// When it was measured.
  Clock::time_point from, to;
};

/// Runs groups of clients against a server at the same time, each client a process on its core: some warming up, then
/// the time that is measured. What every reply said is counted and compared with what was asked; afterwards clients
/// give back what they were granted and remove what they stored.
class Generator {
 public:
  explicit Generator(std::chrono::nanoseconds measured,
                     std::chrono::nanoseconds warm_up = std::chrono::milliseconds{200})
      : measured_(measured), warm_up_(warm_up) {}

  std::vector<Result> run(const Process& server, const std::vector<Load>& loads) {
    course_->phase = Phase::connect;
    course_->measured_from = course_->measured_until = Clock::time_point::max();
    std::vector<Job> jobs;
    for (const Load& load : loads) {
      for (std::size_t i = 0; i < load.clients; ++i) jobs.push_back({&load, i});
    }
    const Shared<Progress> progress(jobs.size());
    std::vector<Process> clients, watches;
    // Where nothing is replied to, what was sent is not yet done. If that is all there is, as fast as can be and waited
    // for, all of it is measured, from the first to the last; otherwise somebody asks for it meanwhile.
    const bool is_all_measured = std::all_of(loads.begin(), loads.end(), [](const Load& load) {
      return !load.is_replied_to() && !load.rate && load.checked;
    });
    for (std::size_t i = 0; i < jobs.size(); ++i) {
      const std::uint64_t number = new_client();
      progress[i].is_watched = !is_all_measured && !jobs[i].load->is_replied_to();
      clients.push_back(Process::fork(client_core, [&, i, number] {
        if (jobs[i].load->yields) yield_core();
        Client(jobs[i], number, course_[0], progress[i]).run();
        return 0;
      }));
    }
    wait_for_all(clients, progress, [](const Progress& one) { return one.is_ready.load(); });
    for (std::size_t i = 0; i < jobs.size(); ++i) {
      if (!progress[i].is_watched) continue;
      const std::uint64_t number = new_client();
      watches.push_back(Process::fork(client_core, [&, i, number] {
        watch(*jobs[i].load, number, progress[i]);
        return 0;
      }));
    }
    const auto sample_now = [&] { return sample(server, clients, watches, progress); };
    Sample before = sample_now();
    course_->phase = Phase::warm_up;
    if (!is_all_measured) {
      std::this_thread::sleep_for(warm_up_);
      wait_for_all(clients, progress, [](const Progress& one) { return one.is_warm.load(); });
      before = sample_now();
    }
    course_->measured_from = Clock::now();
    std::this_thread::sleep_for(measured_);
    Sample after = sample_now();
    course_->measured_until = Clock::now();
    course_->phase = Phase::stop;
    wait_for_all(clients, progress, [](const Progress& one) { return one.is_done.load(); });
    if (is_all_measured) after = sample_now();
    for (Process& one : watches) {
      if (one.wait() != 0) throw std::runtime_error("what watches a client failed");
    }
    course_->phase = Phase::tidy_up;
    for (Process& client : clients) {
      if (client.wait() != 0) throw std::runtime_error("a client failed");
    }
    return results(loads, progress, before, after);
  }

  Result run(const Process& server, const Load& load) { return run(server, std::vector{load}).front(); }

  /// The number of a client that has not asked for anything yet.
  static std::uint64_t new_client() { return ++clients_made_; }

 private:
  enum class Phase { connect, warm_up, stop, tidy_up };

  /// Where a run has come to, for all that take part.
  struct Course {
    std::atomic<Phase> phase;
    /// Latencies count of what is asked, or at a rate is due, from the one until the other.
    std::atomic<Clock::time_point> measured_from, measured_until;

    bool measures(Clock::time_point time) const { return time >= measured_from.load() && time < measured_until.load(); }
  };

  struct Job {
    const Load* load;
    std::size_t index;
  };

  /// What a client tells while it runs.
  struct Progress {
    std::atomic<bool> is_ready;
    std::atomic<bool> is_warm;  // all that is on the way at a time has been replied to once
    std::atomic<bool> is_done;
    std::atomic<std::uint64_t> batches;  // replied to, or sent
    Histogram latency;
    std::uint64_t stored_asked, stored_found, new_keys;
    bool is_watched;
    std::atomic<std::uint64_t> stored;  // of those sent, if they are watched
    std::uint64_t first_key;
    std::atomic<Clock::time_point> first_due;
  };

  struct Sample {
    Clock::time_point time;
    std::chrono::nanoseconds cpu;
    std::chrono::nanoseconds clients_cpu;
    std::vector<std::uint64_t> batches;
  };

  class Client {
   public:
    Client(const Job& job, std::uint64_t number, const Course& course, Progress& progress)
        : load_(*job.load),
          requests_(*load_.requests),
          replies_(load_.is_replied_to()),
          number_(number),
          first_new_(first_new + (number << 30U)),
          next_new_(first_new_),
          next_request_(job.index * requests_.size() / load_.clients),
          course_(course),
          progress_(progress),
          stream_(requests_.peer(), requests_.operation(), requests_.batch()) {
      if (load_.rate) {
        between_ = load_.between();
        offset_ = between_ * static_cast<std::int64_t>(job.index) / static_cast<std::int64_t>(load_.clients);
      }
    }

    void run() {
      progress_.first_key = first_new_;
      // Not waited for: who has of the core only what others leave may get nothing for long, and at a rate there is no
      // window to fill.
      progress_.is_warm = !replies_ || load_.rate || load_.yields;
      progress_.is_ready = true;
      // Not more often: thirty that look leave nothing of their core to whoever makes the others.
      while (course_.phase == Phase::connect) std::this_thread::sleep_for(std::chrono::milliseconds{1});
      due_ = Clock::now() + offset_;
      progress_.first_due = due_;
      for (Clock::time_point now = Clock::now();;) {
        const bool is_stopping = course_.phase >= Phase::stop;
        // At a rate, what is due is asked however late, or a server that stalls in the end would look the better for
        // it.
        if (!is_stopping || (load_.rate && due_ < course_.measured_until.load())) {
          ask(now);
        } else if (in_flight_.empty() && stream_.unsent() == 0) {
          break;
        }
        if (is_stopping && now > course_.measured_until.load() + std::chrono::seconds{20}) {
          throw std::runtime_error(
              requests_.peer().name() + " left " + std::to_string(in_flight_.size()) + " requests without a reply");
        }
        const std::uint64_t done = stream_.advance();
        now = Clock::now();
        if (done > 0) {
          note(done, now);
        } else if (replies_ || stream_.unsent() > 0 || load_.rate) {
          stream_.wait(time_to_sleep(now));
          now = Clock::now();
        }
      }
      check();
      progress_.stored_asked = asked_.stored;
      progress_.stored_found = stream_.tally().stored + stream_.tally().found;
      progress_.new_keys = next_new_ - first_new_;
      // A client that has of its core only what others leave may have come to nothing.
      const bool has_stored = next_new_ > first_new_;
      if (!replies_ && load_.checked && has_stored) wait_until_stored(requests_.peer(), next_new_ - 1);
      progress_.is_done = true;
      while (course_.phase != Phase::tidy_up) std::this_thread::sleep_for(std::chrono::milliseconds{1});
      tidy_up();
    }

   private:
    static constexpr std::size_t most_unsent = std::size_t{1} << 18U;

    void ask(Clock::time_point now) {
      const Clock::time_point due = std::min(now, course_.measured_until.load());
      while (stream_.unsent() < most_unsent && (load_.rate ? due_ <= due : in_flight_.size() < load_.window)) {
        const Asked asked = requests_.append(next_request_++, number_, ++sent_, next_new_, stream_.out());
        asked_.fresh += asked.fresh;
        asked_.stored += asked.stored;
        asked_.leased += asked.leased;
        const Clock::time_point since = std::exchange(due_, due_ + between_);
        if (replies_) {
          in_flight_.push_back(load_.rate ? since : now);
        } else {
          progress_.batches.fetch_add(1, std::memory_order_relaxed);
        }
      }
    }

    void note(std::uint64_t done, Clock::time_point now) {
      for (std::uint64_t i = 0; i < done; ++i) {
        if (in_flight_.empty()) throw std::runtime_error(requests_.peer().name() + " replied more than was asked");
        if (course_.measures(in_flight_.front())) progress_.latency.add(now - in_flight_.front());
        in_flight_.pop_front();
      }
      const std::uint64_t before = progress_.batches.fetch_add(done, std::memory_order_relaxed);
      if (before < load_.window && before + done >= load_.window) progress_.is_warm = true;
    }

    std::optional<std::chrono::nanoseconds> time_to_sleep(Clock::time_point now) const {
      constexpr std::chrono::nanoseconds most = std::chrono::milliseconds{100};
      if (!load_.rate || due_ >= course_.measured_until.load()) return most;
      return std::clamp<std::chrono::nanoseconds>(due_ - now, std::chrono::nanoseconds{0}, most);
    }

    /// Every reply must have said what is true.
    void check() const {
      const Tally& got = stream_.tally();
      if (!replies_ || !load_.checked) return;
      bool right = got.keys() == asked_.fresh + asked_.stored + asked_.leased;
      if (requests_.peer().decides()) {
        if (requests_.operation() == Operation::claim) {
          right = right && got.granted == asked_.fresh &&
                  (got.taken > 0 || (got.stored == asked_.stored && got.leased == asked_.leased));
        } else if (requests_.operation() == Operation::match) {
          right = right && got.found == asked_.stored;
        }
      }
      if (!right) {
        throw std::runtime_error(
            requests_.peer().name() + " answered wrongly: asked for " + std::to_string(asked_.fresh) + " new, " +
            std::to_string(asked_.stored) + " stored, " + std::to_string(asked_.leased) + " leased keys, got " +
            std::to_string(got.granted) + " granted, " + std::to_string(got.stored) + " stored, " +
            std::to_string(got.leased) + " leased, " + std::to_string(got.taken) + " taken, " +
            std::to_string(got.found) + " found");
      }
    }

    void tidy_up() const {
      const Range made{first_new_, next_new_ - first_new_};
      if (made.count == 0 || !load_.tidies_up || !requests_.peer().decides()) return;
      const bool stores = requests_.operation() == Operation::store;
      const Tally tally = sweep(requests_.peer(), stores ? Operation::remove : Operation::release, made, number_);
      if (load_.checked && tally.done != made.count) {
        throw std::runtime_error(requests_.peer().name() + " lost " + std::to_string(made.count - tally.done) + " of " +
                                 std::to_string(made.count) + " keys");
      }
    }

    const Load& load_;
    const Requests& requests_;
    bool replies_;
    std::uint64_t number_;
    std::uint64_t first_new_;
    std::uint64_t next_new_;
    std::size_t next_request_;
    const Course& course_;
    Progress& progress_;
    Stream stream_;
    std::chrono::nanoseconds between_{};
    std::chrono::nanoseconds offset_{};
    Clock::time_point due_;
    std::deque<Clock::time_point> in_flight_;  // when they were sent, or due
    std::uint64_t sent_ = 0;
    Asked asked_;
  };

  /// Until all that a client sent is stored. A latency so includes the question.
  void watch(const Load& load, std::uint64_t number, Progress& progress) const {
    if (!load.requests->are_new()) throw std::runtime_error("of what is not replied to only new keys can be watched");
    StoredWatch watch(load.requests->peer(), load.requests->batch(), progress.first_key, number);
    Clock::time_point last_progress = Clock::now();
    for (std::uint64_t stored = 0; !progress.is_done || stored < progress.batches;) {
      const std::uint64_t before = std::exchange(stored, watch.look(progress.batches));
      const Clock::time_point now = Clock::now();
      for (std::uint64_t i = before; load.rate && i < stored; ++i) {
        const auto due = progress.first_due.load() + load.between() * static_cast<std::int64_t>(i);
        if (course_->measures(due)) progress.latency.add(now - due);
      }
      progress.stored = stored;
      if (stored > before) last_progress = now;
      if (progress.is_done && now - last_progress > std::chrono::minutes{1}) {
        throw std::runtime_error("of " + std::to_string(progress.batches) + " batches only " + std::to_string(stored) +
                                 " were found stored, and no more for a minute: evicted, or refused?");
      }
      // A rate is about each batch, otherwise it is about their number.
      std::this_thread::sleep_for(load.rate ? std::chrono::microseconds{200} : std::chrono::milliseconds{2});
    }
  }

  template <class Predicate>
  static void wait_for_all(std::vector<Process>& clients, const Shared<Progress>& progress, Predicate predicate) {
    const Clock::time_point end = Clock::now() + std::chrono::minutes{3};
    for (std::size_t i = 0; i < clients.size(); ++i) {
      while (!predicate(progress[i])) {
        if (clients[i].ended()) throw std::runtime_error("a client failed");
        if (Clock::now() > end) throw std::runtime_error("a client got nowhere for 3 minutes");
        std::this_thread::sleep_for(std::chrono::microseconds{100});
      }
    }
  }

  static Sample sample(const Process& server, const std::vector<Process>& clients, const std::vector<Process>& watches,
                       const Shared<Progress>& progress) {
    Sample sample{Clock::now(), server.cpu_time(), {}, {}};
    for (const auto* processes : {&clients, &watches}) {
      for (const Process& process : *processes) sample.clients_cpu += process.cpu_time();
    }
    for (std::size_t i = 0; i < progress.size(); ++i) {
      sample.batches.push_back(progress[i].is_watched ? progress[i].stored : progress[i].batches);
    }
    return sample;
  }

  static std::vector<Result> results(const std::vector<Load>& loads, const Shared<Progress>& progress,
                                     const Sample& before, const Sample& after) {
    const double time = seconds(after.time - before.time);
    const double cpu = seconds(after.cpu - before.cpu);
    std::vector<Result> results;
    double all_keys = 0;
    std::size_t i = 0;
    for (const Load& load : loads) {
      Result result;
      std::uint64_t batches = 0;
      std::uint64_t stored_asked = 0;
      std::uint64_t stored_found = 0;
      for (std::size_t last = i + load.clients; i < last; ++i) {
        batches += after.batches[i] - before.batches[i];
        result.latency.add(progress[i].latency);
        stored_asked += progress[i].stored_asked;
        stored_found += progress[i].stored_found;
        result.new_keys += progress[i].new_keys;
      }
      if (stored_asked > 0) result.stored_found = static_cast<double>(stored_found) / static_cast<double>(stored_asked);
      const double keys = static_cast<double>(batches * load.requests->batch());
      all_keys += keys;
      result.keys_per_second = keys / time;
      results.push_back(result);
    }
    for (Result& result : results) {
      result.busy = cpu / time;
      result.clients_busy = seconds(after.clients_cpu - before.clients_cpu) / time;
      result.from = before.time;
      result.to = after.time;
      result.cpu_ns_per_key = all_keys > 0 ? 1e9 * cpu / all_keys : 0;
    }
    return results;
  }

  std::chrono::nanoseconds measured_;
  std::chrono::nanoseconds warm_up_;
  Shared<Course> course_;
  /// Of all generators: a server takes what a client of the same number sends for what it has had.
  static inline std::uint64_t clients_made_ = 1;
};

}  // namespace bench
