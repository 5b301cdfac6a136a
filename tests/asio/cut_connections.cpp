// SPDX-License-Identifier: Apache-2.0
// Registrations of an asynchronous client over a network that cuts its connections.
#include <cstdint>
#include <numeric>
#include <string>

#include "asio/common.hpp"
#include "faults/proxy.hpp"
#include "support/catch.hpp"

using namespace asio_test;

TEST_CASE("no registration of an asynchronous client is lost with the connections that are cut") {
  ServedHub hub;
  faults_test::Proxy queries(zmq_test::port_of(hub.address().query_addr), 21);
  faults_test::Proxy registrations(zmq_test::port_of(hub.address().register_addr), 22);
  ZmqTransportConfig through_proxies = hub.address();
  through_proxies.query_addr = queries.address();
  through_proxies.register_addr = registrations.address();
  asio::io_context io;
  Client client =
      builder(io, through_proxies)
          .batch_size(10)
          .request_timeout(300ms)
          .register_timeout(20s)
          .resend_interval(100ms)
          .log(nullptr)
          .build();
  registrations.be_bad(true);
  queries.be_bad(true);
  K next = 0;
  REQUIRE(run_until(io, [&] {
    Blocks entries(10);
    for (Block& entry : entries) entry = {next, next + 1}, ++next;
    Completed<Blocks> registered;
    client.async_register_blocks(entries, registered.token());
    REQUIRE(run_until(io, [&] { return registered.calls > 0; }));
    REQUIRE(registered.succeeded());
    return registrations.cuts() >= 5;
  }));
  registrations.be_bad(false);
  queries.be_bad(false);
  REQUIRE(run_until(io, [&] { return hub.stats().stored == next; }));
  REQUIRE(client.stats().batches_resent > 0);
  Completed<Blocks> closed;
  client.async_close(20s, closed.token());
  REQUIRE(run_until(io, [&] { return closed.calls > 0; }));
  REQUIRE(closed.result.empty());
}
