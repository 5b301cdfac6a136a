// SPDX-License-Identifier: Apache-2.0
// What a client asks, and what it makes of the answers.
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <registry/trailer.hpp>

#include "core/test_client.hpp"
#include "support/catch.hpp"
#include "support/vectors.hpp"

using namespace registry;
using namespace registry::test;
using namespace std::chrono_literals;

namespace {

ClientOptions in_namespace(std::string name) {
  ClientOptions options;
  options.name_space = std::move(name);
  return options;
}

/// Begins and finishes a call with this answer.
template <class AnyCall>
auto run(PlainClient& client, AnyCall call, const Bytes& answer) {
  if (!client.begin(call, 1, start)) throw std::runtime_error{"nothing to ask"};
  return client.finish(call, answer, start);
}

}  // namespace

TEST_CASE("a query is its envelope and its message, byte for byte") {
  PlainClient client({}, {0x0011223344556677, 0x8899aabbccddeeff});
  auto call = PlainClient::offload({1, 2, 3});
  CHECK(client.begin(call, 1, start));
  CHECK(call.id == 1);
  CHECK(to_hex(call.message) == to_hex(find_vector("query_can_offload_u64").bytes));
  CHECK(to_hex(call.envelope) == to_hex(find_vector("envelope").bytes));
}

TEST_CASE("each call has its type, and the envelope its number and namespace") {
  PlainClient client(in_namespace("tenant-a"), me);
  const auto check = [&](auto call, MessageType type) {
    REQUIRE(client.begin(call, 77, start));
    CHECK(keys_of(call.message, type) == Numbers{4, 5});
    const Envelope envelope = envelope_of(call.envelope);
    CHECK(envelope.number == 77);
    CHECK(envelope.client == me);
    CHECK(envelope.name_space == "tenant-a");
    CHECK(envelope.after == std::nullopt);
  };
  check(PlainClient::offload({4, 5}), MessageType::can_offload);
  check(PlainClient::match({4, 5}), MessageType::match);
  check(PlainClient::match_prefix({4, 5}), MessageType::match);
  check(PlainClient::remove({4, 5}), MessageType::remove);
  check(PlainClient::touch({4, 5}), MessageType::touch);
  check(PlainClient::release({4, 5}), MessageType::release);
  CHECK(client.options().name_space == "tenant-a");
}

TEST_CASE("for no keys the hub is not asked") {
  PlainClient client({}, me);
  const auto check = [&](auto call) {
    CHECK_FALSE(client.begin(call, 1, start));
    return client.finish_locally(call);
  };
  CHECK(check(PlainClient::offload({})).statuses.empty());
  CHECK(check(PlainClient::match({})).empty());
  CHECK(check(PlainClient::match_prefix({})).empty());
  CHECK(check(PlainClient::remove({})) == 0);
  CHECK(check(PlainClient::touch({})) == 0);
  CHECK(check(PlainClient::release({})) == 0);
}

TEST_CASE("can_offload answers with the status of each key, and the keys of each status") {
  PlainClient client({}, me);
  const auto result = value_of(
      run(client, PlainClient::offload({1, 2, 3, 4}), statuses_answer({leased, granted, already_stored, granted})));
  CHECK(result.statuses == Statuses{leased, granted, already_stored, granted});
  CHECK(result.can_offload == Numbers{2, 4});
  CHECK(result.already_stored == Numbers{3});
  CHECK(result.leased == Numbers{1});
}

TEST_CASE("can_offload refuses an answer of another number of keys") {
  PlainClient client({}, me);
  for (const Statuses& statuses : {Statuses{granted}, Statuses{granted, granted, granted}}) {
    const auto error = error_of<DecodeError>(run(client, PlainClient::offload({1, 2}), statuses_answer(statuses)));
    CHECK(error.context == "statuses, one per key");
    CHECK(error.expected == 2);
    CHECK(error.got == statuses.size());
  }
}

TEST_CASE("match answers with the entries found, in the order asked") {
  PlainClient client({}, me);
  const std::vector<PlainEntry> found{{2, 20, {}}, {4, 40, {}}};
  CHECK(value_of(run(client, PlainClient::match({1, 2, 3, 4}), entries_answer(found))) == found);
  CHECK(value_of(run(client, PlainClient::match({2, 4}), entries_answer(found))) == found);
  CHECK(value_of(run(client, PlainClient::match({2, 4}), entries_answer({}))).empty());
}

TEST_CASE("a key asked for twice is found twice") {
  PlainClient client({}, me);
  const std::vector<PlainEntry> found{{2, 20, {}}, {2, 20, {}}};
  CHECK(value_of(run(client, PlainClient::match({2, 2}), entries_answer(found))) == found);
}

TEST_CASE("match refuses entries that were not asked for, or come in another order") {
  PlainClient client({}, me);
  struct Case {
    Numbers asked;
    std::vector<PlainEntry> found;
    std::uint64_t read;
  };
  const std::vector<Case> cases = {
      {{1, 2}, {{3, 30, {}}}, 0},
      {{1, 2}, {{1, 10, {}}, {3, 30, {}}}, 1},
      {{1, 2}, {{2, 20, {}}, {1, 10, {}}}, 1},
      {{1}, {{1, 10, {}}, {1, 10, {}}}, 1},
  };
  for (const Case& one : cases) {
    const auto error = error_of<DecodeError>(run(client, PlainClient::match(one.asked), entries_answer(one.found)));
    CHECK(error.context == "matched entries that were asked for");
    CHECK(error.expected == one.read);
    CHECK(error.got == one.found.size());
    error_of<DecodeError>(run(client, PlainClient::match_prefix(one.asked), entries_answer(one.found)));
  }
}

TEST_CASE("match_prefix ends at the first miss") {
  PlainClient client({}, me);
  const PlainEntry one{1, 10, {}};
  const PlainEntry two{2, 20, {}};
  const PlainEntry four{4, 40, {}};
  const auto prefix = [&](Numbers keys, const std::vector<PlainEntry>& found) {
    return value_of(run(client, PlainClient::match_prefix(std::move(keys)), entries_answer(found)));
  };
  CHECK(prefix({1, 2, 3, 4}, {one, two, four}) == std::vector<PlainEntry>{one, two});
  CHECK(prefix({1, 2}, {one, two}) == std::vector<PlainEntry>{one, two});
  CHECK(prefix({1, 2}, {two}).empty());
  CHECK(prefix({1, 2}, {}).empty());
  CHECK(prefix({3, 1, 4, 2}, {one, two}).empty());
  CHECK(prefix({1, 3, 1}, {one, one}) == std::vector<PlainEntry>{one});
}

TEST_CASE("remove, touch and release answer with a number") {
  PlainClient client({}, me);
  CHECK(value_of(run(client, PlainClient::remove({1}), count_answer(MessageType::remove_response, 1))) == 1);
  CHECK(value_of(run(client, PlainClient::touch({1, 2}), count_answer(MessageType::touch_response, 2))) == 2);
  CHECK(value_of(run(client, PlainClient::release({1}), count_answer(MessageType::release_response, 0))) == 0);
}

TEST_CASE("an answer of another type is refused") {
  PlainClient client({}, me);
  const std::vector<Bytes> answers = {
      statuses_answer({granted}),
      entries_answer({}),
      count_answer(MessageType::remove_response, 1),
      count_answer(MessageType::touch_response, 1),
      count_answer(MessageType::release_response, 1),
      text_answer(MessageType::hello_response, "default"),
  };
  const auto check = [&](auto call, std::size_t right) {
    for (std::size_t i = 0; i < answers.size(); ++i) {
      CAPTURE(i, right);
      auto copy = call;
      if (i == right) {
        CHECK(std::holds_alternative<typename decltype(copy)::Result>(run(client, copy, answers[i])));
      } else {
        const unsigned got = std::to_integer<unsigned>(answers[i][1]);
        CHECK(error_of<InvalidMessageType>(run(client, copy, answers[i])).got == got);
      }
    }
  };
  check(PlainClient::offload({1}), 0);
  check(PlainClient::match({1}), 1);
  check(PlainClient::match_prefix({1}), 1);
  check(PlainClient::remove({1}), 2);
  check(PlainClient::touch({1}), 3);
  check(PlainClient::release({1}), 4);
  check(PlainClient::hello(), 5);
}

TEST_CASE("a malformed answer is an error that says what is wrong with it") {
  PlainClient client({}, me);
  CHECK(error_of<MessageTooShort>(run(client, PlainClient::match({1}), {})).got == 0);
  CHECK(error_of<VersionMismatch>(run(client, PlainClient::match({1}), from_hex("020500000000"))).got == 2);
  CHECK(error_of<InvalidMessageType>(run(client, PlainClient::match({1}), from_hex("016300000000"))).got == 99);
  const auto cut = [](Bytes answer) {
    answer.pop_back();
    return answer;
  };
  error_of<DecodeError>(run(client, PlainClient::offload({1}), cut(statuses_answer({granted}))));
  error_of<DecodeError>(run(client, PlainClient::match({1}), cut(entries_answer({{1, 10, {}}}))));
  error_of<MessageTooShort>(run(client, PlainClient::touch({1}), cut(count_answer(MessageType::touch_response, 1))));
  error_of<DecodeError>(run(client, PlainClient::hello(), cut(text_answer(MessageType::hello_response, "default"))));
  error_of<DecodeError>(run(client, PlainClient::match({1}), cut(text_answer(MessageType::error_response, "no"))));
}

TEST_CASE("what the hub says in an ErrorResponse reaches the caller") {
  PlainClient client({}, me);
  const Bytes answer = text_answer(MessageType::error_response, "limit exceeded: max_leases");
  CHECK(error_of<HubError>(run(client, PlainClient::offload({1}), answer)).text == "limit exceeded: max_leases");
  CHECK(error_of<HubError>(run(client, PlainClient::match({1}), answer)).text == "limit exceeded: max_leases");
  CHECK(error_of<HubError>(run(client, PlainClient::remove({1}), answer)).text == "limit exceeded: max_leases");
}

TEST_CASE("a peer that does not know an extension is told apart from one that failed") {
  PlainClient client(in_namespace("tenant-a"), me);
  // An empty message, a refusal, and whatever else a stranger may say.
  for (const Bytes& answer : {Bytes{}, from_hex("01"), from_hex("0200"), from_hex("0163")}) {
    CHECK(error_of<Unsupported>(run(client, PlainClient::release({1}), answer)).operation == "release");
    CHECK(error_of<Unsupported>(run(client, PlainClient::hello(), answer)).operation == "namespace \"tenant-a\"");
  }
  const Bytes refusal = text_answer(MessageType::error_response, "unknown type");
  CHECK(error_of<Unsupported>(run(client, PlainClient::release({1}), refusal)).operation ==
        "release (the hub says: unknown type)");
  CHECK(error_of<Unsupported>(run(client, PlainClient::hello(), refusal)).operation ==
        "namespace \"tenant-a\" (the hub says: unknown type)");
  CHECK(client.needs_hello());
}

TEST_CASE("hello names the namespace, and is needed until the hub has said it, too") {
  PlainClient client(in_namespace("tenant-a"), me);
  CHECK(client.needs_hello());
  auto call = PlainClient::hello();
  REQUIRE(client.begin(call, 1, start));
  CHECK(call.message == text_answer(MessageType::hello, "tenant-a"));
  CHECK(envelope_of(call.envelope).name_space == "tenant-a");
  CHECK(error_of<Unsupported>(client.finish(call, text_answer(MessageType::hello_response, "default"), start))
            .operation == "namespace \"tenant-a\"");
  CHECK(client.needs_hello());
  value_of(client.finish(call, text_answer(MessageType::hello_response, "tenant-a"), start));
  CHECK_FALSE(client.needs_hello());
  client.finish_locally(call);
}

TEST_CASE("in the default namespace no hello is needed") { CHECK_FALSE(PlainClient({}, me).needs_hello()); }

TEST_CASE("a namespace has between 1 and 255 bytes") {
  CHECK_NOTHROW(PlainClient(in_namespace("a"), me));
  CHECK_NOTHROW(PlainClient(in_namespace(std::string(255, 'n')), me));
  for (const std::string& name : {std::string{}, std::string(256, 'n')}) {
    try {
      PlainClient(in_namespace(name), me);
      FAIL("a namespace of " << name.size() << " bytes was accepted");
    } catch (const RegistryError& error) {
      REQUIRE(error.as<ConfigError>() != nullptr);
      CHECK(error.as<ConfigError>()->variable == "namespace");
    }
  }
}

TEST_CASE("an answer is read from an envelope of this client and the message behind it") {
  PlainClient client({}, me);
  CHECK(client.echoes_envelopes() == std::nullopt);
  Bytes envelope;
  Envelope{42, me, std::nullopt, default_namespace}.encode(envelope);
  const Bytes message = statuses_answer({granted});
  const ByteView frames[] = {envelope, message};
  const auto answer = client.read(frames);
  REQUIRE(answer);
  CHECK(answer->id == 42U);
  CHECK(answer->message.data() == message.data());
  CHECK(client.echoes_envelopes() == true);

  // A message alone comes from nobody who knows us, now.
  const ByteView bare[] = {message};
  CHECK_FALSE(client.read(bare));
  CHECK(client.echoes_envelopes() == true);
}

TEST_CASE("a hub that returns no envelope is read as such, until it does") {
  PlainClient client({}, me);
  const Bytes message = statuses_answer({granted});
  const ByteView bare[] = {message};
  for (int i = 0; i < 2; ++i) {
    const auto answer = client.read(bare);
    REQUIRE(answer);
    CHECK(answer->id == std::nullopt);
    CHECK(answer->message.data() == message.data());
    CHECK(client.echoes_envelopes() == false);
  }
  client.sync_failed(Unsupported{"sync"}, start);
  CHECK_FALSE(client.may_confirm());
  show_envelope(client);
  CHECK(client.echoes_envelopes() == true);
  CHECK(client.may_confirm());  // it is another one
}

TEST_CASE("frames that are not for this client are left alone") {
  PlainClient client({}, me);
  const Bytes message = statuses_answer({granted});
  Bytes foreign;
  Envelope{42, {11, 13}, std::nullopt, default_namespace}.encode(foreign);
  Bytes ours;
  Envelope{42, me, std::nullopt, default_namespace}.encode(ours);
  const Bytes junk = from_hex("0102");
  const std::vector<std::vector<ByteView>> all = {
      {}, {junk, message}, {foreign, message}, {Bytes{}, message}, {ours, ours, message}, {message, ours}};
  for (const std::vector<ByteView>& frames : all) {
    CAPTURE(frames.size());
    CHECK_FALSE(client.read(frames));
    CHECK(client.echoes_envelopes() == std::nullopt);
  }
}

TEST_CASE("a lost can_offload is taken back unless the hub is known not to know how") {
  PlainClient client({}, me);
  auto call = PlainClient::offload({1, 2});
  client.begin(call, 5, start);
  // It may be one that knows how: that is tried.
  CHECK(client.withdrawal(call));
  const Bytes message = statuses_answer({granted});
  const ByteView bare[] = {message};
  client.read(bare);
  CHECK_FALSE(client.withdrawal(call));
  show_envelope(client);
  const auto frames = client.withdrawal(call);
  REQUIRE(frames);
  CHECK(frames->first == call.envelope);
  CHECK(keys_of(frames->second, MessageType::withdraw) == Numbers{1, 2});
}

TEST_CASE("other calls have nothing to be taken back") {
  PlainClient client({}, me);
  show_envelope(client);
  CHECK_FALSE(client.withdrawal(PlainClient::match({1})));
  CHECK_FALSE(client.withdrawal(PlainClient::remove({1})));
  CHECK_FALSE(client.withdrawal(PlainClient::hello()));
}

TEST_CASE("a call owns what it was made of") {
  PlainClient client({}, me);
  auto call = [&] {
    const Numbers keys{1, 2};
    return PlainClient::offload(keys);
  }();
  client.begin(call, 1, start);
  CHECK(value_of(client.finish(call, statuses_answer({granted, granted}), start)).can_offload == Numbers{1, 2});
}

TEST_CASE("a message longer than any may be is refused before it is sent, by the name of the bound") {
  ClientOptions options;
  options.max_message_size = 100;
  PlainClient client(options, me);
  const auto refused = [&](auto call) -> std::optional<LimitExceeded> {
    try {
      client.begin(call, 1, start);
    } catch (const RegistryError& error) {
      return std::get<LimitExceeded>(error.error());
    }
    return std::nullopt;
  };
  const Numbers few(9, 1);
  const Numbers many(10, 1);
  CHECK_FALSE(refused(PlainClient::match(few)));
  const auto limit = refused(PlainClient::match(many));
  REQUIRE(limit);
  CHECK(limit->limit == "max_message_size");
  CHECK(limit->allowed == 100);
  CHECK(limit->got == 106);
  CHECK(refused(PlainClient::offload(many)));
  CHECK(refused(PlainClient::remove(many)));
  const std::vector<PlainEntry> entries(5, PlainEntry{1, 10, {}});
  CHECK(refused(PlainClient::registration(entries, std::nullopt)));
  CHECK(refused(PlainClient::remove_if(entries)));
  // It has taken no number, for which the hub would wait.
  CHECK(client.batcher().last_sequence() == 0);
}

TEST_CASE("a claim waits neither for less than nothing nor for longer than anybody") {
  CHECK(PlainClient::claim(3, {1}, -1s).wait == 0ns);
  CHECK(PlainClient::claim(3, {1}, std::chrono::nanoseconds::max()).wait == longest_wait);
  CHECK(PlainClient::claim(3, {1}, 10s).wait == 10s);
}

TEST_CASE("a claim that asks again waits for the rest of its time, and its leases are counted from then") {
  PlainClient client({}, me);
  auto call = PlainClient::claim(3, {1, 2}, 10s);
  REQUIRE(client.begin(call, 7, start));
  CHECK_FALSE(call.was_repeated);
  client.ask_again(call, 8, start + 4s);
  CHECK(call.was_repeated);
  CHECK(call.id == 8);
  CHECK(call.asked == start + 4s);
  CHECK(envelope_of(call.envelope).number == 8);
  CHECK(envelope_of(call.envelope).claim == 3U);
  const auto parts = split_trailer<1>(call.message).value();
  CHECK(keys_of(Bytes(parts.first.begin(), parts.first.end()), MessageType::claim) == Numbers{1, 2});
  CHECK(parts.second[0] == 6'000'000'000U);
  client.ask_again(call, 9, start + 12s);
  CHECK(split_trailer<1>(call.message).value().second[0] == 0U);
}
