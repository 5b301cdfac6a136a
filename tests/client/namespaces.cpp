// SPDX-License-Identifier: Apache-2.0
// A client with a namespace of its own must know that the hub serves it before it asks anything else.
#include "support/catch.hpp"

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "client/fake_transport.hpp"

using namespace client_test;

namespace {

auto named_client(const std::shared_ptr<Script>& script) {
  return fake_client(script).name_space("models").request_timeout(200ms).build();
}

}  // namespace

TEST_CASE("a client of the default namespace asks nothing when it is built") {
  const auto script = std::make_shared<Script>();
  auto worker = fake_client(script).build();
  CHECK(script->asked.empty());
}

TEST_CASE("a client of another namespace asks for it by name when it is built") {
  const auto script = std::make_shared<Script>();
  script->answer = always(words(MessageType::hello_response, "models"));
  auto worker = named_client(script);
  REQUIRE(script->asked.size() == 1);
  CHECK(type_of(script->asked[0].message) == MessageType::hello);
  std::string name;
  CHECK_FALSE(BlockCodec::decode_text(script->asked[0].message, name));
  CHECK(name == "models");
  CHECK(Envelope::decode(script->asked[0].envelope).value().name_space == "models");

  script->answer = always(statuses({OffloadStatus::granted}));
  worker.can_offload({1});
  worker.register_blocks(blocks(1, 1));
  worker.flush();
  REQUIRE(script->asked.size() == 3);
  CHECK(type_of(script->asked[2].message) == MessageType::sync);
  for (const std::size_t i : {1U, 2U}) {
    CHECK(Envelope::decode(script->asked[i].envelope).value().name_space == "models");
  }
  REQUIRE(script->pushed.size() == 1);
  CHECK(Envelope::decode(script->pushed[0].envelope).value().name_space == "models");
}

TEST_CASE("a hub that does not serve the namespace is an error when the client is built") {
  const auto script = std::make_shared<Script>();
  const auto check = [](const std::optional<RegistryError>& error) {
    REQUIRE(is<Unsupported>(error));
    CHECK(error->as<Unsupported>()->operation.find("namespace \"models\"") == 0);
  };
  SECTION("that says so") {
    script->answer = always(words(MessageType::error_response, "this hub serves \"default\""));
    check(error_of([&] { named_client(script); }));
  }
  SECTION("that ignores envelopes and knows no such message") {
    script->answer = always_bare(words(MessageType::error_response, "unknown message type 32"));
    check(error_of([&] { named_client(script); }));
  }
  SECTION("that answers what it does not know with nothing") {
    script->answer = always_bare({});
    check(error_of([&] { named_client(script); }));
  }
  SECTION("that answers for another") {
    script->answer = always(words(MessageType::hello_response, "other"));
    check(error_of([&] { named_client(script); }));
  }
  CHECK(script->calls.empty());
  CHECK(script->pushed.empty());
}

TEST_CASE("a hub out of reach is a timeout when a client with a namespace is built") {
  const auto script = std::make_shared<Script>();
  const auto error = error_of([&] { named_client(script); });
  REQUIRE(is<Timeout>(error));
  CHECK(error->as<Timeout>()->duration == 200ms);
}
