// SPDX-License-Identifier: Apache-2.0
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <type_traits>
#include <utility>

#include <registry/bytes.hpp>
#include <registry/core/instant.hpp>
#include <registry/core/peer_name.hpp>
#include <registry/error.hpp>
#include <registry/metadata.hpp>
#include <registry/transport/in_process.hpp>
#include <registry/transport/transport.hpp>
#include <registry/transport/zmq.hpp>
#include <registry/transport/zmq_hub.hpp>
#include <registry/undelivered.hpp>

namespace {

using namespace registry;
using std::chrono::nanoseconds;

struct GoodHandler {
  void query(ByteView, Frames, ByteView) {}
  void registration(std::string_view, std::optional<ByteView>, ByteView) {}
  void malformed(std::string_view, std::string_view) {}
  void denied_query(ByteView, Frames, const PeerName&, std::string_view) {}
  void denied_registration(const PeerName&, ByteView, std::string_view) {}
};
static_assert(HubHandler<GoodHandler>);

struct NoMalformed {
  void query(ByteView, Frames, ByteView) {}
  void registration(std::string_view, std::optional<ByteView>, ByteView) {}
  void denied_query(ByteView, Frames, const PeerName&, std::string_view) {}
  void denied_registration(const PeerName&, ByteView, std::string_view) {}
};
static_assert(!HubHandler<NoMalformed>);

// Whom a transport knows by a key may have asked for a namespace that the key may not use.
struct CannotDeny {
  void query(ByteView, Frames, ByteView) {}
  void registration(std::string_view, std::optional<ByteView>, ByteView) {}
  void malformed(std::string_view, std::string_view) {}
};
static_assert(!HubHandler<CannotDeny>);

// A registration may have no second frame.
struct InsistsOnSecondFrame : GoodHandler {
  void registration(std::string_view, ByteView, ByteView) {}
};
static_assert(!HubHandler<InsistsOnSecondFrame>);

// The envelope may have any number of frames.
struct OneEnvelopeFrame : GoodHandler {
  void query(ByteView, ByteView, ByteView) {}
};
static_assert(!HubHandler<OneEnvelopeFrame>);
static_assert(!HubHandler<int>);

struct GoodHub {
  Instant now() { return {}; }
  void wait(std::optional<nanoseconds>) {}
  template <HubHandler H>
  void drain(H&) {}
  bool send(ByteView, Frames, ByteView) { return true; }
  void interrupt() noexcept {}
};
static_assert(HubTransport<GoodHub>);
static_assert(HubTransport<ZmqHubTransport>);
static_assert(!HubTransport<ZmqTransport>);
static_assert(!HubTransport<const ZmqHubTransport>);

// Called where nothing may be thrown: while a hub is being stopped.
struct InterruptThrows : GoodHub {
  void interrupt() {}
};
static_assert(!HubTransport<InterruptThrows>);

// Whether the recipient was reached decides whether a lease stays.
struct SendSaysNothing : GoodHub {
  void send(ByteView, Frames, ByteView) {}
};
static_assert(!HubTransport<SendSaysNothing>);

struct SendSaysHowMuch : GoodHub {
  int send(ByteView, Frames, ByteView) { return 0; }
};
static_assert(!HubTransport<SendSaysHowMuch>);

// Entries with a ttl end by the wall clock, leases by one that never goes back.
struct OneClock : GoodHub {
  SteadyTime now() { return {}; }
};
static_assert(!HubTransport<OneClock>);

// A hub with nothing to wait for waits without a timeout.
struct AlwaysTimesOut : GoodHub {
  void wait(nanoseconds) {}
};
static_assert(!HubTransport<AlwaysTimesOut>);

struct DrainsOnlyItsOwn : GoodHub {
  void drain(GoodHandler&) {}
};
static_assert(!HubTransport<DrainsOnlyItsOwn>);

struct GoodExchange {
  ByteView envelope() { return {}; }
  ByteView message() { return {}; }
  bool accept(Frames) { return true; }
  std::optional<std::pair<Bytes, Bytes>> withdrawal() { return std::nullopt; }
  bool keep_connection() { return true; }
  bool waits() { return false; }
  bool ask_again() { return false; }
};
static_assert(Exchange<GoodExchange>);

// What arrives may be somebody else's answer.
struct AcceptsAnything : GoodExchange {
  void accept(Frames) {}
};
static_assert(!Exchange<AcceptsAnything>);

// There may be nothing to give back.
struct AlwaysWithdraws : GoodExchange {
  std::pair<Bytes, Bytes> withdrawal() { return {}; }
};
static_assert(!Exchange<AlwaysWithdraws>);

// Frames that point into what is gone by the time they are sent.
struct WithdrawsViews : GoodExchange {
  std::optional<std::pair<ByteView, ByteView>> withdrawal() { return std::nullopt; }
};
static_assert(!Exchange<WithdrawsViews>);

struct NoEnvelope {
  ByteView message() { return {}; }
  bool accept(Frames) { return true; }
  std::optional<std::pair<Bytes, Bytes>> withdrawal() { return std::nullopt; }
  bool keep_connection() { return true; }
  bool waits() { return false; }
  bool ask_again() { return false; }
};
static_assert(!Exchange<NoEnvelope>);

struct GoodTransport {
  SteadyTime now() { return {}; }
  template <Exchange E>
  std::optional<Error> exchange(E&, SteadyTime) {
    return std::nullopt;
  }
  void post(ByteView, ByteView, const DropHandler&) noexcept {}
  bool push(ByteView, ByteView, SteadyTime) { return true; }
  void start(TickHandler) {}
  void wake_at(SteadyTime) {}
  void stop() {}
  void close(nanoseconds) {}
};
static_assert(BlockingTransport<GoodTransport> && Transport<GoodTransport>);
static_assert(BlockingTransport<InProcessTransport>);
static_assert(BlockingTransport<ZmqTransport> && Transport<ZmqTransport>);
static_assert(!BlockingTransport<ZmqHubTransport> && !Transport<ZmqHubTransport>);
static_assert(!AsyncTransport<ZmqTransport>);

struct GoodAsyncTransport {
  struct executor_type {};
  executor_type get_executor() { return {}; }
  template <class Core>
  struct Driver {
    Driver(GoodAsyncTransport, ClientOptions, LossHook<std::uint64_t, std::uint64_t, NoMetadata>);
  };
};
static_assert(AsyncTransport<GoodAsyncTransport> && Transport<GoodAsyncTransport>);

struct AsyncWithoutExecutor {
  template <class Core>
  struct Driver {
    Driver(AsyncWithoutExecutor, ClientOptions, LossHook<std::uint64_t, std::uint64_t, NoMetadata>);
  };
};
static_assert(!AsyncTransport<AsyncWithoutExecutor>);

struct AsyncWithoutDriver {
  struct executor_type {};
  executor_type get_executor() { return {}; }
};
static_assert(!AsyncTransport<AsyncWithoutDriver> && !Transport<AsyncWithoutDriver>);

struct DriverOfAnotherTransport {
  struct executor_type {};
  executor_type get_executor() { return {}; }
  template <class Core>
  struct Driver {
    Driver(GoodAsyncTransport, ClientOptions, LossHook<std::uint64_t, std::uint64_t, NoMetadata>);
  };
};
static_assert(!AsyncTransport<DriverOfAnotherTransport>);

// What is lost has to be told to somebody.
struct CannotReportLosses : GoodAsyncTransport {
  template <class Core>
  struct Driver {
    Driver(CannotReportLosses, ClientOptions);
  };
};
static_assert(!AsyncTransport<CannotReportLosses>);

struct ForeignExecutor : GoodAsyncTransport {
  int get_executor() { return 0; }
};
static_assert(!AsyncTransport<ForeignExecutor>);

struct PinnedAsync : GoodAsyncTransport {
  PinnedAsync() = default;
  PinnedAsync(const PinnedAsync&) = delete;
  PinnedAsync& operator=(const PinnedAsync&) = delete;
};
static_assert(!AsyncTransport<PinnedAsync>);

// At the high-water mark the entries stay with the caller: it must be told.
struct PushSaysNothing : GoodTransport {
  void push(ByteView, ByteView, SteadyTime) {}
};
static_assert(!BlockingTransport<PushSaysNothing>);

// A registration has somewhere to wait, but not for ever.
struct PushWithoutDeadline : GoodTransport {
  bool push(ByteView, ByteView) { return true; }
};
static_assert(!BlockingTransport<PushWithoutDeadline>);

// A claim that ends while an exception passes through posts what it gives back.
struct PostMayThrow : GoodTransport {
  void post(ByteView, ByteView, const DropHandler&) {}
};
static_assert(!BlockingTransport<PostMayThrow>);

struct ExchangeSaysWhether : GoodTransport {
  template <Exchange E>
  bool exchange(E&, SteadyTime) {
    return true;
  }
};
static_assert(!BlockingTransport<ExchangeSaysWhether>);

struct WallClock : GoodTransport {
  WallTime now() { return {}; }
};
static_assert(!BlockingTransport<WallClock>);

struct ClosesWhenItLikes : GoodTransport {
  void close() {}
};
static_assert(!BlockingTransport<ClosesWhenItLikes>);

// A client owns its transport.
struct Pinned : GoodTransport {
  Pinned() = default;
  Pinned(const Pinned&) = delete;
  Pinned& operator=(const Pinned&) = delete;
};
static_assert(!BlockingTransport<Pinned>);
static_assert(!BlockingTransport<const ZmqTransport>);
static_assert(!BlockingTransport<std::unique_ptr<ZmqTransport>>);

// Two owners of one socket would be two threads in it.
static_assert(!std::is_copy_constructible_v<ZmqTransport> && std::is_nothrow_move_constructible_v<ZmqTransport>);
static_assert(!std::is_copy_constructible_v<ZmqHubTransport> && std::is_nothrow_move_constructible_v<ZmqHubTransport>);
static_assert(std::is_nothrow_move_assignable_v<ZmqTransport> && std::is_nothrow_move_assignable_v<ZmqHubTransport>);

}  // namespace
