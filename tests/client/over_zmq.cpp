// SPDX-License-Identifier: Apache-2.0
// The client over real sockets: hubs that are not ours, high-water marks, and many threads.
#include "support/catch.hpp"

#include <atomic>
#include <barrier>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <registry/builder.hpp>
#include <registry/core/peer_name.hpp>
#include <registry/storage.hpp>
#include <registry/transport/zmq.hpp>
#include <registry/transport/zmq_hub.hpp>

#include "client/fake_transport.hpp"
#include "zmq/sockets.hpp"

using namespace client_test;

namespace {

using enum OffloadStatus;

/// A ROUTER and a PULL, served on a thread of their own by what the test says.
class Peer {
 public:
  /// What is sent back for a query of this envelope and message: any number of messages behind these frames.
  using Answer = std::function<void(Peer& peer, ByteView sender, Frames envelope, ByteView message)>;

  explicit Peer(Answer answer) : answer_(std::move(answer)), transport_(ZmqHubTransport::bind(zmq_test::local_hub())) {
    thread_ = std::thread([this] {
      while (!stopping_) {
        transport_.wait(std::nullopt);
        transport_.drain(*this);
      }
    });
  }
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;
  ~Peer() {
    stopping_ = true;
    transport_.interrupt();
    thread_.join();
  }

  auto client() const {
    return registry::client<Block, Block>(ZmqTransport::connect(zmq_test::to_hub(transport_.endpoints())))
        .request_timeout(zmq_test::limit);
  }

  bool send(ByteView to, Frames envelope, ByteView message) { return transport_.send(to, envelope, message); }

  void query(ByteView sender, Frames envelope, ByteView message) { answer_(*this, sender, envelope, message); }
  void registration(std::string_view, std::optional<ByteView>, ByteView) {}
  void malformed(std::string_view, std::string_view) {}
  void denied_query(ByteView, Frames, const PeerName&, std::string_view) {}
  void denied_registration(const PeerName&, ByteView, std::string_view) {}

 private:
  Answer answer_;
  ZmqHubTransport transport_;
  std::atomic<bool> stopping_ = false;
  std::thread thread_;
};

/// As the Rust registry: no envelope comes back, and messages that it does not know are errors.
void answer_as_rust(Peer& peer, ByteView sender, Frames, ByteView message) {
  switch (type_of(message)) {
    case MessageType::can_offload:
      peer.send(sender, {}, statuses(std::vector(keys_of(message).size(), granted)));
      break;
    case MessageType::match: peer.send(sender, {}, matched({{keys_of(message).front(), 7, {}}})); break;
    case MessageType::remove: peer.send(sender, {}, count(MessageType::remove_response, 1)); break;
    case MessageType::touch: peer.send(sender, {}, count(MessageType::touch_response, 1)); break;
    default: peer.send(sender, {}, words(MessageType::error_response, "Invalid message type")); break;
  }
}

}  // namespace

TEST_CASE("a hub without envelopes serves everything but the extensions") {
  Peer hub(answer_as_rust);
  auto worker = hub.client().build();
  CHECK(worker.can_offload({1, 2}).can_offload == std::vector<Block>{1, 2});
  CHECK(worker.match({1, 2}) == std::vector<BlockEntry>{{1, 7, {}}});
  CHECK(worker.match_prefix({1, 2}).size() == 1);
  CHECK(worker.remove({1}) == 1);
  CHECK(worker.touch({1}) == 1);
  CHECK(is<Unsupported>(error_of([&] { worker.release({1}); })));
  CHECK(worker.can_offload({3}).can_offload == std::vector<Block>{3});
  CHECK(is<Unsupported>(error_of([&] { hub.client().name_space("models").build(); })));
}

TEST_CASE("a claim that would wait at a slow hub without envelopes leaves nothing on its connection") {
  std::atomic<int> queries = 0;
  Peer hub([&](Peer& peer, ByteView sender, Frames envelope, ByteView message) {
    // Long enough for whoever asks again, for instance because the connection stands only now.
    if (++queries == 1) std::this_thread::sleep_for(50ms);
    answer_as_rust(peer, sender, envelope, message);
  });
  auto worker = hub.client().build();
  CHECK(is<Unsupported>(error_of([&] { worker.claim({7}, 5s); })));
  CHECK(worker.can_offload({1, 2}).can_offload == std::vector<Block>{1, 2});
  CHECK(worker.match({1, 2}) == std::vector<BlockEntry>{{1, 7, {}}});
}

TEST_CASE("the late answer of a hub without envelopes is not taken for that to a later query") {
  std::atomic<int> queries = 0;
  Bytes late_sender;
  Peer hub([&](Peer& peer, ByteView sender, Frames, ByteView) {
    switch (++queries) {
      case 1: peer.send(sender, {}, statuses({granted})); break;
      case 2: late_sender.assign(sender.begin(), sender.end()); break;
      default:
        // The answer to the second query comes only now, ahead of this one's.
        peer.send(late_sender, {}, statuses({leased}));
        peer.send(sender, {}, statuses({already_stored}));
        break;
    }
  });
  auto patient = hub.client().request_timeout(200ms).build();
  CHECK(patient.can_offload({1}).can_offload == std::vector<Block>{1});
  CHECK(is<Timeout>(error_of([&] { patient.can_offload({2}); })));
  std::optional<OffloadResult<Block>> third;
  // On a machine that is very busy the answer may take longer than the timeout above.
  while (!third) {
    error_of([&] { third = patient.can_offload({3}); });
  }
  CHECK(third->already_stored == std::vector<Block>{3});
}

TEST_CASE("the late answer of a hub with envelopes is passed over on the same connection") {
  std::atomic<int> queries = 0;
  Bytes late_envelope;
  Peer hub([&](Peer& peer, ByteView sender, Frames envelope, ByteView message) {
    if (type_of(message) == MessageType::withdraw) return;
    switch (++queries) {
      case 1: peer.send(sender, envelope, statuses({granted})); break;
      case 2: late_envelope.assign(envelope[0].begin(), envelope[0].end()); break;
      default: {
        const ByteView late = late_envelope;
        peer.send(sender, Frames{&late, 1}, statuses({leased}));
        peer.send(sender, envelope, statuses({already_stored}));
        break;
      }
    }
  });
  auto worker = hub.client().request_timeout(200ms).build();
  CHECK(worker.can_offload({1}).can_offload == std::vector<Block>{1});
  CHECK(is<Timeout>(error_of([&] { worker.can_offload({2}); })));
  std::optional<OffloadResult<Block>> third;
  while (!third) {
    error_of([&] { third = worker.can_offload({3}); });
  }
  CHECK(third->already_stored == std::vector<Block>{3});
}

TEST_CASE("a query that was given up is withdrawn at the hub, which grants its keys to the next") {
  // The first can_offload of a key of 100 and more is granted and its answer withheld.
  auto catalogue = hub<Block, Block>(HashMapStorage<Block, Block>{}).build();
  std::atomic<bool> withheld = false;
  std::promise<void> withdrawn;
  Peer hub([&](Peer& peer, ByteView sender, Frames envelope, ByteView message) {
    const bool withhold =
        type_of(message) == MessageType::can_offload && keys_of(message).front() >= 100 && !withheld.exchange(true);
    const Instant now{SteadyTime{1h}, WallTime{}};
    catalogue.core().query(sender, envelope, message, now, [&](ByteView to, Frames frames, ByteView answer) {
      return withhold || peer.send(to, frames, answer);
    });
    if (type_of(message) == MessageType::withdraw) withdrawn.set_value();
  });
  auto impatient = hub.client().request_timeout(150ms).build();
  auto other = hub.client().build();
  CHECK(is<Timeout>(error_of([&] { impatient.can_offload({100, 101}); })));
  REQUIRE(withdrawn.get_future().wait_for(zmq_test::limit) == std::future_status::ready);
  CHECK(other.can_offload({100, 101}).can_offload == std::vector<Block>{100, 101});
}

TEST_CASE("without a hub, registrations wait at the mark and none is lost") {
  ZmqTransportConfig config = zmq_test::to_hub(zmq_test::nowhere());
  config.push_hwm = 1;
  auto worker = registry::client<Block, Block>(ZmqTransport::connect(config))
                    .batch_size(10)
                    .register_timeout(50ms)
                    .log(nullptr)
                    .build();
  std::size_t accepted = 0;
  std::optional<BlockUndelivered> error;
  for (Block first = 0; !error && first < 1'000; first += 10) {
    error = undelivered([&] { worker.register_blocks(blocks(first, 10)); });
    if (!error) accepted += 10;
  }
  REQUIRE(error);
  CHECK(error->entries() == blocks(accepted, 10));
  CHECK(is<Timeout>(error_of([&] { worker.flush(); })));
  const auto back = worker.close(50ms);
  // Also the message that stands in the socket, which libzmq gives up after the linger.
  CHECK(back == blocks(0, accepted));
  CHECK(accepted == 20);
}

TEST_CASE("many threads share one client") {
  auto catalogue = hub<Block, Block>(HashMapStorage<Block, Block>{}).build();
  auto transport = ZmqHubTransport::bind(zmq_test::local_hub());
  std::thread serving([&] { catalogue.serve(transport); });
  {
    auto worker =
        registry::client<Block, Block>(ZmqTransport::connect(zmq_test::to_hub(transport.endpoints())))
            .batch_size(7)
            .batch_timeout(1ms)
            .local_cache(100)
            .request_timeout(zmq_test::limit)
            .build();
    constexpr Block threads = 12;
    constexpr Block each = 60;
    std::vector<std::future<std::size_t>> work;
    for (Block thread = 0; thread < threads; ++thread) {
      work.push_back(std::async(std::launch::async, [&worker, thread] {
        std::size_t right = 0;
        for (Block i = 0; i < each; ++i) {
          const Block key = thread * each + i;
          right += worker.can_offload({key}).can_offload.size();
          worker.register_blocks({{key, 10 * key, {}}});
          if (i % 10 == 0) worker.flush();
          right += worker.can_offload({key}).already_stored.size();
          if (i % 7 == 0) right += worker.remove({key}) == 1 && worker.match({key}).empty() ? 1U : 0U;
          worker.touch({key});
        }
        return right;
      }));
    }
    std::size_t right = 0;
    for (auto& one : work) right += one.get();
    CHECK(right == threads * (2 * each + (each + 6) / 7));
    CHECK(worker.close(zmq_test::limit).empty());
  }
  const auto end = zmq_test::steady_now() + zmq_test::limit;
  while (catalogue.stats().entries_registered < 720 && zmq_test::steady_now() < end) std::this_thread::yield();
  CHECK(catalogue.stats().entries_registered == 720);
  CHECK(catalogue.stats().removed == 108);
  catalogue.stop();
  serving.join();
}

TEST_CASE("registrations of one client travel in the order of their numbers, whichever threads send them") {
  std::vector<std::uint64_t> numbers;
  std::atomic<std::size_t> entries = 0;
  auto transport = ZmqHubTransport::bind(zmq_test::local_hub());
  struct Handler {
    std::vector<std::uint64_t>& numbers;
    std::atomic<std::size_t>& entries;
    void query(ByteView, Frames, ByteView) {}
    void registration(std::string_view, std::optional<ByteView> envelope, ByteView message) {
      std::vector<BlockEntry> some;
      if (!envelope || BlockCodec::decode_entries(message, some)) return;
      numbers.push_back(Envelope::decode(*envelope).value().number);
      entries += some.size();
    }
    void malformed(std::string_view, std::string_view) {}
    void denied_query(ByteView, Frames, const PeerName&, std::string_view) {}
    void denied_registration(const PeerName&, ByteView, std::string_view) {}
  } handler{numbers, entries};
  auto worker = registry::client<Block, Block>(ZmqTransport::connect(zmq_test::to_hub(transport.endpoints())))
                    .batch_size(3)
                    .batch_timeout(1ms)
                    .build();
  std::vector<std::future<void>> work;
  for (Block thread = 0; thread < 8; ++thread) {
    work.push_back(std::async(std::launch::async, [&worker, thread] {
      for (Block i = 0; i < 100; ++i) worker.register_blocks(blocks(thread * 1'000 + i, 1));
      worker.flush();
    }));
  }
  CHECK(zmq_test::pump(transport, handler, [&] { return entries == 800; }));
  for (auto& one : work) one.get();
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    if (numbers[i] != i + 1) FAIL_CHECK("the registration at " << i << " has number " << numbers[i]);
  }
  CHECK_FALSE(numbers.empty());
}

TEST_CASE("whichever thread of a client registers first, a hub that insists is pushed nothing") {
  auto hub = registry::hub<Block, Block>(HashMapStorage<Block, Block>{}).insist_on_holder(true).log(nullptr).build();
  auto transport = ZmqHubTransport::bind(zmq_test::local_hub());
  std::thread server([&] { hub.serve(transport); });
  constexpr std::size_t threads = 4;
  std::atomic<std::size_t> refused = 0;
  constexpr std::size_t rounds = 20;
  for (std::size_t round = 0; round < rounds; ++round) {
    auto worker = registry::client<Block, Block>(ZmqTransport::connect(zmq_test::to_hub(transport.endpoints())))
                      .request_timeout(zmq_test::limit)
                      .log(nullptr)
                      .build();
    std::barrier start(threads);
    std::vector<std::jthread> all;
    for (std::size_t i = 0; i < threads; ++i) {
      all.emplace_back([&] {
        start.arrive_and_wait();
        const auto late = undelivered([&] { worker.register_blocks({{1, 10, {}}}); });
        if (late && late->as<LeaseConflict>() != nullptr) ++refused;
      });
    }
  }
  CHECK(refused == rounds * threads);
  CHECK(hub.stats().registrations == 0);
  hub.stop();
  server.join();
}
