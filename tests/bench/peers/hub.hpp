// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
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

#include <registry/bytes.hpp>
#include <registry/codec.hpp>
#include <registry/envelope.hpp>

#include "peers/peer.hpp"

namespace bench {

/// Our hub, or an echo of the same bytes, over ZMTP 3.0 written by hand: a DEALER that sends an envelope and a message,
/// and a PUSH for registrations. libzmq at this end too would take as long as at the other, and the generator would be
/// what is measured.
class Hub : public Peer {
 public:
  Hub(std::string name, std::string query_address, std::string register_address, bool decides = true)
      : name_(std::move(name)),
        query_address_(std::move(query_address)),
        register_address_(std::move(register_address)),
        decides_(decides) {}

  std::string name() const override { return name_; }
  bool replies(Operation operation) const override { return operation != Operation::store; }
  bool decides() const override { return decides_; }
  const std::string& query_address() const noexcept { return query_address_; }
  const std::string& register_address() const noexcept { return register_address_; }

  Socket connect(Operation operation) const override {
    const bool is_push = operation == Operation::store;
    Socket socket = Socket::connect(is_push ? register_address_ : query_address_);
    // Greeting: signature, version 3.0, mechanism NULL, filler.
    std::string greeting("\xff\0\0\0\0\0\0\0\x01\x7f\x03\0NULL", 16);
    greeting.resize(64);
    socket.send_all(greeting);
    socket.receive_exactly(64);
    const std::string_view type = is_push ? "PUSH" : "DEALER";
    std::string ready = std::string("\x05READY\x0bSocket-Type\0\0\0", 21) + static_cast<char>(type.size());
    ready += type;
    socket.send_all(std::string("\x04") + static_cast<char>(ready.size()) + ready);
    const std::string header = socket.receive_exactly(2);
    if (header[0] != '\x04') throw std::runtime_error("no ZMTP command where READY was expected");
    socket.receive_exactly(static_cast<unsigned char>(header[1]));
    return socket;
  }

  void encode(Operation operation, std::span<const std::uint64_t> keys, Request& out) const override {
    const registry::Bytes message = encode_message(operation, keys, out);
    registry::Bytes envelope;
    registry::Envelope{}.encode(envelope);
    const bool is_push = operation == Operation::store;
    if (!is_push) put_frame(envelope, true, out.bytes);
    put_frame(message, is_push, out.bytes);
    for (std::uint32_t& at : out.key_at) at += static_cast<std::uint32_t>(out.bytes.size() - message.size());
    if (is_push) put_frame(envelope, false, out.bytes);
  }

  void put_key(char* at, std::uint64_t key) const override { std::memcpy(at, &key, sizeof key); }

  void stamp(std::span<char> request, std::uint64_t client, std::uint64_t number) const override {
    const std::span<char> envelope =
        request[2] == 'D' ? request.subspan(2) : request.last(registry::Envelope::fixed_size);
    std::memcpy(&envelope[4], &number, sizeof number);
    std::memcpy(&envelope[12], &client, sizeof client);
  }

  std::unique_ptr<Reader> reader(Operation, std::size_t) const override { return std::make_unique<Replies>(); }

 private:
  using Codec = registry::BinaryCodec<std::uint64_t, std::uint64_t, registry::NoMetadata>;
  static constexpr char more = 1;
  static constexpr char long_frame = 2;
  static constexpr char command = 4;

  class Replies : public Reader {
   public:
    const char* read(const char* at, const char* end, Tally& tally, std::uint64_t& batches) override {
      while (end - at >= 2) {
        const char flags = *at;
        std::uint64_t size = static_cast<unsigned char>(at[1]);
        const char* body = at + 2;
        if ((flags & long_frame) != 0) {
          if (end - at < 9) break;
          size = 0;
          for (int i = 1; i <= 8; ++i) size = size << 8U | static_cast<unsigned char>(at[i]);
          body = at + 9;
        }
        if (static_cast<std::uint64_t>(end - body) < size) break;
        if ((flags & (more | command)) == 0) {
          count(body, size, tally);
          batches += 1;
        }
        at = body + size;
      }
      return at;
    }

   private:
    static void count(const char* message, std::size_t size, Tally& tally) {
      using registry::MessageType;
      if (size < 6) throw std::runtime_error("the hub's answer is too short");
      switch (static_cast<MessageType>(message[1])) {
        case MessageType::can_offload_response: {
          std::uint64_t stored = 0;
          std::uint64_t leased = 0;
          for (const char* status = message + 6; status != message + size; ++status) {
            stored += *status == 1 ? 1U : 0U;
            leased += *status == 2 ? 1U : 0U;
          }
          tally.stored += stored;
          tally.leased += leased;
          tally.granted += size - 6 - stored - leased;
          return;
        }
        case MessageType::match_response:
          for (const char* at = message + 6; at != message + size;) {
            for (int field = 0; field < 3; ++field) {
              std::uint16_t length = 0;
              std::memcpy(&length, at, sizeof length);
              at += sizeof length + length;
            }
            tally.found += 1;
          }
          return;
        case MessageType::release_response:
        case MessageType::remove_response: {
          std::uint64_t done = 0;
          std::memcpy(&done, message + 2, sizeof done);
          tally.done += done;
          return;
        }
        default: throw std::runtime_error("the hub: " + std::string(message + 4, message + size));
      }
    }
  };

  static void put_frame(registry::ByteView body, bool has_more, std::string& out) {
    const bool is_long = body.size() > 255;
    out += static_cast<char>((has_more ? more : 0) | (is_long ? long_frame : 0));
    for (int shift = is_long ? 56 : 0; shift >= 0; shift -= 8) out += static_cast<char>(body.size() >> shift & 255U);
    out += registry::as_text(body);
  }

  /// The places of the keys are counted from the message's beginning.
  static registry::Bytes encode_message(Operation operation, std::span<const std::uint64_t> keys, Request& out) {
    using registry::MessageType;
    registry::Bytes message;
    if (operation == Operation::store) {
      Codec::begin_entries(MessageType::register_entries, message);
      for (const std::uint64_t key : keys) {
        out.key_at.push_back(static_cast<std::uint32_t>(message.size() + 2));
        if (Codec::append_entry({key, key, {}}, message)) throw std::runtime_error("cannot encode an entry");
      }
      return message;
    }
    const MessageType type =
        operation == Operation::claim     ? MessageType::can_offload
        : operation == Operation::match   ? MessageType::match
        : operation == Operation::release ? MessageType::release
                                          : MessageType::remove;
    Codec::encode_keys(type, keys, message);
    for (std::size_t i = 0; i < keys.size(); ++i) out.key_at.push_back(static_cast<std::uint32_t>(6 + 10 * i + 2));
    return message;
  }

  std::string name_;
  std::string query_address_;
  std::string register_address_;
  bool decides_;
};

}  // namespace bench
