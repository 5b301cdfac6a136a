// SPDX-License-Identifier: Apache-2.0
// A process with one client, for tests/concurrency/processes.cpp: `concurrency_worker QUERY REGISTER LEDGER KEYS
// NUMBER`. Carries out one command a line (ask, leave, release) and answers each with a line; ends where its input
// does.
#include <cstdint>
#include <exception>
#include <iostream>
#include <string>

#include "concurrency/claimant.hpp"
#include "concurrency/ledger.hpp"

using namespace concurrency_test;

int main(int argc, char** argv) {
  if (argc != 6) {
    std::cerr << "usage: concurrency_worker QUERY REGISTER LEDGER KEYS NUMBER\n";
    return 2;
  }
  try {
    registry::ZmqTransportConfig hub;
    hub.query_addr = argv[1];
    hub.register_addr = argv[2];
    Ledger ledger(argv[3], std::stoul(argv[4]));
    Claimant claimant(static_cast<std::uint32_t>(std::stoul(argv[5])), hub, ledger);
    for (std::string command; std::getline(std::cin, command);) {
      Tally tally;
      if (command == "ask") {
        tally = claimant.ask_for_all();
      } else if (command == "leave") {
        claimant.leave();
      } else if (command == "release") {
        tally.granted = claimant.release();
      } else {
        std::cerr << "concurrency_worker: unknown command: " << command << '\n';
        return 2;
      }
      std::cout << tally.granted << ' ' << tally.stored << ' ' << tally.leased << ' ' << tally.clashes << std::endl;
    }
    return 0;
  } catch (const std::exception& error) {
    std::cerr << "concurrency_worker: " << error.what() << '\n';
    return 1;
  }
}
