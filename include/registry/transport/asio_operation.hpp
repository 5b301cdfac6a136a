// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <variant>
#include <vector>

#include <asio/any_io_executor.hpp>
#include <asio/associated_cancellation_slot.hpp>
#include <asio/associated_executor.hpp>
#include <asio/dispatch.hpp>
#include <asio/executor_work_guard.hpp>
#include <asio/post.hpp>

#include <registry/bytes.hpp>
#include <registry/core/client_core.hpp>
#include <registry/core/instant.hpp>
#include <registry/diagnostics.hpp>
#include <registry/error.hpp>

// Asynchronous calls in progress, without the type of whoever waits for them.
namespace registry::detail {

/// Hands a result to an asynchronous call's handler, on the handler's executor and never from within whoever calls it.
/// Until then that executor has work, so that its context goes on running.
template <class Handler>
class AsioCompletion {
 public:
  AsioCompletion(Handler handler, asio::any_io_executor io, std::optional<Diagnostics> diagnostics)
      : io_(std::move(io)),
        work_(asio::get_associated_executor(handler, io_)),
        diagnostics_(std::move(diagnostics)),
        handler_(std::move(handler)) {}

  auto cancellation_slot() const noexcept { return asio::get_associated_cancellation_slot(handler_); }

  /// Once.
  template <class... Results>
  void operator()(std::error_code code, std::optional<Error> error, Results... results) {
    if (diagnostics_) diagnostics_->set(std::move(error));
    // Posted to the I/O executor and dispatched from there: a post to the executor of a std::future's handler would
    // start Asio's system thread pool.
    auto invoke = [handler = std::move(handler_), code, ... results = std::move(results)]() mutable {
      // The slot belongs to whoever emits on it, and that is the handler's executor.
      if (auto slot = asio::get_associated_cancellation_slot(handler); slot.is_connected()) slot.clear();
      std::move(handler)(code, std::move(results)...);
    };
    asio::post(io_, [work = std::move(work_), invoke = std::move(invoke)]() mutable {
      asio::dispatch(work.get_executor(), std::move(invoke));
    });
  }

 private:
  asio::any_io_executor io_;
  asio::executor_work_guard<asio::associated_executor_t<Handler, asio::any_io_executor>> work_;
  std::optional<Diagnostics> diagnostics_;
  Handler handler_;
};

/// A query in progress. Exactly one of `answer`, `finish_locally` and `fail` is called, once.
template <class Core>
class AsioQuery {
 public:
  virtual ~AsioQuery() = default;
  virtual bool begin(Core& core, SteadyTime now) = 0;
  virtual bool follows_registrations(Core& core, SteadyTime now) = 0;
  virtual ByteView envelope() const noexcept = 0;
  virtual ByteView message() const noexcept = 0;
  virtual std::optional<std::pair<Bytes, Bytes>> withdrawal(const Core& core) const = 0;
  virtual void answer(Core& core, ByteView message, SteadyTime now) = 0;
  virtual void finish_locally(Core& core) = 0;
  virtual void fail(std::error_code code, std::optional<Error> error) = 0;

  void fail(Error error) {
    const std::error_code code = make_error_code(error);
    fail(code, std::move(error));
  }

  RequestId id = 0;
  std::optional<SteadyTime> sent_at;
};

/// `Completion` is called with (std::error_code, std::optional<Error>, Result).
template <class Core, class AnyCall, class Completion>
class AsioQueryOf final : public AsioQuery<Core> {
 public:
  AsioQueryOf(AnyCall call, Completion completion) : call_(std::move(call)), completion_(std::move(completion)) {}

  Completion& completion() noexcept { return completion_; }

  bool begin(Core& core, SteadyTime now) override { return core.begin(call_, this->id, now); }

  bool follows_registrations(Core& core, SteadyTime now) override {
    if constexpr (std::same_as<AnyCall, typename Core::Count>) return core.follows_registrations(call_, now);
    return false;
  }

  ByteView envelope() const noexcept override { return call_.envelope; }
  ByteView message() const noexcept override { return call_.message; }

  std::optional<std::pair<Bytes, Bytes>> withdrawal(const Core& core) const override { return core.withdrawal(call_); }

  void answer(Core& core, ByteView message, SteadyTime now) override {
    Outcome<Result> outcome;
    try {
      outcome = core.finish(call_, message, now);
    } catch (const std::exception& failure) {
      // A wire or codec of the user's: nobody else's calls may suffer for it.
      outcome = Error{TransportError{std::string{"reading the answer failed: "} + failure.what()}};
    }
    if (auto* error = std::get_if<Error>(&outcome)) return AsioQuery<Core>::fail(std::move(*error));
    completion_({}, std::nullopt, std::get<Result>(std::move(outcome)));
  }

  void finish_locally(Core& core) override { completion_({}, std::nullopt, core.finish_locally(call_)); }

  void fail(std::error_code code, std::optional<Error> error) override {
    completion_(code, std::move(error), Result{});
  }

 private:
  using Result = typename AnyCall::Result;

  AnyCall call_;
  Completion completion_;
};

/// Entries on their way to the batcher, or a wait until it is empty.
template <class Core>
class AsioWrite {
 public:
  using EntryType = typename Core::EntryType;

  AsioWrite(std::vector<EntryType> new_entries, bool until_handed_over)
      : entries(std::move(new_entries)), drain(until_handed_over) {}
  virtual ~AsioWrite() = default;

  /// Once; after a failure `entries` go back to whoever brought them.
  virtual void complete(std::error_code code, std::optional<Error> error) = 0;

  void fail(Error error) {
    const std::error_code code = make_error_code(error);
    complete(code, std::move(error));
  }

  std::vector<EntryType> entries;
  bool drain;
  RequestId id = 0;
};

/// `Completion` is called with (std::error_code, std::optional<Error>), and behind them the entries if they go back.
template <class Core, class Completion, bool returns_entries>
class AsioWriteOf final : public AsioWrite<Core> {
 public:
  AsioWriteOf(std::vector<typename Core::EntryType> new_entries, bool until_handed_over, Completion completion)
      : AsioWrite<Core>(std::move(new_entries), until_handed_over), completion_(std::move(completion)) {}

  Completion& completion() noexcept { return completion_; }

  void complete(std::error_code code, std::optional<Error> error) override {
    if constexpr (returns_entries) {
      completion_(code, std::move(error), code ? std::move(this->entries) : std::vector<typename Core::EntryType>{});
    } else {
      completion_(code, std::move(error));
    }
  }

 private:
  Completion completion_;
};

}  // namespace registry::detail
