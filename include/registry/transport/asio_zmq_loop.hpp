// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <utility>
#include <variant>
#include <vector>

#include <asio/basic_waitable_timer.hpp>
#include <asio/error.hpp>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>
#include <zmq.hpp>

#include <registry/bytes.hpp>
#include <registry/core/claim_state.hpp>
#include <registry/core/client_core.hpp>
#include <registry/core/failure.hpp>
#include <registry/core/instant.hpp>
#include <registry/core/loss_reports.hpp>
#include <registry/core/request_table.hpp>
#include <registry/error.hpp>
#include <registry/log.hpp>
#include <registry/register_result.hpp>
#include <registry/stats.hpp>
#include <registry/transport/asio_call_line.hpp>
#include <registry/transport/asio_confirmations.hpp>
#include <registry/transport/asio_operation.hpp>
#include <registry/transport/asio_zmq_service.hpp>
#include <registry/transport/asio_zmq_socket.hpp>
#include <registry/transport/zmq_client_socket.hpp>
#include <registry/transport/zmq_socket.hpp>
#include <registry/undelivered.hpp>

namespace registry::detail {

/// The loop of a client on an executor. Calls come in through an inbox, from any thread; everything else happens on one
/// strand, turn by turn: what has come is taken in, what can be sent is sent, and the rest is waited for. What nobody
/// shall have to wait for is waited for in the background.
template <class Core>
class AsioZmqLoop final : public AsioAbandonable, public std::enable_shared_from_this<AsioZmqLoop<Core>> {
 public:
  using K = typename Core::key_type;
  using EntryType = typename Core::EntryType;
  using Query = AsioQuery<Core>;
  using Write = AsioWrite<Core>;
  using LossHookType = LossHook<K, typename Core::value_type, typename Core::metadata_type>;

  struct Close {
    std::chrono::nanoseconds limit;
    std::function<void(std::vector<EntryType>)> done;
  };

  /// Leases of a claim that nobody wants any more.
  struct GiveBack {
    std::uint64_t claim;
    std::vector<K> keys;
  };

  AsioZmqLoop(AsioZmqSockets sockets, ClientOptions options, LossHookType on_undelivered)
      : io_(std::move(sockets.executor)),
        strand_(io_),
        timer_(strand_),
        config_(std::move(sockets.config)),
        context_(std::move(sockets.context)),
        queries_socket_(std::make_shared<AsioZmqSocket>(strand_, std::move(sockets.queries), max_answer_frames)),
        registrations_socket_(std::make_shared<AsioZmqSocket>(strand_, std::move(sockets.registrations), 1)),
        core_(std::move(options), ClientId::random()),
        report_lost_(std::move(on_undelivered), core_.options().log) {}

  ~AsioZmqLoop() override {
    if (is_closed_) return;
    try {
      enter_give_backs(inbox_);
      core_.batcher().seal();
      send_batches();
      report_lost_(core_.take_entries(), Disconnected{"the io_context ended before the hub had confirmed them"});
    } catch (...) {
      log("closing the client failed: " + failure_text());
    }
    close_sockets(core_.options().close_timeout);
  }

  const asio::any_io_executor& executor() const noexcept { return io_; }

  /// From any thread, as all that is public.
  std::uint64_t next_claim() noexcept { return ++last_claim_; }
  ClientStats stats() const noexcept { return core_.stats(); }

  /// What the client's end asks for.
  Close destruction() {
    const auto limit = core_.options().close_timeout;
    return {limit, [self = this->weak_from_this(), limit](const std::vector<EntryType>& lost) {
              const auto loop = self.lock();
              if (!loop) return;
              const bool is_broken = !loop->broken_.empty();
              loop->report_lost_(lost, is_broken ? Error{Disconnected{loop->broken_}} : Error{Timeout::after(limit)});
            }};
  }

  /// Has a claim back of every new hub for as long as it holds something. Only from where its call completes.
  std::shared_ptr<ClaimState<K>> watch(std::uint64_t number, ClaimAnswer<K> answer, SteadyTime sent) {
    return confirmations_.watch(number, std::move(answer), sent);
  }

  /// Takes in the answer to a renewal of `keys`, sent at `sent`, and answers what the claim no longer holds. What it
  /// was told to be its own in vain is given back. Only from where the renewal completes.
  std::vector<K> renewed(ClaimState<K>& claim, std::span<const K> keys, const RenewAnswer& answer, SteadyTime sent) {
    std::vector<K> gone = claim.renewed(keys, answer, sent, now());
    give_back({claim.number(), claim.held_in_vain(keys, answer)}, now());
    return gone;
  }

  /// For a query that has failed. Only from where it completes.
  void give_back_granted_before(const Query& query) {
    if (std::vector<K> keys = query.granted_before(); !keys.empty()) {
      give_back({query.claim().value(), std::move(keys)}, now());
    }
  }

  template <class Call>
  void submit(Call call) {
    {
      const std::lock_guard lock(inbox_mutex_);
      inbox_.emplace_back(std::move(call));
      if (inbox_.size() > 1) return;
    }
    asio::post(strand_, [self = this->shared_from_this()] { self->turn(); });
  }

  template <class Operation>
  void cancel(std::shared_ptr<Operation> operation) {
    asio::post(strand_, [self = this->shared_from_this(), operation = std::move(operation)] {
      // It may still be in the inbox: whoever put something there before it may not have come to post.
      self->guarded([&] {
        self->take_inbox();
        self->end(*operation);
      });
      self->turn();
    });
  }

  void abandon() noexcept override {
    // Moved out first: the handlers that end with them may own the client that owns this.
    std::vector<Submission> inbox;
    {
      const std::lock_guard lock(inbox_mutex_);
      inbox.swap(inbox_);
    }
    std::vector<std::shared_ptr<Query>> queries;
    guarded([&] {
      enter_give_backs(inbox);
      while (const auto id = queries_.first()) {
        queries.push_back(*queries_.take(*id));
        withdraw(*queries.back());
        give_back_granted_before(*queries.back());
      }
    });
    const auto writes = std::exchange(writes_, {});
    const auto close = std::exchange(close_, {});
  }

 private:
  using Joint = AsioJointQuery<Core>;
  using Confirmations = AsioConfirmations<Core, AsioZmqLoop>;
  friend Confirmations;
  using Submission = std::variant<std::shared_ptr<Query>, std::shared_ptr<Write>, Close, GiveBack>;

  /// The memory of a burst of more calls is given back.
  static constexpr std::size_t max_spare_inbox = 4'096;
  /// Answers taken in before others on the same executor get their turn: few, so that what their callers ask next is
  /// on its way before the hub has nothing left to do. With 64 calls in flight that brings a fourth more than 256 do.
  static constexpr std::size_t answers_per_turn = 8;

  static SteadyTime now() noexcept { return std::chrono::steady_clock::now(); }

  void log(const std::string& text, LogLevel level = LogLevel::error) const {
    if (core_.options().log) core_.options().log(level, text);
  }

  void take_inbox() {
    std::vector<Submission> taken = std::exchange(spare_inbox_, {});
    {
      const std::lock_guard lock(inbox_mutex_);
      taken.swap(inbox_);
    }
    if (taken.empty()) return;
    const SteadyTime time = now();
    std::size_t entered = 0;
    try {
      for (; entered < taken.size(); ++entered) std::visit([&](auto& call) { enter(call, time); }, taken[entered]);
    } catch (...) {
      // This breaks everything down: so also what has not come that far, which nobody knows of but this function.
      const std::string why = failure_text();
      for (; entered < taken.size(); ++entered) std::visit([&](auto& call) { refuse(call, why); }, taken[entered]);
      throw;
    }
    taken.clear();
    if (taken.capacity() <= max_spare_inbox) spare_inbox_ = std::move(taken);
  }

  std::optional<Error> closed() const {
    if (close_ || is_closed_) return Disconnected{broken_.empty() ? "the client is closed" : broken_};
    return std::nullopt;
  }

  void enter(const std::shared_ptr<Query>& query, SteadyTime time) {
    if (auto error = closed()) return query->fail(std::move(*error));
    query->deadline = time + limit_of(*query);
    if (query->is_resent) {
      query->id = queries_.add_apart(query, next_try(*query, time));
    } else if (query->wait > query->wait.zero()) {
      query->id = queries_.add_apart(query, query->deadline);
    } else {
      query->id = queries_.add(query, query->deadline);
    }
    line_up(query, time);
  }

  void line_up(const std::shared_ptr<Query>& query, SteadyTime time) {
    if (line_.enter(*query)) go_on_in_line(query, time);
  }

  /// Nothing that shares a key is before it; what it follows has been handed over, or is yet to be.
  void go_on_in_line(const std::shared_ptr<Query>& query, SteadyTime time) {
    if (query->follows_registrations(core_, time)) {
      line_.wait_in_front(*query);
    } else {
      prepare(query, time);
    }
  }

  void enter(const std::shared_ptr<Write>& write, SteadyTime time) {
    if (auto error = closed()) return write->fail(std::move(*error));
    write->deadline = time + core_.options().register_timeout;
    write->id = writes_.add(write, write->deadline);
    // Mostly there is nothing to wait for.
    if (line_.empty() && !core_.needs_hello() && carry_out_write(write->id, time)) return;
    line_.enter(*write);
    core_.expect(write->entries);
  }

  void enter(Close& close, SteadyTime time) {
    if (closed()) return close.done({});
    close_at_ = time + std::min(close.limit, longest_wait);
    close_ = std::move(close);
  }

  /// Behind the claim's own calls, and sent at once: not even a client that is closed next shall take the leases with
  /// it.
  void enter(GiveBack& given, SteadyTime time) {
    if (is_closed_) return;
    if (!line_.empty()) carry_out(time);
    if (!outgoing_.empty()) send_queries(time);
    give_back(std::move(given), time);
  }

  void give_back(GiveBack given, SteadyTime time) {
    if (line_.holds_up(given.claim)) {
      give_backs_.push_back(std::move(given));
    } else {
      send_give_back(std::move(given), time);
    }
  }

  /// Nobody waits for the answer, so that this is a call in progress only while there is no room for it.
  void send_give_back(GiveBack given, SteadyTime time) {
    // Whoever returns no envelopes has granted nothing to a claim.
    if (given.keys.empty() || is_closed_ || core_.echoes_envelopes() != true) return;
    auto ignored = [](const std::shared_ptr<void>&, std::error_code, const std::optional<Error>&, std::uint64_t) {};
    const auto query = std::make_shared<AsioQueryOf<Core, typename Core::Count, decltype(ignored)>>(
        Core::release(given.claim, std::move(given.keys)), ignored);
    query->is_give_back = true;
    query->id = queries_.add(query, time + core_.options().request_timeout);
    send_give_back(query, time);
  }

  /// Those whose claim has no call left that they would overtake.
  void send_give_backs(SteadyTime time) {
    std::erase_if(give_backs_, [&](GiveBack& waiting) {
      if (line_.holds_up(waiting.claim)) return false;
      send_give_back(std::move(waiting), time);
      return true;
    });
  }

  void send_give_back(const std::shared_ptr<Query>& query, SteadyTime time) {
    if (!begin(query, time)) return;
    drop_answers(time);
    if (outgoing_.empty() && send(*queries_socket_, query->envelope(), query->message())) {
      queries_.take(query->id);
    } else {
      outgoing_.push_back(query->id);
    }
  }

  /// Of what is left when no turn comes any more: no other call is sent then, and none is in the way.
  void enter_give_backs(std::vector<Submission>& left) {
    if (is_closed_) return;
    line_.clear();
    outgoing_.clear();
    std::vector<std::shared_ptr<Query>> waiting;
    queries_.for_each([&](RequestId, const std::shared_ptr<Query>& query) {
      if (is_unsent_give_back(*query)) waiting.push_back(query);
    });
    for (const std::shared_ptr<Query>& query : waiting) send_give_back(query, now());
    for (GiveBack& given : std::exchange(give_backs_, {})) send_give_back(std::move(given), now());
    for (Submission& call : left) {
      if (auto* given = std::get_if<GiveBack>(&call)) send_give_back(std::move(*given), now());
    }
  }

  static bool is_unsent_give_back(const Query& query) noexcept { return query.is_give_back && !query.sent_at; }

  void refuse(const std::shared_ptr<Query>& query, const std::string& why) {
    if (queries_.find(query->id) == nullptr) query->fail(Disconnected{why});
  }

  void refuse(const std::shared_ptr<Write>& write, const std::string& why) {
    const bool is_in_progress = writes_.find(write->id) != nullptr || !write->acknowledged_as.expired();
    if (!is_in_progress) write->fail(Disconnected{why});
  }

  void refuse(Close& close, const std::string&) {
    if (close_) return close.done({});
    close_ = std::move(close);
  }

  void refuse(GiveBack&, const std::string&) {}

  std::chrono::nanoseconds limit_of(const Query& query) const {
    return query.is_resent ? core_.options().register_timeout : core_.options().request_timeout + query.wait;
  }

  SteadyTime next_try(const Query& query, SteadyTime time) const {
    return std::min<SteadyTime>(query.deadline, time + core_.options().resend_interval);
  }

  /// What is to be given back is none of the callers' and is sent, now that nothing is in its way.
  void fail_all(const Error& error) {
    outgoing_.clear();
    line_.clear();
    hello_.reset();
    std::vector<std::shared_ptr<Query>> give_backs;
    while (const auto id = writes_.first()) end(**writes_.find(*id), make_error_code(error), error);
    while (const auto id = queries_.first()) {
      const std::shared_ptr<Query> query = *queries_.take(*id);
      if (is_unsent_give_back(*query)) {
        give_backs.push_back(query);
        continue;
      }
      if (query->sent_at && query->joined == 0) {
        --in_flight_;
        if (core_.echoes_envelopes() != true) is_spent_ = true;
      }
      query->fail(error);
      query->give_up_number(core_);
      withdraw(*query);
    }
    const SteadyTime time = now();
    for (const std::shared_ptr<Query>& query : give_backs) {
      query->id = queries_.add(query, time + core_.options().request_timeout);
      send_give_back(query, time);
    }
    send_give_backs(time);
  }

  /// Cancels a call, if it is still in progress.
  void end(Query& query) {
    const auto taken = queries_.take(query.id);
    if (!taken) return;
    // Told first: what follows may fail.
    query.fail(asio::error::operation_aborted, std::nullopt);
    query.give_up_number(core_);
    give_up(query);
  }

  void end(Write& write, std::error_code code = asio::error::operation_aborted,
           std::optional<Error> error = std::nullopt) {
    const auto taken = writes_.take(write.id);
    if (!taken) {
      if (const auto query = write.acknowledged_as.lock()) end(*query);
      return;
    }
    expect_no_more(write);
    write.complete(code, std::move(error));
  }

  void expect_no_more(const Write& write) {
    if (write.place) core_.expect_no_more(write.entries);
  }

  void prepare(const std::shared_ptr<Query>& query, SteadyTime time) {
    query->unbegun.reset();
    if (begin(query, time)) outgoing_.push_back(query->id);
  }

  /// Makes the frames of a query. False if there are none: it needs no hub and is finished, or it has failed.
  bool begin(const std::shared_ptr<Query>& query, SteadyTime time) {
    std::optional<Error> error;
    try {
      if (query->begin(core_, time)) return true;
      queries_.take(query->id);
      query->finish_locally(core_);
      return false;
    } catch (const RegistryError& failure) {
      error = failure.error();
    } catch (...) {
      // A wire or codec of the user's.
      error = EncodeError{failure_text()};
    }
    queries_.take(query->id);
    query->fail(std::move(*error));
    return false;
  }

  void turn() noexcept {
    guarded([&] {
      take_inbox();
      if (!is_closed_) take_turn();
    });
  }

  template <class Action>
  void guarded(Action action) noexcept {
    try {
      action();
    } catch (const zmq::error_t& error) {
      break_down(error.num() == ETERM ? "the ZeroMQ context was terminated" : error.what());
    } catch (const std::exception& error) {
      break_down(error.what());
    } catch (...) {
      break_down(no_std_exception);
    }
  }

  void take_turn() {
    const SteadyTime time = now();
    receive(time);
    follow_connections(time);
    expire(time);
    carry_out(time);
    if (close_) end_calls();
    confirmations_.confirm(time);
    send_queries(time);
    if (close_ && finish_closing(time)) return;
    if (has_work()) {
      asio::post(strand_, [self = this->shared_from_this()] { self->turn(); });
    } else {
      wait();
    }
  }

  /// Takes out answers that nobody waits for: nothing else does, and in the end they would fill the connection.
  void drop_answers(SteadyTime time) {
    AsioZmqSocket& from = *queries_socket_;
    while (in_flight_ == 0) {
      const auto received = from.inbox.receive(from.socket);
      if (received == Inbox::Received::nothing) break;
      if (received == Inbox::Received::message) take_answer(from.inbox.frames(), time);
    }
    from.inbox.clear();
  }

  void receive(SteadyTime time) {
    AsioZmqSocket& from = *queries_socket_;
    // Who was kept from his turn for long reads what has come meanwhile, before anything is taken to have come too
    // late.
    const bool is_due = queries_.next_deadline().value_or(SteadyTime::max()) <= time;
    for (std::size_t budget = answers_per_turn + (is_due ? in_flight_ : 0); in_flight_ > 0 && !is_spent_ && budget > 0;
         --budget) {
      const auto received = from.inbox.receive(from.socket);
      if (received == Inbox::Received::nothing) break;
      if (received == Inbox::Received::message) take_answer(from.inbox.frames(), time);
    }
    from.inbox.clear();
  }

  void take_answer(Frames frames, SteadyTime time) {
    const std::optional<Answer> answer = core_.read(frames);
    if (!answer) return;
    silent_since_.reset();
    const RequestId id = answer->id.value_or(last_sent_);
    const std::shared_ptr<Query>* sent = queries_.find(id);
    if (sent == nullptr || !(*sent)->sent_at || (*sent)->joined != 0) return core_.drop_late(*answer);
    const std::shared_ptr<Query> query = *queries_.take(id);
    --in_flight_;
    go_on(query, query->answer(core_, answer->message, time), time);
  }

  void go_on(const std::shared_ptr<Query>& query, AsioNextStep next, SteadyTime time) {
    switch (next) {
      case AsioNextStep::none: return;
      case AsioNextStep::begin_anew: return begin_anew(query, time);
      case AsioNextStep::have_claim_back: return confirmations_.have_claim_back(rename(*query, time), time);
    }
  }

  /// With what has waited for its claim, if it is still in progress.
  void go_on(RequestId id) {
    if (const auto query = queries_.take(id)) go_on(*query, (*query)->go_on(), now());
  }

  void begin_anew(const std::shared_ptr<Query>& query, SteadyTime time) {
    rename(*query, time);
    line_up(query, time);
  }

  /// In progress again under another id, so that an answer to what was sent before is nobody's.
  RequestId rename(Query& query, SteadyTime time) {
    query.sent_at.reset();
    query.was_sent = false;
    query.id = queries_.add_apart(query.shared_from_this(), query.is_resent ? next_try(query, time) : query.deadline);
    return query.id;
  }

  void expire(SteadyTime time) {
    while (queries_.next_deadline() && *queries_.next_deadline() <= time) {
      const std::shared_ptr<Query> query = *queries_.find(*queries_.first());
      if (query->is_resent && time < query->deadline) {
        send_again(query, time);
        continue;
      }
      queries_.take(query->id);
      query->fail(Timeout::after(limit_of(*query)));
      query->give_up_number(core_);
      give_up(*query);
      if (query->joined != 0) travel_alone(time);
      if (query->sent_at) suspect(*query->sent_at, time);
    }
    // Registrations that have waited for one of those go on, though they are as old.
    if (line_.has_ready()) carry_out(time);
    while (writes_.next_deadline() && *writes_.next_deadline() <= time) {
      const Error error = Timeout::after(core_.options().register_timeout);
      end(**writes_.find(*writes_.first()), make_error_code(error), error);
    }
  }

  void send_again(const std::shared_ptr<Query>& query, SteadyTime time) {
    queries_.postpone(query->id, next_try(*query, time));
    if (!query->sent_at) return;  // it still waits for room
    give_up(*query);
    query->sent_at.reset();
    prepare(query, time);
  }

  /// A query whose answer nobody waits for any more. If a late one could be taken for another's, the connection goes.
  void give_up(Query& query) {
    if (!query.sent_at) return;
    if (query.joined == 0) {
      --in_flight_;
    } else {
      leave(query.joined);
    }
    withdraw(query);
    if (core_.echoes_envelopes() != true) is_spent_ = true;
  }

  /// As far as the network allows: what is not taken back ends by its lease's deadline.
  void withdraw(Query& query) {
    if (!query.sent_at) return;
    if (const auto frames = query.withdrawal(core_, query.joined == 0 ? query.id : query.joined))
      send(*queries_socket_, frames->first, frames->second);
  }

  /// Nobody waits for the answer to a message of several once all of its calls are over.
  void leave(RequestId joint) {
    const std::shared_ptr<Query>* sent = queries_.find(joint);
    if (sent == nullptr || !static_cast<Joint&>(**sent).leave()) return;
    // It may be on its way back into line, after its connection was refused.
    const bool is_in_flight = (*sent)->sent_at.has_value();
    queries_.take(joint);
    if (is_in_flight) --in_flight_;
  }

  /// Gives each call its part of the answer. If there are none, because the hub refuses them all for what may be one
  /// call's fault, each asks anew and alone.
  void share(Joint& joint, ByteView message, SteadyTime time) {
    std::size_t answered = 0;
    try {
      if (joint.read(message)) {
        for (const std::shared_ptr<Query>& call : joint.calls()) {
          const ByteView part = joint.part(answered);
          ++answered;
          if (queries_.take(call->id)) call->answer(core_, part, time);
        }
        return reuse(std::static_pointer_cast<Joint>(joint.shared_from_this()));
      }
    } catch (...) {
      // A wire or codec of the user's: who caused it hears of it when he asks alone.
    }
    travel_alone(time);
    for (std::size_t i = joint.calls().size(); i-- > answered;) {
      Query& call = *joint.calls()[i];
      if (queries_.find(call.id) == nullptr) continue;
      call.joined = 0;
      call.sent_at.reset();
      outgoing_.push_front(call.id);
    }
  }

  /// What travelled together has got no answer: for a while it might be because it did.
  void travel_alone(SteadyTime time) { join_from_ = time + core_.options().request_timeout; }

  /// Nobody says so of a connection over which nothing comes any more, and there may be a better one: one that has been
  /// silent for two timeouts, one after the other, is made anew.
  void suspect(SteadyTime sent_at, SteadyTime time) {
    if (core_.echoes_envelopes() != true) return;
    if (!silent_since_) {
      silent_since_ = time;
    } else if (sent_at >= *silent_since_ && time - *silent_since_ >= core_.options().request_timeout) {
      is_spent_ = true;
    }
  }

  void follow_connections(SteadyTime time) {
    const ConnectionNews news = queries_socket_->update(time);
    if (news != ConnectionNews::none) ask_again(time);
    if (news == ConnectionNews::replaced) send_anew(std::max(queries_socket_->watch->lost_from(), connected_at_));
  }

  /// What waits at the hub was lost with a connection, or its answer will be: it is asked for again over the new one.
  void ask_again(SteadyTime time) {
    if (core_.echoes_envelopes() != true) return;
    std::vector<RequestId> waiting;
    queries_.for_each([&](RequestId id, const std::shared_ptr<Query>& query) {
      if (query->sent_at && query->wait > query->wait.zero()) waiting.push_back(id);
    });
    for (const RequestId id : waiting) {
      --in_flight_;
      begin_anew(*queries_.take(id), time);
    }
  }

  /// What is in flight since then, and was not taken in, goes the same way once more.
  void send_anew(SteadyTime from) {
    std::vector<RequestId> lost;
    queries_.for_each([&](RequestId id, const std::shared_ptr<Query>& query) {
      if (!query->sent_at || *query->sent_at < from || query->joined != 0) return;
      query->sent_at.reset();
      --in_flight_;
      if (query != hello_) lost.push_back(id);
    });
    outgoing_.insert(outgoing_.begin(), lost.begin(), lost.end());
  }

  /// Replaces a spent connection. False if there can be no new one now: whoever waits for it runs into his timeout.
  bool reconnect(SteadyTime time) {
    try {
      auto fresh = std::make_shared<AsioZmqSocket>(
          strand_, open_client_socket(*context_, zmq::socket_type::dealer, config_, Hears::everything),
          max_answer_frames);
      queries_socket_->close(abandoned_linger);
      queries_socket_ = std::move(fresh);
      // It is waited for still in this turn, and tells nothing to who has never asked.
      queries_socket_->update(time);
    } catch (const RegistryError& error) {
      if (!std::exchange(is_without_connection_, true)) {
        log(std::string{"a new connection for queries could not be made and is tried again: "} + error.what());
      }
      return false;
    }
    silent_since_.reset();
    connected_at_ = time;
    is_spent_ = is_without_connection_ = false;
    ask_again(time);
    return true;
  }

  /// What must keep the order of the calls, from the front as far as it can be done now: what is left waits for room,
  /// or for the call before it that shares a key.
  void carry_out(SteadyTime time) {
    confirmations_.await(close_.has_value());
    do {
      for (const RequestId id : line_.take_ready()) {
        if (const auto* query = queries_.find(id)) go_on_in_line(std::shared_ptr<Query>(*query), time);
      }
      line_.let_drains_pass();
      while (line_.has_front() && !core_.needs_hello()) {
        const AsioCallName next = line_.front();
        const bool is_over = next.is_query ? queries_.find(next.id) == nullptr : writes_.find(next.id) == nullptr;
        if (!is_over && !carry_out(next, time)) break;
        line_.pop_front();
      }
    } while (line_.has_ready());
    send_give_backs(time);
    send_batches();
  }

  /// False if it has to wait until batches have gone.
  bool carry_out(AsioCallName next, SteadyTime time) {
    return next.is_query ? carry_out_query(next.id, time) : carry_out_write(next.id, time);
  }

  bool carry_out_query(RequestId id, SteadyTime time) {
    const std::shared_ptr<Query> query = *queries_.find(id);
    if (query->follows_registrations(core_, time)) {
      core_.batcher().seal();
      if (!send_batches()) return false;
    }
    prepare(query, time);
    return true;
  }

  bool carry_out_write(RequestId id, SteadyTime time) {
    const std::shared_ptr<Write> write = *writes_.find(id);
    if (write->drain) core_.batcher().seal();
    if (!write->entries.empty()) {
      const auto is_acknowledged = confirmations_.acknowledges_all(time);
      if (!is_acknowledged) return false;
      if (*is_acknowledged) return acknowledge(write, time);
    }
    if (!send_batches()) return false;
    if (!write->entries.empty() && core_.is_unconfirmed_full()) {
      confirmations_.await(true);
      return false;
    }
    std::optional<Error> error = core_.add(write->entries, time);
    const std::error_code code = error ? make_error_code(*error) : std::error_code{};
    end(*write, code, std::move(error));
    return true;
  }

  /// Has the hub answer what was to travel with a batch. False if it has to wait until batches have gone.
  bool acknowledge(const std::shared_ptr<Write>& write, SteadyTime time) {
    core_.batcher().seal();
    if (!send_batches()) return false;
    auto done = [write](const std::shared_ptr<void>&, std::error_code code, std::optional<Error> error,
                        std::vector<RegisterStatus> statuses) {
      try {
        if (!code) error = keep_refused(write->entries, std::move(statuses));
      } catch (...) {
        error = TransportError{"reading the answer failed: " + failure_text()};
      }
      if (error) code = make_error_code(*error);
      write->complete(code, std::move(error));
    };
    const auto query = std::make_shared<AsioEntriesQuery<Core, typename Core::Register, decltype(done)>>(
        std::shared_ptr<const std::vector<EntryType>>(write, &write->entries), std::nullopt, std::move(done));
    query->is_resent = true;
    query->deadline = write->deadline;
    query->id = queries_.add_apart(query, next_try(*query, time));
    write->acknowledged_as = std::weak_ptr<Query>(query);
    writes_.take(write->id);
    expect_no_more(*write);
    line_.replace(*write, *query);
    prepare(query, time);
    return true;
  }

  static std::optional<Error> keep_refused(std::vector<EntryType>& entries, std::vector<RegisterStatus> statuses) {
    auto result = RegisterResult<EntryType>::of(entries, std::move(statuses));
    if (result.all_stored()) return std::nullopt;
    Error why = result.why();
    entries = std::move(result.refused);
    return why;
  }

  /// False if some have to wait for room.
  bool send_batches() {
    core_.batcher().seal_if_due(now());
    if (!confirmations_.send_batches()) return false;
    while (core_.batcher().has_batch()) {
      Batch<K> batch = core_.take_batch();
      bool is_sent = false;
      try {
        is_sent = send_batch(batch);
      } catch (...) {
        core_.put_back(std::move(batch));
        throw;
      }
      if (!is_sent) {
        core_.put_back(std::move(batch));
        return false;
      }
      const SteadyTime time = now();
      // Nobody waits for a number that was given up.
      if (!batch.keys.empty()) runs_until_ = time + core_.options().register_timeout;
      core_.handed_over(std::move(batch), time);
    }
    return true;
  }

  bool send_batch(const Batch<K>& batch) {
    // Only now: most turns have no batch, and asking costs a system call.
    registrations_socket_->update(now());
    return send(*registrations_socket_, batch.message, batch.envelope);
  }

  /// A call of the client's own; null if it has failed already.
  template <class Call, class Done>
  std::shared_ptr<Query> ask(Call call, std::chrono::nanoseconds limit, Done done) {
    const SteadyTime time = now();
    const auto query = std::make_shared<AsioQueryOf<Core, Call, Done>>(std::move(call), std::move(done));
    query->deadline = time + limit;
    query->id = queries_.add_apart(query, query->deadline);
    prepare(query, time);
    return queries_.find(query->id) == nullptr ? nullptr : query;
  }

  void send_queries(SteadyTime time) {
    is_blocked_ = false;
    if (core_.needs_hello()) return say_hello(time);
    const bool is_idle = outgoing_.empty() && in_flight_ == 0;
    if (is_spent_ && (is_idle || !reconnect(time))) return;
    while (!outgoing_.empty()) {
      const std::shared_ptr<Query>* next = queries_.find(outgoing_.front());
      // One that is sent already stood behind those that it has joined.
      if (next != nullptr && !(*next)->sent_at) {
        if (may_hold_up_others(**next)) return say_hello(time);
        if (!send_first(**next, time)) return;
      }
      outgoing_.pop_front();
    }
  }

  /// Until the hub is known to return envelopes nothing is sent behind a query. So that the first one is not one that
  /// the hub keeps, it is asked something else before.
  bool may_hold_up_others(const Query& query) const {
    return query.wait > query.wait.zero() && in_flight_ == 0 && !core_.echoes_envelopes();
  }

  /// Sends the first in line, with those behind it that may travel in the same message. Nobody waits for company. False
  /// if it has to wait.
  bool send_first(Query& first, SteadyTime time) {
    const std::shared_ptr<Joint> joint = join(time);
    if (joint == nullptr) return send_query(first, time);
    joint->id = queries_.add(joint, time + core_.options().request_timeout);
    const bool has_message = joint->begin(core_, time);
    if (!has_message || !send_query(*joint, time)) {
      queries_.take(joint->id);
      reuse(joint);
      if (has_message) return false;
      travel_alone(time);
      return send_query(first, time);
    }
    for (const std::shared_ptr<Query>& call : joint->calls()) {
      call->joined = joint->id;
      call->sent_at = time;
    }
    return true;
  }

  /// The calls that stand first in line and may travel as one message; null if that is one call. Not before the hub is
  /// known to return envelopes: with one that does not, a call that is given up ends the connection for those with it.
  std::shared_ptr<Joint> join(SteadyTime time) {
    if (outgoing_.size() < 2 || core_.echoes_envelopes() != true || time < join_from_) return nullptr;
    if (!spare_joint_) {
      const auto max_answer = config_.max_message_size.value_or(std::numeric_limits<std::int64_t>::max());
      spare_joint_ = std::make_shared<Joint>(
          static_cast<std::size_t>(max_answer),
          [this](Joint& joint, ByteView message, SteadyTime now) { share(joint, message, now); });
    }
    for (const RequestId id : outgoing_) {
      const std::shared_ptr<Query>* next = queries_.find(id);
      if (next != nullptr && !spare_joint_->add(*next)) break;
    }
    if (spare_joint_->calls().size() > 1) return std::exchange(spare_joint_, nullptr);
    spare_joint_->clear();
    return nullptr;
  }

  void reuse(std::shared_ptr<Joint> joint) noexcept {
    joint->clear();
    spare_joint_ = std::move(joint);
  }

  /// False if it has to wait: for room, or, until the hub is known to return envelopes, for the answer before it.
  bool send_query(Query& query, SteadyTime time) {
    if (in_flight_ > 0 && core_.echoes_envelopes() != true) return false;
    if (!send(*queries_socket_, query.envelope(), query.message())) {
      is_blocked_ = true;
      return false;
    }
    query.sent_at = time;
    query.was_sent = true;
    last_sent_ = query.id;
    ++in_flight_;
    return true;
  }

  /// The first call of a client that has a namespace waits until the hub has said that it serves it. To any other
  /// client it matters only that the hub answers.
  void say_hello(SteadyTime time) {
    if (outgoing_.empty() && !line_.has_front()) return;
    if (is_spent_ && !reconnect(time)) return;
    if (!hello_) {
      auto done = [this](const std::shared_ptr<void>&, std::error_code, std::optional<Error> error, std::monostate) {
        hello_.reset();
        if (error && core_.needs_hello()) fail_all(*error);
      };
      hello_ =
          std::make_shared<AsioQueryOf<Core, typename Core::Hello, decltype(done)>>(Core::hello(), std::move(done));
      hello_->id = queries_.add(hello_, time + core_.options().request_timeout);
      hello_->begin(core_, time);
    }
    if (!hello_->sent_at) send_query(*hello_, time);
  }

  bool send(AsioZmqSocket& to, ByteView first, ByteView second) {
    // What a refused connection takes is lost, for as long as libzmq has not taken it down.
    if (to.watch->is_refused()) return false;
    const std::array<ByteView, 2> frames{first, second};
    const int failure = to.outbox.send(to.socket, frames);
    if (failure != 0 && failure != EAGAIN) throw zmq::error_t(failure);
    return failure == 0;
  }

  void end_calls() {
    if (!std::exchange(has_ended_calls_, true)) fail_all(Disconnected{"the client was closed during the call"});
    core_.batcher().seal();
    send_batches();
  }

  /// False if batches still have to wait for room, or for the hub to confirm them.
  bool finish_closing(SteadyTime time) {
    const bool has_open = core_.batcher().has_batch() || (core_.has_unconfirmed() && core_.may_confirm());
    if (has_open && time < close_at_) return false;
    std::vector<EntryType> lost = core_.take_entries();
    close_sockets(std::max<std::chrono::nanoseconds>(close_at_ - time, std::chrono::nanoseconds::zero()));
    std::exchange(close_, std::nullopt)->done(std::move(lost));
    return true;
  }

  void close_sockets(std::chrono::nanoseconds linger) noexcept {
    is_closed_ = true;
    timer_.cancel();
    wait_in_background(std::nullopt);
    // Queries have no more to say than what they withdraw; registrations are somebody's blocks.
    queries_socket_->close(std::min<std::chrono::nanoseconds>(linger, abandoned_linger));
    registrations_socket_->close(linger);
  }

  /// Nothing works any more, for instance because the context was terminated: every caller is told.
  void break_down(const char* why) noexcept {
    broken_ = why;
    is_closed_ = true;
    in_flight_ = 0;
    outgoing_.clear();
    line_.clear();
    give_backs_.clear();
    hello_.reset();
    while (const auto id = queries_.first()) (*queries_.take(*id))->fail(Disconnected{broken_});
    while (const auto id = writes_.first()) (*writes_.take(*id))->fail(Disconnected{broken_});
    std::vector<EntryType> lost;
    try {
      lost = core_.take_entries();
    } catch (...) {
      log("entries were lost: " + failure_text());
    }
    if (close_) {
      std::exchange(close_, std::nullopt)->done(std::move(lost));
    } else {
      report_lost_(lost, Disconnected{broken_});
    }
    close_sockets(std::chrono::nanoseconds::zero());
  }

  /// Whether a socket is ready for what is expected of it. Asking is the last thing done before waiting.
  bool has_work() {
    const bool may_send = !queries_socket_->watch->is_refused();
    const int wanted = (in_flight_ > 0 ? ZMQ_POLLIN : 0) | (is_blocked_ && may_send ? ZMQ_POLLOUT : 0);
    const bool queries = expects_queries() && (ready_events(queries_socket_->socket) & wanted) != 0;
    return queries || (wants_room_for_batches() && has_room_for_batches());
  }

  bool has_room_for_batches() {
    registrations_socket_->update(now());
    return !registrations_socket_->watch->is_refused() &&
           (ready_events(registrations_socket_->socket) & ZMQ_POLLOUT) != 0;
  }

  bool wants_room_for_batches() noexcept { return core_.batcher().has_batch() || confirmations_.has_batches(); }

  bool expects_queries() const noexcept { return !is_spent_ && (in_flight_ > 0 || is_blocked_); }

  void wait() {
    wait_for(queries_socket_, expects_queries());
    wait_for(registrations_socket_, wants_room_for_batches());
    std::optional<SteadyTime> next = next_deadline();
    std::optional<SteadyTime> due = confirmations_.due();
    if (due && (next || (core_.has_unconfirmed() && now() < runs_until_))) {
      next = std::min(next.value_or(*due), *due);
      due.reset();
    }
    wait_until(next);
    wait_in_background(due);
  }

  void wait_for(const std::shared_ptr<AsioZmqSocket>& socket, bool expected) {
    if (expected) {
      AsioZmqSocket::wait(socket, [self = this->shared_from_this()] { self->turn(); });
    } else {
      socket->stop_waiting();
    }
  }

  std::optional<SteadyTime> next_deadline() {
    std::optional<SteadyTime> next = queries_.next_deadline();
    const auto consider = [&](std::optional<SteadyTime> other) {
      if (other) next = next ? std::min(*next, *other) : *other;
    };
    consider(writes_.next_deadline());
    consider(core_.batcher().deadline());
    if (expects_queries()) consider(queries_socket_->watch->due());
    if (wants_room_for_batches()) consider(registrations_socket_->watch->due());
    if (close_) consider(close_at_);
    return next;
  }

  /// A timer that goes off too early costs less than setting it anew for every call, so it is only ever set earlier.
  void wait_until(std::optional<SteadyTime> deadline) {
    if (!deadline) {
      if (std::exchange(timer_set_for_, std::nullopt)) timer_.cancel();
      return;
    }
    if (timer_set_for_ && *timer_set_for_ <= *deadline) return;
    timer_set_for_ = deadline;
    timer_.expires_at(*deadline);
    timer_.async_wait([self = this->shared_from_this()](const std::error_code& error) {
      if (error == asio::error::operation_aborted) return;
      self->timer_set_for_.reset();
      self->turn();
    });
  }

  /// Whether there is a thread for waits in the background. Without one the client does what is due whenever it runs.
  bool has_background() {
    if (background_timer_ || has_no_background_) return background_timer_.has_value();
    try {
      background_timer_.emplace(AsioZmqService::of(io_).background().io());
    } catch (const std::system_error& failure) {
      has_no_background_ = true;
      log(std::string{"there is no thread to ask after the hub in the background: "} + failure.what(), LogLevel::error);
    }
    return background_timer_.has_value();
  }

  /// The executor may run out of work meanwhile: then nothing happens until it has some again.
  void wait_in_background(std::optional<SteadyTime> time) {
    if (!time) {
      if (std::exchange(background_timer_set_for_, std::nullopt)) background_timer_->cancel();
      return;
    }
    if (background_timer_set_for_ && *background_timer_set_for_ <= *time) return;
    if (!has_background()) return;
    background_timer_set_for_ = time;
    background_timer_->expires_at(*time);
    background_timer_->async_wait([weak = this->weak_from_this()](const std::error_code& error) {
      auto self = weak.lock();
      if (error || !self) return;
      const AsioStrand strand = self->strand_;
      asio::post(strand, [self = std::move(self)] {
        self->background_timer_set_for_.reset();
        self->turn();
      });
    });
  }

  asio::any_io_executor io_;
  AsioStrand strand_;
  asio::basic_waitable_timer<std::chrono::steady_clock, asio::wait_traits<std::chrono::steady_clock>, AsioStrand>
      timer_;
  std::optional<SteadyTime> timer_set_for_;
  std::optional<asio::steady_timer> background_timer_;
  std::optional<SteadyTime> background_timer_set_for_;

  ZmqTransportConfig config_;
  std::shared_ptr<zmq::context_t> context_;  // outlives the sockets
  std::shared_ptr<AsioZmqSocket> queries_socket_;
  std::shared_ptr<AsioZmqSocket> registrations_socket_;

  Core core_;
  LossReports<K, typename Core::value_type, typename Core::metadata_type> report_lost_;
  Confirmations confirmations_{*this, core_, report_lost_};
  RequestTable<std::shared_ptr<Query>> queries_;
  RequestTable<std::shared_ptr<Write>> writes_;
  std::deque<RequestId> outgoing_;  // with frames made, not sent
  std::shared_ptr<Joint> spare_joint_;
  SteadyTime join_from_{};  // calls may travel together again
  AsioCallLine<Core> line_;
  std::vector<GiveBack> give_backs_;  // behind calls of their claims that have not begun
  std::shared_ptr<Query> hello_;
  bool has_no_background_ = false;
  SteadyTime runs_until_{};  // unconfirmed registrations keep the executor running
  std::size_t in_flight_ = 0;
  RequestId last_sent_ = 0;
  std::atomic<std::uint64_t> last_claim_ = 0;
  bool is_blocked_ = false;  // the query socket has no room
  bool is_spent_ = false;    // the query socket may hold answers that must not be taken for others
  bool is_without_connection_ = false;
  std::optional<SteadyTime> silent_since_;
  SteadyTime connected_at_ = SteadyTime::min();  // what was sent before went over another connection

  std::optional<Close> close_;
  SteadyTime close_at_{};
  bool has_ended_calls_ = false;
  bool is_closed_ = false;
  std::string broken_;

  std::mutex inbox_mutex_;
  std::vector<Submission> inbox_;
  std::vector<Submission> spare_inbox_;  // only its memory
};

}  // namespace registry::detail
