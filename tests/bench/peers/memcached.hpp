// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
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

/// memcached by its meta protocol, pipelined: a claim is `ms` in mode add with a time to live. A key is written in 11
/// letters of base64, which memcached is spared to decode.
class Memcached : public Peer {
 public:
  explicit Memcached(std::string address) : address_(std::move(address)) {}

  std::string name() const override { return "memcached"; }

  Socket connect(Operation) const override { return Socket::connect(address_); }

  void encode(Operation operation, std::span<const std::uint64_t> keys, Request& out) const override {
    const auto [before, behind] = command(operation);
    for (const std::uint64_t key : keys) {
      out.bytes += before;
      out.key_at.push_back(static_cast<std::uint32_t>(out.bytes.size()));
      out.bytes.append(key_size, '\0');
      put_key(out.bytes.data() + out.bytes.size() - key_size, key);
      out.bytes += behind;
    }
  }

  void put_key(char* at, std::uint64_t key) const override {
    static constexpr std::string_view letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (std::size_t i = 0; i < key_size; ++i, key >>= 6U) at[i] = letters[key & 63U];
  }

  std::unique_ptr<Reader> reader(Operation operation, std::size_t batch) const override {
    return std::make_unique<Replies>(operation, batch);
  }

 private:
  static constexpr std::size_t key_size = 11;

  class Replies : public Reader {
   public:
    Replies(Operation operation, std::size_t batch) : operation_(operation), batch_(batch), left_(batch) {}

    const char* read(const char* at, const char* end, Tally& tally, std::uint64_t& batches) override {
      while (end - at >= 4) {
        const std::string_view code(at, 2);
        if (code == "VA") {
          if (end - at < value_reply) break;
          tally.found += 1;
          at += value_reply;
        } else if (code == "HD") {
          (operation_ == Operation::claim ? tally.granted : tally.done) += 1;
          at += 4;
        } else if (code == "NS") {
          tally.taken += 1;
          at += 4;
        } else {
          throw std::runtime_error("memcached: " + std::string(at, end));
        }
        if (--left_ == 0) {
          batches += 1;
          left_ = batch_;
        }
      }
      return at;
    }

   private:
    /// "VA 8\r\n", 8 bytes, "\r\n".
    static constexpr std::ptrdiff_t value_reply = 16;

    Operation operation_;
    std::size_t batch_;
    std::size_t left_;
  };

  /// What stands before and behind the key.
  static std::pair<std::string_view, std::string_view> command(Operation operation) {
    switch (operation) {
      case Operation::claim: return {"ms ", " 8 T3600 ME\r\n12345678\r\n"};
      case Operation::match: return {"mg ", " v\r\n"};
      case Operation::store: return {"ms ", " 8\r\n12345678\r\n"};
      case Operation::release:
      case Operation::remove: return {"md ", "\r\n"};
    }
    return {};
  }

  std::string address_;
};

}  // namespace bench
