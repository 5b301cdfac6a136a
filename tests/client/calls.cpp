// SPDX-License-Identifier: Apache-2.0
// What each blocking call sends, what it makes of an answer, and how it fails.
#include "support/catch.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "client/fake_transport.hpp"

using namespace client_test;

namespace {

using enum OffloadStatus;

const auto script_with = [](auto answer) {
  auto script = std::make_shared<Script>();
  script->answer = std::move(answer);
  return script;
};

}  // namespace

TEST_CASE("can_offload says which keys to store") {
  const auto script = script_with(always(statuses({granted, already_stored, leased, granted})));
  auto worker = fake_client(script).build();
  const auto answer = worker.can_offload({4, 3, 2, 1});
  CHECK(answer.statuses == std::vector{granted, already_stored, leased, granted});
  CHECK(answer.can_offload == std::vector<Block>{4, 1});
  CHECK(answer.already_stored == std::vector<Block>{3});
  CHECK(answer.leased == std::vector<Block>{2});
  REQUIRE(script->asked.size() == 1);
  CHECK(type_of(script->asked[0].message) == MessageType::can_offload);
  CHECK(keys_of(script->asked[0].message) == std::vector<Block>{4, 3, 2, 1});
}

TEST_CASE("match and match_prefix return what is stored") {
  const auto script = script_with(always(matched({{1, 10, {}}, {3, 30, {}}})));
  auto worker = fake_client(script).build();
  CHECK(worker.match({1, 2, 3}) == std::vector<BlockEntry>{{1, 10, {}}, {3, 30, {}}});
  CHECK(worker.match_prefix({1, 2, 3}) == std::vector<BlockEntry>{{1, 10, {}}});
  CHECK(worker.match_prefix({0, 1, 3}).empty());
  for (const Message& asked : script->asked) CHECK(type_of(asked.message) == MessageType::match);
}

TEST_CASE("remove, touch and release return how many keys they applied to") {
  const auto script = std::make_shared<Script>();
  auto worker = fake_client(script).build();
  script->answer = always(count(MessageType::remove_response, 2));
  CHECK(worker.remove({1, 2, 3}) == 2);
  script->answer = always(count(MessageType::touch_response, 3));
  CHECK(worker.touch({1, 2, 3}) == 3);
  script->answer = always(count(MessageType::release_response, 1));
  CHECK(worker.release({1, 2, 3}) == 1);
  REQUIRE(script->asked.size() == 3);
  CHECK(type_of(script->asked[0].message) == MessageType::remove);
  CHECK(type_of(script->asked[1].message) == MessageType::touch);
  CHECK(type_of(script->asked[2].message) == MessageType::release);
}

TEST_CASE("a call about no keys asks nobody") {
  const auto script = std::make_shared<Script>();
  auto worker = fake_client(script).build();
  CHECK(worker.can_offload({}).statuses.empty());
  CHECK(worker.match({}).empty());
  CHECK(worker.match_prefix({}).empty());
  CHECK(worker.remove({}) == 0);
  CHECK(worker.touch({}) == 0);
  CHECK(worker.release({}) == 0);
  worker.register_blocks({});
  worker.flush();
  CHECK(script->asked.empty());
  CHECK(script->pushed.empty());
}

TEST_CASE("every query has a number of its own and the identity of its client") {
  const auto script = script_with(always(statuses({granted})));
  auto worker = fake_client(script).build();
  auto other = fake_client(script).build();
  worker.can_offload({1});
  worker.can_offload({1});
  other.can_offload({1});
  const auto envelope = [&](std::size_t i) { return Envelope::decode(script->asked.at(i).envelope).value(); };
  CHECK(envelope(0).client == envelope(1).client);
  CHECK(envelope(0).client != envelope(2).client);
  CHECK(envelope(0).number != envelope(1).number);
  CHECK(envelope(0).name_space == "default");
}

TEST_CASE("a query without an answer fails after the request timeout") {
  const auto script = std::make_shared<Script>();
  auto worker = fake_client(script).request_timeout(1234ms).build();
  const auto check = [](const std::optional<RegistryError>& error) {
    REQUIRE(is<Timeout>(error));
    CHECK(error->as<Timeout>()->duration == 1234ms);
    CHECK(error->code() == std::errc::timed_out);
  };
  check(error_of([&] { worker.can_offload({1}); }));
  check(error_of([&] { worker.match({1}); }));
  check(error_of([&] { worker.match_prefix({1}); }));
  check(error_of([&] { worker.remove({1}); }));
  check(error_of([&] { worker.touch({1}); }));
  check(error_of([&] { worker.release({1}); }));
}

TEST_CASE("what a transport says of a query is thrown") {
  const auto script = std::make_shared<Script>();
  auto worker = fake_client(script).build();
  script->failure = TransportError{"the cable is cut"};
  const auto error = error_of([&] { worker.match({1}); });
  REQUIRE(is<TransportError>(error));
  CHECK(error->as<TransportError>()->reason == "the cable is cut");
  script->failure = Disconnected{"gone"};
  CHECK(is<Disconnected>(error_of([&] { worker.match({1}); })));
}

TEST_CASE("what a hub refuses is thrown with its words") {
  const auto script = script_with(always(words(MessageType::error_response, "too many keys")));
  auto worker = fake_client(script).build();
  const auto error = error_of([&] { worker.can_offload({1}); });
  REQUIRE(is<HubError>(error));
  CHECK(error->as<HubError>()->text == "too many keys");
  CHECK(std::string{error->what()}.find("too many keys") != std::string::npos);
}

TEST_CASE("an answer that is none is an error, and the next call is not affected") {
  const auto script = std::make_shared<Script>();
  auto worker = fake_client(script).build();
  const auto failure = [&](Bytes answer) {
    script->answer = always(std::move(answer));
    return error_of([&] { worker.can_offload({1, 2}); });
  };
  CHECK(is<MessageTooShort>(failure({})));
  CHECK(is<MessageTooShort>(failure(bytes({1}))));
  CHECK(is<VersionMismatch>(failure(bytes({9, 4, 0, 0, 0, 0}))));
  CHECK(is<InvalidMessageType>(failure(bytes({1, 99}))));
  CHECK(is<InvalidMessageType>(failure(count(MessageType::touch_response, 2))));
  CHECK(is<DecodeError>(failure(statuses({granted}))));
  CHECK(is<DecodeError>(failure(bytes({1, 4, 2, 0, 0, 0, 0, 7}))));
  CHECK(is<DecodeError>(failure(bytes({1, 4, 255, 255, 255, 255, 0, 0}))));
  script->answer = always(matched({{7, 70, {}}}));
  CHECK(is<DecodeError>(error_of([&] { worker.match({1}); })));
  script->answer = always(statuses({granted, leased}));
  CHECK(worker.can_offload({1, 2}).can_offload == std::vector<Block>{1});
}

TEST_CASE("release is Unsupported where the hub does not know it") {
  const auto script = std::make_shared<Script>();
  auto worker = fake_client(script).build();
  const Bytes answer = GENERATE(Bytes{}, words(MessageType::error_response, "unknown message type 34"));
  script->answer = always_bare(answer);
  const auto error = error_of([&] { worker.release({1}); });
  REQUIRE(is<Unsupported>(error));
  CHECK(error->as<Unsupported>()->operation.find("release") == 0);
  script->answer = always_bare(statuses({granted}));
  CHECK(worker.can_offload({1}).can_offload == std::vector<Block>{1});
}

TEST_CASE("an answer to somebody else or to an earlier query is never taken for this one") {
  const auto script = std::make_shared<Script>();
  auto worker = fake_client(script).build();
  script->answer = always(statuses({granted}));
  worker.can_offload({1});
  const Bytes earlier = script->asked.back().envelope;

  const auto copy = [](ByteView frame) { return Bytes(frame.begin(), frame.end()); };
  script->answer = [&](ByteView envelope, ByteView) {
    Envelope foreign = Envelope::decode(envelope).value();
    foreign.client.low ^= 1;
    Bytes of_another;
    foreign.encode(of_another);
    const Bytes wrong = statuses({leased});
    return std::vector<std::vector<Bytes>>{
        {earlier, wrong},
        {of_another, wrong},
        {wrong},  // without an envelope from a hub that returns envelopes
        {bytes({1, 2, 3}), wrong},
        {copy(envelope), copy(envelope), wrong},
        {copy(envelope), statuses({already_stored})}};
  };
  CHECK(worker.can_offload({1}).already_stored == std::vector<Block>{1});

  script->answer = [&](ByteView, ByteView) { return std::vector<std::vector<Bytes>>{{earlier, statuses({granted})}}; };
  CHECK(is<Timeout>(error_of([&] { worker.can_offload({2}); })));
}

TEST_CASE("a query that was given up takes back what its answer may have granted") {
  const auto script = script_with(always(statuses({leased})));
  auto worker = fake_client(script).build();
  worker.can_offload({7});
  CHECK(script->withdrawn.empty());
  script->answer = nullptr;
  CHECK(is<Timeout>(error_of([&] { worker.can_offload({1, 2}); })));
  REQUIRE(script->withdrawn.size() == 1);
  CHECK(type_of(script->withdrawn[0].message) == MessageType::withdraw);
  CHECK(keys_of(script->withdrawn[0].message) == std::vector<Block>{1, 2});
  // By its number the hub knows which grant is meant.
  CHECK(script->withdrawn[0].envelope == script->asked.back().envelope);
  CHECK(script->kept_connection == true);
  CHECK(is<Timeout>(error_of([&] { worker.match({1, 2}); })));
  CHECK(script->withdrawn.size() == 1);
}

TEST_CASE("a connection to a hub without envelopes is not kept after a query that was given up") {
  const auto script = script_with(always_bare(statuses({leased})));
  auto worker = fake_client(script).build();
  worker.can_offload({7});
  script->answer = nullptr;
  CHECK(is<Timeout>(error_of([&] { worker.can_offload({1}); })));
  CHECK(script->kept_connection == false);
  CHECK(script->withdrawn.empty());
}

TEST_CASE("keys that this client has registered are stored to it without asking") {
  const auto script = script_with(always(statuses({granted})));
  auto worker = fake_client(script).registered_ttl(10s).build();
  worker.register_blocks({{1, 10, {}}});
  script->asked.clear();
  const auto answer = worker.can_offload({1, 2});
  CHECK(answer.already_stored == std::vector<Block>{1});
  CHECK(answer.can_offload == std::vector<Block>{2});
  CHECK(keys_of(script->asked.at(0).message) == std::vector<Block>{2});
  CHECK(worker.can_offload({1}).already_stored == std::vector<Block>{1});
  CHECK(script->asked.size() == 1);
  worker.flush();
  script->advance(10s);
  CHECK(worker.can_offload({1}).can_offload == std::vector<Block>{1});
}

TEST_CASE("the local cache answers for keys that the hub lately called stored") {
  const auto script = script_with(always(statuses({already_stored})));
  const auto asked = [&] { return script->asked.size(); };
  SECTION("not without the option") {
    auto worker = fake_client(script).build();
    worker.can_offload({1});
    worker.can_offload({1});
    CHECK(asked() == 2);
  }
  SECTION("for its time") {
    auto worker = fake_client(script).local_cache(10).local_cache_ttl(4s).build();
    worker.can_offload({1});
    script->advance(2s - 1ns);
    CHECK(worker.can_offload({1}).already_stored == std::vector<Block>{1});
    CHECK(asked() == 1);
    script->advance(4s);
    worker.can_offload({1});
    CHECK(asked() == 2);
  }
  SECTION("not to match, and not after a miss in match") {
    auto worker = fake_client(script).local_cache(10).build();
    worker.can_offload({1});
    script->answer = always(matched({}));
    CHECK(worker.match({1}).empty());
    script->answer = always(statuses({granted}));
    CHECK(worker.can_offload({1}).can_offload == std::vector<Block>{1});
  }
  SECTION("not after a remove") {
    auto worker = fake_client(script).local_cache(10).build();
    worker.can_offload({1});
    script->answer = always(count(MessageType::remove_response, 1));
    worker.remove({1});
    script->answer = always(statuses({granted}));
    CHECK(worker.can_offload({1}).can_offload == std::vector<Block>{1});
  }
}

TEST_CASE("arguments may come as lists, vectors, spans and arrays") {
  const auto script = script_with(always(count(MessageType::touch_response, 2)));
  auto worker = fake_client(script).build();
  const std::vector<Block> vector{1, 2};
  const std::array<Block, 2> array{1, 2};
  const Block plain[] = {1, 2};
  CHECK(worker.touch({1, 2}) == 2);
  CHECK(worker.touch(vector) == 2);
  CHECK(worker.touch(std::span<const Block>{vector}) == 2);
  CHECK(worker.touch(array) == 2);
  CHECK(worker.touch(plain) == 2);
  for (const Message& asked : script->asked) CHECK(keys_of(asked.message) == vector);
}
