// SPDX-License-Identifier: Apache-2.0
// The hub itself behind real sockets, asked by peers that are not ours and by our client.
#include "support/catch.hpp"
#include "zmq/sockets.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <future>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <registry/builder.hpp>
#include <registry/codec.hpp>
#include <registry/envelope.hpp>
#include <registry/message.hpp>
#include <registry/storage.hpp>
#include <registry/transport/zmq.hpp>
#include <registry/transport/zmq_hub.hpp>

using namespace registry;
using namespace zmq_test;

namespace {

using Block = std::uint64_t;
using Codec64 = BinaryCodec<Block, Block, NoMetadata>;

auto catalogue() { return hub<Block, Block>(HashMapStorage<Block, Block>{}).log(nullptr).build(); }

/// A hub served on a thread of its own.
class Served {
 public:
  explicit Served(ZmqHubConfig config = local_hub()) : transport_(ZmqHubTransport::bind(std::move(config))) { start(); }
  Served(const Served&) = delete;
  Served& operator=(const Served&) = delete;
  ~Served() { stop(); }

  const ZmqEndpoints& endpoints() const { return transport_.endpoints(); }
  HubStats stats() const { return hub_.stats(); }

  void start() {
    thread_ = std::thread([this] { hub_.serve(transport_); });
  }

  void stop() {
    if (!thread_.joinable()) return;
    hub_.stop();
    thread_.join();
  }

 private:
  decltype(catalogue()) hub_ = catalogue();
  ZmqHubTransport transport_;
  std::thread thread_;
};

std::string keys_message(MessageType type, std::vector<Block> keys) {
  Bytes out;
  Codec64::encode_keys(type, keys, out);
  return text(out);
}

std::string registration(std::vector<Entry<Block, Block, NoMetadata>> entries) {
  Bytes out;
  Codec64::begin_entries(MessageType::register_entries, out);
  for (const auto& entry : entries) Codec64::append_entry(entry, out);
  return text(out);
}

std::string statuses(std::vector<OffloadStatus> expected) {
  Bytes out;
  Codec64::encode_statuses(MessageType::can_offload_response, std::span<const OffloadStatus>{expected}, out);
  return text(out);
}

/// Sends the query and answers with the last frame of what comes back, whose other frames must be the ones sent.
std::string ask(Peer& peer, Parts envelope, const std::string& message) {
  Parts parts = envelope;
  parts.push_back(message);
  peer.send(parts);
  Parts reply = peer.receive();
  if (reply.empty()) return "no answer";
  std::string last = std::move(reply.back());
  reply.pop_back();
  return reply == envelope ? last : "another envelope";
}

}  // namespace

TEST_CASE("queries with any envelope are answered by the hub") {
  const bool ipc = GENERATE(false, true);
  SocketDirectory directory;
  const Served hub(ipc ? directory.hub() : local_hub());
  Peer bare(zmq::socket_type::dealer, hub.endpoints().query_addr);
  Peer req(zmq::socket_type::req, hub.endpoints().query_addr);
  Peer dealer(zmq::socket_type::dealer, hub.endpoints().query_addr);

  const std::string question = keys_message(MessageType::can_offload, {1, 2});
  const std::string granted = statuses({OffloadStatus::granted, OffloadStatus::granted});
  const std::string leased = statuses({OffloadStatus::leased, OffloadStatus::leased});
  CHECK(ask(bare, {}, question) == granted);
  CHECK(ask(req, {}, question) == leased);
  CHECK(ask(dealer, {"anything"}, question) == leased);
  CHECK(ask(dealer, {"one", "", "three"}, question) == leased);
  // Without an identity the connection is the holder.
  CHECK(ask(bare, {}, question) == granted);
}

TEST_CASE("a holder is known by its identity on every connection") {
  const Served hub;
  Peer one(zmq::socket_type::dealer, hub.endpoints().query_addr);
  Peer two(zmq::socket_type::dealer, hub.endpoints().query_addr);
  Envelope envelope;
  envelope.client = {1, 2};
  const auto frame = [&](std::uint64_t number) {
    envelope.number = number;
    Bytes out;
    envelope.encode(out);
    return text(out);
  };
  const std::string question = keys_message(MessageType::can_offload, {1});
  CHECK(ask(one, {frame(1)}, question) == statuses({OffloadStatus::granted}));
  CHECK(ask(two, {frame(2)}, question) == statuses({OffloadStatus::granted}));
  CHECK(ask(two, {}, question) == statuses({OffloadStatus::leased}));
}

TEST_CASE("registrations of one and of two frames are applied") {
  const Served hub;
  Peer push(zmq::socket_type::push, hub.endpoints().register_addr);
  Peer dealer(zmq::socket_type::dealer, hub.endpoints().query_addr);
  Envelope envelope;
  envelope.number = 1;
  envelope.client = {1, 2};
  Bytes second;
  envelope.encode(second);
  push.send({registration({{7, 70, {}}})});
  push.send({registration({{8, 80, {}}}), text(second)});
  REQUIRE(eventually([&] { return hub.stats().entries_registered == 2; }));
  CHECK(ask(dealer, {}, keys_message(MessageType::can_offload, {7, 8, 9})) ==
        statuses({OffloadStatus::already_stored, OffloadStatus::already_stored, OffloadStatus::granted}));
}

TEST_CASE("a message of 10,000 frames is counted as malformed and the hub goes on") {
  const Served hub;
  Peer dealer(zmq::socket_type::dealer, hub.endpoints().query_addr);
  Peer push(zmq::socket_type::push, hub.endpoints().register_addr);
  dealer.send(Parts(10'000, "frame"));
  push.send(Parts(10'000, "frame"));
  REQUIRE(eventually([&] { return hub.stats().malformed == 2; }));
  CHECK(ask(dealer, {"id"}, keys_message(MessageType::can_offload, {1})) == statuses({OffloadStatus::granted}));
  CHECK(hub.stats().queries == 1);
  CHECK(hub.stats().registrations == 0);
}

TEST_CASE("floods of garbage do not keep the hub from answering") {
  const Served hub;
  Peer push(zmq::socket_type::push, hub.endpoints().register_addr);
  Peer flooder(zmq::socket_type::dealer, hub.endpoints().query_addr);
  Peer dealer(zmq::socket_type::dealer, hub.endpoints().query_addr);
  std::mt19937 random(11);
  const auto garbage = [&] {
    Parts parts(random() % 12 + 1);
    for (std::string& part : parts) {
      part.resize(random() % 60);
      for (char& byte : part) byte = static_cast<char>(random());
      if (random() % 3 == 0 && part.size() > 1) {
        part[0] = 1;
        part[1] = static_cast<char>(random() % 12);
      }
    }
    return parts;
  };
  for (Block i = 0; i < 300; ++i) {
    push.try_send(garbage());
    flooder.try_send(garbage());
    REQUIRE(ask(dealer, {"id"}, keys_message(MessageType::can_offload, {i})) == statuses({OffloadStatus::granted}));
  }
}

TEST_CASE("bytes that are not even ZeroMQ's do not keep the hub from answering") {
  const Served hub;
  std::mt19937 random(13);
  for (const std::string& address : {hub.endpoints().query_addr, hub.endpoints().register_addr}) {
    const std::size_t colon = address.rfind(':');
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<std::uint16_t>(std::stoi(address.substr(colon + 1))));
    inet_pton(AF_INET, "127.0.0.1", &to.sin_addr);
    for (int i = 0; i < 20; ++i) {
      const int connection = socket(AF_INET, SOCK_STREAM, 0);
      REQUIRE(connect(connection, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0);
      std::string noise(random() % 2'000, '\0');
      for (char& byte : noise) byte = static_cast<char>(random());
      // The hub may have hung up by then.
      (void)::send(connection, noise.data(), noise.size(), MSG_NOSIGNAL);
      close(connection);
    }
  }
  Peer dealer(zmq::socket_type::dealer, hub.endpoints().query_addr);
  CHECK(ask(dealer, {}, keys_message(MessageType::can_offload, {1})) == statuses({OffloadStatus::granted}));
}

TEST_CASE("a hub can be stopped and served again, what came meanwhile is answered then") {
  Served hub;
  Peer dealer(zmq::socket_type::dealer, hub.endpoints().query_addr);
  for (Block i = 0; i < 20; ++i) {
    CHECK(ask(dealer, {"id"}, keys_message(MessageType::can_offload, {i})) == statuses({OffloadStatus::granted}));
    hub.stop();
    dealer.send({"later", keys_message(MessageType::can_offload, {i + 100})});
    hub.start();
    CHECK(dealer.receive() == Parts{"later", statuses({OffloadStatus::granted})});
  }
  CHECK(hub.stats().queries == 40);
}

TEST_CASE("several hubs in one process have nothing in common") {
  const Served one;
  const Served two;
  Peer to_one(zmq::socket_type::dealer, one.endpoints().query_addr);
  Peer to_two(zmq::socket_type::dealer, two.endpoints().query_addr);
  const std::string question = keys_message(MessageType::can_offload, {1});
  CHECK(ask(to_one, {}, question) == statuses({OffloadStatus::granted}));
  CHECK(ask(to_two, {}, question) == statuses({OffloadStatus::granted}));
}

TEST_CASE("our client over real sockets") {
  const bool ipc = GENERATE(false, true);
  SocketDirectory directory;
  const Served hub(ipc ? directory.hub() : local_hub());
  const auto make = [&] { return client<Block, Block>(ZmqTransport::connect(to_hub(hub.endpoints()))).build(); };
  auto one = make();
  auto two = make();
  CHECK(one.can_offload({1, 2}).can_offload == std::vector<Block>{1, 2});
  CHECK(two.can_offload({2, 3}).can_offload == std::vector<Block>{3});
  one.register_blocks({{1, 10}, {2, 20}});
  one.flush();
  REQUIRE(eventually([&] { return two.match({1, 2, 3}).size() == 2; }));
  CHECK(two.can_offload({1, 2}).already_stored == std::vector<Block>{1, 2});
  CHECK(two.remove({1}) == 1);
  CHECK(one.touch({1, 2}) == 1);
  CHECK(two.release({3}) == 1);
  CHECK(one.close(limit).empty());
}

TEST_CASE("a batch that did not fill is sent when its time has come") {
  const Served hub;
  auto registering = client<Block, Block>(ZmqTransport::connect(to_hub(hub.endpoints()))).batch_timeout(1ms).build();
  registering.register_blocks({{1, 10}});
  CHECK(eventually([&] { return hub.stats().entries_registered == 1; }));
}

TEST_CASE("many clients on many threads are granted each key once") {
  const Served hub;
  constexpr int threads = 8;
  constexpr Block keys = 2'000;
  std::vector<std::future<std::size_t>> claims;
  for (int t = 0; t < threads; ++t) {
    claims.push_back(std::async(std::launch::async, [&] {
      auto asking = client<Block, Block>(ZmqTransport::connect(to_hub(hub.endpoints()))).build();
      std::size_t granted = 0;
      for (Block first = 0; first < keys; first += 50) {
        std::vector<Block> batch;
        for (Block key = first; key < first + 50; ++key) batch.push_back(key);
        granted += asking.can_offload(batch).can_offload.size();
      }
      return granted;
    }));
  }
  std::size_t granted = 0;
  for (auto& claim : claims) granted += claim.get();
  CHECK(granted == keys);
}

TEST_CASE("of many who wait for one key, on threads that share a client, each stores it in turn until it is stored") {
  const Served hub;
  auto worker = client<Block, Block>(ZmqTransport::connect(to_hub(hub.endpoints()))).build();
  constexpr int threads = 16;
  std::atomic<int> holders = 0;
  std::atomic<int> most = 0;
  std::atomic<int> given_up = 0;
  std::vector<std::future<bool>> outcomes;
  for (int t = 0; t < threads; ++t) {
    outcomes.push_back(std::async(std::launch::async, [&] {
      auto claim = worker.claim({1}, limit);
      if (claim.granted().empty()) return claim.already_stored().size() == 1;
      most = std::max(most.load(), ++holders);
      // The first three fail, and their claims end with that.
      const bool fails = given_up.fetch_add(1) < 3;
      std::this_thread::yield();
      --holders;
      return fails || claim.register_blocks({{1, 10}}).all_stored();
    }));
  }
  for (auto& outcome : outcomes) CHECK(outcome.get());
  CHECK(most == 1);
  CHECK(given_up == 4);
  // Not the answers: a claim may ask once more than it needs, and hears again that it holds the key.
  CHECK(hub.stats().leases.granted == 4);
  CHECK(hub.stats().waiting_claims == 0);
  CHECK(hub.stats().leases.active == 0);
}

TEST_CASE("a claim that ends gives back over the network without waiting for it") {
  const Served hub;
  auto one = client<Block, Block>(ZmqTransport::connect(to_hub(hub.endpoints()))).build();
  auto two = client<Block, Block>(ZmqTransport::connect(to_hub(hub.endpoints()))).build();
  // More of them than a connection holds answers: nobody reads the answers to what is given back.
  for (Block key = 0; key < 2'000; ++key) one.claim({key});
  REQUIRE(eventually([&] { return hub.stats().leases.active == 0; }));
  CHECK(hub.stats().undeliverable == 0);
  CHECK(two.claim({1}).granted() == std::vector<Block>{1});
}

TEST_CASE("who stops waiting tells the hub, and the next one is granted the key") {
  const Served hub;
  auto holder = client<Block, Block>(ZmqTransport::connect(to_hub(hub.endpoints()))).build();
  auto impatient = client<Block, Block>(ZmqTransport::connect(to_hub(hub.endpoints()))).build();
  auto held = holder.claim({1});
  CHECK(impatient.claim({1}, 1ms).leased() == std::vector<Block>{1});
  REQUIRE(eventually([&] { return hub.stats().waiting_claims == 0; }));
  auto waiting = std::async(std::launch::async, [&] { return impatient.claim({1}, limit).granted().size(); });
  REQUIRE(eventually([&] { return hub.stats().waiting_claims == 1; }));
  held.release();
  CHECK(waiting.get() == 1);
}

TEST_CASE("acknowledged registrations of many threads are seen by everybody as soon as they are confirmed") {
  const Served hub;
  auto writer = client<Block, Block>(ZmqTransport::connect(to_hub(hub.endpoints()))).build();
  auto reader = client<Block, Block>(ZmqTransport::connect(to_hub(hub.endpoints()))).build();
  std::vector<std::future<bool>> outcomes;
  for (Block t = 0; t < 8; ++t) {
    outcomes.push_back(std::async(std::launch::async, [&, t] {
      for (Block key = 100 * t; key < 100 * t + 50; ++key) {
        if (!writer.register_acknowledged({{key, key + 1}}).all_stored()) return false;
        if (reader.match({key}).size() != 1) return false;
      }
      return true;
    }));
  }
  for (auto& outcome : outcomes) CHECK(outcome.get());
  CHECK(reader.remove_if({{1, 2}, {2, 2}}) == 1);
}
