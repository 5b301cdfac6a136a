// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <poll.h>
#include <zmq.hpp>

#include <registry/bytes.hpp>
#include <registry/core/reports.hpp>
#include <registry/error.hpp>
#include <registry/log.hpp>
#include <registry/transport/zmq_curve.hpp>
#include <registry/transport/zmq_socket.hpp>

namespace registry::detail {

/// Answers libzmq's question whether a connection may be made (ZAP, RFC 27), for every hub on a context: there can be
/// one such handler on a context. Hubs are told apart by their ZAP domain; what belongs to none of them is refused.
class ZapHandler {
 public:
  /// Throws RegistryError{TransportError}, for instance if somebody else answers on this context already.
  explicit ZapHandler(zmq::context_t& context)
      : socket_(zmq_attempt("open a socket for ZAP", [&] { return zmq::socket_t(context, zmq::socket_type::rep); })) {
    zmq_attempt("set up a socket for ZAP", [&] { socket_.set(zmq::sockopt::linger, 0); });
    bind_socket(socket_, "ZAP", address);
    try {
      thread_ = std::thread([this] { run(); });
    } catch (const std::system_error& error) {
      throw RegistryError(TransportError{std::string{"start a thread for ZAP: "} + error.what()});
    }
  }
  ZapHandler(const ZapHandler&) = delete;
  ZapHandler& operator=(const ZapHandler&) = delete;

  ~ZapHandler() {
    wake_up_.signal();
    thread_.join();
  }

  /// From now on lets the owners of these keys into the domain that it answers, and tells `log`, on its own thread, of
  /// whom it does not.
  std::string add(std::vector<CurvePublicKey> allowed, LogHook log) {
    std::sort(allowed.begin(), allowed.end());
    const std::lock_guard lock(mutex_);
    std::string name = "registry-hub-" + std::to_string(++added_);
    domains_.emplace(name, Domain{std::move(allowed), Reports(std::move(log))});
    return name;
  }

  /// After it returns the domain's hook is not called.
  void remove(std::string_view domain) noexcept {
    const std::lock_guard lock(mutex_);
    const auto found = domains_.find(domain);
    if (found != domains_.end()) domains_.erase(found);
  }

 private:
  static constexpr const char* address = "inproc://zeromq.zap.01";
  static constexpr std::size_t frames_of_request = 7;

  struct Domain {
    std::vector<CurvePublicKey> allowed;
    Reports reports;
  };

  struct Verdict {
    std::string_view status = "400";
    std::string_view text = "refused";
    std::string user_id{};
  };

  void run() noexcept {
    try {
      std::array<pollfd, 2> descriptors{{{wake_up_.descriptor(), POLLIN, 0}, {event_descriptor(socket_), POLLIN, 0}}};
      while (descriptors[0].revents == 0) {
        while (answer_one()) {
        }
        sleep_on(descriptors, std::nullopt);
      }
      // At once, unlike `close`: another handler may be wanted on this context in a moment.
      socket_.unbind(address);
    } catch (const std::exception&) {
      // The context was terminated. It waits until this socket is closed.
    }
    socket_.close();
  }

  /// False if there is no request.
  bool answer_one() {
    if (inbox_.receive(socket_) == Inbox::Received::nothing) return false;
    const Frames request = inbox_.frames();
    Verdict verdict;
    if (inbox_.count() >= frames_of_request) {
      try {
        verdict = decide(request);
      } catch (const std::exception&) {
        // Whoever cannot be told apart is not let in.
        verdict = Verdict{};
      }
    }
    const ByteView id = request.size() > 1 ? request[1] : ByteView{};
    const std::array<ByteView, 6> answer{
        as_bytes("1.0"), id, as_bytes(verdict.status), as_bytes(verdict.text), as_bytes(verdict.user_id), ByteView{}};
    outbox_.send(socket_, answer);
    return true;
  }

  /// The request: version, request id, domain, address, routing id, mechanism, and what the mechanism knows of the
  /// peer.
  Verdict decide(Frames request) {
    const std::lock_guard lock(mutex_);
    const auto domain = domains_.find(as_text(request[2]));
    if (as_text(request[0]) != "1.0" || domain == domains_.end()) return {};
    const std::optional<CurvePublicKey> key =
        as_text(request[5]) == "CURVE" && inbox_.count() == frames_of_request
            ? CurvePublicKey::from_bytes(request[6])
            : std::nullopt;
    if (key && std::binary_search(domain->second.allowed.begin(), domain->second.allowed.end(), *key)) {
      return {"200", "OK", key->z85()};
    }
    domain->second.reports.add(
        std::chrono::steady_clock::now(), "a connection from " + std::string{as_text(request[3])} +
                                              " was refused: its key is not on the list of allowed clients");
    return {};
  }

  zmq::socket_t socket_;  // used by the thread, once it runs
  Inbox inbox_{frames_of_request};
  Outbox outbox_;
  WakeUp wake_up_;
  std::mutex mutex_;
  std::map<std::string, Domain, std::less<>> domains_;
  std::size_t added_ = 0;
  std::thread thread_;
};

/// Where no handler answers, as while libzmq closes in the background what a hub has closed, libzmq would let everyone
/// in. The option is ZMQ_ZAP_ENFORCE_DOMAIN: stable releases know it since 4.3, but only drafts have its name. One that
/// does not know it is left as it is: then such a visitor finds a hub that answers nothing any more.
inline void require_zap_handler(zmq::socket_ref socket) noexcept {
  constexpr int zap_enforce_domain = 93;
  constexpr int on = 1;
  zmq_setsockopt(socket.handle(), zap_enforce_domain, &on, sizeof on);
}

/// A hub's domain with the ZAP handler of its context, which is there for as long as any hub on the context has one.
/// To be made before the hub's sockets and to go after them: who knocks without a handler is not let in.
class ZapDomain {
 public:
  /// Throws as ZapHandler does.
  ZapDomain(zmq::context_t& context, std::vector<CurvePublicKey> allowed, LogHook log) : context_(context.handle()) {
    const std::lock_guard lock(all().mutex);
    Shared& shared = all().handlers[context_];
    try {
      if (!shared.handler) shared.handler = std::make_unique<ZapHandler>(context);
      name_ = shared.handler->add(std::move(allowed), std::move(log));
    } catch (...) {
      if (shared.domains == 0) all().handlers.erase(context_);
      throw;
    }
    ++shared.domains;
  }
  ZapDomain(const ZapDomain&) = delete;
  ZapDomain& operator=(const ZapDomain&) = delete;

  ~ZapDomain() {
    // Held until the handler is gone: a new one could not bind while the old one does.
    const std::lock_guard lock(all().mutex);
    const auto shared = all().handlers.find(context_);
    shared->second.handler->remove(name_);
    if (--shared->second.domains == 0) all().handlers.erase(shared);
  }

  const std::string& name() const noexcept { return name_; }

 private:
  struct Shared {
    std::unique_ptr<ZapHandler> handler;
    std::size_t domains = 0;
  };
  struct Registry {
    std::mutex mutex;
    std::map<void*, Shared> handlers;
  };

  static Registry& all() {
    static Registry registry;
    return registry;
  }

  void* context_;
  std::string name_;
};

}  // namespace registry::detail
