// SPDX-License-Identifier: Apache-2.0
// What is told to the watches of connections that nobody uses.
#include "support/catch.hpp"
#include "zmq/keys.hpp"
#include "zmq/sockets.hpp"

#include <poll.h>

#include <chrono>
#include <future>
#include <stdexcept>
#include <string>

#include <zmq.hpp>

#include <registry/transport/zmq.hpp>
#include <registry/transport/zmq_config.hpp>
#include <registry/transport/zmq_connection_watch.hpp>
#include <registry/transport/zmq_hub.hpp>

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
