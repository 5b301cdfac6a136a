// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <string_view>

namespace registry {

/// What a report calls the sender of a message: a text, or what answers one when called. To ask a transport for it
/// costs more than a small message does, so it is looked up only for a report. Refers to what it was made of.
class PeerName {
 public:
  template <class Source>
    requires std::convertible_to<const Source&, std::string_view> || std::invocable<const Source&>
  PeerName(const Source& source)
      : source_(&source), read_([](const void* from) -> std::string_view {
          const Source& name = *static_cast<const Source*>(from);
          if constexpr (std::invocable<const Source&>) {
            return name();
          } else {
            return name;
          }
        }) {}

  operator std::string_view() const { return read_(source_); }

 private:
  const void* source_;
  std::string_view (*read_)(const void*);
};

}  // namespace registry
