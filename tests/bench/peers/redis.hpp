// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include "peers/peer.hpp"

namespace bench {

/// Redis, with binary keys: a claim is `SET key value NX PX`, one per key and pipelined, or one call of a script that
/// does the same for the whole batch and answers a byte per key.
class Redis : public Peer {
 public:
  enum class Claim { pipelined, script };

  /// With a script the server must be there already: it is loaded now.
  Redis(std::string address, Claim claim) : address_(std::move(address)), claim_(claim) {
    if (claim_ == Claim::pipelined) return;
    Socket socket = Socket::connect(address_);
    std::string load;
    put(load, {"SCRIPT", "LOAD", script});
    socket.send_all(load);
    if (socket.receive_line() != "$40\r\n") throw std::runtime_error("Redis refused the script");
    sha_ = socket.receive_exactly(40);
  }

  std::string name() const override { return claim_ == Claim::script ? "Redis, Lua" : "Redis, SET NX"; }

  Socket connect(Operation) const override { return Socket::connect(address_); }

  void encode(Operation operation, std::span<const std::uint64_t> keys, Request& out) const override {
    switch (operation) {
      case Operation::claim:
        if (claim_ == Claim::script) {
          begin(out, keys.size() + 4);
          word(out, "EVALSHA");
          word(out, sha_);
          word(out, std::to_string(keys.size()));
          for (const std::uint64_t key : keys) key_word(out, key);
          return word(out, value);
        }
        for (const std::uint64_t key : keys) {
          begin(out, 6);
          word(out, "SET");
          key_word(out, key);
          for (const auto text : {value, std::string_view{"NX"}, std::string_view{"PX"}, lease}) word(out, text);
        }
        return;
      case Operation::store:
        for (const std::uint64_t key : keys) {
          begin(out, 3);
          word(out, "SET");
          key_word(out, key);
          word(out, value);
        }
        return;
      case Operation::match: return of_all(out, "MGET", keys);
      case Operation::release:
      case Operation::remove: return of_all(out, "UNLINK", keys);
    }
  }

  void put_key(char* at, std::uint64_t key) const override { std::memcpy(at, &key, sizeof key); }

  std::unique_ptr<Reader> reader(Operation operation, std::size_t batch) const override {
    const bool one_reply = operation == Operation::claim ? claim_ == Claim::script : operation != Operation::store;
    return std::make_unique<Replies>(operation, one_reply, batch);
  }

 private:
  static constexpr std::string_view value = "12345678";
  static constexpr std::string_view lease = "3600000";
  static constexpr std::string_view script =
      "local answer = {}\n"
      "local set = redis.call\n"
      "for i = 1, #KEYS do\n"
      "  answer[i] = set('SET', KEYS[i], ARGV[1], 'NX', 'PX', '3600000') and 'G' or 'T'\n"
      "end\n"
      "return table.concat(answer)";

  class Replies : public Reader {
   public:
    Replies(Operation operation, bool one_reply, std::size_t batch)
        : operation_(operation), one_reply_(one_reply), batch_(batch) {}

    const char* read(const char* at, const char* end, Tally& tally, std::uint64_t& batches) override {
      while (at != end) {
        const char* next = reply(at, end, tally);
        if (next == nullptr) return at;
        at = next;
        if (left_ > 0) continue;
        batches += 1;
        left_ = one_reply_ ? 1 : batch_;
      }
      return at;
    }

   private:
    /// The end of the reply at `at`, or null if not all of it has come. One of an array counts as a reply.
    const char* reply(const char* at, const char* end, Tally& tally) {
      const auto* line_end = static_cast<const char*>(std::memchr(at, '\r', static_cast<std::size_t>(end - at)));
      if (line_end == nullptr || end - line_end < 2) return nullptr;
      const char* next = line_end + 2;
      switch (*at) {
        case '+': (operation_ == Operation::claim ? tally.granted : tally.done) += 1; break;
        case ':': tally.done += batch_; break;
        case '*': left_ = batch_; return next;
        case '$': {
          int size = 0;
          std::from_chars(at + 1, line_end, size);
          if (size < 0) {
            tally.taken += 1;
            break;
          }
          if (end - next < size + 2) return nullptr;
          if (operation_ == Operation::match) {
            tally.found += 1;
          } else {
            const auto granted = static_cast<std::uint64_t>(std::count(next, next + size, 'G'));
            tally.granted += granted;
            tally.taken += static_cast<std::uint64_t>(size) - granted;
          }
          next += size + 2;
          break;
        }
        default: throw std::runtime_error("Redis: " + std::string(at, line_end));
      }
      left_ -= 1;
      return next;
    }

    Operation operation_;
    bool one_reply_;
    std::size_t batch_;
    std::size_t left_ = one_reply_ ? 1 : batch_;
  };

  static void begin(Request& out, std::size_t words) { out.bytes += "*" + std::to_string(words) + "\r\n"; }

  static void word(Request& out, std::string_view text) { word(out.bytes, text); }
  static void word(std::string& out, std::string_view text) {
    out += "$" + std::to_string(text.size()) + "\r\n";
    out += text;
    out += "\r\n";
  }
  static void put(std::string& out, std::initializer_list<std::string_view> words) {
    out += "*" + std::to_string(words.size()) + "\r\n";
    for (const std::string_view text : words) word(out, text);
  }

  void key_word(Request& out, std::uint64_t key) const {
    out.bytes += "$8\r\n";
    out.key_at.push_back(static_cast<std::uint32_t>(out.bytes.size()));
    out.bytes.append(sizeof key, '\0');
    put_key(out.bytes.data() + out.bytes.size() - sizeof key, key);
    out.bytes += "\r\n";
  }

  void of_all(Request& out, std::string_view command, std::span<const std::uint64_t> keys) const {
    begin(out, keys.size() + 1);
    word(out, command);
    for (const std::uint64_t key : keys) key_word(out, key);
  }

  std::string address_;
  Claim claim_;
  std::string sha_;
};

}  // namespace bench
