// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cerrno>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <unistd.h>
#include <zmq.h>

#include <registry/bytes.hpp>
#include <registry/error.hpp>
#include <registry/message.hpp>
#include <registry/settings.hpp>

namespace registry {

namespace detail {

inline constexpr std::size_t curve_key_size = 32;
inline constexpr std::size_t curve_text_size = 40;
using CurveText = std::array<char, curve_text_size + 1>;

inline Error no_curve() { return TransportError{"this libzmq was built without CURVE: it cannot use keys"}; }

/// Throws RegistryError{TransportError} where libzmq cannot encrypt; `available` is what it says of itself.
inline void require_curve(bool available = zmq_has("curve") == 1) {
  if (!available) throw RegistryError(no_curve());
}

/// Memory for what must not stay in memory: wiped when it goes, which no optimiser leaves out.
template <class T>
struct Wiped {
  Wiped() = default;
  Wiped(const Wiped&) = delete;
  Wiped& operator=(const Wiped&) = delete;
  ~Wiped() { explicit_bzero(&value, sizeof value); }
  T value{};
};

/// False if the text is no key in Z85: 40 of its characters.
inline bool decode_curve_key(std::string_view text, std::byte* out) {
  if (text.size() != curve_text_size || text.find('\0') != std::string_view::npos) return false;
  Wiped<CurveText> terminated;
  std::copy(text.begin(), text.end(), terminated.value.begin());
  return zmq_z85_decode(reinterpret_cast<std::uint8_t*>(out), terminated.value.data()) != nullptr;
}

}  // namespace detail

/// Whom a peer is: not a secret. Compares as its bytes do.
class CurvePublicKey {
 public:
  /// From its 40 characters in Z85, or nothing where they are none.
  static std::optional<CurvePublicKey> from_z85(std::string_view text) {
    CurvePublicKey key;
    if (!detail::decode_curve_key(text, key.bytes_.data())) return std::nullopt;
    return key;
  }

  /// From its 32 bytes, or nothing where there are not so many.
  static std::optional<CurvePublicKey> from_bytes(ByteView bytes) noexcept {
    CurvePublicKey key;
    if (bytes.size() != key.bytes_.size()) return std::nullopt;
    copy_bytes(bytes, key.bytes_.data());
    return key;
  }

  std::string z85() const {
    detail::CurveText text{};
    zmq_z85_encode(text.data(), reinterpret_cast<const std::uint8_t*>(bytes_.data()), bytes_.size());
    return std::string{text.data(), detail::curve_text_size};
  }

  ByteView bytes() const noexcept { return bytes_; }

  friend auto operator<=>(const CurvePublicKey&, const CurvePublicKey&) = default;

 private:
  CurvePublicKey() = default;
  std::array<std::byte, detail::curve_key_size> bytes_{};
};

/// The secret of a hub or a client, from which its public key follows. Copies share the one place in memory that holds
/// it, which is wiped when the last of them goes. There is no way to print it.
class CurveSecretKey {
 public:
  /// A new one. Throws RegistryError{TransportError} where libzmq has no CURVE.
  static CurveSecretKey random() {
    detail::Wiped<detail::CurveText> secret;
    detail::CurveText unused{};
    if (zmq_curve_keypair(unused.data(), secret.value.data()) != 0) throw RegistryError(detail::no_curve());
    return *from_z85({secret.value.data(), detail::curve_text_size});
  }

  /// From its 40 characters in Z85, or nothing where they are none. The text is the caller's to wipe.
  static std::optional<CurveSecretKey> from_z85(std::string_view text) {
    auto bytes = std::make_shared<Bytes32>();
    if (!detail::decode_curve_key(text, bytes->value.data())) return std::nullopt;
    return CurveSecretKey(std::move(bytes));
  }

  /// Throws RegistryError{TransportError} where libzmq has no CURVE.
  CurvePublicKey public_key() const {
    detail::Wiped<detail::CurveText> secret;
    encode(secret.value);
    detail::CurveText text{};
    if (zmq_curve_public(text.data(), secret.value.data()) != 0) throw RegistryError(detail::no_curve());
    return *CurvePublicKey::from_z85({text.data(), detail::curve_text_size});
  }

  /// Writes it to a new file that only its owner can read. Throws RegistryError{TransportError} if there is such a file
  /// already, or if the system refuses.
  void save(const std::string& path) const {
    const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    int error = file < 0 ? errno : 0;
    if (error == 0) {
      detail::Wiped<detail::CurveText> text;
      encode(text.value);
      text.value.back() = '\n';
      const auto written = ::write(file, text.value.data(), text.value.size());
      if (written != static_cast<ssize_t>(text.value.size())) error = written < 0 ? errno : ENOSPC;
      if (::close(file) != 0 && error == 0) error = errno;
    }
    if (error != 0) {
      throw RegistryError(TransportError{"write a key to \"" + path + "\": " + std::generic_category().message(error)});
    }
  }

  /// For libzmq, which copies them.
  ByteView bytes() const noexcept { return bytes_->value; }

 private:
  using Bytes32 = detail::Wiped<std::array<std::byte, detail::curve_key_size>>;

  explicit CurveSecretKey(std::shared_ptr<const Bytes32> bytes) : bytes_(std::move(bytes)) {}

  void encode(detail::CurveText& text) const {
    zmq_z85_encode(text.data(), reinterpret_cast<const std::uint8_t*>(bytes_->value.data()), bytes_->value.size());
  }

  std::shared_ptr<const Bytes32> bytes_;
};

/// A client that a hub lets in, and the namespaces that it may use: `default`, unless it says others.
struct CurveAllowedClient {
  CurvePublicKey key;
  std::vector<std::string> namespaces{std::string{default_namespace}};
  bool every_namespace = false;

  bool may_use(std::string_view name) const {
    return every_namespace || std::find(namespaces.begin(), namespaces.end(), name) != namespaces.end();
  }
};

/// What a hub needs for connections that are encrypted and known: nobody else is let in. From a list with a key twice
/// the first counts.
struct CurveServer {
  CurveSecretKey secret_key;
  std::vector<CurveAllowedClient> allowed_clients;

  /// From DYN_REGISTRY_HUB_CURVE_SECRET_KEY or DYN_REGISTRY_HUB_CURVE_SECRET_KEY_FILE, and
  /// DYN_REGISTRY_HUB_CURVE_ALLOWED_CLIENTS_FILE; nothing if none of them is set. Throws RegistryError{ConfigError}
  /// that names variable, file and line, and shows no key.
  static std::optional<CurveServer> from_env();
};

/// What a client needs for connections to a hub whose public key it knows.
struct CurveClient {
  CurvePublicKey server_key;
  CurveSecretKey secret_key;

  /// From DYN_REGISTRY_CLIENT_CURVE_SERVER_KEY and DYN_REGISTRY_CLIENT_CURVE_SECRET_KEY, or the files that the
  /// variables with _FILE behind these names name; nothing if none of them is set. Throws as CurveServer::from_env.
  static std::optional<CurveClient> from_env();
};

namespace detail {

/// In place of a value that is a key or might be one.
inline constexpr const char* not_shown = "(not shown)";
inline constexpr const char* a_curve_key = "a CURVE key of 40 characters in Z85";

inline std::string_view trimmed(std::string_view text) {
  constexpr std::string_view blanks = " \t\r\n\"'";
  const std::size_t begin = text.find_first_not_of(blanks);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(blanks) + 1 - begin);
}

/// The name of a file for an error text: not if somebody put the key where the name of its file belongs.
inline std::string shown_path(const std::string& path) {
  Wiped<std::array<std::byte, curve_key_size>> key;
  return decode_curve_key(trimmed(path), key.value.data()) ? not_shown : path;
}

[[noreturn]] inline void refuse_file(const std::string& variable, const std::string& path,
                                     const std::string& expected) {
  throw RegistryError(ConfigError{variable, shown_path(path), expected});
}

/// The key in the only line of a file.
template <class Key>
Key read_curve_key(const std::string& variable, const std::string& path) {
  Wiped<std::array<char, 256>> text;
  // Not by a stream, whose buffer would keep a copy.
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  const auto size = file < 0 ? -1 : ::read(file, text.value.data(), text.value.size());
  const int error = errno;
  if (file >= 0) ::close(file);
  if (size < 0) refuse_file(variable, path, "a file to read (" + std::generic_category().message(error) + ")");
  const std::string_view content{text.value.data(), static_cast<std::size_t>(size)};
  const std::size_t end = content.find_last_not_of(" \t\r\n") + 1;
  if (std::optional<Key> key = Key::from_z85(content.substr(0, end))) return *std::move(key);
  refuse_file(variable, path, std::string{a_curve_key} + " in line 1, and nothing else");
}

/// A key from a variable, or from the file that the variable with _FILE behind its name names.
template <class Key>
std::optional<Key> curve_key_setting(const std::string& variable) {
  const std::string file_variable = variable + "_FILE";
  std::optional<std::string> text = environment(variable);
  const std::optional<std::string> path = environment(file_variable);
  if (text && path) {
    explicit_bzero(text->data(), text->size());
    refuse_file(file_variable, *path, "not to be set beside " + variable);
  }
  if (path) return read_curve_key<Key>(file_variable, *path);
  if (!text) return std::nullopt;
  std::optional<Key> key = Key::from_z85(*text);
  explicit_bzero(text->data(), text->size());
  if (!key) throw RegistryError(ConfigError{variable, not_shown, a_curve_key});
  return key;
}

/// The namespaces behind a key: names with commas between them, or * for all.
inline bool read_namespaces(std::string_view text, CurveAllowedClient& client) {
  client.namespaces.clear();
  client.every_namespace = text == "*";
  if (client.every_namespace) return true;
  while (true) {
    const std::size_t comma = text.find(',');
    const std::string_view name = text.substr(0, comma);
    if (name.empty() || name.size() > 255 || name == "*" || name.find_first_of(" \t") != std::string_view::npos) {
      return false;
    }
    client.namespaces.emplace_back(name);
    if (comma == std::string_view::npos) return true;
    text.remove_prefix(comma + 1);
  }
}

/// An allow-list: a line for each client, its public key and, behind a space, its namespaces. Empty lines, and those
/// that begin with a #, as no key does, mean nothing.
inline std::vector<CurveAllowedClient> read_allowed_clients(const std::string& variable, const std::string& path) {
  std::ifstream file(path);
  if (!file) refuse_file(variable, path, "a file to read (" + std::generic_category().message(errno) + ")");
  std::vector<CurveAllowedClient> clients;
  std::string line;
  for (std::size_t number = 1; std::getline(file, line); ++number) {
    std::string_view rest = line;
    rest = rest.substr(0, rest.find_last_not_of(" \t\r") + 1);
    if (rest.empty() || rest.starts_with('#')) continue;
    const auto refuse = [&](const std::string& expected) {
      refuse_file(variable, path, expected + " in line " + std::to_string(number));
    };
    const std::size_t end = rest.find_first_of(" \t");
    const std::optional<CurvePublicKey> key = CurvePublicKey::from_z85(rest.substr(0, end));
    if (!key) refuse(a_curve_key);
    const auto same = [&](const CurveAllowedClient& other) { return other.key == *key; };
    if (std::any_of(clients.begin(), clients.end(), same)) refuse("a key that no line before it has");
    CurveAllowedClient client{*key};
    if (end != std::string_view::npos) {
      rest.remove_prefix(rest.find_first_not_of(" \t", end));
      if (!read_namespaces(rest, client)) {
        refuse("namespaces of 1 to 255 bytes with a comma between two of them, or * for all,");
      }
    }
    clients.push_back(std::move(client));
  }
  if (file.bad()) refuse_file(variable, path, "a file to read");
  if (clients.empty()) refuse_file(variable, path, "at least one line with " + std::string{a_curve_key});
  return clients;
}

/// One of two settings is of no use without the other.
[[noreturn]] inline void refuse_alone(const std::string& missing, const std::string& given) {
  throw RegistryError(ConfigError{missing, "", "a value, because " + given + " has one"});
}

}  // namespace detail

inline std::optional<CurveServer> CurveServer::from_env() {
  const std::string key_variable = "DYN_REGISTRY_HUB_CURVE_SECRET_KEY";
  const std::string list_variable = "DYN_REGISTRY_HUB_CURVE_ALLOWED_CLIENTS_FILE";
  std::optional<CurveSecretKey> key = detail::curve_key_setting<CurveSecretKey>(key_variable);
  const std::optional<std::string> list = environment(list_variable);
  if (!key && !list) return std::nullopt;
  if (!key) detail::refuse_alone(key_variable, list_variable);
  if (!list) detail::refuse_alone(list_variable, key_variable);
  return CurveServer{*std::move(key), detail::read_allowed_clients(list_variable, *list)};
}

inline std::optional<CurveClient> CurveClient::from_env() {
  const std::string server_variable = "DYN_REGISTRY_CLIENT_CURVE_SERVER_KEY";
  const std::string key_variable = "DYN_REGISTRY_CLIENT_CURVE_SECRET_KEY";
  const std::optional<CurvePublicKey> server = detail::curve_key_setting<CurvePublicKey>(server_variable);
  std::optional<CurveSecretKey> key = detail::curve_key_setting<CurveSecretKey>(key_variable);
  if (!server && !key) return std::nullopt;
  if (!server) detail::refuse_alone(server_variable, key_variable);
  if (!key) detail::refuse_alone(key_variable, server_variable);
  return CurveClient{*server, *std::move(key)};
}

}  // namespace registry
