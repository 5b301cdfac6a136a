// SPDX-License-Identifier: Apache-2.0
#include "support/catch.hpp"
#include "zmq/sockets.hpp"

#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <future>
#include <memory>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include <registry/core/peer_name.hpp>
#include <registry/error.hpp>
#include <registry/transport/zmq.hpp>
#include <registry/transport/zmq_hub.hpp>

using namespace registry;
using namespace zmq_test;

namespace {

SteadyTime soon() { return steady_now() + limit; }

/// A hub on a thread of its own that answers every query with "re: " and the message, and counts who asked.
class EchoHub {
 public:
  explicit EchoHub(ZmqHubConfig config = local_hub()) : transport_(ZmqHubTransport::bind(std::move(config))) {
    thread_ = std::thread([this] {
      while (!stopping_) {
        transport_.wait(std::nullopt);
        transport_.drain(*this);
      }
    });
  }
  EchoHub(const EchoHub&) = delete;
  EchoHub& operator=(const EchoHub&) = delete;
  ~EchoHub() { stop(); }

  const ZmqEndpoints& endpoints() const { return transport_.endpoints(); }

  void stop() {
    if (!thread_.joinable()) return;
    stopping_ = true;
    transport_.interrupt();
    thread_.join();
  }

  /// After `stop`.
  const std::set<std::string>& senders() const { return senders_; }

  void query(ByteView sender, Frames envelope, ByteView message) {
    senders_.insert(text(sender));
    const std::string reply = "re: " + text(message);
    transport_.send(sender, envelope, as_bytes(reply));
  }
  void registration(std::string_view, std::optional<ByteView>, ByteView) {}
  void malformed(std::string_view, std::string_view) {}
  void denied_query(ByteView, Frames, const PeerName&, std::string_view) {}
  void denied_registration(const PeerName&, ByteView, std::string_view) {}

 private:
  ZmqHubTransport transport_;
  std::atomic<bool> stopping_ = false;
  std::set<std::string> senders_;
  std::thread thread_;
};

/// What `call` throws as a RegistryError; none fails the test.
template <class Call>
Error cause_of(Call call) {
  try {
    call();
  } catch (const RegistryError& error) {
    return error.error();
  }
  return Unsupported{"no error"};
}

template <class Case>
bool is(const std::optional<Error>& error) {
  return error && std::holds_alternative<Case>(*error);
}

/// Runs a call on a thread of its own. The call must end by itself.
template <class Call>
auto in_background(Call call) {
  return std::async(std::launch::async, std::move(call));
}

template <class T>
bool is_done(const std::future<T>& future) {
  return future.wait_for(limit) == std::future_status::ready;
}

bool has_ipv6() {
  const int descriptor = socket(AF_INET6, SOCK_STREAM, 0);
  if (descriptor < 0) return false;
  sockaddr_in6 address{};
  address.sin6_family = AF_INET6;
  address.sin6_addr = in6addr_loopback;
  const int result = bind(descriptor, reinterpret_cast<const sockaddr*>(&address), sizeof address);
  close(descriptor);
  return result == 0;
}

}  // namespace

TEST_CASE("a query is answered") {
  const bool ipc = GENERATE(false, true);
  SocketDirectory directory;
  const EchoHub hub(ipc ? directory.hub() : local_hub());
  auto transport = ZmqTransport::connect(to_hub(hub.endpoints()));
  for (int i = 0; i < 3; ++i) {
    const std::string number = std::to_string(i);
    Query asked = query("id " + number, "question " + number);
    CHECK_FALSE(transport.exchange(asked, soon()));
    CHECK(asked.answer == "re: question " + number);
    CHECK(asked.rejected == 0);
    CHECK(asked.withdrawals == 0);
  }
}

TEST_CASE("a large query and a large answer arrive whole") {
  const EchoHub hub;
  auto transport = ZmqTransport::connect(to_hub(hub.endpoints()));
  const std::string large(3'000'000, 'x');
  Query asked = query("id", large);
  CHECK_FALSE(transport.exchange(asked, soon()));
  CHECK(asked.answer == "re: " + large);
}

TEST_CASE("connect_to finds the hub by host and ports") {
  const EchoHub hub;
  auto transport = ZmqTransport::connect_to(
      "127.0.0.1", port_of(hub.endpoints().query_addr), port_of(hub.endpoints().register_addr));
  Query asked = query("id", "question");
  CHECK_FALSE(transport.exchange(asked, soon()));
  CHECK(asked.answer == "re: question");
}

TEST_CASE("connect_to finds a hub by its IPv6 address") {
  if (!has_ipv6()) {
    WARN("this machine has no IPv6: nothing was tested");
    SUCCEED();
    return;
  }
  ZmqHubConfig config;
  config.query_addr = config.register_addr = "tcp://[::1]:*";
  const EchoHub hub(config);
  for (const char* host : {"::1", "[::1]"}) {
    auto transport =
        ZmqTransport::connect_to(host, port_of(hub.endpoints().query_addr), port_of(hub.endpoints().register_addr));
    Query asked = query("id", "question");
    CHECK_FALSE(transport.exchange(asked, soon()));
    CHECK(asked.answer == "re: question");
  }
}

TEST_CASE("calls one after the other share a connection") {
  EchoHub hub;
  ZmqTransportConfig config = to_hub(hub.endpoints());
  const bool keeps_none = GENERATE(false, true);
  if (keeps_none) config.max_idle_connections = 0;
  auto transport = ZmqTransport::connect(config);
  for (int i = 0; i < 20; ++i) {
    Query asked = query("id", "question");
    REQUIRE_FALSE(transport.exchange(asked, soon()));
  }
  hub.stop();
  CHECK(hub.senders().size() == (keeps_none ? 20 : 1));
}

TEST_CASE("sixteen threads ask at once, each gets its own answers, over no more connections than threads") {
  EchoHub hub;
  auto transport = ZmqTransport::connect(to_hub(hub.endpoints()));
  constexpr int threads = 16;
  constexpr int calls = 200;
  std::atomic<int> right = 0;
  std::vector<std::thread> callers;
  for (int t = 0; t < threads; ++t) {
    callers.emplace_back([&, t] {
      for (int i = 0; i < calls; ++i) {
        const std::string number = std::to_string(t) + "/" + std::to_string(i);
        Query asked = query("id " + number, number);
        if (!transport.exchange(asked, soon()) && asked.answer == "re: " + number && asked.rejected == 0) ++right;
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  hub.stop();
  CHECK(right == threads * calls);
  CHECK(hub.senders().size() <= threads);
}

TEST_CASE("frames that are not the answer are passed over") {
  auto hub = ZmqHubTransport::bind(local_hub());
  auto transport = ZmqTransport::connect(to_hub(hub.endpoints()));
  Recorder recorder;
  Query asked = query("id", "question");
  auto call = in_background([&] { return transport.exchange(asked, soon()); });
  REQUIRE(pump(hub, recorder, [&] { return recorder.total() == 1; }));
  const Bytes sender = bytes(recorder.queries[0].sender);
  const std::vector<ByteView> other{as_bytes("other")};
  const std::vector<ByteView> many(50, as_bytes("many"));
  CHECK(hub.send(sender, {}, as_bytes("alone")));
  CHECK(hub.send(sender, other, as_bytes("not asked for")));
  CHECK(hub.send(sender, many, as_bytes("too many frames to be looked at")));
  CHECK(answer(hub, recorder.queries[0], "answer"));
  REQUIRE(is_done(call));
  CHECK_FALSE(call.get());
  CHECK(asked.answer == "answer");
  CHECK(asked.rejected == 2);
}

TEST_CASE("an answer that comes late, and is thrown away by who posts next, is handed over") {
  auto hub = ZmqHubTransport::bind(local_hub());
  auto transport = ZmqTransport::connect(to_hub(hub.endpoints()));
  Recorder recorder;
  Query asked = query("id", "question");
  REQUIRE(is<Timeout>(transport.exchange(asked, steady_now() + 20ms)));
  REQUIRE(pump(hub, recorder, [&] { return recorder.total() == 1; }));
  CHECK(answer(hub, recorder.queries[0], "late"));
  Parts dropped;
  CHECK(eventually([&] {
    transport.post(as_bytes("nobody's"), as_bytes("post"), [&](Frames frames) {
      for (const ByteView frame : frames) dropped.push_back(text(frame));
    });
    return !dropped.empty();
  }));
  CHECK(dropped == Parts{"id", "late"});
}

TEST_CASE("a query without an answer times out at its deadline, with the time that it was given") {
  auto hub = ZmqHubTransport::bind(local_hub());
  auto transport = ZmqTransport::connect(to_hub(hub.endpoints()));
  // Below and above what is left to libzmq's own waiting.
  for (const auto duration : {5ms, 30ms}) {
    Query asked = query("id", "question");
    const SteadyTime deadline = steady_now() + duration;
    const auto error = transport.exchange(asked, deadline);
    CHECK(steady_now() >= deadline);
    REQUIRE(is<Timeout>(error));
    // In whole milliseconds, rounded up; a machine that is busy starts the call late.
    CHECK(std::get<Timeout>(*error).duration <= duration);
    CHECK(std::get<Timeout>(*error).duration >= std::chrono::ceil<std::chrono::milliseconds>(deadline - asked.started));
    CHECK(asked.withdrawals == 1);
  }
}

TEST_CASE("a deadline that is over means one try, and no time") {
  const EchoHub hub;
  auto transport = ZmqTransport::connect(to_hub(hub.endpoints()));
  for (const SteadyTime deadline : {steady_now(), steady_now() - 1h, SteadyTime::min()}) {
    Query asked = query("id", "question");
    const auto error = transport.exchange(asked, deadline);
    if (error) {
      REQUIRE(is<Timeout>(error));
      CHECK(std::get<Timeout>(*error).duration == 0ms);
      CHECK(asked.withdrawals == 1);
    } else {
      CHECK(asked.answer == "re: question");
    }
  }
  Query asked = query("patient", "question");
  CHECK_FALSE(transport.exchange(asked, SteadyTime::max()));
}

TEST_CASE("frames that are not the answer do not put off the deadline") {
  struct Slow : Query {
    SteadyTime deadline;
    std::shared_future<void> flood;
    int seen = 0;
    bool accept(Frames) {
      ++seen;
      flood.wait();
      while (steady_now() < deadline) std::this_thread::yield();
      return false;
    }
  };
  auto hub = ZmqHubTransport::bind(local_hub());
  auto transport = ZmqTransport::connect(to_hub(hub.endpoints()));
  Recorder recorder;
  std::promise<void> flood;
  Slow asked{query("id", "question"), steady_now() + 200ms, flood.get_future().share()};
  auto call = in_background([&] { return transport.exchange(asked, asked.deadline); });
  REQUIRE(pump(hub, recorder, [&] { return recorder.total() == 1; }));
  for (int i = 0; i < 1'000; ++i) answer(hub, recorder.queries[0], "not the answer");
  flood.set_value();
  REQUIRE(is_done(call));
  CHECK(is<Timeout>(call.get()));
  CHECK(asked.seen == 1);
}

TEST_CASE("a query that timed out is followed by its withdrawal on the same connection") {
  const bool keep = GENERATE(true, false);
  auto hub = ZmqHubTransport::bind(local_hub());
  auto transport = ZmqTransport::connect(to_hub(hub.endpoints()));
  Query asked = query("id", "question");
  asked.keep = keep;
  asked.to_withdraw = {bytes("id of the withdrawal"), bytes("withdrawal")};
  CHECK(is<Timeout>(transport.exchange(asked, steady_now() + 1ms)));
  Query next = query("next id", "next question");
  CHECK(is<Timeout>(transport.exchange(next, steady_now() + 1ms)));

  Recorder recorder;
  REQUIRE(pump(hub, recorder, [&] { return recorder.total() == 3; }));
  std::vector<Recorder::Query> first;
  std::optional<Recorder::Query> second;
  for (const auto& query : recorder.queries) {
    if (query.message == "next question") {
      second = query;
    } else {
      first.push_back(query);
    }
  }
  REQUIRE(first.size() == 2);
  CHECK(first[0].message == "question");
  CHECK(first[0].envelope == Parts{"id"});
  CHECK(first[1].message == "withdrawal");
  CHECK(first[1].envelope == Parts{"id of the withdrawal"});
  CHECK(first[1].sender == first[0].sender);
  REQUIRE(second);
  CHECK((second->sender == first[0].sender) == keep);
}

TEST_CASE("an answer that comes late is not taken for a later one") {
  const bool keep = GENERATE(true, false);
  auto hub = ZmqHubTransport::bind(local_hub());
  auto transport = ZmqTransport::connect(to_hub(hub.endpoints()));
  Recorder recorder;
  // Both queries look alike: where connections are not kept, nothing but the connection tells the answers apart.
  Query first = query(keep ? "first" : "same", "question");
  first.keep = keep;
  CHECK(is<Timeout>(transport.exchange(first, steady_now() + 1ms)));
  REQUIRE(pump(hub, recorder, [&] { return recorder.total() == 1; }));
  Query second = query(keep ? "second" : "same", "question");
  auto call = in_background([&] { return transport.exchange(second, soon()); });
  REQUIRE(pump(hub, recorder, [&] { return recorder.total() == 2; }));
  answer(hub, recorder.queries[0], "late");
  CHECK(answer(hub, recorder.queries[1], "in time"));
  REQUIRE(is_done(call));
  CHECK_FALSE(call.get());
  CHECK(second.answer == "in time");
  CHECK(second.rejected == (keep ? 1 : 0));
}

TEST_CASE("an answer that came while nobody waited does not hide the next one") {
  auto hub = ZmqHubTransport::bind(local_hub());
  auto transport = ZmqTransport::connect(to_hub(hub.endpoints()));
  Recorder recorder;
  for (int i = 0; i < 20; ++i) {
    Query late = query("late", "question");
    CHECK(is<Timeout>(transport.exchange(late, steady_now())));
    REQUIRE(pump(hub, recorder, [&] { return !recorder.queries.empty(); }));
    CHECK(answer(hub, recorder.queries[0], "late"));
    recorder.queries.clear();
    Query asked = query("id", "question");
    auto call = in_background([&] { return transport.exchange(asked, soon()); });
    REQUIRE(pump(hub, recorder, [&] { return !recorder.queries.empty(); }));
    CHECK(answer(hub, recorder.queries[0], "answer"));
    recorder.queries.clear();
    REQUIRE(is_done(call));
    CHECK_FALSE(call.get());
  }
}

TEST_CASE("what accept throws passes through, and the connection goes with it") {
  struct Thrower : Query {
    bool accept(Frames) { throw std::runtime_error("accept"); }
  };
  EchoHub hub;
  auto transport = ZmqTransport::connect(to_hub(hub.endpoints()));
  Thrower thrower{query("id", "question")};
  CHECK_THROWS_WITH(transport.exchange(thrower, soon()), "accept");
  Query asked = query("id", "question");
  CHECK_FALSE(transport.exchange(asked, soon()));
  hub.stop();
  CHECK(hub.senders().size() == 2);
}

TEST_CASE("registrations arrive in order, message first") {
  auto hub = ZmqHubTransport::bind(local_hub());
  auto transport = ZmqTransport::connect(to_hub(hub.endpoints()));
  for (int i = 0; i < 100; ++i) {
    const std::string number = std::to_string(i);
    CHECK(transport.push(as_bytes("message " + number), as_bytes("envelope " + number), steady_now()));
  }
  Recorder recorder;
  REQUIRE(pump(hub, recorder, [&] { return recorder.total() == 100; }));
  REQUIRE(recorder.registrations.size() == 100);
  for (std::size_t i = 0; i < 100; ++i) {
    CHECK(recorder.registrations[i].message == "message " + std::to_string(i));
    CHECK(recorder.registrations[i].second == "envelope " + std::to_string(i));
  }
}

TEST_CASE("with no hub in reach, exactly as many registrations are accepted as the mark says") {
  const bool its_own = GENERATE(false, true);
  ZmqTransportConfig config = to_hub(nowhere());
  config.hwm = 5;
  if (its_own) config.push_hwm = 7;
  auto transport = ZmqTransport::connect(config);
  int accepted = 0;
  while (accepted < 1'000 && transport.push(as_bytes("m"), as_bytes("e"), steady_now())) ++accepted;
  CHECK(accepted == (its_own ? 7 : 5));
  CHECK_FALSE(transport.push(as_bytes("m"), as_bytes("e"), steady_now() - 1s));
  const SteadyTime deadline = steady_now() + 20ms;
  CHECK_FALSE(transport.push(as_bytes("m"), as_bytes("e"), deadline));
  CHECK(steady_now() >= deadline);
}

TEST_CASE("no registration that was accepted is lost while the hub does not read") {
  ZmqHubConfig hub_config = local_hub();
  hub_config.pull_hwm = 10;
  hub_config.heartbeat_interval = 10ms;
  hub_config.heartbeat_timeout = 20ms;
  auto hub = ZmqHubTransport::bind(hub_config);
  ZmqTransportConfig config = to_hub(hub.endpoints());
  config.push_hwm = 100;
  config.heartbeat_interval = 10ms;
  config.heartbeat_timeout = 20ms;
  auto transport = ZmqTransport::connect(config);
  const std::string envelope(10'000, 'x');
  // Until there has been no room for longer than heartbeats would have borne with.
  std::size_t accepted = 0;
  while (transport.push(as_bytes(std::to_string(accepted)), as_bytes(envelope), steady_now() + 200ms)) ++accepted;
  CHECK(accepted > 100);
  Recorder recorder;
  REQUIRE(pump(hub, recorder, [&] { return recorder.total() == accepted; }));
  for (std::size_t i = 0; i < accepted; ++i) REQUIRE(recorder.registrations[i].message == std::to_string(i));
}

TEST_CASE("with no hub in reach, a query waits for room at the mark, and needs no withdrawal if it finds none") {
  const bool at_mark = GENERATE(false, true);
  const bool its_own = GENERATE(false, true);
  ZmqTransportConfig config = to_hub(nowhere());
  // The first query and its withdrawal take two places.
  config.hwm = at_mark ? 2 : 3;
  if (its_own) config.dealer_hwm = std::exchange(config.hwm, at_mark ? 3 : 2);
  auto transport = ZmqTransport::connect(config);
  Query first = query("id", "question");
  first.to_withdraw = {bytes("id"), bytes("withdrawal")};
  CHECK(is<Timeout>(transport.exchange(first, steady_now())));
  CHECK(first.withdrawals == 1);
  Query second = query("id", "question");
  const SteadyTime deadline = steady_now() + 20ms;
  const auto error = transport.exchange(second, deadline);
  CHECK(steady_now() >= deadline);
  CHECK(is<Timeout>(error));
  CHECK(second.withdrawals == (at_mark ? 0 : 1));
}

TEST_CASE("a connection that stands at the mark is not kept, nor one that twice brought no answer") {
  auto hub = ZmqHubTransport::bind(local_hub());
  ZmqTransportConfig config = to_hub(hub.endpoints());
  SECTION("at the mark") {
    config = to_hub(nowhere());
    config.dealer_hwm = 1;
    auto transport = ZmqTransport::connect(config);
    std::string sent;
    for (int i = 0; i < 6; ++i) {
      Query asked = query("id", "question");
      CHECK(is<Timeout>(transport.exchange(asked, steady_now())));
      sent += asked.withdrawals == 1 ? "y" : "n";
    }
    CHECK(sent == "ynynyn");
  }
  SECTION("no answer") {
    auto transport = ZmqTransport::connect(config);
    Recorder recorder;
    for (int i = 0; i < 5; ++i) {
      Query asked = query("id", "question");
      if (i == 1) {
        auto call = in_background([&] { return transport.exchange(asked, soon()); });
        REQUIRE(pump(hub, recorder, [&] { return recorder.queries.size() == 2; }));
        CHECK(answer(hub, recorder.queries[1], "answer"));
        REQUIRE(is_done(call));
        CHECK_FALSE(call.get());
      } else {
        CHECK(is<Timeout>(transport.exchange(asked, steady_now())));
        REQUIRE(pump(hub, recorder, [&] { return recorder.queries.size() == static_cast<std::size_t>(i) + 1; }));
      }
    }
    const auto& queries = recorder.queries;
    CHECK(queries[0].sender == queries[1].sender);
    CHECK(queries[1].sender == queries[2].sender);
    CHECK(queries[2].sender == queries[3].sender);
    CHECK(queries[3].sender != queries[4].sender);
  }
}

TEST_CASE("calls that stand at the mark go on when the hub comes") {
  SocketDirectory directory;
  ZmqTransportConfig config = to_hub({directory.hub().query_addr, directory.hub().register_addr});
  config.hwm = 1;
  config.reconnect_interval = 10ms;
  auto transport = ZmqTransport::connect(config);
  Query unsent = query("unsent", "question");
  CHECK(is<Timeout>(transport.exchange(unsent, steady_now())));
  CHECK(transport.push(as_bytes("first"), as_bytes("envelope"), steady_now()));
  Query asked = query("id", "question");
  auto call = in_background([&] { return transport.exchange(asked, soon()); });
  auto push = in_background([&] { return transport.push(as_bytes("second"), as_bytes("envelope"), soon()); });

  auto hub = ZmqHubTransport::bind(directory.hub());
  Recorder recorder;
  REQUIRE(pump(hub, recorder, [&] { return recorder.queries.size() == 2 && recorder.registrations.size() == 2; }));
  CHECK(recorder.queries[0].envelope == Parts{"unsent"});
  CHECK(recorder.queries[1].envelope == Parts{"id"});
  CHECK(recorder.registrations[0].message == "first");
  CHECK(recorder.registrations[1].message == "second");
  CHECK(answer(hub, recorder.queries[1], "answer"));
  REQUIRE(is_done(call));
  CHECK_FALSE(call.get());
  CHECK(asked.answer == "answer");
  REQUIRE(is_done(push));
  CHECK(push.get());
}

TEST_CASE("close ends a call in progress and still sends its withdrawal") {
  auto hub = ZmqHubTransport::bind(local_hub());
  auto transport = ZmqTransport::connect(to_hub(hub.endpoints()));
  Recorder recorder;
  Query asked = query("id", "question");
  asked.to_withdraw = {bytes("id"), bytes("withdrawal")};
  auto call = in_background([&] { return transport.exchange(asked, soon()); });
  REQUIRE(pump(hub, recorder, [&] { return recorder.total() == 1; }));
  // Beyond libzmq's own waiting: an answer that was passed over is followed by the sleep that close must end.
  if (GENERATE(false, true)) CHECK(hub.send(as_bytes(recorder.queries[0].sender), {}, as_bytes("not the answer")));
  const SteadyTime start = steady_now();
  transport.close(limit);
  CHECK(steady_now() - start < limit);
  REQUIRE(is_done(call));
  CHECK(is<Disconnected>(call.get()));
  REQUIRE(pump(hub, recorder, [&] { return recorder.total() == 2; }));
  CHECK(recorder.queries[1].message == "withdrawal");
  CHECK(recorder.queries[1].sender == recorder.queries[0].sender);
}

TEST_CASE("close ends many calls in progress, whatever they wait for") {
  ZmqTransportConfig config = to_hub(nowhere());
  config.hwm = 1;
  for (int round = 0; round < 10; ++round) {
    auto transport = ZmqTransport::connect(config);
    CHECK(transport.push(as_bytes("m"), as_bytes("e"), steady_now()));
    Query first = query("id", "question");
    CHECK(is<Timeout>(transport.exchange(first, steady_now())));
    std::atomic<int> started = 0;
    std::vector<std::future<bool>> calls;
    for (int i = 0; i < 3; ++i) {
      calls.push_back(in_background([&] {
        Query asked = query("id", "question");
        ++started;
        return is<Disconnected>(transport.exchange(asked, soon()));
      }));
    }
    calls.push_back(in_background([&] {
      ++started;
      return is<Disconnected>(cause_of([&] { transport.push(as_bytes("m"), as_bytes("e"), soon()); }));
    }));
    while (started < 4) std::this_thread::yield();
    transport.close(0ms);
    for (auto& call : calls) {
      REQUIRE(is_done(call));
      CHECK(call.get());
    }
  }
}

TEST_CASE("a closed transport is Disconnected") {
  auto hub = ZmqHubTransport::bind(local_hub());
  auto transport = ZmqTransport::connect(to_hub(hub.endpoints()));
  transport.close(0ms);
  Query asked = query("id", "question");
  CHECK(is<Disconnected>(transport.exchange(asked, soon())));
  CHECK(asked.withdrawals == 0);
  CHECK(is<Disconnected>(cause_of([&] { transport.push(as_bytes("m"), as_bytes("e"), soon()); })));
  transport.close(limit);
}

TEST_CASE("what was handed over before close is still sent, for as long as close was told to linger") {
  SocketDirectory directory;
  auto transport = ZmqTransport::connect(to_hub({directory.hub().query_addr, directory.hub().register_addr}));
  for (int i = 0; i < 1'000; ++i) REQUIRE(transport.push(as_bytes("message"), as_bytes("envelope"), steady_now()));
  auto closing = in_background([&] { transport.close(limit); });
  // Longer than a transport lingers that nobody closes.
  CHECK(closing.wait_for(150ms) == std::future_status::timeout);
  auto hub = ZmqHubTransport::bind(directory.hub());
  Recorder recorder;
  CHECK(pump(hub, recorder, [&] { return recorder.total() == 1'000; }));
  CHECK(is_done(closing));
}

TEST_CASE("a hub out of reach holds up neither close nor the destructor") {
  const SteadyTime start = steady_now();
  {
    auto transport = ZmqTransport::connect(to_hub(nowhere()));
    REQUIRE(transport.push(as_bytes("message"), as_bytes("envelope"), steady_now()));
    Query asked = query("id", "question");
    CHECK(is<Timeout>(transport.exchange(asked, steady_now())));
    const int how = GENERATE(0, 1, 2);
    if (how == 1) transport.close(20ms);
    // libzmq would take -1 for "as long as it takes".
    if (how == 2) transport.close(-1ms);
  }
  CHECK(steady_now() - start < limit);
}

TEST_CASE("a hub that comes late is found after reconnect_interval") {
  const bool patient = GENERATE(false, true);
  SocketDirectory directory;
  ZmqTransportConfig config = to_hub({directory.hub().query_addr, directory.hub().register_addr});
  config.reconnect_interval = config.reconnect_interval_max = patient ? 1h : 10ms;
  auto transport = ZmqTransport::connect(config);
  Query asked = query("id", "question");
  CHECK(is<Timeout>(transport.exchange(asked, steady_now() + 20ms)));
  const EchoHub hub(directory.hub());
  CHECK(transport.exchange(asked, patient ? steady_now() + 300ms : soon()).has_value() == patient);
}

TEST_CASE("a transport can be moved, and replaced") {
  const EchoHub hub;
  auto first = ZmqTransport::connect(to_hub(hub.endpoints()));
  ZmqTransport transport(std::move(first));
  Query asked = query("id", "question");
  CHECK_FALSE(transport.exchange(asked, soon()));
  transport = ZmqTransport::connect(to_hub(hub.endpoints()));
  CHECK_FALSE(transport.exchange(asked, soon()));
  transport.close(0ms);
  transport = ZmqTransport::connect(to_hub(hub.endpoints()));
  CHECK_FALSE(transport.exchange(asked, soon()));
}

TEST_CASE("an address that is none is named with the reason") {
  ZmqTransportConfig config = to_hub(nowhere());
  std::string expected;
  SECTION("queries") {
    config.query_addr = "tcp://nonsense";
    expected = "connect for queries to \"tcp://nonsense\": Invalid argument";
    CHECK(std::get<TransportError>(cause_of([&] { ZmqTransport::connect(config); })).reason == expected);
  }
  SECTION("registrations") {
    config.register_addr = "http://localhost:5556";
    expected = "connect for registrations to \"http://localhost:5556\": Protocol not supported";
    CHECK(std::get<TransportError>(cause_of([&] { ZmqTransport::connect(config); })).reason == expected);
  }
  SECTION("a port that libzmq would take for another") {
    config.query_addr = "tcp://localhost:65536";
    expected = "connect for queries to \"tcp://localhost:65536\": port 65536 is above 65535";
    CHECK(std::get<TransportError>(cause_of([&] { ZmqTransport::connect(config); })).reason == expected);
  }
}

TEST_CASE("marks of 0 are refused by name") {
  ZmqTransportConfig config = to_hub(nowhere());
  SECTION("hwm") {
    config.hwm = 0;
    CHECK(std::get<ConfigError>(cause_of([&] { ZmqTransport::connect(config); })).variable == "hwm");
  }
  SECTION("dealer_hwm") {
    config.dealer_hwm = 0;
    CHECK(std::get<ConfigError>(cause_of([&] { ZmqTransport::connect(config); })).variable == "dealer_hwm");
  }
  SECTION("push_hwm") {
    config.push_hwm = -5;
    CHECK(std::get<ConfigError>(cause_of([&] { ZmqTransport::connect(config); })).variable == "push_hwm");
  }
}

TEST_CASE("an answer above max_message_size is not taken, and the connection that it cost is replaced") {
  const EchoHub hub;
  ZmqTransportConfig config = to_hub(hub.endpoints());
  config.max_message_size = 1'000;
  auto transport = ZmqTransport::connect(config);
  Query large = query("id", std::string(997, 'x'));
  CHECK(is<Timeout>(transport.exchange(large, steady_now() + 50ms)));
  Query asked = query("id", std::string(996, 'x'));
  const SteadyTime end = soon();
  while (transport.exchange(asked, steady_now() + 50ms) && steady_now() < end) {
  }
  CHECK(asked.answer.size() == 1'000);
}

TEST_CASE("transports share a context that is given") {
  const InProcess in_process;
  const ZmqTransportConfig config = in_process.client();
  SECTION("closing one leaves the context to the others") {
    const EchoHub hub(in_process.config);
    auto one = ZmqTransport::connect(config);
    auto two = ZmqTransport::connect(config);
    Query asked = query("id", "question");
    CHECK_FALSE(one.exchange(asked, soon()));
    one.close(limit);
    CHECK_FALSE(two.exchange(asked, soon()));
  }
  SECTION("a context that is terminated ends a call in progress") {
    auto hub = ZmqHubTransport::bind(in_process.config);
    auto transport = ZmqTransport::connect(config);
    Recorder recorder;
    Query asked = query("id", "question");
    auto call = in_background([&] { return transport.exchange(asked, soon()); });
    REQUIRE(pump(hub, recorder, [&] { return recorder.total() == 1; }));
    in_process.context->shutdown();
    REQUIRE(is_done(call));
    CHECK(is<Disconnected>(call.get()));
    CHECK(is<Disconnected>(cause_of([&] { transport.push(as_bytes("m"), as_bytes("e"), soon()); })));
    transport.close(limit);
  }
}

TEST_CASE("no more sockets is an error of that call") {
  const InProcess in_process;
  // The hub's two, one for queries, one for registrations, and two for watching that.
  in_process.context->set(zmq::ctxopt::max_sockets, 6);
  const ZmqTransportConfig config = in_process.client();
  auto hub = ZmqHubTransport::bind(in_process.config);
  auto transport = ZmqTransport::connect(config);
  Recorder recorder;
  Query first = query("id", "question");
  auto call = in_background([&] { return transport.exchange(first, soon()); });
  REQUIRE(pump(hub, recorder, [&] { return recorder.total() == 1; }));
  Query second = query("id", "question");
  const auto error = transport.exchange(second, soon());
  REQUIRE(is<TransportError>(error));
  CHECK(std::get<TransportError>(*error).reason == "open a ZeroMQ socket: Too many open files");
  CHECK(answer(hub, recorder.queries[0], "answer"));
  REQUIRE(is_done(call));
  CHECK_FALSE(call.get());
  // The call that failed is not waited for.
  transport.close(0ms);
}

TEST_CASE("signals disturb neither calls nor the hub") {
  struct sigaction action{};
  struct sigaction before{};
  action.sa_handler = [](int) {};  // without SA_RESTART
  sigaction(SIGUSR1, &action, &before);
  {
    const EchoHub hub;
    auto transport = ZmqTransport::connect(to_hub(hub.endpoints()));
    std::atomic<int> right = 0;
    std::atomic<bool> done = false;
    std::atomic<bool> may_end = false;
    std::thread caller([&] {
      for (int i = 0; i < 500; ++i) {
        Query asked = query("id " + std::to_string(i), "question");
        if (!transport.exchange(asked, soon()) && transport.push(as_bytes("m"), as_bytes("e"), soon())) ++right;
      }
      done = true;
      while (!may_end) std::this_thread::yield();
    });
    while (!done) {
      pthread_kill(caller.native_handle(), SIGUSR1);
      std::this_thread::yield();
    }
    may_end = true;
    caller.join();
    CHECK(right == 500);
  }
  sigaction(SIGUSR1, &before, nullptr);
}

TEST_CASE("signals do not put off a deadline") {
  struct sigaction action{};
  struct sigaction before{};
  action.sa_handler = [](int) {};  // without SA_RESTART
  sigaction(SIGUSR1, &action, &before);
  const auto hub = ZmqHubTransport::bind(local_hub());
  auto transport = ZmqTransport::connect(to_hub(hub.endpoints()));
  std::atomic<bool> done = false;
  std::atomic<bool> may_end = false;
  std::optional<Error> error;
  std::thread caller([&] {
    Query asked = query("id", "question");
    error = transport.exchange(asked, steady_now() + 50ms);
    done = true;
    while (!may_end) std::this_thread::yield();
  });
  const SteadyTime start = steady_now();
  while (!done && steady_now() - start < limit) {
    pthread_kill(caller.native_handle(), SIGUSR1);
    std::this_thread::yield();
  }
  CHECK(done);
  may_end = true;
  caller.join();
  sigaction(SIGUSR1, &before, nullptr);
  CHECK(is<Timeout>(error));
}

TEST_CASE("a handler is called when a time has come, until it is stopped") {
  auto transport = ZmqTransport::connect(to_hub(nowhere()));
  std::promise<SteadyTime> called;
  const SteadyTime due = transport.now() + 5ms;
  transport.start([&](SteadyTime now) -> std::optional<SteadyTime> {
    called.set_value(now);
    return std::nullopt;
  });
  transport.wake_at(due);
  auto time = called.get_future();
  REQUIRE(is_done(time));
  CHECK(time.get() >= due);
  transport.stop();
  transport.close(0ms);
}

TEST_CASE("close stops the handler") {
  auto transport = ZmqTransport::connect(to_hub(nowhere()));
  std::atomic<int> calls = 0;
  transport.start([&](SteadyTime now) -> std::optional<SteadyTime> {
    ++calls;
    return now;
  });
  transport.wake_at(transport.now());
  while (calls == 0) std::this_thread::yield();
  transport.close(0ms);
  const int after = calls;
  for (const SteadyTime start = steady_now(); steady_now() - start < 5ms;) std::this_thread::yield();
  CHECK(calls == after);
}
