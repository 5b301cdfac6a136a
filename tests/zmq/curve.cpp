// SPDX-License-Identifier: Apache-2.0
// Who is let in by a hub with keys, on both of its sockets, and to which namespaces.
#include "support/catch.hpp"
#include "zmq/keys.hpp"
#include "zmq/sockets.hpp"

#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <registry/builder.hpp>
#include <registry/error.hpp>
#include <registry/transport/zmq.hpp>
#include <registry/transport/zmq_curve.hpp>
#include <registry/transport/zmq_hub.hpp>

using namespace registry;
using namespace zmq_test;

namespace {

const Parts both_let_in{"let in", "let in"};
const Parts both_refused{"refused", "refused"};
const Parts both_cut_off{"cut off", "cut off"};

}  // namespace

TEST_CASE("a client with the right keys is let in on both sockets and works as any other") {
  const auto key = CurveSecretKey::random();
  KeyedHub hub({allow(key)});
  CHECK(fates(hub.endpoints(), CurveClient{hub.secret.public_key(), key}) == both_let_in);

  auto worker = client_of(hub.to(key));
  CHECK(worker.can_offload({1, 2}).can_offload.size() == 2);
  worker.register_blocks({{1, 10}});
  worker.flush();
  CHECK(eventually([&] { return hub.stats().stored == 1; }));
  CHECK(worker.match({1}).size() == 1);
  CHECK(hub.stats().denied == 0);
  CHECK(hub.log.texts().empty());
}

TEST_CASE("who has no keys, another hub's, or a key that is not on the list is let in on neither socket") {
  const auto key = CurveSecretKey::random();
  const auto stranger = CurveSecretKey::random();
  KeyedHub hub({allow(key)});
  CHECK(fates(hub.endpoints(), std::nullopt) == both_cut_off);
  CHECK(fates(hub.endpoints(), CurveClient{stranger.public_key(), key}) == both_cut_off);
  CHECK(fates(hub.endpoints(), CurveClient{hub.secret.public_key(), stranger}) == both_refused);
  CHECK(hub.log.contains("a connection from 127.0.0.1 was refused: its key is not on the list of allowed clients"));
}

TEST_CASE("an empty list lets nobody in") {
  KeyedHub hub({});
  CHECK(fates(hub.endpoints(), CurveClient{hub.secret.public_key(), CurveSecretKey::random()}) == both_refused);
}

TEST_CASE("a hub that closes lets nobody in who was not let in before") {
  const auto stranger = CurveSecretKey::random();
  zmq_test::RestartedHub place(std::vector<CurveAllowedClient>{});
  // Sockets close in the background, while those visitors who came last are still being let in or not.
  for (int round = 0; round < 30; ++round) {
    const std::string address = place.hub->endpoints().query_addr;
    std::deque<Visitor> visitors;
    for (int i = 0; i < 6; ++i) {
      visitors.emplace_back(zmq::socket_type::dealer, address, CurveClient{place.secret.public_key(), stranger});
    }
    place.hub.reset();
    place.restart(std::vector<CurveAllowedClient>{});
    for (Visitor& visitor : visitors) CHECK(visitor.fate() != "let in");
  }
}

TEST_CASE("a client with keys talks to no hub without") {
  auto hub = ZmqHubTransport::bind(local_hub());
  const auto key = CurveSecretKey::random();
  CHECK(fates(hub.endpoints(), CurveClient{key.public_key(), key}) == both_cut_off);
}

TEST_CASE("nothing of a client that is refused reaches the hub") {
  const auto key = CurveSecretKey::random();
  KeyedHub hub({allow(key)});
  auto worker = client_of(hub.to(CurveSecretKey::random()), "default", 300ms);
  worker.register_blocks({{2, 20}});
  worker.flush();
  const auto timeout = error_of([&] { worker.can_offload({1}); });
  REQUIRE(timeout);
  CHECK(timeout->as<Timeout>() != nullptr);
  auto known = client_of(hub.to(key));
  CHECK(known.can_offload({1}).can_offload.size() == 1);
  CHECK(hub.stats().queries == 1);
  CHECK(hub.stats().registrations == 0);
}

TEST_CASE("a key may use the namespaces that it is allowed, for queries and for registrations") {
  const auto one = CurveSecretKey::random();
  const auto plain = CurveSecretKey::random();
  const auto all = CurveSecretKey::random();
  KeyedHub hub({allow(one, {"a", "b"}), allow(plain), allow_everything(all)});

  const auto denied = [&](const CurveSecretKey& key, std::string_view name) {
    const CurveClient keys{hub.secret.public_key(), key};
    Visitor asker(zmq::socket_type::dealer, hub.endpoints().query_addr, keys);
    const std::uint64_t before = hub.stats().denied;
    asker.send({envelope_in(name), offload({1})});
    const Parts answer = asker.receive();
    REQUIRE(answer.size() == 2);
    CHECK(answer[0] == envelope_in(name));
    const std::string why = refusal_in(answer);
    if (!why.empty()) CHECK(why == "this client's key may not use namespace \"" + std::string{name} + "\"");

    Visitor writer(zmq::socket_type::push, hub.endpoints().register_addr, keys);
    const HubStats stats = hub.stats();
    writer.send({one_registration(2), envelope_in(name)});
    CHECK(eventually([&] {
      return hub.stats().registrations + hub.stats().denied > stats.registrations + stats.denied;
    }));
    // Both, or neither: no socket lets through what the other denies.
    CHECK(hub.stats().denied == before + (why.empty() ? 0U : 2U));
    return !why.empty();
  };
  CHECK_FALSE(denied(one, "a"));
  CHECK_FALSE(denied(one, "b"));
  CHECK(denied(one, "c"));
  CHECK(denied(one, "default"));
  CHECK_FALSE(denied(plain, "default"));
  CHECK(denied(plain, "a"));
  CHECK_FALSE(denied(all, "default"));
  CHECK_FALSE(denied(all, "d"));
  CHECK(hub.namespaces() == Parts{"a", "b", "d", "default"});
  CHECK(hub.log.contains("a query from 127.0.0.1 was denied: this client's key may not use namespace \"c\""));
  CHECK(hub.log.contains("a registration from 127.0.0.1 was denied: this client's key may not use namespace \"c\""));
}

TEST_CASE("a client hears which of its registrations its key does not allow") {
  const auto key = CurveSecretKey::random();
  KeyedHub hub({allow(key, {"a"})});
  std::mutex mutex;
  std::vector<std::pair<std::size_t, std::string>> lost;
  auto worker =
      registry::client<Block, Block>(registry::ZmqTransport::connect(hub.to(key)))
          .resend_interval(10ms)
          .close_timeout(0ns)
          .on_undelivered([&](auto entries, const registry::Error& why) {
            const std::lock_guard lock(mutex);
            lost.emplace_back(entries.size(), to_string(why));
          })
          .build();
  worker.register_blocks({{1, 10}, {2, 20}});
  worker.flush();
  CHECK(eventually([&] {
    const std::lock_guard lock(mutex);
    return !lost.empty();
  }));
  const std::lock_guard lock(mutex);
  REQUIRE(lost.size() == 1);
  CHECK(lost.front().first == 2);
  CHECK(lost.front().second == "the hub refused: this client's key may not use namespace \"default\"");
}

TEST_CASE("what has no envelope is in default, also for its key") {
  const auto key = CurveSecretKey::random();
  KeyedHub hub({allow(key, {"a"})});
  const CurveClient keys{hub.secret.public_key(), key};
  Visitor asker(zmq::socket_type::dealer, hub.endpoints().query_addr, keys);
  asker.send({offload({1})});
  CHECK(refusal_in(asker.receive()) == "this client's key may not use namespace \"default\"");
  asker.send({envelope_in("a"), "", offload({1})});
  CHECK(refusal_in(asker.receive()) == "this client's key may not use namespace \"default\"");
  Visitor writer(zmq::socket_type::push, hub.endpoints().register_addr, keys);
  writer.send({one_registration(1)});
  CHECK(eventually([&] { return hub.stats().denied == 3; }));
  CHECK(hub.stats().stored == 0);
}

TEST_CASE("a client is told when it is built that its key may not use its namespace") {
  const auto key = CurveSecretKey::random();
  KeyedHub hub({allow(key, {"a"})});
  const auto error = error_of([&] { client_of(hub.to(key), "b"); });
  REQUIRE(error);
  REQUIRE(error->as<Unsupported>() != nullptr);
  CHECK(std::string{error->what()}.find("key may not use namespace \"b\"") != std::string::npos);
  CHECK(client_of(hub.to(key), "a").can_offload({1}).can_offload.size() == 1);
}

TEST_CASE("hubs on one context have each a list of its own") {
  ZmqHubConfig config = local_hub();
  config.context = std::make_shared<zmq::context_t>();
  const auto ann = CurveSecretKey::random();
  const auto bob = CurveSecretKey::random();
  auto one = std::make_unique<KeyedHub>(std::vector{allow(ann, {"a"})}, config);
  KeyedHub two({allow(ann, {"b"}), allow(bob)}, config);
  const auto of = [](const KeyedHub& hub, const CurveSecretKey& key) {
    return CurveClient{hub.secret.public_key(), key};
  };
  CHECK(fates(one->endpoints(), of(*one, ann)) == both_let_in);
  CHECK(fates(one->endpoints(), of(*one, bob)) == both_refused);
  CHECK(fates(two.endpoints(), of(two, ann)) == both_let_in);
  CHECK(fates(two.endpoints(), of(two, bob)) == both_let_in);
  // What a key may use is a matter of the hub, too.
  CHECK(client_of(one->to(ann), "a").can_offload({1}).can_offload.size() == 1);
  CHECK(error_of([&] { client_of(two.to(ann), "a"); }));
  CHECK(client_of(two.to(ann), "b").can_offload({1}).can_offload.size() == 1);
  // The first hub's end is not the end of the handler that they share.
  one.reset();
  CHECK(fates(two.endpoints(), of(two, bob)) == both_let_in);
  CHECK(fates(two.endpoints(), of(two, CurveSecretKey::random())) == both_refused);
}

TEST_CASE("a context may have hubs with keys again after its last one has gone") {
  ZmqHubConfig config = local_hub();
  config.context = std::make_shared<zmq::context_t>();
  const auto key = CurveSecretKey::random();
  for (int i = 0; i < 20; ++i) {
    KeyedHub hub({allow(key)}, config);
    CHECK(fates(hub.endpoints(), CurveClient{hub.secret.public_key(), key}) == both_let_in);
  }
}

TEST_CASE("where somebody else decides whom to let in, a hub with keys does not start") {
  ZmqHubConfig config = local_hub();
  config.context = std::make_shared<zmq::context_t>();
  zmq::socket_t other(*config.context, zmq::socket_type::rep);
  other.bind("inproc://zeromq.zap.01");
  config.curve = CurveServer{CurveSecretKey::random(), {}};
  for (int i = 0; i < 2; ++i) {
    const auto error = error_of([&] { ZmqHubTransport::bind(config); });
    REQUIRE(error);
    REQUIRE(error->as<TransportError>() != nullptr);
    CHECK(std::string{error->what()}.find("bind for ZAP") != std::string::npos);
  }
  other.close();
}

TEST_CASE("a context may be terminated under a hub with keys") {
  ZmqHubConfig config = local_hub();
  config.context = std::make_shared<zmq::context_t>();
  config.curve = CurveServer{CurveSecretKey::random(), {}};
  auto hub = std::make_unique<ZmqHubTransport>(ZmqHubTransport::bind(config));
  std::thread terminating([&] { config.context->shutdown(); });
  terminating.join();
  CHECK_THROWS_AS(hub->wait(0s), RegistryError);
  hub.reset();
}

TEST_CASE("what is no question of libzmq's is refused and does not stop the handler") {
  ZmqHubConfig config = local_hub();
  config.context = std::make_shared<zmq::context_t>();
  const auto key = CurveSecretKey::random();
  KeyedHub hub({allow(key)}, config);
  const std::string bytes = text(key.public_key().bytes());
  const auto status = [&](const Parts& request) {
    zmq::socket_t asker(*config.context, zmq::socket_type::req);
    asker.set(zmq::sockopt::linger, 0);
    asker.set(zmq::sockopt::rcvtimeo, static_cast<int>(std::chrono::milliseconds(limit).count()));
    asker.connect("inproc://zeromq.zap.01");
    for (std::size_t i = 0; i < request.size(); ++i) {
      asker.send(zmq::buffer(request[i]), i + 1 < request.size() ? zmq::send_flags::sndmore : zmq::send_flags::none);
    }
    // Of the answer's six frames the third; the others are let go unread.
    std::string third;
    zmq::message_t frame;
    std::size_t count = 0;
    do {
      if (!asker.recv(frame)) return std::string{"no answer"};
      if (++count == 3) third = frame.to_string();
    } while (frame.more());
    return count == 6 ? third : "an answer of " + std::to_string(count) + " frames";
  };
  const std::string domain = "registry-hub-1";
  CHECK(status({"1.0", "7", domain, "1.2.3.4", "", "CURVE", bytes}) == "200");
  CHECK(status({"1.0", "7", "registry-hub-2", "1.2.3.4", "", "CURVE", bytes}) == "400");
  CHECK(status({"1.0", "7", "", "1.2.3.4", "", "CURVE", bytes}) == "400");
  CHECK(status({"2.0", "7", domain, "1.2.3.4", "", "CURVE", bytes}) == "400");
  CHECK(status({"1.0", "7", domain, "1.2.3.4", "", "NULL"}) == "400");
  CHECK(status({"1.0", "7", domain, "1.2.3.4", "", "PLAIN", "ann", "secret"}) == "400");
  CHECK(status({"1.0", "7", domain, "1.2.3.4", "", "PLAIN", bytes}) == "400");
  CHECK(status({"1.0", "7", domain, "1.2.3.4", "", "CURVE", bytes.substr(1)}) == "400");
  CHECK(status({"1.0", "7", domain, "1.2.3.4", "", "CURVE", bytes, ""}) == "400");
  CHECK(status({""}) == "400");
  CHECK(status({"1.0", "7", domain, "1.2.3.4", "", "CURVE", bytes}) == "200");
}

TEST_CASE("a flood of strangers does not flood the log") {
  KeyedHub hub({});
  const CurveClient keys{hub.secret.public_key(), CurveSecretKey::random()};
  for (int i = 0; i < 15; ++i) Visitor(zmq::socket_type::push, hub.endpoints().register_addr, keys).fate();
  CHECK(hub.log.texts().size() >= 10);
  // 10 a second, and after each second a line of what was left out.
  CHECK(hub.log.texts().size() <= 14);
}

TEST_CASE("a hub without keys that listens beyond this machine says so at every start, and no other") {
  Log log;
  const SocketDirectory directory;
  const auto start = [&](ZmqHubConfig config) {
    config.log = log.hook();
    return ZmqHubTransport::bind(std::move(config)).endpoints();
  };
  const auto everywhere = [] {
    ZmqHubConfig config = local_hub();
    config.query_addr = config.register_addr = "tcp://*:*";
    return config;
  };
  start(local_hub());
  start(directory.hub());
  InProcess in_process;
  start(in_process.config);
  ZmqHubConfig keyed = everywhere();
  keyed.curve = CurveServer{CurveSecretKey::random(), {}};
  start(keyed);
  CHECK(log.texts().empty());

  for (std::size_t starts = 1; starts <= 2; ++starts) {
    const ZmqEndpoints endpoints = start(everywhere());
    REQUIRE(log.texts().size() == starts);
    for (const std::string& part : {std::string{"no keys"}, endpoints.query_addr, endpoints.register_addr}) {
      CHECK(log.texts().back().find(part) != std::string::npos);
    }
  }
  ZmqHubConfig half = local_hub();
  half.register_addr = "tcp://0.0.0.0:*";
  start(half);
  CHECK(log.texts().size() == 3);
  CHECK(LogHook{ZmqHubConfig{}.log});
}

TEST_CASE("a hub of which security is required does not start without keys, wherever it listens") {
  ZmqHubConfig config = local_hub();
  config.require_security = true;
  const auto error = error_of([&] { ZmqHubTransport::bind(config); });
  REQUIRE(error);
  REQUIRE(error->as<ConfigError>() != nullptr);
  CHECK(error->as<ConfigError>()->variable == "curve");
  CHECK(error->as<ConfigError>()->expected == "keys, because security is required of this hub");
  config.curve = CurveServer{CurveSecretKey::random(), {}};
  CHECK_FALSE(error_of([&] { ZmqHubTransport::bind(config); }));
}

TEST_CASE("without CURVE in libzmq keys are refused with a clear error") {
  CHECK_NOTHROW(detail::require_curve());
  const auto error = error_of([] { detail::require_curve(false); });
  REQUIRE(error);
  REQUIRE(error->as<TransportError>() != nullptr);
  CHECK(error->as<TransportError>()->reason == "this libzmq was built without CURVE: it cannot use keys");
}

TEST_CASE("no secret stands in any text") {
  const auto key = CurveSecretKey::random();
  const auto stranger = CurveSecretKey::random();
  KeyedHub hub({allow(key, {"a"})});
  Parts texts;
  const auto note = [&](const std::optional<RegistryError>& error) {
    REQUIRE(error);
    texts.emplace_back(error->what());
    texts.push_back(to_string(error->error()));
  };
  note(error_of([&] { client_of(hub.to(key), "b"); }));
  note(error_of([&] { client_of(hub.to(stranger), "default", 200ms).can_offload({1}); }));
  note(error_of([&] {
    ZmqTransportConfig wrong = hub.to(key);
    wrong.query_addr = "tcp://nowhere";
    client_of(wrong);
  }));
  note(error_of([&] {
    ZmqHubConfig taken = local_hub();
    taken.query_addr = hub.endpoints().query_addr;
    taken.curve = CurveServer{hub.secret, {allow(key)}};
    ZmqHubTransport::bind(taken);
  }));
  const CurveClient unlisted{hub.secret.public_key(), stranger};
  CHECK(fates(hub.endpoints(), unlisted) == both_refused);
  Visitor writer(zmq::socket_type::push, hub.endpoints().register_addr, CurveClient{hub.secret.public_key(), key});
  writer.send({one_registration(1), envelope_in("b")});
  writer.send({"nonsense", envelope_in("a")});
  CHECK(eventually([&] { return hub.stats().malformed == 1; }));
  for (const std::string& line : hub.log.texts()) texts.push_back(line);
  CHECK(texts.size() >= 4 * 2 + 4);
  for (const std::string& line : texts) {
    INFO(line);
    for (const CurveSecretKey& secret : {key, stranger, hub.secret}) {
      CHECK(line.find(z85_of(secret)) == std::string::npos);
      CHECK(line.find(text(secret.bytes())) == std::string::npos);
    }
  }
}
