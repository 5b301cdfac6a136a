// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstring>
#include <string>

#include <zmq.h>

namespace bench {

/// The floor under our hub: answers every query that comes to a ROUTER with as many bytes as the hub would, in its
/// frames, and does nothing else.
class Echo {
 public:
  /// Until the socket's context ends.
  void serve(void* socket) const {
    std::array<zmq_msg_t, 3> frames;  // the sender, the envelope, the query
    for (zmq_msg_t& frame : frames) zmq_msg_init(&frame);
    while (true) {
      // It sleeps in the first of them at most, and only when nothing has come.
      for (zmq_msg_t& frame : frames) {
        while (zmq_msg_recv(&frame, socket, 0) < 0) {
          if (zmq_errno() == ETERM) return;
        }
      }
      const std::size_t keys = (zmq_msg_size(&frames[2]) - header) / key_in_query;
      constexpr char match = 3;
      const bool is_match = static_cast<const char*>(zmq_msg_data(&frames[2]))[1] == match;
      zmq_msg_t answer;
      zmq_msg_init_size(&answer, header + keys * (is_match ? entry : status));
      std::memcpy(zmq_msg_data(&answer), (is_match ? entries_ : statuses_).data(), zmq_msg_size(&answer));
      zmq_msg_send(&frames[0], socket, ZMQ_SNDMORE);
      zmq_msg_send(&frames[1], socket, ZMQ_SNDMORE);
      zmq_msg_send(&answer, socket, 0);
    }
  }

 private:
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

  std::string statuses_ = answer_of(4, status);
  std::string entries_ = answer_of(5, entry);
};

}  // namespace bench
