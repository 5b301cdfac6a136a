// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstring>
#include <string>

#include <zmq.h>

namespace bench {

/// What may be different about an echo, to see what that brings.
struct EchoOptions {
  /// So many messages are answered by one, who asks being one peer.
  std::size_t joined = 1;
  /// Of a message: an envelope and what it says, or both in one.
  std::size_t frames = 2;
  /// High-water mark.
  int mark = 10'000;
};

/// The floor under our hub: answers every query that comes to a ROUTER with as many bytes as the hub would, in its
/// frames, and does nothing else.
class Echo {
 public:
  explicit Echo(EchoOptions options = {}) : options_(options) {}

  /// Until the socket's context ends.
  void serve(void* socket) const {
    std::array<zmq_msg_t, 3> frames;  // the sender, the envelope, the query
    for (zmq_msg_t& frame : frames) zmq_msg_init(&frame);
    zmq_msg_t& last = frames[options_.frames];
    const std::size_t in_front = options_.frames == 1 ? envelope : 0;
    std::size_t keys = 0;
    for (std::size_t messages = 1;; ++messages) {
      // It sleeps in the first of them at most, and only when nothing has come.
      for (std::size_t i = 0; i <= options_.frames; ++i) {
        while (zmq_msg_recv(&frames[i], socket, 0) < 0) {
          if (zmq_errno() == ETERM) return;
        }
      }
      keys += (zmq_msg_size(&last) - in_front - header) / key_in_query;
      if (messages % options_.joined != 0) continue;
      const auto* query = static_cast<const char*>(zmq_msg_data(&last));
      constexpr char match = 3;
      const bool is_match = query[in_front + 1] == match;
      const std::size_t size = header + keys * (is_match ? entry : status);
      zmq_msg_t answer;
      zmq_msg_init_size(&answer, in_front + size);
      auto* out = static_cast<char*>(zmq_msg_data(&answer));
      std::memcpy(out, query, in_front);
      std::memcpy(out + in_front, (is_match ? entries_ : statuses_).data(), size);
      for (std::size_t i = 0; i < options_.frames; ++i) zmq_msg_send(&frames[i], socket, ZMQ_SNDMORE);
      zmq_msg_send(&answer, socket, 0);
      keys = 0;
    }
  }

 private:
  static constexpr std::size_t envelope = 28;
  static constexpr std::size_t header = 6;
  static constexpr std::size_t key_in_query = 10;
  static constexpr std::size_t status = 1;
  static constexpr std::size_t entry = 22;

  /// The answer to any query of a kind: that to a shorter one is its beginning.
  static std::string answer_of(unsigned char type, std::size_t bytes_per_key) {
    constexpr std::size_t most_keys = 100'000;
    std::string answer(header + most_keys * bytes_per_key, '\0');
    answer[0] = 1;
    answer[1] = static_cast<char>(type);
    // An entry is a key and a value of 8 bytes, each behind its length, and the length of no metadata.
    for (std::size_t at = header; bytes_per_key > 1 && at < answer.size(); at += bytes_per_key) {
      answer[at] = answer[at + 10] = 8;
    }
    return answer;
  }

  EchoOptions options_;
  std::string statuses_ = answer_of(4, status);
  std::string entries_ = answer_of(5, entry);
};

}  // namespace bench
