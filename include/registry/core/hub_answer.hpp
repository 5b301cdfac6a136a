// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <new>
#include <string_view>

#include <registry/bytes.hpp>
#include <registry/core/spare_memory.hpp>
#include <registry/detail/counter.hpp>
#include <registry/error.hpp>
#include <registry/message.hpp>
#include <registry/stats.hpp>

namespace registry {

/// The answer that is being made, and its way out. Its memory is reused from answer to answer. One thread; the counter
/// may be read from any.
template <class C>
class HubAnswer {
 public:
  /// Where the codec writes an answer.
  Bytes& bytes() noexcept { return bytes_; }

  /// Makes it a refusal.
  void refuse(const Error& why) { refuse(to_string(why)); }
  void refuse(std::string_view why) { C::encode_text(MessageType::error_response, why, bytes_); }

  /// Hands it over; false, counted, if the recipient could not be reached, also for want of memory.
  template <class Reply>
  bool deliver(ByteView recipient, Frames envelope, Reply& reply) {
    const bool is_delivered = reaches(recipient, envelope, reply);
    give_back_spare(bytes_);
    if (!is_delivered) undeliverable_.add();
    return is_delivered;
  }

  void add_to(HubStats& stats) const noexcept { stats.undeliverable += undeliverable_.load(); }

 private:
  template <class Reply>
  bool reaches(ByteView recipient, Frames envelope, Reply& reply) {
    try {
      return reply(recipient, envelope, ByteView{bytes_});
    } catch (const std::bad_alloc&) {
      return false;
    }
  }

  Bytes bytes_;
  detail::Counter undeliverable_;
};

}  // namespace registry
