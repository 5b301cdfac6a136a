// SPDX-License-Identifier: Apache-2.0
#include "support/catch.hpp"
#include "zmq/sockets.hpp"

#include <pthread.h>
#include <signal.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <deque>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <registry/error.hpp>
#include <registry/transport/zmq_hub.hpp>

using namespace registry;
using namespace zmq_test;

namespace {

/// The reason of the TransportError that `call` throws; anything else fails the test.
template <class Call>
std::string transport_error(Call call) {
  try {
    call();
  } catch (const RegistryError& error) {
    if (const auto* transport = error.as<TransportError>()) return transport->reason;
    return std::string{"another error: "} + error.what();
  }
  return "no error";
}

template <class Call>
std::string config_error(Call call) {
  try {
    call();
  } catch (const RegistryError& error) {
    if (const auto* config = error.as<ConfigError>()) return config->variable + "=" + config->value;
    return std::string{"another error: "} + error.what();
  }
  return "no error";
}

Parts frames(std::size_t count) { return Parts(count, "f"); }

}  // namespace

TEST_CASE("a query is handed over with its envelope and answered behind it") {
  const bool ipc = GENERATE(false, true);
  SocketDirectory directory;
  auto hub = ZmqHubTransport::bind(ipc ? directory.hub() : local_hub());
  Peer peer(zmq::socket_type::dealer, hub.endpoints().query_addr);
  const Parts envelopes[] = {{}, {"id"}, {"one", "", std::string(300, 'x')}};
  for (const Parts& envelope : envelopes) {
    Recorder recorder;
    Parts sent = envelope;
    sent.push_back("question");
    peer.send(sent);
    REQUIRE(pump(hub, recorder, [&] { return recorder.total() == 1; }));
    REQUIRE(recorder.order == "q");
    CHECK(recorder.queries[0].envelope == envelope);
    CHECK(recorder.queries[0].message == "question");
    CHECK(answer(hub, recorder.queries[0], "answer"));
    Parts expected = envelope;
    expected.push_back("answer");
    CHECK(peer.receive() == expected);
  }
}

TEST_CASE("a REQ socket is answered") {
  auto hub = ZmqHubTransport::bind(local_hub());
  Peer peer(zmq::socket_type::req, hub.endpoints().query_addr);
  Recorder recorder;
  for (const char* question : {"first", "second"}) {
    peer.send({question});
    REQUIRE(
        pump(hub, recorder, [&] { return !recorder.queries.empty() && recorder.queries.back().message == question; }));
    CHECK(recorder.queries.back().envelope == Parts{""});
    CHECK(answer(hub, recorder.queries.back(), "answer"));
    CHECK(peer.receive() == Parts{"answer"});
  }
}

TEST_CASE("an empty message and an empty answer are messages") {
  auto hub = ZmqHubTransport::bind(local_hub());
  Peer peer(zmq::socket_type::dealer, hub.endpoints().query_addr);
  Recorder recorder;
  peer.send({""});
  REQUIRE(pump(hub, recorder, [&] { return recorder.total() == 1; }));
  REQUIRE(recorder.order == "q");
  CHECK(recorder.queries[0].envelope.empty());
  CHECK(recorder.queries[0].message.empty());
  CHECK(hub.send(as_bytes(recorder.queries[0].sender), {}, {}));
  CHECK(peer.receive() == Parts{""});
}

TEST_CASE("a registration is handed over with its second frame and its sender") {
  const bool ipc = GENERATE(false, true);
  SocketDirectory directory;
  auto hub = ZmqHubTransport::bind(ipc ? directory.hub() : local_hub());
  // Over ipc the process, behind host, user and group.
  const std::string sender = ipc ? ":" + std::to_string(getpid()) : "127.0.0.1";
  Peer peer(zmq::socket_type::push, hub.endpoints().register_addr);
  Recorder recorder;
  peer.send({"alone"});
  peer.send({"message", "second"});
  REQUIRE(pump(hub, recorder, [&] { return recorder.total() == 2; }));
  REQUIRE(recorder.order == "rr");
  CHECK(recorder.registrations[0].message == "alone");
  CHECK(recorder.registrations[0].second == std::nullopt);
  CHECK(recorder.registrations[1].message == "message");
  CHECK(recorder.registrations[1].second == "second");
  for (const auto& registration : recorder.registrations) {
    CHECK(registration.sender.ends_with(sender));
  }
}

TEST_CASE("a sender without an address is called unknown") {
  const InProcess in_process;
  auto hub = ZmqHubTransport::bind(in_process.config);
  Peer peer(in_process.context, zmq::socket_type::push, "inproc://registrations");
  Recorder recorder;
  peer.send({"message"});
  hub.drain(recorder);
  REQUIRE(recorder.order == "r");
  CHECK(recorder.registrations[0].sender == "an unknown address");
}

TEST_CASE("a query with too many frames is malformed, and the next one is answered") {
  ZmqHubConfig config = local_hub();
  config.max_envelope_frames = 3;
  auto hub = ZmqHubTransport::bind(config);
  Peer peer(zmq::socket_type::dealer, hub.endpoints().query_addr);
  Recorder recorder;
  peer.send(frames(4));
  peer.send(frames(5));
  peer.send(frames(10'000));
  peer.send({"next"});
  REQUIRE(pump(hub, recorder, [&] { return recorder.total() == 4; }));
  REQUIRE(recorder.order == "qmmq");
  CHECK(recorder.queries[0].envelope.size() == 3);
  CHECK(recorder.malformed_messages[0].why == "a query of 5 frames, at most 4");
  CHECK(recorder.malformed_messages[1].why == "a query of 10000 frames, at most 4");
  std::string routing_id;
  for (const char byte : recorder.queries[0].sender) {
    char digits[3];
    std::snprintf(digits, sizeof digits, "%02x", static_cast<unsigned>(static_cast<unsigned char>(byte)));
    routing_id += digits;
  }
  CHECK(recorder.malformed_messages[0].sender == "routing id " + routing_id);
  CHECK(recorder.queries[1].envelope.empty());
  CHECK(recorder.queries[1].message == "next");
  CHECK(answer(hub, recorder.queries[1], "answer"));
  CHECK(peer.receive() == Parts{"answer"});
}

TEST_CASE("a query with too large an envelope is malformed, and the next one is handed over") {
  ZmqHubConfig config = local_hub();
  config.max_envelope_bytes = 10;
  auto hub = ZmqHubTransport::bind(config);
  Peer peer(zmq::socket_type::dealer, hub.endpoints().query_addr);
  Recorder recorder;
  peer.send({"12345", "678901", "message"});
  peer.send({"12345", "67890", "next"});
  REQUIRE(pump(hub, recorder, [&] { return recorder.total() == 2; }));
  REQUIRE(recorder.order == "mq");
  CHECK(recorder.malformed_messages[0].why == "an envelope of 11 bytes, at most 10");
  CHECK(recorder.queries[0].message == "next");
}

TEST_CASE("a registration with too many frames is malformed, and the next one is handed over") {
  auto hub = ZmqHubTransport::bind(local_hub());
  Peer peer(zmq::socket_type::push, hub.endpoints().register_addr);
  Recorder recorder;
  peer.send(frames(3));
  peer.send(frames(10'000));
  peer.send({"next"});
  REQUIRE(pump(hub, recorder, [&] { return recorder.total() == 3; }));
  REQUIRE(recorder.order == "mmr");
  CHECK(recorder.malformed_messages[0].sender == "127.0.0.1");
  CHECK(recorder.malformed_messages[0].why == "a registration of 3 frames, at most 2");
  CHECK(recorder.malformed_messages[1].why == "a registration of 10000 frames, at most 2");
  CHECK(recorder.registrations[0].message == "next");
  CHECK(recorder.registrations[0].second == std::nullopt);
}

TEST_CASE("a flood of garbage is handed over message by message") {
  auto hub = ZmqHubTransport::bind(local_hub());
  Peer dealer(zmq::socket_type::dealer, hub.endpoints().query_addr);
  Peer push(zmq::socket_type::push, hub.endpoints().register_addr);
  std::mt19937 random(7);
  const auto garbage = [&] {
    Parts parts(random() % 14 + 1);
    for (std::string& part : parts) {
      part.resize(random() % 50 == 0 ? 100'000 : random() % 80);
      for (char& byte : part) byte = static_cast<char>(random());
    }
    return parts;
  };
  Recorder recorder;
  std::vector<Parts> queries;
  std::vector<Parts> registrations;
  for (int i = 0; i < 500; ++i) {
    queries.push_back(garbage());
    registrations.push_back(garbage());
    dealer.send(queries.back());
    push.send(registrations.back());
  }
  REQUIRE(pump(hub, recorder, [&] { return recorder.total() == 1'000; }));
  std::size_t next_query = 0;
  std::size_t next_registration = 0;
  std::size_t malformed = 0;
  const auto is_malformed = [](const Parts& query) {
    std::size_t echoed = 0;
    for (std::size_t i = 0; i + 1 < query.size(); ++i) echoed += query[i].size();
    return query.size() > 9 || echoed > 4096;
  };
  for (const Parts& sent : queries) {
    if (is_malformed(sent)) {
      ++malformed;
      continue;
    }
    REQUIRE(next_query < recorder.queries.size());
    const auto& query = recorder.queries[next_query++];
    Parts got = query.envelope;
    got.push_back(query.message);
    REQUIRE(got == sent);
  }
  for (const Parts& sent : registrations) {
    if (sent.size() > 2) {
      ++malformed;
      continue;
    }
    REQUIRE(next_registration < recorder.registrations.size());
    const auto& registration = recorder.registrations[next_registration++];
    Parts got{registration.message};
    if (registration.second) got.push_back(*registration.second);
    REQUIRE(got == sent);
  }
  CHECK(recorder.malformed_messages.size() == malformed);
}

TEST_CASE("a frame above max_message_size ends its connection and no other") {
  ZmqHubConfig config = local_hub();
  config.max_message_size = 1'000;
  auto hub = ZmqHubTransport::bind(config);
  Peer offender(zmq::socket_type::dealer, hub.endpoints().query_addr);
  Peer peer(zmq::socket_type::dealer, hub.endpoints().query_addr);
  Recorder recorder;
  offender.send({std::string(1'001, 'x')});
  peer.send({std::string(1'000, 'y')});
  REQUIRE(pump(hub, recorder, [&] { return recorder.total() == 1; }));
  CHECK(recorder.queries[0].message == std::string(1'000, 'y'));
  // The offender's connection is made anew; what it sends then is the next thing that comes.
  const SteadyTime end = steady_now() + limit;
  while (recorder.total() == 1 && steady_now() < end) {
    offender.send({"small"});
    hub.wait(100ms);
    hub.drain(recorder);
  }
  REQUIRE(recorder.total() > 1);
  CHECK(recorder.queries[1].message == "small");
}

TEST_CASE("an answer to nobody is refused, and so is one to a client that has gone") {
  auto hub = ZmqHubTransport::bind(local_hub());
  const Bytes stranger = bytes("stranger");
  const std::vector<ByteView> envelope{as_bytes("one"), as_bytes("two")};
  CHECK_FALSE(hub.send(stranger, envelope, as_bytes("answer")));
  CHECK_FALSE(hub.send({}, {}, as_bytes("answer")));

  Recorder recorder;
  std::optional<Peer> gone(std::in_place, zmq::socket_type::dealer, hub.endpoints().query_addr);
  Peer peer(zmq::socket_type::dealer, hub.endpoints().query_addr);
  gone->send({"from the one that goes"});
  REQUIRE(pump(hub, recorder, [&] { return recorder.total() == 1; }));
  gone.reset();
  const SteadyTime end = steady_now() + limit;
  bool reached = true;
  while (reached && steady_now() < end) reached = answer(hub, recorder.queries[0], "answer");
  CHECK_FALSE(reached);

  // Nothing of the refused answers is in the way of the next one.
  peer.send({"id", "question"});
  REQUIRE(pump(hub, recorder, [&] { return recorder.total() == 2; }));
  CHECK(answer(hub, recorder.queries[1], "answer"));
  CHECK(peer.receive() == Parts{"id", "answer"});
}

TEST_CASE("an answer to nobody does not reach a client that its envelope names") {
  auto hub = ZmqHubTransport::bind(local_hub());
  Peer peer(zmq::socket_type::dealer, hub.endpoints().query_addr);
  Recorder recorder;
  peer.send({"question"});
  REQUIRE(pump(hub, recorder, [&] { return recorder.total() == 1; }));
  const std::vector<ByteView> envelope{as_bytes(recorder.queries[0].sender)};
  CHECK_FALSE(hub.send(as_bytes("stranger"), envelope, as_bytes("for the stranger")));
  CHECK(answer(hub, recorder.queries[0], "answer"));
  CHECK(peer.receive() == Parts{"answer"});
}

TEST_CASE("a client that does not read is refused answers at its high-water mark, which arrive whole") {
  ZmqHubConfig config = local_hub();
  config.router_hwm = 2;
  config.linger = 0ms;
  auto hub = ZmqHubTransport::bind(config);
  Peer peer(std::make_shared<zmq::context_t>(), zmq::socket_type::dealer, hub.endpoints().query_addr, 1);
  Recorder recorder;
  peer.send({"id", "question"});
  REQUIRE(pump(hub, recorder, [&] { return recorder.total() == 1; }));
  const std::string large(100'000, 'x');
  std::size_t accepted = 0;
  const SteadyTime end = steady_now() + limit;
  while (steady_now() < end && answer(hub, recorder.queries[0], large)) ++accepted;
  REQUIRE(steady_now() < end);
  CHECK(accepted > 0);
  for (std::size_t i = 0; i < accepted; ++i) {
    const Parts parts = peer.receive();
    REQUIRE(parts.size() == 2);
    REQUIRE(parts[0] == "id");
    REQUIRE(parts[1].size() == large.size());
  }
}

TEST_CASE("a client that does not read is refused large answers beyond so many bytes, and nobody else is") {
  InProcess in_process;
  in_process.config.max_pending_bytes = 1'000'000;
  auto hub = ZmqHubTransport::bind(in_process.config);
  Peer deaf(in_process.context, zmq::socket_type::dealer, "inproc://queries");
  Peer other(in_process.context, zmq::socket_type::dealer, "inproc://queries");
  deaf.send({"id", "question"});
  other.send({"id", "question"});
  Recorder recorder;
  hub.drain(recorder);
  REQUIRE(recorder.order == "qq");
  // Not compared by the test's framework, which would print them.
  const auto hears = [](Peer& peer, const std::string& expected) { return peer.receive() == Parts{"id", expected}; };
  const std::string large(300'000, 'x');
  std::size_t accepted = 0;
  while (accepted < 100 && answer(hub, recorder.queries[0], large)) ++accepted;
  CHECK(accepted == 3);
  CHECK(answer(hub, recorder.queries[0], "small"));
  CHECK(answer(hub, recorder.queries[1], large));
  CHECK(hears(other, large));
  // There is room again for what it has read.
  CHECK(hears(deaf, large));
  CHECK(answer(hub, recorder.queries[0], large));
  CHECK_FALSE(answer(hub, recorder.queries[0], large));
  for (const std::string& expected : {large, large, std::string{"small"}, large}) {
    CHECK(hears(deaf, expected));
  }
  // Where there is none before, any answer is sent.
  const std::string huge(2'000'000, 'x');
  CHECK(answer(hub, recorder.queries[0], huge));
  CHECK_FALSE(answer(hub, recorder.queries[0], large));
  CHECK(hears(deaf, huge));
}

TEST_CASE("what was given up at the mark is not taken for pending") {
  InProcess in_process;
  in_process.config.max_pending_bytes = 1'000'000;
  in_process.config.router_hwm = 1;
  auto hub = ZmqHubTransport::bind(in_process.config);
  Peer peer(in_process.context, zmq::socket_type::dealer, "inproc://queries", 1);
  peer.send({"id", "question"});
  Recorder recorder;
  hub.drain(recorder);
  while (answer(hub, recorder.queries.at(0), "small")) {
  }
  const std::string large(900'000, 'x');
  CHECK_FALSE(answer(hub, recorder.queries[0], large));
  CHECK(peer.receive() == Parts{"id", "small"});
  CHECK(peer.receive() == Parts{"id", "small"});
  // libzmq notices a moment later that there is room.
  bool is_sent = false;
  for (const SteadyTime end = steady_now() + 2s; !is_sent && steady_now() < end;) {
    is_sent = answer(hub, recorder.queries[0], large);
  }
  CHECK(is_sent);
}

TEST_CASE("the marks of the hub's sockets") {
  const bool each_its_own = GENERATE(false, true);
  InProcess in_process;
  in_process.config.hwm = 4;
  if (each_its_own) {
    in_process.config.router_hwm = 3;
    in_process.config.pull_hwm = 6;
  }
  const std::size_t router = each_its_own ? 3 : 4;
  const std::size_t pull = each_its_own ? 6 : 4;
  auto hub = ZmqHubTransport::bind(in_process.config);
  // Within a process both ends share one queue, whose mark is the sum of theirs.
  Peer dealer(in_process.context, zmq::socket_type::dealer, "inproc://queries", 1);
  Peer push(in_process.context, zmq::socket_type::push, "inproc://registrations", 1);
  std::size_t queries = 0;
  while (queries < 1'000 && dealer.try_send({"question"})) ++queries;
  CHECK(queries == router + 1);
  std::size_t registrations = 0;
  while (registrations < 1'000 && push.try_send({"message"})) ++registrations;
  CHECK(registrations == pull + 1);
  Recorder recorder;
  hub.drain(recorder);
  std::size_t answers = 0;
  while (answers < 1'000 && answer(hub, recorder.queries[0], "answer")) ++answers;
  CHECK(answers == router + 1);
}

TEST_CASE("a drain takes queries and registrations in turn until there are no more") {
  InProcess in_process;
  in_process.config.slice = 1h;
  auto hub = ZmqHubTransport::bind(in_process.config);
  Peer dealer(in_process.context, zmq::socket_type::dealer, "inproc://queries");
  Peer push(in_process.context, zmq::socket_type::push, "inproc://registrations");
  for (int i = 0; i < 5; ++i) push.send({"message"});
  for (int i = 0; i < 3; ++i) dealer.send({"id", "question"});
  Recorder recorder;
  hub.drain(recorder);
  CHECK(recorder.order == "qrqrqrrr");
}

TEST_CASE("a kind of message whose time is up leaves the rest for the next drain") {
  InProcess in_process;
  in_process.config.slice = 1ns;
  auto hub = ZmqHubTransport::bind(in_process.config);
  Peer dealer(in_process.context, zmq::socket_type::dealer, "inproc://queries");
  Peer push(in_process.context, zmq::socket_type::push, "inproc://registrations");
  for (int i = 0; i < 3; ++i) dealer.send({"id", "question"});
  for (int i = 0; i < 2; ++i) push.send({"message"});
  Recorder recorder;
  const SteadyTime start = steady_now();
  hub.drain(recorder);
  CHECK(recorder.order == "qr");
  // What is left over ends the wait at once, on either socket.
  hub.wait(limit);
  hub.drain(recorder);
  CHECK(recorder.order == "qrqr");
  hub.wait(limit);
  hub.drain(recorder);
  CHECK(recorder.order == "qrqrq");
  push.send({"message"});
  push.send({"message"});
  hub.wait(limit);
  hub.drain(recorder);
  hub.wait(limit);
  CHECK(steady_now() - start < limit);
  hub.drain(recorder);
  CHECK(recorder.order == "qrqrqrr");
}

TEST_CASE("a slow kind of message does not take the other's time") {
  /// Queries take longer than a slice, registrations next to nothing.
  struct Slow : Recorder {
    void query(ByteView sender, Frames envelope, ByteView message) {
      Recorder::query(sender, envelope, message);
      for (const SteadyTime start = steady_now(); steady_now() - start < 500ms;) {
      }
    }
  };
  InProcess in_process;
  in_process.config.slice = 500ms;
  auto hub = ZmqHubTransport::bind(in_process.config);
  Peer dealer(in_process.context, zmq::socket_type::dealer, "inproc://queries");
  Peer push(in_process.context, zmq::socket_type::push, "inproc://registrations");
  for (int i = 0; i < 3; ++i) dealer.send({"id", "question"});
  push.send({"message"});
  push.send({"message"});
  Slow slow;
  hub.drain(slow);
  CHECK(slow.queries.size() == 1);
  CHECK(slow.registrations.size() == 2);
}

namespace {

/// Moved by the messages that are handed over, each of which takes so long.
struct MessageClock {
  using duration = std::chrono::nanoseconds;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<MessageClock>;
  static inline std::chrono::milliseconds of_message{};
  static inline time_point time{};
  static time_point now() { return time; }
};

struct TimedRecorder : Recorder {
  void query(ByteView sender, Frames envelope, ByteView message) {
    Recorder::query(sender, envelope, message);
    MessageClock::time += MessageClock::of_message;
  }
  void registration(std::string_view sender, std::optional<ByteView> second, ByteView message) {
    Recorder::registration(sender, second, message);
    MessageClock::time += MessageClock::of_message;
  }
};

/// A hub whose turns are measured by that clock, and one peer for each kind of message.
class TimedHub {
 public:
  TimedHub(std::chrono::milliseconds slice, std::chrono::milliseconds of_message) : hub_(bound(slice)) {
    MessageClock::of_message = of_message;
  }

  std::string order_of_turn() {
    TimedRecorder recorder;
    hub_.drain<MessageClock>(recorder);
    return recorder.order;
  }
  void sleep() { hub_.wait(0ns); }
  void ask(int times) {
    for (int i = 0; i < times; ++i) dealer_.send({"id", "question"});
  }
  void push(int times) {
    for (int i = 0; i < times; ++i) push_.send({"message"});
  }

 private:
  ZmqHubTransport bound(std::chrono::milliseconds slice) {
    in_process_.config.slice = slice;
    return ZmqHubTransport::bind(in_process_.config);
  }

  InProcess in_process_;
  ZmqHubTransport hub_;
  Peer dealer_{in_process_.context, zmq::socket_type::dealer, "inproc://queries"};
  Peer push_{in_process_.context, zmq::socket_type::push, "inproc://registrations"};
};

}  // namespace

TEST_CASE("a kind of message that keeps up has more time than one that does not, and where neither does queries have") {
  TimedHub hub(100ms, 60ms);
  SECTION("queries beside too many registrations") {
    hub.push(20);
    CHECK(hub.order_of_turn() == "rr");
    hub.ask(5);
    CHECK(hub.order_of_turn() == "qrqrqqq");
  }
  SECTION("registrations beside too many queries") {
    hub.ask(20);
    CHECK(hub.order_of_turn() == "qq");
    hub.push(5);
    CHECK(hub.order_of_turn() == "qrqrrrr");
  }
  SECTION("not for ever") {
    hub.push(20);
    CHECK(hub.order_of_turn() == "rr");
    hub.ask(100);
    CHECK(hub.order_of_turn() == "qrqr" + std::string(12, 'q'));
  }
  SECTION("too many of both") {
    hub.ask(20);
    hub.push(20);
    CHECK(hub.order_of_turn() == "qrqr");
    CHECK(hub.order_of_turn() == "qrqrqq");
  }
}

TEST_CASE("a kind of message that kept up has a tenth of a second to get through what came meanwhile") {
  TimedHub hub(2ms, 1ms);
  SECTION("queries") {
    hub.push(100);
    CHECK(hub.order_of_turn() == "rr");
    hub.ask(200);
    // Each turn takes 18 ms.
    for (int turn = 0; turn < 6; ++turn) CHECK(hub.order_of_turn() == "qrqr" + std::string(14, 'q'));
  }
  SECTION("registrations") {
    hub.ask(100);
    CHECK(hub.order_of_turn() == "qq");
    hub.push(200);
    for (int turn = 0; turn < 6; ++turn) CHECK(hub.order_of_turn() == "qrqr" + std::string(14, 'r'));
  }
  CHECK(hub.order_of_turn() == "qrqrqq");
  CHECK(hub.order_of_turn() == "qrqrqq");
}

TEST_CASE("a kind of message that has got through what came is behind no longer") {
  TimedHub hub(2ms, 1ms);
  hub.push(100);
  CHECK(hub.order_of_turn() == "rr");
  for (int round = 0; round < 2; ++round) {
    // Five turns of 18 ms, in the last of which the queries end.
    hub.ask(4 * 16 + 8);
    for (int turn = 0; turn < 4; ++turn) CHECK(hub.order_of_turn() == "qrqr" + std::string(14, 'q'));
    CHECK(hub.order_of_turn() == "qrqrqqqqqq");
  }
}

TEST_CASE("a hub that sleeps has nothing left of either kind") {
  TimedHub hub(2ms, 1ms);
  // Just as many as there is time for.
  hub.ask(2);
  CHECK(hub.order_of_turn() == "qq");
  SECTION("after a sleep") {
    hub.sleep();
    hub.push(20);
    CHECK(hub.order_of_turn() == "rr");
  }
  SECTION("without one") {
    hub.push(20);
    CHECK(hub.order_of_turn() == std::string(16, 'r'));
  }
}

TEST_CASE("malformed messages take of the time too") {
  InProcess in_process;
  in_process.config.slice = 1ns;
  auto hub = ZmqHubTransport::bind(in_process.config);
  Peer dealer(in_process.context, zmq::socket_type::dealer, "inproc://queries");
  Peer push(in_process.context, zmq::socket_type::push, "inproc://registrations");
  for (int i = 0; i < 5; ++i) {
    dealer.send(frames(30));
    push.send(frames(30));
  }
  Recorder recorder;
  hub.drain(recorder);
  CHECK(recorder.order == "mm");
}

TEST_CASE("a wait sees what came while an answer was sent") {
  const InProcess in_process;
  auto hub = ZmqHubTransport::bind(in_process.config);
  Peer peer(in_process.context, zmq::socket_type::dealer, "inproc://queries");
  Recorder recorder;
  peer.send({"first"});
  hub.drain(recorder);
  REQUIRE(recorder.total() == 1);
  hub.drain(recorder);
  peer.send({"second"});
  // libzmq looks for news while it sends, but not within a millisecond after it last did.
  for (const SteadyTime start = steady_now(); steady_now() - start < 5ms;) {
  }
  CHECK(answer(hub, recorder.queries[0], "answer"));
  const SteadyTime start = steady_now();
  hub.wait(limit);
  CHECK(steady_now() - start < limit);
  hub.drain(recorder);
  CHECK(recorder.total() == 2);
}

TEST_CASE("a drain needs no wait before it") {
  const InProcess in_process;
  auto hub = ZmqHubTransport::bind(in_process.config);
  Peer dealer(in_process.context, zmq::socket_type::dealer, "inproc://queries");
  Peer push(in_process.context, zmq::socket_type::push, "inproc://registrations");
  Recorder recorder;
  hub.wait(0ms);
  hub.drain(recorder);
  CHECK(recorder.order.empty());
  dealer.send({"question"});
  push.send({"message"});
  hub.drain(recorder);
  CHECK(recorder.order == "qr");
}

TEST_CASE("a wait lasts as long as it was asked to, whatever libzmq does meanwhile") {
  auto hub = ZmqHubTransport::bind(local_hub());
  Recorder recorder;
  SECTION("nothing happens") {
    const SteadyTime start = steady_now();
    hub.wait(20ms);
    CHECK(steady_now() - start >= 20ms);
  }
  SECTION("less than a millisecond") {
    const SteadyTime start = steady_now();
    hub.wait(300us);
    CHECK(steady_now() - start >= 300us);
  }
  SECTION("a client connects") {
    const Peer peer(zmq::socket_type::dealer, hub.endpoints().query_addr);
    const Peer other(zmq::socket_type::push, hub.endpoints().register_addr);
    const SteadyTime start = steady_now();
    hub.wait(100ms);
    CHECK(steady_now() - start >= 100ms);
  }
  SECTION("no time at all") {
    const SteadyTime start = steady_now();
    hub.wait(0ms);
    hub.wait(-1s);
    CHECK(steady_now() - start < limit);
  }
  SECTION("for ever, until something comes") {
    Peer peer(zmq::socket_type::push, hub.endpoints().register_addr);
    peer.send({"message"});
    hub.wait(std::chrono::nanoseconds::max());
    hub.wait(std::nullopt);
    hub.drain(recorder);
    CHECK(recorder.order == "r");
  }
}

TEST_CASE("a wait ends when its time is over although clients come and go") {
  auto hub = ZmqHubTransport::bind(local_hub());
  std::atomic<bool> done = false;
  std::thread clients([&] {
    const auto context = std::make_shared<zmq::context_t>();
    std::deque<Peer> peers;
    const SteadyTime end = steady_now() + limit;
    while (!done && steady_now() < end) {
      peers.emplace_back(context, zmq::socket_type::dealer, hub.endpoints().query_addr);
      if (peers.size() > 50) peers.pop_front();
      for (const SteadyTime start = steady_now(); steady_now() - start < 2ms;) std::this_thread::yield();
    }
  });
  const SteadyTime start = steady_now();
  hub.wait(200ms);
  const auto elapsed = steady_now() - start;
  done = true;
  clients.join();
  CHECK(elapsed >= 200ms);
  CHECK(elapsed < limit);
}

TEST_CASE("an interrupt ends the next wait, and only one") {
  auto hub = ZmqHubTransport::bind(local_hub());
  hub.interrupt();
  hub.interrupt();
  SteadyTime start = steady_now();
  hub.wait(limit);
  CHECK(steady_now() - start < limit);
  start = steady_now();
  hub.wait(20ms);
  CHECK(steady_now() - start >= 20ms);
}

TEST_CASE("an interrupt ends a wait in progress, time and again") {
  auto hub = ZmqHubTransport::bind(local_hub());
  constexpr int rounds = 2'000;
  std::atomic<int> ended = 0;
  std::thread waiting([&] {
    for (int i = 0; i < rounds; ++i) {
      hub.wait(std::nullopt);
      ++ended;
    }
  });
  for (int i = 0; i < rounds; ++i) {
    hub.interrupt();
    while (ended <= i) std::this_thread::yield();
  }
  waiting.join();
  CHECK(ended == rounds);
}

TEST_CASE("an interrupt is not lost while messages come") {
  const InProcess in_process;
  auto hub = ZmqHubTransport::bind(in_process.config);
  Peer peer(in_process.context, zmq::socket_type::push, "inproc://registrations");
  Recorder recorder;
  peer.send({"message"});
  hub.interrupt();
  hub.wait(std::nullopt);
  hub.drain(recorder);
  CHECK(recorder.order == "r");
  const SteadyTime start = steady_now();
  hub.wait(limit);
  CHECK(steady_now() - start < limit);
}

TEST_CASE("an interrupt is not lost while a client connects") {
  const InProcess in_process;
  auto hub = ZmqHubTransport::bind(in_process.config);
  hub.wait(0ms);
  const Peer peer(in_process.context, zmq::socket_type::dealer, "inproc://queries");
  hub.interrupt();
  const SteadyTime start = steady_now();
  hub.wait(limit);
  CHECK(steady_now() - start < limit);
}

TEST_CASE("a signal ends a wait like nothing else happened") {
  struct sigaction action{};
  struct sigaction before{};
  action.sa_handler = [](int) {};  // without SA_RESTART
  sigaction(SIGUSR1, &action, &before);
  auto hub = ZmqHubTransport::bind(local_hub());
  std::atomic<bool> ended = false;
  std::string failure;
  std::thread waiting([&] {
    try {
      hub.wait(std::nullopt);
    } catch (const std::exception& error) {
      failure = error.what();
    }
    ended = true;
  });
  while (!ended) {
    pthread_kill(waiting.native_handle(), SIGUSR1);
    std::this_thread::yield();
  }
  waiting.join();
  sigaction(SIGUSR1, &before, nullptr);
  CHECK(failure.empty());
}

TEST_CASE("the endpoints are the ones in use") {
  auto hub = ZmqHubTransport::bind(local_hub());
  const ZmqEndpoints endpoints = hub.endpoints();
  CHECK(endpoints.query_addr.starts_with("tcp://127.0.0.1:"));
  CHECK(endpoints.register_addr.starts_with("tcp://127.0.0.1:"));
  CHECK_FALSE(endpoints.query_addr.ends_with("*"));
  CHECK(endpoints.query_addr != endpoints.register_addr);
  Recorder recorder;
  Peer dealer(zmq::socket_type::dealer, endpoints.query_addr);
  dealer.send({"question"});
  Peer push(zmq::socket_type::push, endpoints.register_addr);
  push.send({"message"});
  REQUIRE(pump(hub, recorder, [&] { return recorder.total() == 2; }));
  CHECK(recorder.queries.size() == 1);
  CHECK(recorder.registrations.size() == 1);
}

TEST_CASE("an address that cannot be bound is named with the reason") {
  const auto taken = ZmqHubTransport::bind(local_hub());
  ZmqHubConfig config = local_hub();
  SECTION("a port in use") {
    config.query_addr = taken.endpoints().query_addr;
    CHECK(transport_error([&] { ZmqHubTransport::bind(config); }) ==
          "bind for queries to \"" + config.query_addr + "\": Address already in use");
  }
  SECTION("the other port in use") {
    config.register_addr = taken.endpoints().register_addr;
    CHECK(transport_error([&] { ZmqHubTransport::bind(config); }) ==
          "bind for registrations to \"" + config.register_addr + "\": Address already in use");
  }
  SECTION("no address") {
    config.query_addr = "tcp://nonsense";
    CHECK(transport_error([&] { ZmqHubTransport::bind(config); }) ==
          "bind for queries to \"tcp://nonsense\": Invalid argument");
  }
  SECTION("no protocol that libzmq knows") {
    config.query_addr = "http://127.0.0.1:5555";
    CHECK(transport_error([&] { ZmqHubTransport::bind(config); }) ==
          "bind for queries to \"http://127.0.0.1:5555\": Protocol not supported");
  }
  SECTION("no such directory") {
    config.query_addr = "ipc:///nonexistent/socket";
    CHECK(transport_error([&] { ZmqHubTransport::bind(config); }) ==
          "bind for queries to \"ipc:///nonexistent/socket\": No such file or directory");
  }
  SECTION("a port that libzmq would take for another") {
    for (const std::string port : {"65536", "99999", "99999999999999999999999"}) {
      config.query_addr = "tcp://127.0.0.1:" + port;
      CHECK(transport_error([&] { ZmqHubTransport::bind(config); }) ==
            "bind for queries to \"" + config.query_addr + "\": port " + port + " is above 65535");
    }
  }
}

TEST_CASE("a failed bind leaves nothing bound") {
  const ZmqEndpoints free = nowhere();
  ZmqHubConfig config;
  config.query_addr = free.query_addr;
  config.register_addr = "tcp://nonsense";
  CHECK_THROWS_AS(ZmqHubTransport::bind(config), RegistryError);
  config.register_addr = free.register_addr;
  CHECK(ZmqHubTransport::bind(config).endpoints().query_addr == free.query_addr);
}

TEST_CASE("marks of 0 and a slice of none are refused by name") {
  ZmqHubConfig config = local_hub();
  SECTION("hwm") {
    config.hwm = 0;
    CHECK(config_error([&] { ZmqHubTransport::bind(config); }) == "hwm=0");
  }
  SECTION("router_hwm") {
    config.router_hwm = 0;
    CHECK(config_error([&] { ZmqHubTransport::bind(config); }) == "router_hwm=0");
  }
  SECTION("pull_hwm") {
    config.pull_hwm = -1;
    CHECK(config_error([&] { ZmqHubTransport::bind(config); }) == "pull_hwm=-1");
  }
  SECTION("slice") {
    config.slice = 0ns;
    CHECK(config_error([&] { ZmqHubTransport::bind(config); }) == "slice=0 ns");
  }
}

TEST_CASE("a hub can be moved, and replaced") {
  auto first = ZmqHubTransport::bind(local_hub());
  const ZmqEndpoints endpoints = first.endpoints();
  ZmqHubTransport hub(std::move(first));
  CHECK(hub.endpoints().query_addr == endpoints.query_addr);
  Peer peer(zmq::socket_type::dealer, endpoints.query_addr);
  Recorder recorder;
  peer.send({"question"});
  REQUIRE(pump(hub, recorder, [&] { return recorder.total() == 1; }));
  CHECK(answer(hub, recorder.queries[0], "answer"));
  CHECK(peer.receive() == Parts{"answer"});

  hub = ZmqHubTransport::bind(local_hub());
  CHECK(hub.endpoints().query_addr != endpoints.query_addr);
  // Its addresses are free again.
  ZmqHubConfig config;
  config.query_addr = endpoints.query_addr;
  config.register_addr = endpoints.register_addr;
  CHECK(ZmqHubTransport::bind(config).endpoints().query_addr == endpoints.query_addr);
}

TEST_CASE("answers that were accepted are still sent when the hub goes") {
  ZmqHubConfig config = local_hub();
  std::optional<ZmqHubTransport> hub(ZmqHubTransport::bind(config));
  Peer peer(zmq::socket_type::dealer, hub->endpoints().query_addr);
  Recorder recorder;
  peer.send({"question"});
  REQUIRE(pump(*hub, recorder, [&] { return recorder.total() == 1; }));
  for (int i = 0; i < 50; ++i) CHECK(answer(*hub, recorder.queries[0], std::string(10'000, 'x')));
  hub.reset();
  for (int i = 0; i < 50; ++i) REQUIRE(peer.receive() == Parts{std::string(10'000, 'x')});
}

TEST_CASE("a hub goes within its linger although a client does not read") {
  ZmqHubConfig config = local_hub();
  config.linger = 20ms;
  std::optional<ZmqHubTransport> hub(ZmqHubTransport::bind(config));
  Peer peer(std::make_shared<zmq::context_t>(), zmq::socket_type::dealer, hub->endpoints().query_addr, 1);
  Recorder recorder;
  peer.send({"question"});
  REQUIRE(pump(*hub, recorder, [&] { return recorder.total() == 1; }));
  for (int i = 0; i < 1'000; ++i) {
    if (!answer(*hub, recorder.queries[0], std::string(100'000, 'x'))) break;
  }
  const SteadyTime start = steady_now();
  hub.reset();
  CHECK(steady_now() - start < limit);
}

TEST_CASE("several hubs in one process hear only what is meant for them") {
  auto one = ZmqHubTransport::bind(local_hub());
  auto two = ZmqHubTransport::bind(local_hub());
  Peer to_one(zmq::socket_type::dealer, one.endpoints().query_addr);
  Peer to_two(zmq::socket_type::dealer, two.endpoints().query_addr);
  Recorder at_one;
  Recorder at_two;
  to_one.send({"for one"});
  to_two.send({"for two"});
  REQUIRE(pump(one, at_one, [&] { return at_one.total() == 1; }));
  REQUIRE(pump(two, at_two, [&] { return at_two.total() == 1; }));
  CHECK(at_one.queries[0].message == "for one");
  CHECK(at_two.queries[0].message == "for two");
  CHECK(answer(one, at_one.queries[0], "one"));
  CHECK(answer(two, at_two.queries[0], "two"));
  CHECK(to_one.receive() == Parts{"one"});
  CHECK(to_two.receive() == Parts{"two"});
}

TEST_CASE("a terminated context is a TransportError, not a hang") {
  const InProcess in_process;
  auto hub = ZmqHubTransport::bind(in_process.config);
  Recorder recorder;
  SECTION("before the wait") {
    in_process.context->shutdown();
    CHECK(transport_error([&] { hub.wait(std::nullopt); }) == "wait for messages: Context was terminated");
    CHECK(transport_error([&] { hub.drain(recorder); }) == "receive a query: Context was terminated");
    CHECK(transport_error([&] { hub.send({}, {}, {}); }) == "send an answer: Context was terminated");
  }
  SECTION("during the wait") {
    std::string failure;
    std::thread waiting([&] { failure = transport_error([&] { hub.wait(std::nullopt); }); });
    in_process.context->shutdown();
    waiting.join();
    CHECK(failure == "wait for messages: Context was terminated");
  }
}

TEST_CASE("what a handler throws passes through, and the next message is not harmed") {
  struct Thrower : Recorder {
    void query(ByteView, Frames, ByteView) { throw std::runtime_error("handler"); }
  };
  const InProcess in_process;
  auto hub = ZmqHubTransport::bind(in_process.config);
  Peer peer(in_process.context, zmq::socket_type::dealer, "inproc://queries");
  peer.send({"a", "b", "first"});
  peer.send({"second"});
  Thrower thrower;
  CHECK_THROWS_WITH(hub.drain(thrower), "handler");
  Recorder recorder;
  hub.drain(recorder);
  REQUIRE(recorder.order == "q");
  CHECK(recorder.queries[0].envelope.empty());
  CHECK(recorder.queries[0].message == "second");
}
