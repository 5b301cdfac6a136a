// SPDX-License-Identifier: Apache-2.0
// When registrations leave, and what becomes of those that cannot.
#include "support/catch.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "client/fake_transport.hpp"
#include "support/superstitious.hpp"

using namespace client_test;

namespace {

const auto has_room = [](SteadyTime) { return true; };
const auto broken = [](SteadyTime) -> bool { throw RegistryError(TransportError{"broken"}); };

using Sizes = std::vector<std::size_t>;

}  // namespace

TEST_CASE("a batch leaves when it is full") {
  const auto script = std::make_shared<Script>();
  auto worker = fake_client(script).batch_size(3).build();
  worker.register_blocks(blocks(1, 2));
  CHECK(script->pushed.empty());
  worker.register_blocks(blocks(3, 1));
  CHECK(script->batches() == std::vector<std::vector<BlockEntry>>{blocks(1, 3)});
  worker.register_blocks(blocks(4, 8));
  CHECK(script->batch_sizes() == Sizes{3, 3, 3});
  CHECK(script->sequence() == std::vector<std::uint64_t>{1, 2, 3});
  worker.flush();
  CHECK(script->batch_sizes() == Sizes{3, 3, 3, 2});
}

TEST_CASE("a batch that does not fill leaves when its first entry has waited long enough") {
  const auto script = std::make_shared<Script>();
  auto worker = fake_client(script).batch_timeout(10ms).build();
  CHECK(script->calls == "s");
  CHECK(script->due == std::nullopt);
  worker.register_blocks(blocks(1, 1));
  CHECK(script->due == script->now + 10ms);
  script->advance(6ms);
  worker.register_blocks(blocks(2, 1));
  script->advance(4ms - 1ns);
  CHECK(script->pushed.empty());
  script->advance(1ns);
  CHECK(script->batches() == std::vector<std::vector<BlockEntry>>{blocks(1, 2)});
  CHECK(script->due == std::nullopt);

  worker.register_blocks(blocks(3, 1));
  script->advance(10ms);
  CHECK(script->batch_sizes() == Sizes{2, 1});
}

TEST_CASE("the rest of a batch that was sent full waits for its own time") {
  const auto script = std::make_shared<Script>();
  auto worker = fake_client(script).batch_size(3).batch_timeout(10ms).build();
  worker.register_blocks(blocks(1, 2));
  script->advance(6ms);
  worker.register_blocks(blocks(3, 2));
  CHECK(script->batch_sizes() == Sizes{3});
  script->advance(4ms);
  CHECK(script->batch_sizes() == Sizes{3});
  CHECK(script->due == script->now + 6ms);
  script->advance(6ms);
  CHECK(script->batch_sizes() == Sizes{3, 1});
}

TEST_CASE("flush sends what is pending") {
  const auto script = std::make_shared<Script>();
  auto worker = fake_client(script).build();
  worker.flush();
  CHECK(script->pushed.empty());
  worker.register_blocks(blocks(1, 5));
  worker.flush();
  CHECK(script->batch_sizes() == Sizes{5});
  worker.flush();
  CHECK(script->batch_sizes() == Sizes{5});
}

TEST_CASE("at the high-water mark full batches wait here and the tick goes on trying") {
  const auto script = std::make_shared<Script>();
  auto worker = fake_client(script).batch_size(2).batch_timeout(10ms).build();
  script->push = at_the_mark;
  worker.register_blocks(blocks(1, 4));
  CHECK(script->due == script->now + 10ms);
  script->advance(10ms);
  CHECK(script->due == script->now + 10ms);
  script->push = has_room;
  script->advance(10ms);
  CHECK(script->batch_sizes() == Sizes{2, 2});
  CHECK(script->sequence() == std::vector<std::uint64_t>{1, 2});
  CHECK(script->due == std::nullopt);
}

TEST_CASE("a registration waits at the mark and then fails with its entries, none of them pending") {
  const auto script = std::make_shared<Script>();
  auto worker = fake_client(script).batch_size(2).register_timeout(700ms).build();
  script->push = at_the_mark;
  worker.register_blocks(blocks(1, 2));
  std::optional<SteadyTime> waited_until;
  script->push = [&](SteadyTime deadline) {
    waited_until = deadline;
    return false;
  };
  const auto error = undelivered([&] { worker.register_blocks(blocks(10, 3)); });
  CHECK(waited_until == script->now + 700ms);
  REQUIRE(error);
  CHECK(error->entries() == blocks(10, 3));
  REQUIRE(error->as<Timeout>() != nullptr);
  CHECK(error->as<Timeout>()->duration == 700ms);

  script->push = has_room;
  worker.flush();
  CHECK(script->batches() == std::vector<std::vector<BlockEntry>>{blocks(1, 2)});
  // Not accepted, so the hub is asked about them.
  script->answer = always(statuses({OffloadStatus::granted}));
  CHECK(worker.can_offload({10}).can_offload == std::vector<Block>{10});
}

TEST_CASE("a registration of nothing does not wait") {
  const auto script = std::make_shared<Script>();
  auto worker = fake_client(script).batch_size(2).log(nullptr).build();
  script->push = at_the_mark;
  worker.register_blocks(blocks(1, 2));
  CHECK_NOTHROW(worker.register_blocks({}));
}

TEST_CASE("a registration that finds room again goes on, in order") {
  const auto script = std::make_shared<Script>();
  auto worker = fake_client(script).batch_size(2).build();
  script->push = at_the_mark;
  worker.register_blocks(blocks(1, 2));
  script->push = has_room;
  worker.register_blocks(blocks(3, 2));
  CHECK(script->batches() == std::vector<std::vector<BlockEntry>>{blocks(1, 2), blocks(3, 2)});
  CHECK(script->sequence() == std::vector<std::uint64_t>{1, 2});
}

TEST_CASE("a timeout below a millisecond is not reported as none") {
  const auto script = std::make_shared<Script>();
  auto worker = fake_client(script).batch_size(1).register_timeout(10us).log(nullptr).build();
  script->push = at_the_mark;
  worker.register_blocks(blocks(1, 1));
  const auto error = undelivered([&] { worker.register_blocks(blocks(2, 1)); });
  REQUIRE(error);
  REQUIRE(error->as<Timeout>() != nullptr);
  CHECK(error->as<Timeout>()->duration == 1ms);
}

TEST_CASE("flush at the mark fails after the register timeout, and the entries stay pending") {
  const auto script = std::make_shared<Script>();
  auto worker = fake_client(script).register_timeout(300ms).build();
  worker.register_blocks(blocks(1, 3));
  script->push = at_the_mark;
  const auto error = error_of([&] { worker.flush(); });
  REQUIRE(is<Timeout>(error));
  CHECK(error->as<Timeout>()->duration == 300ms);
  script->push = has_room;
  worker.flush();
  CHECK(script->batch_sizes() == Sizes{3});
}

TEST_CASE("a transport that fails loses no entry that was accepted") {
  const auto script = std::make_shared<Script>();
  const Log log;
  auto worker = fake_client(script).batch_size(2).batch_timeout(10ms).log(log).build();
  script->push = broken;
  // The batch is full and goes wrong on its way, but it was accepted: it is tried again.
  worker.register_blocks(blocks(1, 2));
  REQUIRE(log.lines->size() == 1);
  CHECK(log.lines->front().second.find("broken") != std::string::npos);
  CHECK(script->due == script->now + 10ms);
  SECTION("by the tick") {
    CHECK_THROWS_AS(script->advance(10ms), RegistryError);
    script->push = has_room;
    script->wake_at(script->now + 10ms);
    script->advance(10ms);
    CHECK(script->batches() == std::vector<std::vector<BlockEntry>>{blocks(1, 2)});
  }
  SECTION("by the next registration, which is not accepted while it fails") {
    const auto error = undelivered([&] { worker.register_blocks(blocks(3, 2)); });
    REQUIRE(error);
    CHECK(error->entries() == blocks(3, 2));
    CHECK(error->as<TransportError>() != nullptr);
    script->push = has_room;
    worker.register_blocks(blocks(5, 2));
    CHECK(script->batches() == std::vector<std::vector<BlockEntry>>{blocks(1, 2), blocks(5, 2)});
    CHECK(script->sequence() == std::vector<std::uint64_t>{1, 2});
  }
  SECTION("by flush") {
    CHECK(is<TransportError>(error_of([&] { worker.flush(); })));
    script->push = has_room;
    worker.flush();
    CHECK(script->batches() == std::vector<std::vector<BlockEntry>>{blocks(1, 2)});
  }
  SECTION("by close, which returns them if it fails still") {
    CHECK(worker.close(1s) == blocks(1, 2));
    CHECK(script->calls == "scS");
  }
}

TEST_CASE("a transport that fails with something else loses nothing either") {
  const auto script = std::make_shared<Script>();
  const Log log;
  auto worker = fake_client(script).batch_size(2).log(log).build();
  script->push = [](SteadyTime) -> bool { throw std::bad_alloc(); };
  worker.register_blocks(blocks(1, 2));
  CHECK_THROWS_AS(worker.flush(), std::bad_alloc);
  CHECK(worker.close(1s) == blocks(1, 2));
}

TEST_CASE("a transport without a timer still delivers with the next batch") {
  const auto script = std::make_shared<Script>();
  const Log log;
  auto worker = fake_client(script).batch_size(2).log(log).build();
  script->on_wake = [] { throw RegistryError(TransportError{"no thread"}); };
  worker.register_blocks(blocks(1, 1));
  REQUIRE(log.lines->size() == 1);
  CHECK(log.lines->front().second.find("no thread") != std::string::npos);
  worker.register_blocks(blocks(2, 1));
  CHECK(script->batches() == std::vector<std::vector<BlockEntry>>{blocks(1, 2)});
}

TEST_CASE("entries of which one cannot be encoded are all refused") {
  const auto script = std::make_shared<Script>();
  auto worker = client<Block, StorageLocation>(FakeTransport(script)).max_unconfirmed_bytes(0).build();
  const StorageLocation fits{StorageBackend::object, std::string(100, 'x'), 1};
  const StorageLocation too_long{StorageBackend::object, std::string(70'000, 'x'), 1};
  worker.register_blocks({{1, fits, {}}});
  const std::vector<Entry<Block, StorageLocation, NoMetadata>> entries{{2, fits, {}}, {3, too_long, {}}};
  try {
    worker.register_blocks(entries);
    FAIL("not refused");
  } catch (const Undelivered<Block, StorageLocation, NoMetadata>& error) {
    CHECK(error.as<EncodeError>() != nullptr);
    CHECK(error.entries() == entries);
  }
  CHECK(worker.close(1s).empty());
  REQUIRE(script->pushed.size() == 1);
  std::vector<Entry<Block, StorageLocation, NoMetadata>> sent;
  REQUIRE_FALSE(BinaryCodec<Block, StorageLocation, NoMetadata>::decode_entries(script->pushed[0].message, sent));
  CHECK(sent == std::vector<Entry<Block, StorageLocation, NoMetadata>>{{1, fits, {}}});
}

TEST_CASE("an entry whose wire throws is refused as one that has no wire form, whatever it was for") {
  using Value = registry::test::Superstitious;
  const auto script = std::make_shared<Script>();
  auto worker = client<Block, Value>(FakeTransport(script)).max_unconfirmed_bytes(0).build();
  const std::vector<Entry<Block, Value, NoMetadata>> entries{{1, {1}, {}}, {2, {13}, {}}};
  const auto refused = [&](auto call) {
    try {
      call();
    } catch (const Undelivered<Block, Value, NoMetadata>& error) {
      CHECK(error.entries() == entries);
      return error.error();
    }
    throw std::runtime_error("not refused");
  };
  const std::string why = "cannot encode: key 0200000000000000: not that number";
  CHECK(to_string(refused([&] { worker.register_blocks(entries); })) == why);
  CHECK(to_string(refused([&] { std::ignore = worker.register_acknowledged(entries); })) == why);
  CHECK_THROWS_WITH(worker.remove_if(entries), why);
  CHECK(worker.close(1s).empty());
  CHECK(script->pushed.empty());
}

TEST_CASE("a remove travels behind the registrations of its keys") {
  const auto script = std::make_shared<Script>();
  auto worker = fake_client(script).request_timeout(900ms).registered_ttl(5s).log(nullptr).build();
  worker.register_blocks(blocks(1, 2));
  script->asked.clear();
  script->answer = [&](ByteView envelope, ByteView) {
    // By then they are on their way.
    CHECK(script->pushed.size() == 1);
    return always(count(MessageType::remove_response, 1))(envelope, {});
  };
  SECTION("which are handed over first, and waited for by the hub") {
    CHECK(worker.remove({2, 7}) == 1);
    CHECK(Envelope::decode(script->asked.at(0).envelope).value().after == 1);
  }
  SECTION("also when these have left, for the hub may not have applied them") {
    worker.flush();
    CHECK(worker.remove({2}) == 1);
    CHECK(Envelope::decode(script->asked.at(0).envelope).value().after == 1);
  }
  SECTION("but not of other keys") {
    script->answer = always(count(MessageType::remove_response, 1));
    worker.remove({7});
    CHECK(script->pushed.empty());
    CHECK(Envelope::decode(script->asked.at(0).envelope).value().after == std::nullopt);
  }
  SECTION("nor when these are long past") {
    worker.flush();
    script->advance(6s);
    worker.remove({2});
    CHECK(Envelope::decode(script->asked.at(0).envelope).value().after == std::nullopt);
  }
  SECTION("at the mark it fails, and removes nothing") {
    script->push = at_the_mark;
    const auto error = error_of([&] { worker.remove({2}); });
    REQUIRE(is<Timeout>(error));
    CHECK(error->as<Timeout>()->duration == 900ms);
    CHECK(script->asked.empty());
  }
}

TEST_CASE("a touch does not wait for registrations") {
  const auto script = std::make_shared<Script>();
  script->answer = always(count(MessageType::touch_response, 0));
  auto worker = fake_client(script).build();
  worker.register_blocks(blocks(1, 1));
  worker.touch({1});
  CHECK(script->pushed.empty());
}
