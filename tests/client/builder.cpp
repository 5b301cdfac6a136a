// SPDX-License-Identifier: Apache-2.0
// That every option of the builder reaches the client, and that none makes nonsense of it.
#include "support/catch.hpp"

#include <chrono>
#include <cstddef>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "client/fake_transport.hpp"

using namespace client_test;

namespace {

/// Builds a client with what `set` does to the builder, and answers which option was refused.
template <class Set>
std::optional<ConfigError> refusal(Set set) {
  const std::optional<RegistryError> error = error_of([&] { set(fake_client(std::make_shared<Script>())).build(); });
  if (!error) return std::nullopt;
  return is<ConfigError>(error) ? *error->as<ConfigError>() : ConfigError{"another error", "", ""};
}

constexpr auto a_year = std::chrono::nanoseconds{std::chrono::years{1}};

/// As `blocks` registers, with a codec of the user's: every message has its first byte replaced.
struct OtherCodec : BlockCodec {
  static constexpr unsigned protocol_version = 77;

  static void encode_keys(MessageType type, std::span<const Block> keys, Bytes& out) {
    BlockCodec::encode_keys(type, keys, out);
    out[0] = std::byte{77};
  }
  static std::optional<Error> decode_type(ByteView in, MessageType& type) {
    Bytes ours(in.begin(), in.end());
    if (ours.empty() || ours[0] != std::byte{77}) return VersionMismatch{77, 0};
    ours[0] = std::byte{1};
    return BlockCodec::decode_type(ours, type);
  }
};
static_assert(registry::Codec<OtherCodec, Block, Block, NoMetadata>);

}  // namespace

TEST_CASE("a client's duration must be above zero and at most a year") {
  const auto check = [](const char* name, auto option, bool may_be_zero) {
    INFO(name);
    const auto refused = [&](std::chrono::nanoseconds time) {
      return refusal([&](auto builder) { return option(std::move(builder), time); });
    };
    for (const std::chrono::nanoseconds wrong : {std::chrono::nanoseconds{-1}, a_year + 1ns,
                                                 std::chrono::nanoseconds::max(), std::chrono::nanoseconds::min()}) {
      const auto error = refused(wrong);
      REQUIRE(error);
      CHECK(error->variable == name);
      CHECK(error->value == std::to_string(wrong.count()) + " ns");
      CHECK(error->expected == "a duration above zero and up to a year");
    }
    CHECK(refused(0ns).has_value() != may_be_zero);
    CHECK_FALSE(refused(1ns));
    CHECK_FALSE(refused(a_year));
  };
  check("batch_timeout", [](auto builder, auto time) { return std::move(builder).batch_timeout(time); }, false);
  check("request_timeout", [](auto builder, auto time) { return std::move(builder).request_timeout(time); }, false);
  check("register_timeout", [](auto builder, auto time) { return std::move(builder).register_timeout(time); }, false);
  check("close_timeout", [](auto builder, auto time) { return std::move(builder).close_timeout(time); }, true);
  check("local_cache_ttl", [](auto builder, auto time) { return std::move(builder).local_cache_ttl(time); }, false);
  check("registered_ttl", [](auto builder, auto time) { return std::move(builder).registered_ttl(time); }, false);
}

TEST_CASE("a client's batch size must be above zero") {
  const auto error = refusal([](auto builder) { return std::move(builder).batch_size(0); });
  REQUIRE(error);
  CHECK(error->variable == "batch_size");
  CHECK(error->value == "0");
  CHECK_FALSE(refusal([](auto builder) { return std::move(builder).batch_size(1); }));
  CHECK_FALSE(
      refusal([](auto builder) { return std::move(builder).batch_size(std::numeric_limits<std::size_t>::max()); }));
}

TEST_CASE("the longest message of a client's must be above zero") {
  const auto error = refusal([](auto builder) { return std::move(builder).max_message_size(0); });
  REQUIRE(error);
  CHECK(error->variable == "max_message_size");
  CHECK_FALSE(refusal([](auto builder) { return std::move(builder).max_message_size(1); }));
}

TEST_CASE("a client's namespace must have 1 to 255 bytes") {
  const auto named = [](std::size_t size) {
    return refusal([&](auto builder) { return std::move(builder).name_space(std::string(size, 'n')); });
  };
  for (const std::size_t wrong : {std::size_t{0}, std::size_t{256}}) {
    const auto error = named(wrong);
    REQUIRE(error);
    CHECK(error->variable == "namespace");
    CHECK(error->expected == "1 to 255 bytes");
  }
  // Nobody answers for it, but it is a name.
  CHECK(named(255)->variable == "another error");
}

TEST_CASE("options given as a whole are checked too") {
  ClientOptions options;
  options.batch_size = 0;
  const auto error = refusal([&](auto builder) { return std::move(builder).options(options); });
  REQUIRE(error);
  CHECK(error->variable == "batch_size");
}

TEST_CASE("a later option overrides an earlier one") {
  const auto script = std::make_shared<Script>();
  ClientOptions options;
  options.batch_size = 7;
  options.request_timeout = 3s;
  auto worker = fake_client(script).batch_size(5).options(options).batch_size(2).build();
  worker.register_blocks(blocks(1, 2));
  CHECK(script->batch_sizes() == std::vector<std::size_t>{2});
  const auto error = error_of([&] { worker.match({1}); });
  REQUIRE(is<Timeout>(error));
  CHECK(error->as<Timeout>()->duration == 3s);
}

TEST_CASE("the defaults are those of the documentation") {
  const ClientOptions options;
  CHECK(options.batch_size == 100);
  CHECK(options.batch_timeout == 10ms);
  CHECK(options.request_timeout == 5s);
  CHECK(options.register_timeout == 5s);
  CHECK(options.close_timeout == 1s);
  CHECK(options.local_cache == 0);
  CHECK(options.name_space == "default");
  CHECK(options.log);
}

TEST_CASE("a codec of the user's replaces ours and keeps the options") {
  const auto script = std::make_shared<Script>();
  script->answer = [](ByteView envelope, ByteView message) {
    if (message[0] != std::byte{77}) return std::vector<std::vector<Bytes>>{};
    Bytes answer = statuses({OffloadStatus::leased});
    answer[0] = std::byte{77};
    return std::vector<std::vector<Bytes>>{{Bytes(envelope.begin(), envelope.end()), answer}};
  };
  auto worker = fake_client(script).batch_size(2).codec<OtherCodec>().build();
  CHECK(worker.can_offload({1}).leased == std::vector<Block>{1});
  worker.register_blocks(blocks(1, 2));
  CHECK(script->batch_sizes() == std::vector<std::size_t>{2});
  script->answer = always(statuses({OffloadStatus::granted}));
  CHECK(is<VersionMismatch>(error_of([&] { worker.can_offload({3}); })));
}
