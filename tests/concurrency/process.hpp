// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace concurrency_test {

/// A running program that is spoken to in lines. It is expected to end where its input does.
class Process {
 public:
  explicit Process(std::vector<std::string> words) {
    std::array<int, 2> input{};
    std::array<int, 2> output{};
    if (pipe2(input.data(), O_CLOEXEC) != 0 || pipe2(output.data(), O_CLOEXEC) != 0) throw std::runtime_error("pipe2");
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, input[0], STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, output[1], STDOUT_FILENO);
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
    if (input_ == nullptr) return;
    signal(SIGCONT);  // a stopped one would never end
    end();
  }

  pid_t id() const { return id_; }

  void tell(const std::string& command) {
    std::fputs((command + "\n").c_str(), input_);
    std::fflush(input_);
  }

  /// The next line, without its end.
  std::string hear() {
    std::array<char, 400> line{};
    if (std::fgets(line.data(), static_cast<int>(line.size()), output_) == nullptr) {
      throw std::runtime_error("a process did not answer");
    }
    std::string text = line.data();
    if (!text.empty() && text.back() == '\n') text.pop_back();
    return text;
  }

  void signal(int number) const { kill(id_, number); }

  /// Lets the process end, at once if a signal says so; its exit code, or -1 if it was killed, and the lines that it
  /// left.
  int end(std::vector<std::string>* rest = nullptr) {
    std::fclose(std::exchange(input_, nullptr));
    std::array<char, 400> line{};
    while (std::fgets(line.data(), static_cast<int>(line.size()), output_) != nullptr) {
      if (rest != nullptr) rest->emplace_back(line.data());
    }
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

}  // namespace concurrency_test
