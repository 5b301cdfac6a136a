// SPDX-License-Identifier: Apache-2.0
#include "support/catch.hpp"

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include <registry/config.hpp>
#include <registry/error.hpp>
#include <registry/settings.hpp>

#include "config/variables.hpp"

using namespace registry;
using namespace config_test;
using namespace std::chrono_literals;

namespace {

struct Malformed {
  std::string variable;
  std::string expected;  // what the error must say was expected
  std::vector<std::string> values;
};

const std::vector<std::string> no_numbers{
    "", " ", "ten", "-1", "+1", "1.5", "1e3", "0x10", "10 ", " 10", "10ms", "1_000", "1,000", "18446744073709551616"};

std::vector<std::string> with(std::vector<std::string> values, const std::vector<std::string>& more) {
  values.insert(values.end(), more.begin(), more.end());
  return values;
}

const std::vector<std::string> no_addresses{
    "",
    " ",
    "localhost:5555",
    "5555",
    "tcp://",
    "tcp://:5555",
    "tcp://localhost",
    "tcp://localhost:",
    "tcp://localhost:port",
    "tcp://localhost:-1",
    "tcp://localhost:65536",
    "tcp://localhost:99999999999999999999",
    "tcp://localhost:5555 ",
    " tcp://localhost:5555",
    "tcp://local host:5555",
    "tcp://localhost:5555/",
    "tcp://local\thost:5555",
    "TCP://localhost:5555",
    "udp://localhost:5555",
    "http://localhost:5555",
    "inproc://queries",
    "ipc://",
    "tcp:/localhost:5555"};

const std::vector<std::string> nobody{"tcp://*:5555", "tcp://localhost:*", "tcp://localhost:0", "tcp://localhost:00"};

std::vector<Malformed> malformed() {
  const std::vector<std::string> too_small{"0"};
  return {
      {"DYN_REGISTRY_ENABLE",
       "true, false, 1 or 0",
       {"", "yes", "no", "on", "TRUE", "2", "true ", " true", "truefalse"}},
      {"DYN_REGISTRY_CLIENT_QUERY_ADDR", "tcp://host:5555", with(no_addresses, nobody)},
      {"DYN_REGISTRY_CLIENT_REGISTER_ADDR", "tcp://host:5555", with(no_addresses, nobody)},
      {"DYN_REGISTRY_CLIENT_NAMESPACE", "1 to 255 bytes", {"", std::string(256, 'n'), std::string(100'000, 'n')}},
      {"DYN_REGISTRY_CLIENT_BATCH_SIZE", "from 1 to", with(no_numbers, too_small)},
      // A year has 31,556,952 seconds.
      {"DYN_REGISTRY_CLIENT_BATCH_TIMEOUT_MS", "from 1 to 31556952000", with(no_numbers, {"0", "31556952001"})},
      {"DYN_REGISTRY_CLIENT_REQUEST_TIMEOUT_MS", "from 1 to 31556952000", with(no_numbers, {"0", "31556952001"})},
      {"DYN_REGISTRY_CLIENT_LOCAL_CACHE", "from 0 to", no_numbers},
      {"DYN_REGISTRY_HUB_QUERY_ADDR", "tcp://host:5555", no_addresses},
      {"DYN_REGISTRY_HUB_REGISTER_ADDR", "tcp://host:5555", no_addresses},
      {"DYN_REGISTRY_HUB_CAPACITY", "from 1 to 4000000000", with(no_numbers, {"0", "4000000001"})},
      {"DYN_REGISTRY_HUB_LEASE_TIMEOUT_SECS", "from 1 to 31556952", with(no_numbers, {"0", "31556953"})},
      {"DYN_REGISTRY_HUB_SECURITY", "required or optional", {"", "yes", "true", "Required", "required "}},
  };
}

void read_both() {
  HubConfig::from_env();
  ClientConfig::from_env();
}

}  // namespace

TEST_CASE("a malformed value is an error that names the variable, the value and what was expected") {
  Variables variables;
  // Of keys no value is shown: curve.cpp has their tests.
  CHECK(malformed().size() + Variables::of_keys == Variables::names.size());
  for (const Malformed& wrong : malformed()) {
    for (const std::string& value : wrong.values) {
      variables.set(wrong.variable, value);
      INFO(wrong.variable << "=\"" << value << "\"");
      const auto error = error_of(read_both);
      REQUIRE(error);
      CHECK(error->code() == errc::config_error);
      const auto* details = error->as<ConfigError>();
      REQUIRE(details != nullptr);
      CHECK(details->variable == wrong.variable);
      CHECK(details->value == value);
      CHECK(details->expected.find(wrong.expected) != std::string::npos);
      CHECK(error->what() ==
            "invalid configuration: " + wrong.variable + "=\"" + value + "\": expected " + details->expected);
    }
    variables.set(wrong.variable, "");
    CHECK(error_of(read_both));
    unsetenv(wrong.variable.c_str());
    CHECK_FALSE(error_of(read_both));
  }
}

TEST_CASE("a malformed value is an error also where the registry is not enabled") {
  Variables variables;
  variables.set("DYN_REGISTRY_ENABLE", "false");
  variables.set("DYN_REGISTRY_CLIENT_BATCH_SIZE", "many");
  CHECK(error_of([] { ClientConfig::from_env(); }));
}

TEST_CASE("the client does not read the hub's variables, nor the hub the client's") {
  Variables variables;
  variables.set("DYN_REGISTRY_HUB_CAPACITY", "many");
  CHECK_FALSE(error_of([] { ClientConfig::from_env(); }));
  CHECK(error_of([] { HubConfig::from_env(); }));
  unsetenv("DYN_REGISTRY_HUB_CAPACITY");
  variables.set("DYN_REGISTRY_CLIENT_BATCH_SIZE", "many");
  CHECK_FALSE(error_of([] { HubConfig::from_env(); }));
}

TEST_CASE("values at their bounds are taken") {
  Variables variables;
  variables.set("DYN_REGISTRY_CLIENT_BATCH_SIZE", "18446744073709551615");
  variables.set("DYN_REGISTRY_CLIENT_BATCH_TIMEOUT_MS", "1");
  variables.set("DYN_REGISTRY_CLIENT_REQUEST_TIMEOUT_MS", "31556952000");
  variables.set("DYN_REGISTRY_CLIENT_LOCAL_CACHE", "18446744073709551615");
  variables.set("DYN_REGISTRY_HUB_CAPACITY", "4000000000");
  variables.set("DYN_REGISTRY_HUB_LEASE_TIMEOUT_SECS", "31556952");
  const ClientConfig client = ClientConfig::from_env();
  CHECK(client.options.batch_size == 18446744073709551615U);
  CHECK(client.options.batch_timeout == 1ms);
  CHECK(client.options.request_timeout == std::chrono::years{1});
  CHECK(client.options.local_cache == 18446744073709551615U);
  const HubConfig hub = HubConfig::from_env();
  CHECK(hub.capacity == 4'000'000'000);
  CHECK(hub.options.lease_ttl == std::chrono::years{1});
  variables.set("DYN_REGISTRY_HUB_CAPACITY", "1");
  variables.set("DYN_REGISTRY_HUB_LEASE_TIMEOUT_SECS", "1");
  CHECK(HubConfig::from_env().capacity == 1);
  CHECK(HubConfig::from_env().options.lease_ttl == 1s);
}

TEST_CASE("addresses of every form are taken") {
  Variables variables;
  const std::vector<std::string> peers{
      "tcp://localhost:5555", "tcp://10.1.2.3:65535", "tcp://[::1]:1",      "tcp://hub.example.com:5555",
      "ipc:///run/hub",       "ipc://@hub",           "ipc:///with space/*"};
  for (const std::string& address : peers) {
    for (const char* variable : {"DYN_REGISTRY_CLIENT_QUERY_ADDR", "DYN_REGISTRY_CLIENT_REGISTER_ADDR",
                                 "DYN_REGISTRY_HUB_QUERY_ADDR", "DYN_REGISTRY_HUB_REGISTER_ADDR"}) {
      variables.set(variable, address);
    }
    CHECK(ClientConfig::from_env().transport.query_addr == address);
    CHECK(ClientConfig::from_env().transport.register_addr == address);
    CHECK(HubConfig::from_env().transport.query_addr == address);
    CHECK(HubConfig::from_env().transport.register_addr == address);
  }
  for (const char* address : {"tcp://*:5555", "tcp://*:*", "tcp://eth0:5555"}) {
    variables.set("DYN_REGISTRY_HUB_QUERY_ADDR", address);
    CHECK(HubConfig::from_env().transport.query_addr == address);
  }
}
