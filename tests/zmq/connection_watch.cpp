// SPDX-License-Identifier: Apache-2.0
// What the watches of connections are told, and what they make of it.
#include "support/catch.hpp"
#include "zmq/keys.hpp"
#include "zmq/sockets.hpp"

#include <poll.h>

#include <chrono>
#include <cstddef>
#include <future>
#include <stdexcept>
#include <string>

#include <zmq.hpp>

#include <registry/transport/zmq.hpp>
#include <registry/transport/zmq_client_socket.hpp>
#include <registry/transport/zmq_config.hpp>
#include <registry/transport/zmq_connection_watch.hpp>
#include <registry/transport/zmq_hub.hpp>
#include <registry/transport/zmq_socket.hpp>

using namespace registry;
using namespace zmq_test;

namespace {

/// A plain socket that listens and hears of those who come.
class Listener {
 public:
  Listener(zmq::socket_type type, const std::string& address)
      : socket_(context_, type), events_(context_, zmq::socket_type::pair) {
    for (zmq::socket_t* one : {&socket_, &events_}) {
      one->set(zmq::sockopt::linger, 0);
      one->set(zmq::sockopt::rcvtimeo, static_cast<int>(std::chrono::milliseconds(limit).count()));
    }
    if (zmq_socket_monitor(socket_.handle(), "inproc://events", ZMQ_EVENT_HANDSHAKE_SUCCEEDED) != 0) {
      throw zmq::error_t();
    }
    events_.connect("inproc://events");
    socket_.bind(address);
  }

  void await_visitor() { await(events_); }
  void await_message() { await(socket_); }

 private:
  static void await(zmq::socket_t& from) {
    for (bool more = true; more;) {
      zmq::message_t frame;
      if (!from.recv(frame)) throw std::runtime_error("nothing came");
      more = frame.more();
    }
  }

  zmq::context_t context_;
  zmq::socket_t socket_;
  zmq::socket_t events_;
};

/// Whether something has been told to the watch since its last `update`.
bool has_news(const detail::ConnectionWatch& watch) {
  pollfd descriptor{watch.descriptor(), POLLIN, 0};
  return poll(&descriptor, 1, 0) == 1;
}

/// A PUSH socket, watched, whose hub is there, goes and comes back, again and again.
class Wanderer {
 public:
  explicit Wanderer(detail::Hears what)
      : socket_(context_, zmq::socket_type::push), watch_(context_, socket_, address_, config_, false, what) {
    socket_.set(zmq::sockopt::linger, 0);
    socket_.set(zmq::sockopt::reconnect_ivl, 1);
    socket_.connect(address_);
    lose_connections(1);
    watch_.update(steady_now());
  }

  detail::ConnectionWatch& watch() { return watch_; }

  void hear(detail::Hears what) {
    watch_.hear(what);
    watch_.update(steady_now());
  }

  void lose_connections(int count) {
    for (int i = 0; i < count; ++i) {
      Listener hub(zmq::socket_type::pull, address_);
      hub.await_visitor();
      // Not before the client knows, too.
      socket_.send(zmq::str_buffer("hello"));
      hub.await_message();
    }
  }

 private:
  SocketDirectory directory_;
  std::string address_ = directory_.hub().register_addr;
  ZmqTransportConfig config_;
  zmq::context_t context_;
  zmq::socket_t socket_;
  detail::ConnectionWatch watch_;
};

/// A client's connection for queries, watched, over which answers of up to 100 bytes may come.
class Customer {
 public:
  explicit Customer(const SocketDirectory& directory) {
    ZmqTransportConfig config;
    config.query_addr = directory.hub().query_addr;
    config.reconnect_interval = 10ms;
    config.max_message_size = 100;
    opened_ = detail::open_client_socket(context_, zmq::socket_type::dealer, config, detail::Hears::everything);
    opened_.socket.set(zmq::sockopt::rcvtimeo, static_cast<int>(std::chrono::milliseconds(limit).count()));
  }

  detail::ConnectionWatch& watch() { return *opened_.watch; }
  void send() { opened_.socket.send(zmq::str_buffer("question")); }
  bool receive() {
    zmq::message_t answer;
    return opened_.socket.recv(answer).has_value();
  }

  /// Until the watch says so, as one who waits for an answer; false if that takes too long.
  bool hears(detail::ConnectionNews news) {
    return eventually([&] {
      detail::ready_events(opened_.socket);
      return watch().update(steady_now()) == news;
    });
  }

 private:
  zmq::context_t context_;
  detail::ClientSocket opened_;
};

/// A ROUTER that answers.
class Answering {
 public:
  explicit Answering(const SocketDirectory& directory) : socket_(context_, zmq::socket_type::router) {
    socket_.set(zmq::sockopt::linger, 0);
    socket_.set(zmq::sockopt::rcvtimeo, static_cast<int>(std::chrono::milliseconds(limit).count()));
    socket_.bind(directory.hub().query_addr);
  }

  /// Answers the next question, if one comes.
  bool answer(std::size_t size) {
    zmq::message_t sender;
    zmq::message_t question;
    if (!socket_.recv(sender) || !socket_.recv(question)) return false;
    socket_.send(sender, zmq::send_flags::sndmore);
    return socket_.send(zmq::message_t(size), zmq::send_flags::none).has_value();
  }

 private:
  zmq::context_t context_;
  zmq::socket_t socket_;
};

struct LongQuery : Query {
  bool waits() const { return true; }
};

}  // namespace

TEST_CASE("a watch that hears of refusals only is told nothing of a hub that comes and goes") {
  Wanderer one(detail::Hears::refusals);
  one.lose_connections(3);
  CHECK_FALSE(has_news(one.watch()));
}

TEST_CASE("a watch can be told more, and less again") {
  Wanderer one(detail::Hears::refusals);
  one.hear(detail::Hears::everything);
  one.lose_connections(2);
  CHECK(has_news(one.watch()));
  CHECK(one.watch().update(steady_now()) == detail::ConnectionNews::renewed);
  one.hear(detail::Hears::refusals);
  one.lose_connections(2);
  CHECK_FALSE(has_news(one.watch()));
}

TEST_CASE("a refusal is heard also while its watch is told more or less") {
  const auto key = CurveSecretKey::random();
  KeyedHub hub({});
  ZmqTransportConfig config = hub.to(key);
  config.reconnect_interval = config.reconnect_interval_max = limit;
  for (int round = 0; round < 20; ++round) {
    zmq::context_t context;
    const auto opened = detail::open_client_socket(context, zmq::socket_type::dealer, config, detail::Hears::refusals);
    REQUIRE(eventually([&] {
      // Not too often: libzmq takes its time to close what these open.
      for (int i = 0; i < 10 && !opened.watch->is_refused(); ++i) {
        opened.watch->hear(detail::Hears::everything);
        opened.watch->hear(detail::Hears::refusals);
      }
      return opened.watch->is_refused();
    }));
  }
}

TEST_CASE("a connection that libzmq gives up after a message that is too long is made anew") {
  const SocketDirectory directory;
  Answering hub(directory);
  Customer client(directory);
  client.send();
  REQUIRE(hub.answer(101));
  REQUIRE(client.hears(detail::ConnectionNews::replaced));
  client.send();
  REQUIRE(hub.answer(100));
  REQUIRE(client.receive());
}

TEST_CASE("a connection that libzmq makes anew by itself is left to it, with what was sent meanwhile") {
  const SocketDirectory directory;
  Customer client(directory);
  {
    Answering hub(directory);
    client.send();
    REQUIRE(hub.answer(100));
    REQUIRE(client.receive());
  }
  REQUIRE(eventually([&] {
    CHECK(client.watch().update(steady_now()) == detail::ConnectionNews::none);
    return client.watch().due().has_value();
  }));
  client.send();
  REQUIRE(eventually([&] {
    CHECK(client.watch().update(steady_now()) == detail::ConnectionNews::none);
    return !client.watch().due();
  }));
  Answering hub(directory);
  REQUIRE(hub.answer(100));
  REQUIRE(client.receive());
}

TEST_CASE("a connection that is kept for later calls is no longer watched for the call that waited") {
  const InProcess in_process;
  // The hub's two, one for queries, one for registrations, two for watching that, and two for the call that waits.
  in_process.context->set(zmq::ctxopt::max_sockets, 8);
  const ZmqTransportConfig config = in_process.client();
  auto hub = ZmqHubTransport::bind(in_process.config);
  auto transport = ZmqTransport::connect(config);
  Recorder recorder;
  LongQuery asked{query("id", "question")};
  auto call = std::async(std::launch::async, [&] { return transport.exchange(asked, steady_now() + limit); });
  REQUIRE(pump(hub, recorder, [&] { return recorder.total() == 1; }));
  const auto is_room_for_two = [&] {
    try {
      const zmq::socket_t first(*in_process.context, zmq::socket_type::pair);
      const zmq::socket_t second(*in_process.context, zmq::socket_type::pair);
      return true;
    } catch (const zmq::error_t&) {
      return false;
    }
  };
  CHECK(eventually([&] { return !is_room_for_two(); }));
  REQUIRE(answer(hub, recorder.queries[0], "answer"));
  REQUIRE_FALSE(call.get());
  CHECK(eventually(is_room_for_two));
}
