/*
  A model of one session: a client, its connections, the ledger, and the fold of its user (docs/protocol.md 3;
  actors/user/fold*.ts and outbox.ts). spin looks at every order of events that the bounds below leave:

      spin -a -DTAKEOVERS=0 session.pml && cc -O2 -DSAFETY -o pan pan.c && ./pan -m200000

  What must hold, as assertions:

    accepted-once     an uplink that the client was told is accepted was accepted, once, and not another one in its place
    acked-is-done     a downlink that leaves the outbox as acked was processed
    in-order-or-told  downlinks are processed once and in order, and of those that are left out the client was told
    numbers-go-on     no `connected` takes a number back, nor leaves a hole larger than its `missed`
    one-connection    in the end one connection is open, that of the session; all is acked, and each downlink was
                      processed, or announced as missed

  Each has a variant that breaks it, one for each BREAK_... below; test/model/session.long.ts sees all of them fail.

  The names of events are those of frames and facts, as they stand in a trace of the simulation.

  Left out: several sessions of a user, login policies, kicks and bans, new session ids, forgotten sessions, downlinks
  that expire or are skipped, time and heartbeats, frames that a socket has taken and not brought, openings that the
  ledger takes after their ends. Where a storage loses its last writes (LOSSES), it is those of uplinks, with the note that
  they were offered: what it still holds and had not offered counts as new, for a copy's numbers may have been used for
  something else since. A storage that loses that note alone has them accepted twice (docs/client.md, Storage). A client
  that then begins a new session is not followed further. Messages between owner and edge are not there as
  such: an edge asks for all that it needs, at any time, so what a link loses is a state that it asks from.
*/

#ifndef CONNECTIONS
#define CONNECTIONS 3
#endif
#ifndef UPLINKS
#define UPLINKS 2
#endif
#ifndef DOWNLINKS
#define DOWNLINKS 2
#endif
/* Downlinks kept for the session, uplinks without an ack, and ledger entries since the last checkpoint. */
#define OUTBOX 1
#define WINDOW 2
#define ENTRIES 3
/* How often each of these may happen. */
#ifndef REPEATS
#define REPEATS 1
#endif
#ifndef TAKEOVERS
#define TAKEOVERS 1
#endif
#ifndef CRASHES
#define CRASHES 1
#endif

/* How often the application begins anew, with what its storage had a while ago. */
#ifndef LOSSES
#define LOSSES 0
#endif

#define MAX(a, b) ((a) > (b) -> (a) : (b))
#define MIN(a, b) ((a) < (b) -> (a) : (b))

mtype = { ConnectionOpened, UplinkReceived, DownlinkRequested, DeliveryReported, ConnectionClosed }
mtype = { connected, uplinkAck, downlink, kick }

/* `told` of an uplink: it is of the run after the loss. */
typedef Entry { mtype fact; byte connection; byte number; bit told }

/* A connection, as the user's state has it: unknown, open, closed, or closed before it was ever opened. */
#define UNKNOWN 0
#define OPEN 1
#define CLOSED 2
#define STRANGE 3

typedef Connection { byte state; byte downlinkSeq; byte missed }

/* The state of the user, with the one session that he has. */
typedef User {
  byte current;     /* connection; 0 for none */
#if LOSSES
  byte latest;      /* connection that took over from those before it */
  byte later;       /* accepted uplinks of the run after the loss, as bits */
#endif
  byte uplinkSeq;
  byte accepted[UPLINKS + 1];
  byte requested;   /* downlinks, numbered from 1 by their requests */
  byte left;        /* how many of them have left the outbox, at its head */
  byte numbered;    /* of those in the outbox */
  byte nextSeq;
  byte ackedSeq;
  byte toldSeq;
  byte missed;      /* without a number, and not announced for certain */
  Connection connections[CONNECTIONS + 1]
}

/* An edge's end of a connection: unused, waiting for its welcome, welcomed, over, or its node has crashed. */
#define UNUSED 0
#define OPENING 1
#define WELCOMED 2
#define OVER 3
#define CRASHED 4

typedef Edge {
  byte state;
  bit isConnected;  /* its socket */
  bit wasHeard;     /* the client has said something since its `connected` */
  byte writtenSeq;
  byte ackedSeq;    /* by the client */
  byte reportedSeq;
  byte uplinkSeq    /* the last one that was acked to the client */
#if LOSSES
  ;
  byte underWay;    /* an uplink that the ledger has yet to get */
  bit isLater
#endif
}

Entry ledger[ENTRIES];
byte entries, folded;
/* As the owner of the partition has it, and as it was saved with the last checkpoint: before ledger[0]. */
User user, saved;
Edge edges[CONNECTIONS + 1];
chan frames[CONNECTIONS + 1] = [2] of { mtype, byte, byte, byte };

/* The client. Its storage holds `cursor` and `ackedUplink`. */
byte mine, coming, begun;
byte cursor, ackedUplink, sentUplink;
/* What was acked when it asked for the connection that is coming. */
byte askedUplink;
byte requests, repeats, takeovers, crashes;
#if LOSSES
/* Uplinks that may have gone out, as the storage has it; and how many of them it had kept when it went back. */
byte offered, kept;
bit hasLost, isOver;
#define isOfLater(seq) (hasLost && (seq) > kept)
#endif
/* What it has seen: the last downlink, all of them as bits, how many were left out before it, and how many it was told of. */
byte lastDownlink, seen, skipped, told;
bit isMoving;

#define u user
#define headSeq (u.nextSeq - u.numbered)
#define inOutbox (u.requested - u.left)
#define missedNow (u.missed + (headSeq - 1 > MAX(u.ackedSeq, u.toldSeq) -> headSeq - 1 - MAX(u.ackedSeq, u.toldSeq) : 0))
#define isOf(c) (u.connections[c].state == OPEN && u.current == c)
#define hasRoom (entries < ENTRIES)

byte i, n, c;
mtype what;

inline append (newFact, ofConnection, withNumber, isTold) {
  ledger[entries].fact = newFact;
  ledger[entries].connection = ofConnection;
  ledger[entries].number = withNumber;
  ledger[entries].told = isTold;
  entries++
}

inline copyUser (target, source) {
#if LOSSES
  target.latest = source.latest; target.later = source.later;
#endif
  target.current = source.current; target.uplinkSeq = source.uplinkSeq; target.requested = source.requested; target.left = source.left;
  target.numbered = source.numbered; target.nextSeq = source.nextSeq; target.ackedSeq = source.ackedSeq; target.toldSeq = source.toldSeq;
  target.missed = source.missed;
  i = 0;
  do
  :: i <= UPLINKS -> target.accepted[i] = source.accepted[i]; i++
  :: else -> break
  od;
  i = 0;
  do
  :: i <= CONNECTIONS ->
    target.connections[i].state = source.connections[i].state;
    target.connections[i].downlinkSeq = source.connections[i].downlinkSeq;
    target.connections[i].missed = source.connections[i].missed;
    i++
  :: else -> break
  od;
  i = 0
}

/* The first entries, which are folded and saved. */
inline forget (count) {
  i = 0;
  do
  :: i < entries ->
    if
    :: i + count < entries ->
      ledger[i].fact = ledger[i + count].fact;
      ledger[i].connection = ledger[i + count].connection;
      ledger[i].number = ledger[i + count].number;
      ledger[i].told = ledger[i + count].told
    :: else ->
      ledger[i].fact = 0; ledger[i].connection = 0; ledger[i].number = 0; ledger[i].told = 0
    fi;
    i++
  :: else -> break
  od;
  entries = entries - count;
  folded = folded - count;
  i = 0
}

/* The fold. */

inline acknowledge (upTo) {
  if
  :: upTo > u.ackedSeq && upTo < u.nextSeq ->
    do
    :: headSeq <= upTo && u.numbered > 0 ->
      u.left++;
      u.numbered--;
      assert(seen & (1 << u.left)) /* acked-is-done */
    :: else -> break
    od;
    u.ackedSeq = upTo
  :: else
  fi
}

inline announce (who) {
  u.toldSeq = MAX(u.toldSeq, u.connections[who].downlinkSeq);
  n = u.connections[who].missed;
  u.missed = (u.missed > n -> u.missed - n : 0);
  i = 1;
  do
  :: i <= CONNECTIONS ->
    u.connections[i].missed = (u.connections[i].missed > n -> u.connections[i].missed - n : 0);
    i++
  :: else -> break
  od;
  i = 0; n = 0
}

inline open (opened, processedSeq) {
  if
  :: u.connections[opened].state == UNKNOWN ->
    assert(processedSeq < u.nextSeq); /* numbers-go-on: nobody names a number that was never given */
    acknowledge(processedSeq);
    u.current = opened;
#if LOSSES
    u.latest = opened;
#endif
    u.nextSeq = u.nextSeq + (inOutbox - u.numbered);
    u.numbered = inOutbox;
    u.connections[opened].state = OPEN;
    u.connections[opened].downlinkSeq = headSeq - 1;
    u.connections[opened].missed = u.missed
#ifdef BREAK_TOLD_AT_ONCE
    ; announce(opened)
#endif
  :: else
  fi
}

inline request (nth) {
  if
  :: nth == u.requested + 1 ->
    if
    :: inOutbox == OUTBOX ->
      if
      :: u.numbered > 0 -> u.numbered--
#ifdef BREAK_SILENT_LOSS
      ; u.ackedSeq = headSeq - 1
#endif
      :: else -> u.missed++
      fi;
      u.left++
    :: else
    fi;
    u.requested++;
    if
    :: u.current -> u.numbered++; u.nextSeq++
    :: else
    fi
  :: else /* a repeat */
  fi
}

inline receive (sender, itsSeq, ofLater) {
  if
  :: u.connections[sender].state != OPEN && u.connections[sender].state != CLOSED
#if LOSSES && !defined(BREAK_LATE_UPLINKS)
  :: sender < u.latest /* what it says there may be forgotten */
#endif
#ifdef BREAK_NO_DEDUP
  :: else -> u.uplinkSeq = MAX(u.uplinkSeq, itsSeq); u.accepted[itsSeq]++
#else
  :: else ->
    if
    :: itsSeq == u.uplinkSeq + 1 -> u.uplinkSeq++; u.accepted[itsSeq]++
#if LOSSES
      ; u.later = u.later | (ofLater << itsSeq)
#endif
    :: else /* its first answer again, or a gap */
    fi
#endif
  fi
}

inline report (who, upToSeq) {
  if
  :: u.connections[who].state == OPEN || u.connections[who].state == CLOSED ->
    announce(who);
    acknowledge(upToSeq)
  :: else
  fi
}

inline close (closed, upToSeq, wasTold) {
  if
  :: u.connections[closed].state == UNKNOWN -> u.connections[closed].state = STRANGE
  :: u.connections[closed].state == OPEN ->
    u.connections[closed].state = CLOSED;
    if
    :: wasTold -> announce(closed)
    :: else
    fi;
    acknowledge(upToSeq);
    if
    :: u.current == closed -> u.current = 0
    :: else
    fi
  :: else
  fi
}

inline foldEntry () {
  what = ledger[folded].fact;
  c = ledger[folded].connection;
  if
  :: what == ConnectionOpened -> open(c, ledger[folded].number)
  :: what == UplinkReceived -> receive(c, ledger[folded].number, ledger[folded].told)
  :: what == DownlinkRequested -> request(ledger[folded].number)
  :: what == DeliveryReported -> report(c, ledger[folded].number)
  :: what == ConnectionClosed -> close(c, ledger[folded].number, ledger[folded].told)
  fi;
  folded++;
  if
  :: takeovers == TAKEOVERS -> forget(1) /* nobody begins before it any more */
  :: else
  fi;
  what = 0; c = 0
}

/* What a client does with what it reads. */

inline drain (which) {
  do
  :: nempty(frames[which]) -> frames[which] ? _, _, _, _
  :: empty(frames[which]) -> break
  od
}

inline dropUplinks (upTo) {
  i = ackedUplink + 1;
  do
  :: i <= upTo ->
    assert(u.accepted[i] == 1 || folded < entries); /* accepted-once; after a takeover the owner has yet to come so far */
#if LOSSES
    assert(((u.later >> i) & 1) == isOfLater(i) || folded < entries);
#endif
    i++
  :: else -> break
  od;
  i = 0;
  ackedUplink = MAX(ackedUplink, upTo)
}

inline process (itsSeq, nth) {
  if
  :: itsSeq > cursor ->
    assert(itsSeq == cursor + 1); /* in-order-or-told */
    assert(nth > lastDownlink);
    skipped = skipped + (nth - lastDownlink - 1);
    assert(skipped <= told);
    lastDownlink = nth;
    seen = seen | (1 << nth);
    cursor = itsSeq
  :: else /* it was seen on another connection */
  fi
}

inline begin (acceptedSeq, goesOnAfter, howMany) {
  /* numbers-go-on: what was acked on the old connection meanwhile may be behind this one's opening in the ledger */
#ifdef BREAK_COMPARES_LATE
  assert(acceptedSeq >= ackedUplink);
#elif LOSSES
  assert(isOver || acceptedSeq >= askedUplink);
#else
  assert(acceptedSeq >= askedUplink);
#endif
  assert(goesOnAfter <= cursor || goesOnAfter - cursor <= howMany);
#if LOSSES
  if
  :: acceptedSeq > offered -> isOver = 1; ackedUplink = UPLINKS /* somebody else has sent them: a new session */
  :: else -> dropUplinks(acceptedSeq)
  fi;
#else
  dropUplinks(acceptedSeq);
#endif
  sentUplink = ackedUplink;
  cursor = MAX(cursor, goesOnAfter);
  told = MIN(told + howMany, 100);
  if
  :: mine -> edges[mine].isConnected = 0; drain(mine)
  :: else
  fi;
  mine = coming;
  coming = 0;
  askedUplink = 0;
  isMoving = 0
}

#define WORLD_OF(k) \
    /* An edge asks the owner, writes, and tells the ledger. */ \
    :: d_step { edges[k].state == OPENING && isOf(k) && edges[k].isConnected && nfull(frames[k]) -> \
      frames[k] ! connected, u.uplinkSeq, headSeq - 1, missedNow; \
      edges[k].state = WELCOMED; \
      edges[k].writtenSeq = headSeq - 1; \
      edges[k].uplinkSeq = u.uplinkSeq } \
    :: d_step { edges[k].state == WELCOMED && isOf(k) && edges[k].isConnected && nfull(frames[k]) && CAN_WRITE(k) -> \
      edges[k].writtenSeq = NEXT_SEQ(k); \
      frames[k] ! downlink, edges[k].writtenSeq, u.left + 1 + edges[k].writtenSeq - headSeq, 0 } \
    :: d_step { edges[k].state == WELCOMED && isOf(k) && edges[k].isConnected && edges[k].writtenSeq + 1 < headSeq && begun < CONNECTIONS -> \
      edges[k].isConnected = 0 /* the next one is gone: its client must come back to be told */ } \
    :: d_step { edges[k].state == WELCOMED && edges[k].isConnected && nfull(frames[k]) && UPLINK_SEQ(k) > edges[k].uplinkSeq -> \
      edges[k].uplinkSeq = UPLINK_SEQ(k); \
      frames[k] ! uplinkAck, edges[k].uplinkSeq, 0, 0 } \
    :: d_step { edges[k].state == WELCOMED && hasRoom && DONE(k) > edges[k].reportedSeq -> \
      append(DeliveryReported, k, DONE(k), 0); \
      edges[k].reportedSeq = DONE(k) } \
    :: d_step { hasRoom && (edges[k].state == OPENING || edges[k].state == WELCOMED) && IS_SUPERSEDED(k) -> \
      if :: edges[k].isConnected && nfull(frames[k]) -> frames[k] ! kick, 0, 0, 0 :: !edges[k].isConnected || full(frames[k]) fi; \
      append(ConnectionClosed, k, edges[k].ackedSeq, edges[k].wasHeard); \
      edges[k].isConnected = 0; \
      edges[k].state = OVER } \
    :: d_step { hasRoom && (edges[k].state == OPENING || edges[k].state == WELCOMED) && !edges[k].isConnected -> \
      append(ConnectionClosed, k, edges[k].ackedSeq, edges[k].wasHeard); \
      edges[k].state = OVER } \
    :: d_step { crashes < CRASHES && begun < CONNECTIONS && (edges[k].state == OPENING || edges[k].state == WELCOMED) -> \
      crashes++; \
      edges[k].isConnected = 0; \
      edges[k].state = CRASHED } \
    LATE(k) \
    :: d_step { hasRoom && edges[k].state == CRASHED -> /* whoever watches nodes */ \
      append(ConnectionClosed, k, 0, 0); \
      edges[k].state = OVER }

#if LOSSES
#define LATE(k) \
    :: d_step { hasRoom && edges[k].underWay && edges[k].state != CRASHED -> \
      append(UplinkReceived, k, edges[k].underWay, edges[k].isLater); \
      edges[k].underWay = 0; \
      edges[k].isLater = 0 }
#else
#define LATE(k)
#endif

#ifdef BREAK_WRITES_ANY
#define CAN_WRITE(k) (u.numbered > 0 && u.nextSeq - 1 > edges[k].writtenSeq)
#define NEXT_SEQ(k) (u.nextSeq - 1)
#else
#define CAN_WRITE(k) (edges[k].writtenSeq + 1 >= headSeq && edges[k].writtenSeq + 1 < u.nextSeq)
#define NEXT_SEQ(k) (edges[k].writtenSeq + 1)
#endif

#ifdef BREAK_REPORTS_WRITTEN
#define DONE(k) (edges[k].writtenSeq)
#else
#define DONE(k) (edges[k].ackedSeq)
#endif

#ifdef BREAK_ACK_EARLY
#define UPLINK_SEQ(k) (mine == k -> sentUplink : 0)
#else
#define UPLINK_SEQ(k) (u.connections[k].state == OPEN || u.connections[k].state == CLOSED -> u.uplinkSeq : 0)
#endif

#ifdef BREAK_TWO_CONNECTIONS
#define IS_SUPERSEDED(k) false
#else
#define IS_SUPERSEDED(k) (u.connections[k].state == OPEN && u.current != k)
#endif

active proctype world () {
  byte a, b, d;
  u.nextSeq = 1;
  saved.nextSeq = 1;
  do
  /* connect: of a client that begins, comes back, or moves. */
  :: d_step { hasRoom && begun < CONNECTIONS && coming == 0 && (mine == 0 || isMoving) ->
    begun++;
    coming = begun;
    edges[coming].state = OPENING;
    edges[coming].isConnected = 1;
    askedUplink = ackedUplink;
    append(ConnectionOpened, coming, cursor, 0) }
  :: d_step { mine && coming == 0 && !isMoving && begun < CONNECTIONS -> isMoving = 1 } /* migrate: its node asks it to move */
  :: d_step { mine && begun < CONNECTIONS -> edges[mine].isConnected = 0; drain(mine); mine = 0 } /* its socket is cut */
  :: d_step { mine && begun < CONNECTIONS -> drain(mine); mine = 0 } /* and its edge does not know */
  :: d_step { coming && begun < CONNECTIONS -> edges[coming].isConnected = 0; drain(coming); coming = 0; askedUplink = 0 }
  :: d_step { mine && edges[mine].isConnected == 0 && empty(frames[mine]) -> mine = 0 }
  :: d_step { coming && edges[coming].isConnected == 0 && empty(frames[coming]) -> coming = 0; askedUplink = 0 }
  /* uplink */
#if LOSSES
  :: d_step { mine && edges[mine].underWay == 0 && edges[mine].state == WELCOMED && edges[mine].isConnected &&
      sentUplink < UPLINKS && sentUplink - ackedUplink < WINDOW ->
    sentUplink++;
    offered = MAX(offered, sentUplink);
    edges[mine].underWay = sentUplink;
    edges[mine].isLater = isOfLater(sentUplink) }
  :: d_step { !hasLost && begun && begun < CONNECTIONS -> /* its storage has nothing of uplinks, or all but the last one */
    hasLost = 1;
    if
    :: kept = 0
    :: offered > 0 -> kept = offered - 1
    fi;
    offered = kept;
#ifdef BREAK_RESTORED_AS_OFFERED
    offered = MIN(kept + 1, UPLINKS); /* it holds one more, which it had not offered yet: others may have its number */
#endif
    ackedUplink = MIN(ackedUplink, kept);
    sentUplink = ackedUplink;
    if
    :: mine -> drain(mine)
    :: else
    fi;
    if
    :: coming -> drain(coming)
    :: else
    fi;
    mine = 0; coming = 0; askedUplink = 0; isMoving = 0 }
#else
  :: d_step { mine && hasRoom && edges[mine].state == WELCOMED && edges[mine].isConnected &&
      sentUplink < UPLINKS && sentUplink - ackedUplink < WINDOW ->
    sentUplink++;
    append(UplinkReceived, mine, sentUplink, 0) }
#endif
#ifdef BREAK_ACK_EARLY
  :: d_step { mine && edges[mine].state == WELCOMED && edges[mine].isConnected && sentUplink < UPLINKS -> sentUplink++ }
#endif
  :: d_step { mine && edges[mine].state == WELCOMED && edges[mine].isConnected && edges[mine].ackedSeq < cursor -> /* downlinkAck, or the ack that a ping brings */
    edges[mine].ackedSeq = cursor;
    edges[mine].wasHeard = 1 }
  :: d_step { coming && nempty(frames[coming]) ->
    frames[coming] ? what, a, b, d;
    if
    :: what == connected -> begin(a, b, d)
    :: else -> drain(coming); edges[coming].isConnected = 0; coming = 0; askedUplink = 0 /* kick */
    fi;
    what = 0; a = 0; b = 0; d = 0 }
  :: d_step { mine && nempty(frames[mine]) ->
    frames[mine] ? what, a, b, d;
    if
    :: what == downlink -> process(a, b)
    :: what == uplinkAck -> dropUplinks(a)
    :: else -> drain(mine); edges[mine].isConnected = 0; mine = 0 /* kick: it means nothing to one that moves */
    fi;
    what = 0; a = 0; b = 0; d = 0 }
  WORLD_OF(1)
  WORLD_OF(2)
#if CONNECTIONS > 2
  WORLD_OF(3)
#endif
  /* A business service pushes. */
  :: d_step { hasRoom && requests < DOWNLINKS ->
    requests++;
    append(DownlinkRequested, 0, requests, 0) }
  /* The ledger and its owner. */
  :: d_step { folded < entries -> foldEntry() }
  :: d_step { hasRoom && repeats < REPEATS && entries > 0 -> /* an append whose answer was lost stands there again */
    repeats++;
    append(ledger[entries - 1].fact, ledger[entries - 1].connection, ledger[entries - 1].number, ledger[entries - 1].told) }
  :: d_step { takeovers < TAKEOVERS && folded == ENTRIES -> /* a checkpoint */
#ifdef BREAK_NO_STATES
    if
    :: saved.nextSeq == 1 -> copyUser(saved, user)
    :: else
    fi;
#else
    copyUser(saved, user);
#endif
    forget(ENTRIES) }
  :: d_step { takeovers < TAKEOVERS && folded > 0 -> /* another owner begins at the last checkpoint */
    takeovers++;
    copyUser(user, saved);
    folded = 0;
    /* There is no other one behind it: states that differ in nothing else are the same. */
    saved.current = 0; saved.uplinkSeq = 0; saved.requested = 0; saved.left = 0; saved.numbered = 0; saved.nextSeq = 0;
    saved.ackedSeq = 0; saved.toldSeq = 0; saved.missed = 0;
    i = 0;
    do
    :: i <= UPLINKS -> saved.accepted[i] = 0; i++
    :: else -> break
    od;
    i = 0;
    do
    :: i <= CONNECTIONS ->
      saved.connections[i].state = 0; saved.connections[i].downlinkSeq = 0; saved.connections[i].missed = 0; i++
    :: else -> break
    od;
    i = 0 }
  :: else -> break
  od;
#if LOSSES
  if
  :: isOver -> goto over
  :: else
  fi;
#endif
  /* one-connection: nothing can happen any more */
  assert(mine == 0 || (u.current == mine && edges[mine].state == WELCOMED));
  c = 1;
  do
  :: c <= CONNECTIONS -> assert(c == mine || edges[c].state == UNUSED || edges[c].state == OVER); c++
  :: else -> break
  od;
  assert(mine && ackedUplink == UPLINKS);
  c = 1;
  do
  :: c <= UPLINKS -> assert(u.accepted[c] == 1); c++
  :: else -> break
  od;
  assert(requests == DOWNLINKS);
  if
  :: edges[mine].writtenSeq + 1 < headSeq /* it would come back, and these bounds leave it no connection to do so */
  :: else -> assert(skipped + (DOWNLINKS - lastDownlink) <= told)
  fi;
#if LOSSES
  over: skip
#endif
}
