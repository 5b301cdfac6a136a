// SPDX-License-Identifier: Apache-2.0
// Eight processes, each with a client of its own, ask one hub for the same keys.
#include "support/catch.hpp"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

#include "concurrency/claimant.hpp"
#include "concurrency/hubs.hpp"
#include "concurrency/ledger.hpp"
#include "zmq/sockets.hpp"

using namespace concurrency_test;
using namespace std::chrono_literals;

namespace {

constexpr std::uint32_t process_count = 8;
constexpr Tally each_key_once{key_count, 0, (process_count - 1) * key_count, 0};

/// A running concurrency_worker.
class Process {
 public:
  Process(std::uint32_t number, const registry::ZmqTransportConfig& hub, const std::filesystem::path& ledger) {
    std::array<int, 2> input{};
    std::array<int, 2> output{};
    if (pipe2(input.data(), O_CLOEXEC) != 0 || pipe2(output.data(), O_CLOEXEC) != 0) throw std::runtime_error("pipe2");
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, input[0], STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, output[1], STDOUT_FILENO);
    std::vector<std::string> words{
        REGISTRY_CONCURRENCY_WORKER, hub.query_addr,        hub.register_addr, ledger.string(),
        std::to_string(key_count),   std::to_string(number)};
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    const int failure = posix_spawn(&id_, words[0].c_str(), &actions, nullptr, arguments.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    close(input[0]);
    close(output[1]);
    input_ = fdopen(input[1], "w");
    output_ = fdopen(output[0], "r");
    if (failure != 0) throw std::system_error(failure, std::generic_category(), words[0]);
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  ~Process() {
    if (input_ != nullptr) end();
  }

  void tell(const std::string& command) {
    std::fputs((command + "\n").c_str(), input_);
    std::fflush(input_);
  }

  Tally hear() {
    std::array<char, 200> line{};
    Tally tally;
    if (std::fgets(line.data(), static_cast<int>(line.size()), output_) == nullptr ||
        std::sscanf(line.data(), "%lu %lu %lu %lu", &tally.granted, &tally.stored, &tally.leased, &tally.clashes) !=
            4) {
      throw std::runtime_error("a worker did not answer");
    }
    return tally;
  }

  /// Lets the process end; its exit code, or -1 if it was killed.
  int end() {
    std::fclose(input_);
    input_ = nullptr;
    int status = 0;
    waitpid(id_, &status, 0);
    std::fclose(output_);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

 private:
  pid_t id_ = 0;
  std::FILE* input_ = nullptr;
  std::FILE* output_ = nullptr;
};

class Processes {
 public:
  Processes(const registry::ZmqTransportConfig& hub, const std::filesystem::path& ledger) {
    for (std::uint32_t i = 1; i <= process_count; ++i) processes_.push_back(std::make_unique<Process>(i, hub, ledger));
  }

  Tally all(const std::string& command) {
    for (const auto& process : processes_) process->tell(command);
    Tally sum;
    for (const auto& process : processes_) sum += process->hear();
    return sum;
  }

  int failures() {
    int count = 0;
    for (const auto& process : processes_) count += process->end() == 0 ? 0 : 1;
    return count;
  }

 private:
  std::vector<std::unique_ptr<Process>> processes_;
};

}  // namespace

TEST_CASE("eight processes are granted each of 100,000 keys exactly once, and after a release exactly once more") {
  const zmq_test::SocketDirectory directory;
  const Ledger ledger(directory.path() / "ledger", key_count);
  const ServedHub hub;
  Processes processes(hub.address(), directory.path() / "ledger");

  CHECK(processes.all("ask") == each_key_once);
  CHECK(ledger.granted(1) == key_count);
  CHECK(ledger.taken() == key_count);
  CHECK(hub.stats().leases.active == key_count);

  CHECK(processes.all("release").granted == key_count);
  CHECK(ledger.taken() == 0);
  CHECK(hub.stats().leases.active == 0);
  CHECK(processes.all("ask") == each_key_once);
  CHECK(ledger.granted(2) == key_count);
  CHECK(hub.stats().leases.granted == 2 * key_count);
  CHECK(processes.failures() == 0);
}

TEST_CASE(
    "eight processes are granted each of 100,000 keys exactly once, and after its lease's end exactly once more") {
  const zmq_test::SocketDirectory directory;
  Ledger ledger(directory.path() / "ledger", key_count);
  HubOnTestTime hub(30s);
  Processes processes(hub.address(), directory.path() / "ledger");

  CHECK(processes.all("ask") == each_key_once);
  CHECK(ledger.granted(1) == key_count);

  hub.advance(30s - 1ns);
  Claimant late(process_count + 1, hub.address(), ledger);
  CHECK(late.ask_for_all() == Tally{0, 0, key_count, 0});

  processes.all("leave");
  hub.advance(1ns);
  CHECK(processes.all("ask") == each_key_once);
  CHECK(ledger.granted(2) == key_count);
  CHECK(hub.stats().leases.expired == key_count);
  CHECK(processes.failures() == 0);
}
