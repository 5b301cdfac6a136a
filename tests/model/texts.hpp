// SPDX-License-Identifier: Apache-2.0
// What a hub says, in words: the same for what it said and for what its model says, so that the two can be compared.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <registry/message.hpp>
#include <registry/metadata.hpp>

namespace registry::test {

using Number = std::uint64_t;
using Numbers = std::vector<Number>;
using Statuses = std::vector<OffloadStatus>;
using Outcomes = std::vector<RegisterStatus>;
using ModelEntry = Entry<Number, Number, TimestampMetadata>;

/// Those who ask; the last one sends no envelope.
inline constexpr std::array<std::string_view, 4> peer_names{"alice", "bob", "carol", "rust"};
inline constexpr std::size_t clients = 3;
inline constexpr std::size_t anonymous = 3;

/// They ask for the keys from 1 to this one.
inline constexpr Number last_key = 6;

inline std::string_view text_of(OffloadStatus status) {
  constexpr std::array<std::string_view, 3> texts{"granted", "stored", "leased"};
  return texts.at(static_cast<std::size_t>(status));
}
inline std::string_view text_of(RenewStatus status) {
  constexpr std::array<std::string_view, 3> texts{"held", "stored", "lost"};
  return texts.at(static_cast<std::size_t>(status));
}
inline std::string_view text_of(RegisterStatus status) {
  constexpr std::array<std::string_view, 5> texts{
      "stored", "lease_conflict", "limit_exceeded", "storage_error", "superseded"};
  return texts.at(static_cast<std::size_t>(status));
}

template <class Status>
std::string list_of(const std::vector<Status>& statuses) {
  std::string text;
  for (const Status status : statuses) text.append(" ").append(text_of(status));
  return text;
}

inline std::string milliseconds(std::chrono::nanoseconds time) {
  return std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(time).count()) + " ms";
}

inline std::string show_entry(const ModelEntry& entry) {
  const std::string text = std::to_string(entry.key) + "=" + std::to_string(entry.value);
  const auto& [made, seconds] = entry.metadata;
  return seconds ? text + " (from " + std::to_string(made) + " for " + std::to_string(*seconds) + " s)" : text;
}

inline std::string offload_text(const Statuses& statuses) { return "offload:" + list_of(statuses); }

inline std::string claim_text(const Statuses& statuses, bool has_token, std::chrono::nanoseconds waited) {
  return "claim:" + list_of(statuses) + (has_token ? ", a token" : "") + ", waited " + milliseconds(waited);
}

inline std::string renew_text(const std::vector<RenewStatus>& statuses) { return "renew:" + list_of(statuses); }
inline std::string register_text(const Outcomes& outcomes) { return "register:" + list_of(outcomes); }
inline std::string hello_text(std::string_view name) { return "hello: " + std::string{name}; }
inline std::string error_text(std::string_view why) { return "error: " + std::string{why}; }

/// Instead of what is said of one that is malformed, which each decoder words in its own way.
inline constexpr std::string_view what_is_malformed = "malformed";

inline std::string count_text(MessageType type, std::uint64_t count) {
  return (type == MessageType::remove_response  ? "removed "
          : type == MessageType::touch_response ? "touched "
                                                : "released ") +
         std::to_string(count);
}

inline std::string match_text(const std::vector<ModelEntry>& found) {
  std::string text = "match:";
  for (const ModelEntry& entry : found) text += " " + show_entry(entry);
  return text;
}

inline std::string sync_text(std::uint64_t applied, bool insists, std::uint64_t first_refusal) {
  return "applied up to " + std::to_string(applied) + ", first refused " + std::to_string(first_refusal) +
         (insists ? ", insists" : "");
}

inline std::string answer_text(std::size_t peer, std::optional<std::uint64_t> number, std::string_view text) {
  return std::string{peer_names.at(peer)} + (number ? " #" + std::to_string(*number) : "") + " " + std::string{text};
}

}  // namespace registry::test
