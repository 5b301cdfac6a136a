// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <concepts>
#include <functional>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <registry/bytes.hpp>
#include <registry/codec.hpp>
#include <registry/core/hub_core.hpp>
#include <registry/core/hub_namespaces.hpp>
#include <registry/core/instant.hpp>
#include <registry/core/options.hpp>
#include <registry/core/peer_name.hpp>
#include <registry/core/reports.hpp>
#include <registry/detail/counter.hpp>
#include <registry/envelope.hpp>
#include <registry/eviction.hpp>
#include <registry/message.hpp>
#include <registry/stats.hpp>
#include <registry/transport/transport.hpp>

namespace registry {

/// The hub: a catalogue and its leases, served over a transport. Make one with `hub<K, V, M>(storage)...build()`; any
/// number may live in one process. A hub belongs to the thread that serves it; `stop`, `stats` and `namespaces` are for
/// any thread. Its core is a HubCore, which is one namespace, or HubNamespaces.
template <Eviction P, class C = BinaryCodec<typename P::key_type, typename P::value_type, typename P::metadata_type>,
          class HubCoreType = HubCore<P, C>>
class RegistryHub {
 public:
  using Core = HubCoreType;
  using key_type = typename P::key_type;
  using value_type = typename P::value_type;
  using metadata_type = typename P::metadata_type;
  static constexpr bool has_namespaces = std::same_as<Core, HubNamespaces<P, C>>;

  /// Of what the core is made of: a policy or a function that makes one, the options, the hooks for what leaves and for
  /// what is refused.
  template <class Source, class Hook = EvictionHook<key_type, value_type, metadata_type>>
    requires std::constructible_from<Core, Source, HubOptions, Hook>
  RegistryHub(Source source, HubOptions options, Hook on_evict = {},
              RefusalHook<key_type, value_type, metadata_type> on_refused = {})
      : state_(std::make_unique<State>(
            std::move(source), std::move(options), std::move(on_evict), std::move(on_refused))) {}

  /// Answers until `stop` is called; what has arrived by then is still answered, what waits is refused. Throws
  /// RegistryError{TransportError} if the transport fails. Called by one thread at a time.
  template <HubTransport T>
  void serve(T& transport) {
    const Serving serving(*state_, transport);
    Core& core = state_->core;
    LeaseClock clock(transport.now().lease, core.options().stall_tolerance);
    // The lease clock goes on from where an earlier `serve` left it: leases granted then keep their time.
    const auto offset = state_->lease_now.value_or(clock.now()) - clock.now();
    const auto send = [&](ByteView recipient, Frames envelope, ByteView message) {
      return transport.send(recipient, envelope, message);
    };
    Instant now{};
    const auto turn = [&](std::optional<std::chrono::nanoseconds> asked) {
      const Instant time = transport.now();
      now = {clock.advance(time.lease, asked) + offset, time.wall};
      state_->lease_now = now.lease;
    };
    turn(std::chrono::nanoseconds::zero());
    core.tick(now, send);
    // Every message in its own time: one handled in the time of the turn's beginning would have been answered before it
    // was sent, and what it is granted would end before its sender expects it.
    const auto message_time = [&]() -> const Instant& {
      turn(std::chrono::nanoseconds::zero());
      return now;
    };
    Handler handler{*state_, message_time, send};
    while (!state_->stopping.load(std::memory_order_acquire)) {
      const auto asked = time_to_sleep(core, now.lease);
      transport.wait(asked);
      turn(asked);
      transport.drain(handler);
      core.tick(now, send);
    }
    // A drain is bounded, and so is the time for answering those who do not stop asking.
    const SteadyTime end = transport.now().lease + farewell;
    do {
      handler.idle = true;
      turn(std::chrono::nanoseconds::zero());
      transport.drain(handler);
    } while (!handler.idle && transport.now().lease < end);
    core.end_waiting(now, send);
  }

  /// Ends `serve`, or the next one if none is running; it returns when it has answered what had arrived.
  void stop() {
    state_->stopping.store(true, std::memory_order_release);
    const std::lock_guard lock(state_->mutex);
    if (state_->interrupt) state_->interrupt();
  }

  /// A consistent-enough picture: every number is exact, though not all are of the same instant.
  HubStats stats() const noexcept {
    HubStats stats = state_->core.stats();
    stats.denied = state_->denied.load();
    return stats;
  }

  /// The numbers of one namespace, or nothing if it has not been made.
  std::optional<HubStats> stats(std::string_view name) const
    requires has_namespaces
  {
    return state_->core.stats(name);
  }

  /// The names of the namespaces that have been made, in alphabetical order.
  std::vector<std::string> namespaces() const
    requires has_namespaces
  {
    return state_->core.namespaces();
  }

  /// The core, for those who bring messages and time themselves: the in-process transport does. On the hub's thread.
  Core& core() noexcept { return state_->core; }

 private:
  struct State {
    template <class Source, class Hook, class Refusal>
    State(Source source, HubOptions options, Hook on_evict, Refusal on_refused)
        : core(std::move(source), incarnated(std::move(options)), std::move(on_evict), std::move(on_refused)),
          reports(core.options().log) {}

    static HubOptions incarnated(HubOptions options) {
      if (options.incarnation == 0) options.incarnation = ClientId::random().low;
      return options;
    }

    Core core;
    Reports reports;
    detail::Counter denied;
    std::optional<SteadyTime> lease_now;  // where the last `serve` left the lease clock
    std::atomic<bool> stopping = false;
    std::mutex mutex;
    std::function<void()> interrupt;
  };

  /// Makes the transport known to `stop` for as long as it is served.
  class Serving {
   public:
    template <class T>
    Serving(State& state, T& transport) : state_(state) {
      const std::lock_guard lock(state_.mutex);
      state_.interrupt = [&transport] { transport.interrupt(); };
    }
    Serving(const Serving&) = delete;
    Serving& operator=(const Serving&) = delete;
    ~Serving() {
      const std::lock_guard lock(state_.mutex);
      state_.interrupt = nullptr;
      state_.stopping.store(false, std::memory_order_release);
    }

   private:
    State& state_;
  };

  static constexpr std::chrono::seconds farewell{1};
  /// While something has a deadline: of a time in which the hub cannot run, the sleep that it meant to have counts.
  static constexpr std::chrono::milliseconds longest_sleep{100};

  template <class Now, class Send>
  struct Handler {
    State& state;
    const Now& now;
    const Send& send;
    bool idle = true;
    Bytes refusal{};

    void query(ByteView sender, Frames envelope, ByteView message) {
      idle = false;
      state.core.query(sender, envelope, message, now(), send);
    }
    void registration(const PeerName& sender, std::optional<ByteView> envelope, ByteView message) {
      idle = false;
      state.core.registration(sender, envelope, message, now(), send);
    }
    void malformed(std::string_view sender, std::string_view why) {
      idle = false;
      state.core.malformed(sender, why, now());
    }
    void denied_query(ByteView sender, Frames envelope, const PeerName& peer, std::string_view name_space) try {
      idle = false;
      state.denied.add();
      report("a query", peer, name_space);
      C::encode_text(MessageType::error_response, why(name_space), refusal);
      send(sender, envelope, ByteView{refusal});
    } catch (const std::bad_alloc&) {
      state.reports.add_no_memory(now().lease);
    }
    void denied_registration(const PeerName& peer, ByteView message, std::string_view name_space) try {
      idle = false;
      state.denied.add();
      report("a registration", peer, name_space);
      state.core.denied(name_space, message, HubError{why(name_space)}, now());
    } catch (const std::bad_alloc&) {
      state.reports.add_no_memory(now().lease);
    }

   private:
    static std::string why(std::string_view name_space) {
      return std::string{key_may_not_use} + " \"" + std::string{name_space} + "\"";
    }
    void report(const char* what, const PeerName& peer, std::string_view name_space) {
      state.reports.add(
          now().lease, std::string{what} + " from " + std::string{peer} + " was denied: " + why(name_space));
    }
  };

  template <class Now, class Send>
  Handler(State&, const Now&, const Send&) -> Handler<Now, Send>;

  static std::optional<std::chrono::nanoseconds> time_to_sleep(const Core& core, SteadyTime now) {
    const auto deadline = core.next_deadline();
    if (!deadline) return std::nullopt;
    return std::clamp<std::chrono::nanoseconds>(*deadline <= now ? SteadyTime::duration::zero() : *deadline - now,
                                                std::chrono::nanoseconds::zero(), longest_sleep);
  }

  std::unique_ptr<State> state_;
};

}  // namespace registry
