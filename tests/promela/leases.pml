/* SPDX-License-Identifier: Apache-2.0
 *
 * The lease protocol: claims that wait, renewal, registration, release, withdrawal, expiry, and a hub that restarts and
 * gives its clients time to claim back what they hold. check.sh searches all executions of it, within these bounds:
 *
 *   WORKERS, KEYS   who claims what
 *   ROUNDS          claims per worker
 *   LOSSES          messages that vanish, on any socket
 *   TIMEOUTS        times that a worker loses patience although its answer would come
 *   RENEWALS        of what a worker holds
 *   RESENDS         registrations that are sent twice
 *   DUPLICATES      queries that come once more, behind those sent after them
 *   STALLS          ticks in which the hub could not run, which its lease clock does not count
 *   WAITS           waits that end without an answer to give but Leased; all others last for ever
 *   CRASHES         workers that die
 *   RESTARTS        of the hub; what it knew is gone, and so may be any message on its way
 *   EVICTIONS       stored keys that the hub forgets
 *   INSIST          whether only the holder may register (0 or 1)
 *
 * What must hold:
 *
 *   one holder    a key is granted to at most one worker that believes in its grant. A worker believes from the answer
 *                 on, and until the ttl is over that it counts from the moment in which it *asked*.
 *   no waiter forgotten   every claim is answered, once, unless something was lost: a worker that waits in vain makes
 *                 the end of an execution an invalid one. (Every execution ends: all that could go on is bounded.)
 *   in turn       nobody is granted a key past those who wait for it.
 *   no orphan     while nothing was lost, no lease belongs to a worker that knows nothing of it.
 *   once          a registration that is sent again does not bring back a key that has been evicted since.
 *
 * Every other name in an #ifdef is a mistake that check.sh builds in, to see that one of these is violated then. */

#define NOBODY WORKERS
#define ALL_KEYS ((1 << KEYS) - 1)
#define SLOTS (WORKERS + 1 + DUPLICATES)
#define bit(k) (1 << (k))

/* Queries: type, number of the claim, keys, incarnation that granted them (0: none, any more). A claim's number is also
 * its request's. */
chan queries[WORKERS] = [6] of { mtype, byte, byte, byte };
/* Answers: type, number of the claim, keys that are the worker's, incarnation. */
chan answers[WORKERS] = [3] of { mtype, byte, byte, byte };
/* Registrations, on a socket of their own: number of the claim, which serves as the sequence, and keys. */
chan registrations[WORKERS] = [3] of { byte, byte };

mtype = { claim, withdraw, release, renew, claimed, renewed };

/* Workers */
bool alive[WORKERS];
byte number[WORKERS];     /* of the latest claim */
bool asking[WORKERS];     /* whether it waits for the answer to that */
byte asked_age[WORKERS];  /* ticks since it was sent */
byte held[WORKERS];       /* keys that it believes to hold, if held_age is less than TTL */
byte held_age[WORKERS];   /* ticks since the claim, or the renewal that confirmed it, was sent */
bool renewing[WORKERS];
byte renewal_age[WORKERS];

/* The hub */
byte incarnation = 1;
byte recovery_left;
byte claim_backs_left;    /* ticks in which it may be claimed back what nobody has been granted here */
bool something_ended;     /* a lease, or an entry, of this incarnation: then nothing is known of who had what */
bool stored[KEYS];
byte holder[KEYS];
byte holder_number[KEYS];
byte lease_left[KEYS];
chan waiting[KEYS] = [SLOTS] of { byte };  /* slots, in the order in which they came */
bool slot_used[SLOTS];
byte slot_worker[SLOTS];
byte slot_number[SLOTS];
byte slot_keys[SLOTS];  /* that are not decided yet */
byte applied[WORKERS];  /* a bit for each registration */

/* What no one in the system knows */
bool in_vain[WORKERS];      /* something was lost since it asked: its answer may never come */
bool excused[WORKERS];      /* something was lost: it may have a lease that it knows nothing of */
byte was_answered[WORKERS]; /* a bit for each claim */
byte undone[WORKERS];       /* a bit for each registration of which a key was evicted */
byte registered_by[KEYS];
byte registered_number[KEYS];
byte losses, timeouts, renewals, resends, duplicates, stalls, waits, crashes, restarts, evictions;

#define believes(w) (alive[w] && held_age[w] < TTL)

inline check_one_holder(w) {
  for (other : 0 .. WORKERS - 1) {
    assert(other == w || !believes(other) || (held[w] & held[other]) == 0)
  }
}

/* --- The hub --------------------------------------------------------------------------------------------------- */

/* `delivered` tells whether the worker could be reached: one that died may not have been missed yet. */
inline deliver(w, type, n, keys) {
  if
#ifndef LATE_ANSWER_IS_TAKEN
  /* Whenever it came it would mean nothing to the worker: it need not be on its way for any time. */
  :: alive[w] && (n != number[w] || (type == claimed && !asking[w]) || (type == renewed && !renewing[w])) ->
     delivered = true
  :: alive[w] && !(n != number[w] || (type == claimed && !asking[w]) || (type == renewed && !renewing[w])) &&
     nfull(answers[w]) ->
#else
  :: alive[w] && nfull(answers[w]) ->
#endif
     answers[w]!type, n, keys, incarnation;
     delivered = true
  :: alive[w] && full(answers[w]) ->
     in_vain[w] = true;
     excused[w] = true;
     delivered = false
  :: !alive[w] -> delivered = true
  :: !alive[w] -> delivered = false
  fi
}

inline answer_claim(w, n, keys) {
  assert(duplicates > 0 || (was_answered[w] & bit(n)) == 0);
  was_answered[w] = was_answered[w] | bit(n);
  deliver(w, claimed, n, keys)
}

inline leave_queues(s) {
  for (k2 : 0 .. KEYS - 1) {
    if
    :: waiting[k2]??[eval(s)] -> waiting[k2]??eval(s)
    :: else
    fi
  };
  slot_used[s] = false
}

inline stop_waiting(w, n) {
  for (s2 : 0 .. SLOTS - 1) {
    if
    :: slot_used[s2] && slot_worker[s2] == w && slot_number[s2] == n -> leave_queues(s2)
    :: else
    fi
  }
}

#define is_free(k) (holder[k] == NOBODY && !stored[k] && recovery_left == 0)

inline grant(k, w, n) {
  holder[k] = w;
  holder_number[k] = n;
  lease_left[k] = TTL
}

/* A free key goes to who has waited for it for longest; who cannot be reached is passed over. */
inline wake(k) {
  do
  :: is_free(k) && len(waiting[k]) > 0 ->
     waiting[k]?<slot>;
#ifdef ANSWERED_WAITER_STAYS_QUEUED
     waiting[k]?slot;
#else
     leave_queues(slot);
#endif
     grant(k, slot_worker[slot], slot_number[slot]);
     answer_claim(slot_worker[slot], slot_number[slot], bit(k));
     if
     :: delivered -> break
     :: else ->
        holder[k] = NOBODY;
        lease_left[k] = 0;
#ifdef UNREACHABLE_WAITER_KEEPS_THE_REST_WAITING
        break
#endif
     fi
  :: else -> break
  od;
  slot = 0
}

inline end_lease(k) {
  something_ended = restarts > 0;
  holder[k] = NOBODY;
  holder_number[k] = 0;
  lease_left[k] = 0;
  wake(k)
}

inline end_if_over(k) {
  if
  :: holder[k] != NOBODY && lease_left[k] == 0 -> end_lease(k)
  :: else
  fi
}

inline store(k, w, n) {
  holder[k] = NOBODY;
  holder_number[k] = 0;
  lease_left[k] = 0;
  stored[k] = true;
#if EVICTIONS
  registered_by[k] = w;
  registered_number[k] = n;
#endif
#ifndef STORED_KEY_WAKES_NOBODY
  do
  :: len(waiting[k]) > 0 ->
     waiting[k]?slot;
     slot_keys[slot] = slot_keys[slot] & ~bit(k);
     if
     :: slot_keys[slot] == 0 ->
        slot_used[slot] = false;
        answer_claim(slot_worker[slot], slot_number[slot], 0)
     :: else
     fi
  :: else -> break
  od;
  slot = 0
#endif
}

inline hear_claim(w, n, keys) {
  granted = 0;
  undecided = 0;
#if DUPLICATES
  /* One that comes once more waits anew. */
  stop_waiting(w, n);
#endif
  for (k : 0 .. KEYS - 1) {
    if
    :: keys & bit(k) ->
#ifndef EXPIRED_LEASE_GOES_TO_WHO_COMES
       end_if_over(k);
       wake(k);  /* the recovery may be over, and nobody has noticed yet */
#endif
       if
       :: stored[k]
       :: is_free(k) || (holder[k] != NOBODY && lease_left[k] == 0) ->
          assert(empty(waiting[k]));
          grant(k, w, n);
          granted = granted | bit(k)
       :: else -> undecided = undecided | bit(k)
       fi
    :: else
    fi
  };
  slot = 0;
  do
  :: slot < SLOTS && slot_used[slot] -> slot++
  :: else -> break
  od;
  if
  :: granted == 0 && undecided != 0 && slot < SLOTS ->
     slot_used[slot] = true;
     slot_worker[slot] = w;
     slot_number[slot] = n;
     slot_keys[slot] = undecided;
     for (k : 0 .. KEYS - 1) {
       if
       :: undecided & bit(k) -> waiting[k]!slot
       :: else
       fi
     };
     slot = 0
  :: else ->
     slot = 0;
     answer_claim(w, n, granted);
     if
     :: !delivered ->
        for (k : 0 .. KEYS - 1) {
          if
          :: granted & bit(k) -> end_lease(k)
          :: else
          fi
        }
     :: else
     fi
  fi
}

/* What claim n of this worker holds of these keys is over. */
inline give_back(w, n, keys) {
  for (k : 0 .. KEYS - 1) {
    if
#ifdef GIVEN_BACK_WHICHEVER_CLAIM
    :: (keys & bit(k)) && holder[k] == w ->
#else
    :: (keys & bit(k)) && holder[k] == w && holder_number[k] == n ->
#endif
#ifdef RELEASED_KEY_WAKES_NOBODY
       holder[k] = NOBODY;
       lease_left[k] = 0
#else
       end_lease(k)
#endif
    :: else
    fi
  }
}

inline hear_withdraw(w, n) {
  stop_waiting(w, n);
  give_back(w, n, ALL_KEYS)
}

#define accepts_claim_backs (recovery_left > 0 || (claim_backs_left > 0 && !something_ended))

/* Also the way to claim back what an earlier incarnation granted. */
inline hear_renew(w, n, keys, granted_by) {
  granted = 0;
  for (k : 0 .. KEYS - 1) {
    if
    :: keys & bit(k) ->
       end_if_over(k);
       if
       :: stored[k]
       :: !stored[k] && holder[k] == w && holder_number[k] == n -> lease_left[k] = TTL; granted = granted | bit(k)
#ifdef CLAIMED_BACK_WHATEVER_HAPPENED
       :: !stored[k] && holder[k] != w && granted_by != incarnation ->
#else
       :: !stored[k] && holder[k] == NOBODY && granted_by != 0 && granted_by != incarnation && accepts_claim_backs ->
#endif
          grant(k, w, n);
          granted = granted | bit(k)
       :: else
       fi
    :: else
    fi
  };
  deliver(w, renewed, n, granted)
}

inline hear_registration(w, n, keys) {
  if
#ifndef RESENT_IS_APPLIED_AGAIN
  :: applied[w] & bit(n)
#endif
  :: else ->
#if RESENDS
     applied[w] = applied[w] | bit(n);
#endif
     for (k : 0 .. KEYS - 1) {
       if
       :: (keys & bit(k)) &&
          (!INSIST || (holder[k] == w && holder_number[k] == n && lease_left[k] > 0)) ->
          /* A hub that was started anew cannot know. */
          assert(restarts > 0 || (undone[w] & bit(n)) == 0);
          store(k, w, n)
       :: else
       fi
     }
  fi
}

inline restart() {
  restarts++;
  incarnation++;
  recovery_left = TTL;
#ifdef NO_RECOVERY
  recovery_left = 0;
#endif
#ifdef SHORT_RECOVERY
  recovery_left = TTL - 1;
#endif
  claim_backs_left = recovery_left + TTL;
  something_ended = false;
  for (k : 0 .. KEYS - 1) {
    stored[k] = false;
    holder[k] = NOBODY;
    holder_number[k] = 0;
    lease_left[k] = 0;
    do
    :: waiting[k]?_
    :: empty(waiting[k]) -> break
    od
  };
  for (s2 : 0 .. SLOTS - 1) {
    slot_used[s2] = false
  };
  for (w2 : 0 .. WORKERS - 1) {
    applied[w2] = 0;
    in_vain[w2] = asking[w2];
    excused[w2] = true;
    /* What had reached the old hub is gone; what still waits at its sender comes. */
    do
    :: queries[w2]?_, _, _, _
    :: break
    od;
    do
    :: registrations[w2]?_, _
    :: break
    od;
    do
    :: answers[w2]?_, _, _, _
    :: break
    od
  }
}

/* What is in a slot of nobody makes no difference. */
inline tidy() {
  for (k : 0 .. SLOTS - 1) {
    if
    :: !slot_used[k] ->
       slot_worker[k] = 0;
       slot_number[k] = 0;
       slot_keys[k] = 0
    :: else
    fi
  };
  k = 0;
  k2 = 0;
  delivered = false
}

proctype Hub() {
  mtype type;
  byte w, n, keys, from, k, k2, s2, w2, slot, granted, undecided;
  bool delivered;

end:
  do
  :: atomic {
       (nempty(queries[0]) || nempty(queries[1]) || nempty(queries[WORKERS - 1])) ->
       if
       :: nempty(queries[0]) -> w = 0
       :: nempty(queries[1]) -> w = 1
#if WORKERS > 2
       :: nempty(queries[2]) -> w = 2
#endif
       fi;
       queries[w]?type, n, keys, from;
       if
       :: type == claim -> hear_claim(w, n, keys)
       :: type == withdraw -> hear_withdraw(w, n)
       :: type == release -> give_back(w, n, keys)
       :: type == renew -> hear_renew(w, n, keys, from)
       fi;
       tidy();
       w = 0; n = 0; keys = 0; from = 0; s2 = 0; granted = 0; undecided = 0; type = 0
     }
  :: atomic {
       (nempty(registrations[0]) || nempty(registrations[1]) || nempty(registrations[WORKERS - 1])) ->
       if
       :: nempty(registrations[0]) -> w = 0
       :: nempty(registrations[1]) -> w = 1
#if WORKERS > 2
       :: nempty(registrations[2]) -> w = 2
#endif
       fi;
       registrations[w]?n, keys;
       hear_registration(w, n, keys);
       tidy();
       w = 0; n = 0; keys = 0
     }
#ifndef EXPIRED_LEASE_WAKES_NOBODY
  :: atomic {
       (holder[0] != NOBODY && lease_left[0] == 0) || (holder[KEYS - 1] != NOBODY && lease_left[KEYS - 1] == 0) ->
       for (k : 0 .. KEYS - 1) {
         end_if_over(k)
       };
       tidy()
     }
#endif
#ifndef RECOVERY_WAKES_NOBODY
  :: atomic {
       recovery_left == 0 && restarts > 0 &&
       ((is_free(0) && nempty(waiting[0])) || (is_free(KEYS - 1) && nempty(waiting[KEYS - 1]))) ->
       for (k : 0 .. KEYS - 1) {
         wake(k)
       };
       tidy()
     }
#endif
  :: atomic {
       waits < WAITS && nempty(waiting[0]) ->
       waits++;
       waiting[0]?<slot>;
       leave_queues(slot);
       answer_claim(slot_worker[slot], slot_number[slot], 0);
       slot = 0;
       tidy()
     }
  :: atomic {
       evictions < EVICTIONS && stored[0] ->
       evictions++;
       stored[0] = false;
       something_ended = restarts > 0;
       undone[registered_by[0]] = undone[registered_by[0]] | bit(registered_number[0])
     }
  :: atomic {
       restarts < RESTARTS ->
       restart();
       tidy();
       s2 = 0; w2 = 0
     }
  od
}

/* --- A worker -------------------------------------------------------------------------------------------------- */

inline stop_believing(w) {
  held[w] = 0;
  held_age[w] = 0;
  renewing[w] = false;
  renewal_age[w] = 0
}

proctype Worker(byte w) {
  mtype type;
  byte n, keys, from, granted_by, rounds, other;

  do
  :: atomic {
       /* Workers differ in nothing but their number: let them begin in that order. */
       rounds < ROUNDS && !asking[w] && held[w] == 0 && (w == 0 || !alive[(w + WORKERS - 1) % WORKERS] ||
                                                         number[(w + WORKERS - 1) % WORKERS] > 0) ->
       if
       :: keys = ALL_KEYS
#if KEYS > 1
       :: keys = 1
#endif
       fi;
       number[w]++;
       asking[w] = true;
       asked_age[w] = 0;
       rounds++;
       in_vain[w] = false;
       queries[w]!claim, number[w], keys, 0;
       keys = 0
     }
  :: atomic {
       answers[w]?type, n, keys, from ->
       if
#ifdef LATE_ANSWER_IS_TAKEN
       :: type == claimed && asking[w] ->
#else
       :: type == claimed && asking[w] && n == number[w] ->
#endif
          asking[w] = false;
          if
          :: keys != 0 && asked_age[w] < TTL ->
             held[w] = keys;
#ifdef LEASE_COUNTED_FROM_THE_ANSWER
             held_age[w] = 0;
#else
             held_age[w] = asked_age[w];
#endif
             granted_by = from;
             check_one_holder(w)
          :: keys != 0 && asked_age[w] >= TTL -> queries[w]!release, n, keys, 0
          :: keys == 0
          fi;
          asked_age[w] = 0
       :: type == renewed && renewing[w] && n == number[w] ->
#ifdef HAD_BACK_AFTER_ITS_TIME
          held[w] = held[w] & keys;
#else
          /* Of another hub than the one that granted it it must be had back in time: that one may have granted it to
           * somebody else before it was gone. */
          if
          :: from == granted_by || believes(w) -> held[w] = held[w] & keys
          :: else -> held[w] = 0
          fi;
#endif
#ifdef RENEWAL_COUNTED_FROM_THE_ANSWER
          held_age[w] = 0;
#else
          held_age[w] = renewal_age[w];
#endif
          renewing[w] = false;
          renewal_age[w] = 0;
          granted_by = from;
          if
          :: held[w] == 0 -> stop_believing(w)
          :: held[w] != 0 && believes(w) -> check_one_holder(w)
          :: else
          fi
       :: else
       fi;
       type = 0; n = 0; keys = 0; from = 0; other = 0
     }
  :: atomic {
       asking[w] && (in_vain[w] || timeouts < TIMEOUTS) ->
       if
       :: !in_vain[w] -> timeouts++
       :: else
       fi;
       asking[w] = false;
       asked_age[w] = 0;
#ifndef NO_WITHDRAW
       queries[w]!withdraw, number[w], 0, 0
#endif
     }
  :: atomic {
       held[w] != 0 && believes(w) ->
       keys = held[w];
       stop_believing(w);
       registrations[w]!number[w], keys;
       if
       :: resends < RESENDS -> resends++; registrations[w]!number[w], keys
       :: true
       fi;
       keys = 0
     }
  :: atomic {
       held[w] != 0 && believes(w) ->
       queries[w]!release, number[w], held[w], 0;
#ifndef RELEASED_IS_STILL_BELIEVED_IN
       stop_believing(w)
#endif
     }
  :: atomic {
       held[w] != 0 && !renewing[w] && renewals < RENEWALS ->
       renewals++;
       renewing[w] = true;
       renewal_age[w] = 0;
       /* What is over cannot be had back of another hub, which does not know that it is. */
       queries[w]!renew, number[w], held[w], (believes(w) -> granted_by : 0)
     }
#ifndef LEASE_NOT_CHECKED
  :: atomic {
       held[w] != 0 && !believes(w) ->
       stop_believing(w);
       excused[w] = true
     }
#endif
  :: atomic {
       crashes < CRASHES ->
       crashes++;
       alive[w] = false;
       asking[w] = false;
       stop_believing(w);
       do
       :: answers[w]?_, _, _, _
       :: empty(answers[w]) -> break
       od;
       goto over
     }
  :: rounds == ROUNDS && !asking[w] && held[w] == 0 -> break
  od;

end:
  do
  :: answers[w]?_, _, _, _
  od;
over:
  skip
}

/* --- What befalls them ------------------------------------------------------------------------------------------ */

/* Time passes for all at once, but while the hub stalls its leases stand still. */
proctype Clock() {
  byte w, k;
  bool stalled;

end:
  do
  :: atomic {
       recovery_left > 0 || lease_left[0] > 0 || lease_left[KEYS - 1] > 0 ||
       (asking[0] && asked_age[0] < TTL) || (held[0] != 0 && held_age[0] < TTL) ||
       (asking[1] && asked_age[1] < TTL) || (held[1] != 0 && held_age[1] < TTL) ||
       (asking[WORKERS - 1] && asked_age[WORKERS - 1] < TTL) ||
       (held[WORKERS - 1] != 0 && held_age[WORKERS - 1] < TTL) ->
       if
       :: stalls < STALLS -> stalls++; stalled = true
       :: true
       fi;
       for (k : 0 .. KEYS - 1) {
         if
         :: holder[k] != NOBODY && lease_left[k] > 0 ->
            w = holder[k];
            /* Whoever has nothing under way must know of what is his. */
            assert(!alive[w] || excused[w] || (held[w] & bit(k)) || nempty(queries[w]) || nempty(answers[w]) ||
                   nempty(registrations[w]));
            if
            :: !stalled -> lease_left[k]--
            :: else
            fi
         :: else
         fi
       };
       if
       :: recovery_left > 0 && !stalled -> recovery_left--
       :: else
       fi;
       if
       :: claim_backs_left > 0 && !stalled -> claim_backs_left--
       :: else
       fi;
       /* What makes no difference any more is not to be told apart. */
       if
       :: recovery_left == 0 && (something_ended || claim_backs_left == 0) ->
          claim_backs_left = 0;
          something_ended = false
       :: else
       fi;
       for (w : 0 .. WORKERS - 1) {
         if
         :: asking[w] && asked_age[w] < TTL -> asked_age[w]++
         :: else
         fi;
#ifdef LEASE_NOT_CHECKED
         if
         :: held[w] != 0 && held_age[w] < TTL - 1 -> held_age[w]++
         :: else
         fi;
#else
         if
         :: held[w] != 0 && held_age[w] < TTL -> held_age[w]++
         :: else
         fi;
#endif
         if
         :: renewing[w] && renewal_age[w] < TTL -> renewal_age[w]++
         :: else
         fi
       };
       w = 0; k = 0; stalled = false
     }
  od
}

#define lost(w) losses++; in_vain[w] = asking[w]; excused[w] = true

/* It may have a claim answered that its worker is done with. */
inline duplicate(w) {
  duplicates++;
  excused[w] = true;
  queries[w]?<type, n, keys, from>;
  queries[w]!type, n, keys, from;
  type = 0; n = 0; keys = 0; from = 0
}

proctype Network() {
  mtype type;
  byte n, keys, from;

end:
  do
  :: atomic { losses < LOSSES && nempty(queries[0]) -> queries[0]?_, _, _, _; lost(0) }
  :: atomic { losses < LOSSES && nempty(queries[1]) -> queries[1]?_, _, _, _; lost(1) }
  :: atomic { losses < LOSSES && nempty(answers[0]) -> answers[0]?_, _, _, _; lost(0) }
  :: atomic { losses < LOSSES && nempty(answers[1]) -> answers[1]?_, _, _, _; lost(1) }
  :: atomic { losses < LOSSES && nempty(registrations[0]) -> registrations[0]?_, _; lost(0) }
  :: atomic { losses < LOSSES && nempty(registrations[1]) -> registrations[1]?_, _; lost(1) }
  :: atomic { duplicates < DUPLICATES && nempty(queries[0]) && nfull(queries[0]) -> duplicate(0) }
  :: atomic { duplicates < DUPLICATES && nempty(queries[1]) && nfull(queries[1]) -> duplicate(1) }
#if WORKERS > 2
  :: atomic { losses < LOSSES && nempty(queries[2]) -> queries[2]?_, _, _, _; lost(2) }
  :: atomic { losses < LOSSES && nempty(answers[2]) -> answers[2]?_, _, _, _; lost(2) }
  :: atomic { losses < LOSSES && nempty(registrations[2]) -> registrations[2]?_, _; lost(2) }
#endif
  od
}

init {
  byte i;
  atomic {
    for (i : 0 .. KEYS - 1) {
      holder[i] = NOBODY
    };
    for (i : 0 .. WORKERS - 1) {
      alive[i] = true;
      run Worker(i)
    };
    run Hub();
    run Clock();
    run Network()
  }
}
