"""Bandwidth limits at work: a flow's bytes wait until its limits let them go.

    source ── hold ──> may all of it go?  yes ──────────────────────────────> sink
                            │ no: what may not is kept, the source is paused    ^
                            v                                                   │
                     timed_out, every 50 ms ── 25 ms' worth at a time ──────────┘   empty: the source goes on

What is kept is the rest of one read, since the source is paused from then on; pieces of it are views, not copies.  Several
flows under one limit take turns: each has taken its next piece, and waits for that piece's time.  The longer they have to
wait the smaller their pieces become, so that n flows under one limit move every 25 ms * sqrt(n), each as much as the others.
Cost: for each piece and limit a compare-and-swap, and for each flow that is held back one timer.
"""

from cpython.tuple cimport PyTuple_GET_ITEM
from libc.math cimport sqrt

from shardproxy.http1.faults cimport Fault
from shardproxy.http1.forwarding cimport Hop
from shardproxy.http1.framing cimport BODY_NONE
from shardproxy.http1.head cimport Head
from shardproxy.limits.bandwidth cimport LEAST_PIECE, STEP_NS, Allowance
from shardproxy.shm.clock cimport now_ns
from shardproxy.shm.gauges cimport gauge_add
from shardproxy.shm.metrics cimport MetricCells, count
from .admission cimport read_client
from .process cimport Process
from .timers cimport TICK_NS

cdef enum:
    NEWCOMERS_SHARE = 8     # the part of a whole piece that a flow takes first, before it knows how many there are
    JOINED_BYTES = 4096     # smaller pieces are joined, so that what is kept is not larger than what was read


cdef class Lane(Pace):
    def __cinit__(self):
        self.blamed = NOBODY

    cdef void find_accounts(self, tuple limits, const Ip* client):
        """Where each limit counts this flow; those that are not for its request are left out."""
        cdef Bandwidth limit
        cdef bint has_all = True
        for limit in limits:
            if not limit.find(self.exchange.request, client, &self.accounts[self.count]):
                has_all = False
                continue
            if limit.keyed is None:
                self.accounts[self.count].full_at = &allowance_of(self.exchange.client, limit).full_at
            self.piece = min(self.piece, limit.piece) if self.count else limit.piece
            self.count += 1
        self.allowances = self.exchange.client.allowances
        self.next_piece = max(LEAST_PIECE, self.piece // NEWCOMERS_SHARE)
        self.limits = limits if has_all else tuple([one for one in limits if is_for(one, self.exchange.request, client)])

    # From the exchange ---------------------------------------------------------------------------------------------

    cdef bint hold(self, bytes data, Py_ssize_t at, Py_ssize_t size) except -1:
        cdef Py_ssize_t now
        if self.exchange is None:
            return False
        if not self.holds():
            now = self.allowed(size, now_ns())
            if now == size:
                self.note_passed(size)
                return False
            if now:
                self.let_through(data, at, now)
            if self.exchange is None:
                return True
            self.keep(data, at + now, size - now)
            if self.is_stuck():
                self.let_go()
            else:
                self.set_deadline(self.due_ns - 2 * TICK_NS)
        else:
            self.keep(data, at, size)
        source = self.source()
        if source is not None:
            source.pause()
        return True

    cdef bint hold_end(self, bint is_half) noexcept:
        if not self.holds():
            return False
        self.is_ending, self.ends_half = not is_half, is_half
        return True

    cdef bint holds(self) noexcept:
        return self.held is not None or self.tail is not None

    cdef bint go_on(self) except -1:
        self.is_blocked = False
        if self.exchange is not None and self.holds():
            self.let_go()
            self.flush()
        return self.exchange is None or not self.holds()

    cdef void end(self) noexcept:
        """Whatever is still kept is dropped, and what was taken for it is given back."""
        if self.exchange is None:
            return
        if self.holds():
            self.blame(NOBODY, now_ns())
            self.give_back(self.count, self.granted, now_ns())
        self.stop_timer()
        self.exchange, self.held, self.tail, self.is_ending = None, None, None, False

    # Letting go ----------------------------------------------------------------------------------------------------

    cdef int timed_out(self) except -1:
        self.let_go()
        return self.flush()

    cdef void crashed(self, int fault) noexcept:
        if self.exchange is not None:
            self.exchange.crash(fault)

    cdef int flush(self) except -1:
        sink = self.sink()
        if sink is not None:
            sink.flush()
        return 0

    cdef int let_go(self) except -1:
        """As much as may go now; then the timer is set for the rest, unless the sink takes no more."""
        cdef Py_ssize_t at, size, n
        cdef bytes data
        while self.exchange is not None and self.holds():
            if self.is_stuck():
                self.blame(NOBODY, now_ns())
                return 0
            if self.held is None:
                data, self.tail = bytes(self.tail), None
                self.held = [(data, 0, len(data))]
            data, at, size = self.held[0]
            n = self.allowed(size, now_ns())
            if n == size:
                self.held = self.held[1:] or None
            elif n:
                self.held[0] = (data, at + n, size - n)
            if n:
                self.let_through(data, at, n)
            if n < size and self.exchange is not None:
                self.set_deadline(self.due_ns - 2 * TICK_NS)    # timers are late: the next tick may be the one
                return 0
        return 0 if self.exchange is None else self.drained()

    cdef int drained(self) except -1:
        """All is out: now the end, or more from the source."""
        cdef bint was_ending = self.is_ending or self.ends_half
        self.blame(NOBODY, now_ns())
        self.set_deadline(0)
        if was_ending:
            self.pass_end()
            self.is_ending = self.ends_half = False
        if self.exchange is not None and not self.is_stuck():
            source = self.source()
            if source is not None:
                source.resume()
        return 0

    cdef int keep(self, bytes data, Py_ssize_t at, Py_ssize_t size) except -1:
        if self.blamed != NOBODY:
            count(self.exchange.process.cells, (<Bandwidth>PyTuple_GET_ITEM(self.limits, self.blamed)).held, size)
        if size <= JOINED_BYTES:
            if self.tail is None:
                self.tail = bytearray()
            self.tail += data[at:at + size]
            return 0
        if self.held is None:
            self.held = []
        if self.tail is not None:
            self.held.append((bytes(self.tail), 0, len(self.tail)))
            self.tail = None
        self.held.append((data, at, size))
        return 0

    cdef int let_through(self, bytes data, Py_ssize_t at, Py_ssize_t size) except -1:
        self.note_passed(size)
        return self.pass_on(data, at, size)

    # The limits ----------------------------------------------------------------------------------------------------

    cdef Py_ssize_t allowed(self, Py_ssize_t size, int64_t now) noexcept:
        """How many of the next `size` bytes may go now; if not all, what comes next has been taken, or is to be."""
        cdef Py_ssize_t done = 0
        cdef int64_t wait
        while done < size and self.due_ns <= now:
            if self.granted:
                done += self.granted
                self.granted = 0
                continue
            self.granted = min(self.next_piece, size - done)
            wait = self.reserve(self.granted, now)
            if wait < 0:
                self.granted = 0
            self.due_ns = now + (wait if wait >= 0 else -wait)
            self.next_piece = self.piece if wait == 0 else self.piece_after(self.due_ns - now)
        return done

    cdef int64_t piece_after(self, int64_t wait) noexcept:
        """How much to take after a wait so long: with n flows in line a 1/sqrt(n) of what a single one takes.

        It follows from that wait alone, which is n * piece / rate; the geometric mean with what was taken the last time
        gets there at once, where each of the two would swing around it."""
        cdef double fitting = <double>self.piece * STEP_NS / wait
        return max(LEAST_PIECE, min(self.piece, <int64_t>sqrt(self.next_piece * fitting)))

    cdef int64_t reserve(self, int64_t size, int64_t now) noexcept:
        """Take so much of all limits, and wait for the slowest; below 0: one has nothing to give, so none is charged."""
        cdef MetricCells* cells = self.exchange.process.cells
        cdef int64_t wait, longest = 0
        cdef int i, slowest = NOBODY
        cdef Bandwidth limit
        for i in range(self.count):
            limit = <Bandwidth>PyTuple_GET_ITEM(self.limits, i)
            wait = limit.reserve(&self.accounts[i], now, size, cells)
            if limit.is_dry:
                count(cells, limit.held, size if wait else 0)
                continue
            if wait < 0:
                self.give_back(i, size, now)
                self.blame(i, now)
                return wait
            if wait > longest:
                longest, slowest = wait, i
        if slowest != NOBODY:
            self.blame(slowest, now)
        return longest

    cdef void give_back(self, int first, int64_t size, int64_t now) noexcept:
        """To the first so many limits."""
        cdef int i
        for i in range(first if size else 0):
            (<Bandwidth>PyTuple_GET_ITEM(self.limits, i)).give_back(&self.accounts[i], now, size)

    cdef void blame(self, int limit, int64_t now) noexcept:
        """From here on it is this one's doing that the flow waits."""
        cdef Process process = self.exchange.process
        cdef Bandwidth former
        if limit == self.blamed:
            return
        if self.blamed != NOBODY:
            former = <Bandwidth>PyTuple_GET_ITEM(self.limits, self.blamed)
            gauge_add(process.gauge_cells, former.waiting, -1)
            count(process.cells, former.waited, now - self.blamed_since_ns)
            self.waited_ns += now - self.blamed_since_ns
        self.blamed, self.blamed_since_ns = limit, now
        if limit != NOBODY:
            gauge_add(process.gauge_cells, (<Bandwidth>PyTuple_GET_ITEM(self.limits, limit)).waiting, 1)

    cdef void note_passed(self, Py_ssize_t size) noexcept:
        cdef int i
        for i in range(self.count):
            count(self.exchange.process.cells, (<Bandwidth>PyTuple_GET_ITEM(self.limits, i)).passed, size)

    # Which way it goes ---------------------------------------------------------------------------------------------

    cdef int pass_on(self, bytes data, Py_ssize_t at, Py_ssize_t size) except -1:
        return 0

    cdef int pass_end(self) except -1:
        return 0

    cdef bint is_stuck(self) noexcept:
        """The sink takes nothing now, and will say when it does."""
        return False

    cdef End source(self):
        return None

    cdef End sink(self):
        return None


cdef class Upload(Lane):
    cdef int pass_on(self, bytes data, Py_ssize_t at, Py_ssize_t size) except -1:
        return self.exchange.pass_request_body(data, at, size)

    cdef int pass_end(self) except -1:
        return self.exchange.end_upload_half() if self.ends_half else self.exchange.end_request()

    cdef bint is_stuck(self) noexcept:
        return self.is_blocked or self.exchange.origin is None

    cdef End source(self):
        return None if self.exchange is None else self.exchange.client

    cdef End sink(self):
        return None if self.exchange is None else self.exchange.origin


cdef class Download(Lane):
    cdef int pass_on(self, bytes data, Py_ssize_t at, Py_ssize_t size) except -1:
        return self.exchange.pass_response_body(data, at, size)

    cdef int pass_end(self) except -1:
        return self.exchange.end_download_half() if self.ends_half else self.exchange.end_response(self.waited_ns)

    cdef bint is_stuck(self) noexcept:
        return self.exchange.is_client_blocked

    cdef End source(self):
        return None if self.exchange is None else self.exchange.origin

    cdef End sink(self):
        return None if self.exchange is None else self.exchange.client

    cdef bint go_on(self) except -1:
        self.is_watched = False
        return Lane.go_on(self)

    cdef int timed_out(self) except -1:
        """A client that takes nothing for as long as a response may be silent is given up: nobody else waits for it."""
        cdef Exchange exchange = self.exchange
        if self.is_watched and not exchange.client.makes_progress():
            exchange.request_failed(Fault.RESPONSE_STALLED)
            return 0
        self.is_watched = False
        return Lane.timed_out(self)

    cdef int let_go(self) except -1:
        Lane.let_go(self)
        if self.exchange is not None and self.is_stuck() and self.holds():
            self.is_watched = True
            self.set_deadline(self.wheel.now_ns + self.exchange.idle_ns)
        return 0


cdef class BandwidthPlan(PacePlan):
    def __init__(self, up=(), down=()):
        self.up, self.down = tuple(up), tuple(down)
        if max(len(self.up), len(self.down)) > MOST_LIMITS:
            raise ValueError(f"a route has at most {MOST_LIMITS} bandwidth limits")
        for limit in (*self.up, *self.down):
            if not isinstance(limit, Bandwidth):
                raise TypeError("a route's bandwidth limits must be Bandwidth objects")
            if limit.key is not None and (<Bandwidth>limit).key.needs_client:
                self.needs_client = True

    cdef int begin(self, object exchange) except -1:
        """Cost: an object for each direction, and for each limit its key."""
        cdef Exchange asking = <Exchange>exchange
        cdef Lane up = None, down = None
        if self.down:
            down = self.lane(Download.__new__(Download), asking, self.down)
        if self.up and (asking.framing.kind != BODY_NONE or asking.route.upgrades):
            up = self.lane(Upload.__new__(Upload), asking, self.up)
        asking.limit_bandwidth(up, down)
        return 0

    cdef Lane lane(self, Lane lane, Exchange exchange, tuple limits):
        cdef Hop client
        client.ip.bits = 0
        if self.needs_client:
            read_client(exchange, &client)
        lane.exchange, lane.wheel = exchange, exchange.process.wheel
        lane.find_accounts(limits, &client.ip)
        return lane if lane.count else None

    cdef void leave(self, object exchange) noexcept:
        cdef Exchange leaving = <Exchange>exchange
        if leaving.download is not None:
            leaving.download.end()
        if leaving.upload is not None:
            leaving.upload.end()


cdef bint is_for(Bandwidth limit, Head request, const Ip* client) noexcept:
    cdef Account account
    return limit.find(request, client, &account)


cdef Allowance allowance_of(End client, Bandwidth limit):
    """The connection's own bucket of this limit, over all its requests, and over reloads: its slot stays the same."""
    if client.allowances is None:
        client.allowances = {}
    found = client.allowances.get(limit.passed)
    if found is None:
        found = client.allowances[limit.passed] = Allowance()
    return found
