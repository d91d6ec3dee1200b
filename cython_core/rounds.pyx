"""Synchronization of ranks at the end of each communication interval (round), called by kernels without the GIL.

One file, because synchronization and its C functions to wait and wake access the same lines of shared memory.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from pareprop.core.source_set cimport SourceSet
from pareprop.core.members cimport has
from pareprop.core.spike_log cimport SegmentedLog, SpikeLog
from pareprop.core.stopwatch cimport now

cdef extern from *:
    """
    #ifndef _GNU_SOURCE
    #define _GNU_SOURCE
    #endif
    #include <errno.h>
    #include <fcntl.h>
    #include <sched.h>
    #include <time.h>
    #ifdef __linux__
    #include <limits.h>
    #include <linux/futex.h>
    #include <sys/syscall.h>
    #include <unistd.h>
    #endif

    static inline void spin(void) {
    #if defined(__x86_64__) || defined(__i386__)
        __builtin_ia32_pause();
    #elif defined(__aarch64__)
        __asm__ __volatile__("yield");
    #endif
    }

    static inline int processor(void) {
    #ifdef __linux__
        return sched_getcpu();
    #else
        return -1;
    #endif
    }

    static inline long long load(const void* place) {
        return __atomic_load_n((const long long*) place, __ATOMIC_ACQUIRE);
    }

    /* A waiter increments the waiter count, then rechecks the value; a writer updates the value, then checks the
       count. Sequential consistency avoids lost wake-ups; the system compares the value once more. */
    static inline int* low_half(void* place) {
        return (int*) place + (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__);
    }

    static inline void raise_to(long long value, void* place, void* asleep) {
        __atomic_store_n((long long*) place, value, __ATOMIC_SEQ_CST);
    #ifdef __linux__
        if (__atomic_load_n((long long*) asleep, __ATOMIC_SEQ_CST) > 0)
            syscall(SYS_futex, low_half(place), FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
    #endif
    }

    static inline void sleep_below(long long value, void* place, void* asleep) {
    #ifdef __linux__
        struct timespec t = {0, 20000000};
        __atomic_fetch_add((long long*) asleep, 1, __ATOMIC_SEQ_CST);
        long long seen = __atomic_load_n((long long*) place, __ATOMIC_SEQ_CST);
        if (seen < value) syscall(SYS_futex, low_half(place), FUTEX_WAIT, (int) seen, &t, NULL, 0);
        __atomic_fetch_sub((long long*) asleep, 1, __ATOMIC_SEQ_CST);
    #else
        struct timespec t = {0, 50000};
        nanosleep(&t, NULL);
    #endif
    }

    /* Each rank locks one byte of a file; the system releases the lock when the process ends, for any reason. */
    static int lock(int fd, long byte) {
    #ifdef F_OFD_SETLK
        struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
        return fcntl(fd, F_OFD_SETLK, &range);
    #else
        return 0;
    #endif
    }

    static int unlock_all(int fd) {
    #ifdef F_OFD_SETLK
        struct flock range = {.l_type = F_UNLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 0};
        return fcntl(fd, F_OFD_SETLK, &range);
    #else
        return 0;
    #endif
    }

    static int is_locked(int fd, long byte) {
    #ifdef F_OFD_SETLK
        struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
        return fcntl(fd, F_OFD_GETLK, &range) != 0 || range.l_type != F_UNLCK;
    #else
        return 1;
    #endif
    }
    """
    void spin() nogil
    int processor() nogil
    long long load(const void*) nogil
    void raise_to(long long, void*, void*) nogil
    void sleep_below(long long, void*, void*) nogil
    int lock(int, long) nogil
    int unlock_all(int) nogil
    int is_locked(int, long) nogil

cdef enum:                # columns of a rank's line in shared memory; other ranks write only to ASLEEP
    DONE = 0              # synchronizations that the rank has reached
    NANOSECONDS = 1       # of the transfer between nodes, written by the leader
    FLAGS = 2             # of `agree`; every second call uses the next column
    PROCESSOR = 4         # core at the last synchronization
    NEED = 5              # room for messages that this rank needs; in the last line, that any node needs
    ASLEEP = 8            # count of ranks that sleep until this one arrives; in a cache line that is rarely written

cdef enum:
    SPINS = 2000          # polls before a waiting rank sleeps: about 50 us
    PART = 32             # steps of a part of a round after the first
    AT_ONCE = 4096        # spikes to filter before memory for more is allocated

cdef double LOOK = 0.25   # seconds between checks that the other ranks are alive


def unlock(int fd):
    """Release the lock held through file `fd`: to other ranks this rank has ended."""
    unlock_all(fd)


cdef class Meeting:
    """Synchronization of a single process: no waiting.

    Attributes
    ----------
    waited, transferred, packed, looked_up : float
        Seconds of waiting for other ranks, of transfer between nodes, of packing and unpacking messages, and of
        selecting the spikes that this rank reads.
    n_within, n_between : int
        Numbers of synchronizations within a node and of exchanges between nodes.
    """

    cdef int meet(self, int64_t first, int64_t last) except -1 nogil:
        return 0

    cdef int64_t end_of_part(self, int64_t part, int64_t first, int64_t last) noexcept nogil:
        """Return the end of the part of a round [first, last) that begins with step `part`."""
        return last

    cdef int64_t meet_part(self, int64_t part, int64_t stop, int64_t first, int64_t last) except -1 nogil:
        """Collective: synchronize after the part [part, stop) of a round [first, last).

        Returns the step before which the sums for the readouts are complete.
        """
        self.meet(part, stop)
        return stop

    cdef int gather(self) except -1 nogil:
        return 0

    cpdef int64_t agree(self, int64_t flags) except? -1:
        """Collective: return the bitwise or of all ranks' flags; no rank returns before all ranks call."""
        return flags

    cpdef int64_t agree_without_waiting(self, int64_t flags) except? -1:
        """As `agree` on the flags of ranks with neurons, which do not wait for other ranks."""
        return self.agree(flags)

    def round(self, int64_t first, int64_t last):
        """Collective: complete the log of steps [first, last), and the sums of the readouts' input in these steps."""
        with nogil:
            self.meet(first, last)

    def rounds(self, int64_t first, int64_t last):
        """Collective: run a round after each step of [first, last), as kernels do."""
        cdef int64_t t
        with nogil:
            for t in range(first, last):
                self.meet(t, t + 1)

    def part(self, int64_t part, int64_t first, int64_t last):
        """Collective: run the part of a round [first, last) that begins with step `part`, see `meet_part`.

        Returns the end of the part, and the step before which the sums for the readouts are complete.
        """
        cdef int64_t stop, complete
        with nogil:
            stop = self.end_of_part(part, first, last)
            complete = self.meet_part(part, stop, first, last)
        return stop, complete

    def barrier(self):
        """Collective: wait for the ranks of this node."""
        with nogil:
            self.gather()


cdef class Messages:
    """Exchange of a round's spikes between nodes, without messages; exchange.pyx has the implementation.

    Attributes
    ----------
    waited, transferred : float
        Seconds in which the leader waited for other leaders, and of transfer.
    """

    cdef bint lay_out(self, int64_t n_steps) except -1 nogil:
        """Lay out messages of `n_steps` steps; return whether memory was allocated, which ranks must wait for."""
        return False

    cdef int64_t pack(self, int64_t first, int64_t last) except -1 nogil:
        """Write this rank's part of the messages; return the room that the part needs."""
        return 0

    cdef int64_t transfer(self, int64_t need) except -1 nogil:
        """Collective among leaders: exchange messages; return the largest room that any needs."""
        return 0

    cdef bint make_room(self, int64_t need) except -1 nogil:
        """Enlarge buffers that are too small; return whether any was, so that messages must be packed again."""
        return False

    cdef int unpack(self, int64_t first, int64_t last) except -1 nogil:
        """Write this rank's part of received messages to the logs of other nodes and to the readouts' sums."""
        return 0

    cdef void hold_back(self, int64_t first, int64_t last) noexcept nogil:
        """Leave the logs of other nodes empty in steps whose messages have not arrived yet."""


cdef class CalledMeeting(Meeting):
    """Stub communicator, in Python.

    Parameters
    ----------
    call : callable
        Takes the two steps of `round`.
    others : Meeting or None
        Ranks to wait for and to agree with, None for one process.
    """

    cdef object call
    cdef Meeting others

    def __init__(self, call, Meeting others=None):
        self.call, self.others = call, others or Meeting()

    cdef int meet(self, int64_t first, int64_t last) except -1 nogil:
        cdef double start = now()
        with gil:
            self.call(first, last)
        self.transferred += now() - start
        return 0

    cdef int gather(self) except -1 nogil:
        self.others.gather()
        self.take_wait()
        return 0

    cpdef int64_t agree(self, int64_t flags) except? -1:
        flags = self.others.agree(flags)
        self.take_wait()
        return flags

    cdef void take_wait(self) noexcept nogil:
        """Take over the waiting time of `others` outside of rounds; in rounds the time of `call` counts."""
        self.waited += self.others.waited
        self.others.waited = 0.0


cdef class NodeMeeting(Meeting):
    """Synchronization of the ranks of a node, which share spikes in memory; its leader exchanges with other nodes.

    Parameters
    ----------
    rank : int
        Of this process in its node; the leader is 0.
    lines : ndarray
        int64 (n_ranks + 1, 16), shared: synchronizations that each rank has reached; last line: messages received.
    fd : int
        File of the shared memory, opened by this rank alone.
    lost : callable
        Makes an exception from the number of a rank that ended.
    crowded : bool
        Whether there are more ranks than cores, so that a waiting rank sleeps at once.
    sharing : int
        Ranks of the node, from 0 on, that have neurons.
    """

    cdef int64_t[:, ::1] lines
    cdef int64_t rank, size, done, agreed, sharing, spins, within
    cdef int64_t met, need                    # step of the last meeting; room that this rank's messages need
    cdef bint crowded
    cdef int fd
    cdef object lost, across
    cdef Messages messages
    cdef bint several, together
    cdef SegmentedLog received
    cdef SpikeLog numbered
    cdef SourceSet members

    def __init__(self, int64_t rank, lines, int fd, lost, bint crowded, int64_t sharing):
        self.rank, self.lines, self.fd, self.lost = rank, lines, fd, lost
        self.size = self.lines.shape[0] - 1
        self.crowded, self.sharing = crowded, sharing
        self.spins = SPINS if rank < sharing else 0  # ranks without neurons are far ahead of the others
        if lock(fd, rank) != 0:
            raise OSError(f"cannot lock byte {rank} of the shared memory")

    @staticmethod
    def columns():
        """Return the length of a line."""
        return LINE

    def connect(self, Messages messages, bint together, int64_t within, across=None):
        """Set up several nodes.

        Parameters
        ----------
        messages : Messages or None
            Between nodes.
        together : bool
            Whether all ranks of the node pack and unpack; else the leader does, and the others have no messages.
        within : int
            Steps between synchronizations within this node.
        across : callable or None
            `agree` among the leaders of all nodes; None on other ranks.
        """
        self.several, self.messages, self.together = True, messages, together
        self.within, self.across = within, across

    def number(self, SegmentedLog received, SpikeLog numbered, SourceSet members):
        """Write the spikes of sources in `members` from `received` to `numbered`, as indices of `members`."""
        self.received, self.numbered, self.members = received, numbered, members

    def living(self):
        """Return the ranks that have not ended."""
        return [r for r in range(self.size) if r == self.rank or is_locked(self.fd, r)]

    cdef int meet(self, int64_t first, int64_t last) except -1 nogil:
        self.n_within += 1
        if self.several and not self.together:
            self.follow_leader(first, last)
        else:
            self.gather()
            if self.several:
                self.exchange(first, last)
        self.look_up(first, last)
        return 0

    cdef int prepare(self, int64_t first, int64_t last) except -1 nogil:
        """Pack this rank's part of the messages of a round."""
        if self.messages.lay_out(last - first) and self.together:
            self.gather()
        self.need = self.pack(first, last)
        return 0

    cdef int follow_leader(self, int64_t first, int64_t last) except -1 nogil:
        """Let the leader alone wait for all ranks and exchange a round [first, last); the others wait for it."""
        cdef double start = now()
        self.done += 1
        self.come(self.rank)
        if self.rank > 0:
            self.n_between += 1
            self.wait_for_leader()
            return 0
        self.wait_for_all()
        self.waited += now() - start
        self.prepare(first, last)
        while self.messages.make_room(self.send(self.need)):
            self.need = self.pack(first, last)
        self.unpack(first, last)
        self.come(self.size)
        return 0

    cdef int exchange(self, int64_t first, int64_t last) except -1 nogil:
        """All ranks of the node pack a round, the leader sends, all unpack; each stage waits for the previous one."""
        self.prepare(first, last)
        while self.messages.make_room(self.send_together()):
            self.gather()
            self.need = self.pack(first, last)
        self.unpack(first, last)
        if self.size > 1:
            self.gather()
        return 0

    cdef int64_t send_together(self) except -1 nogil:
        """Collective: exchange messages; return the largest room that any needs."""
        cdef int64_t need
        self.tell_need()
        if self.rank > 0:
            self.n_between += 1
            self.wait_for_leader()
            return self.lines[self.size, NEED]
        need = self.send(self.largest_need())
        self.lines[self.size, NEED] = need
        self.come(self.size)
        return need

    cdef void tell_need(self) noexcept nogil:
        """Publish the room that this rank's packed messages need."""
        self.lines[self.rank, NEED] = self.need
        self.done += 1
        self.come(self.rank)

    cdef int64_t largest_need(self) except -1 nogil:
        """Leader only: wait until all ranks have packed; return the largest room that any needs."""
        cdef int64_t r, need = self.need
        cdef double start = now()
        if self.together:
            self.wait_for_all()
            self.waited += now() - start
            for r in range(1, self.size):
                need = max(need, self.lines[r, NEED])
        return need

    cdef int64_t send(self, int64_t need) except -1 nogil:
        """Leader only: exchange messages of size `need`; return the largest need."""
        self.n_between += 1
        need = self.messages.transfer(need)
        self.lines[self.size, NANOSECONDS] = <int64_t> (1e9 * self.messages.transferred)
        self.transferred += self.messages.transferred
        self.waited += self.messages.waited
        self.messages.transferred = self.messages.waited = 0.0
        return need

    cdef int wait_for_leader(self) except -1 nogil:
        cdef double apart, start = now()
        self.wait_for(self.size)
        start = now() - start
        apart = min(start, 1e-9 * self.lines[self.size, NANOSECONDS])
        self.transferred += apart
        self.waited += start - apart
        return 0

    cdef int64_t pack(self, int64_t first, int64_t last) except -1 nogil:
        cdef int64_t need
        cdef double start = now()
        need = self.messages.pack(first, last)
        self.packed += now() - start
        return need

    cdef int unpack(self, int64_t first, int64_t last) except -1 nogil:
        cdef double start = now()
        self.messages.unpack(first, last)
        self.packed += now() - start
        return 0

    cdef int64_t end_of_part(self, int64_t part, int64_t first, int64_t last) noexcept nogil:
        """Several nodes: parts are as short as delays within a node and end without messages.

        One node: ranks without neurons sleep in a long first part, then follow short ones, to be in time at the end.
        """
        if self.several:
            if part == first:
                self.met = first
            return min(self.met + self.within, last)
        if self.sharing == self.size:
            return last
        return first + (last - first + 1) * 3 // 4 if part == first else min(part + PART, last)

    cdef int64_t meet_part(self, int64_t part, int64_t stop, int64_t first, int64_t last) except -1 nogil:
        cdef double start
        cdef int64_t since = self.met
        if self.several:
            self.met = stop
            if stop == last:
                self.meet(first, last)
                return last
            self.meet_within(since, stop)
            return first
        if part == first:  # late ranks still read the sums of the previous round
            self.meet(part, stop)
        else:
            start = now()
            self.done += 1
            self.come(self.rank)
            self.wait_for_first(self.sharing)
            self.waited += now() - start
        return last if stop == last else first

    cdef int meet_within(self, int64_t first, int64_t last) except -1 nogil:
        """Share the spikes of steps [first, last) within the node, before messages of other nodes arrive."""
        self.n_within += 1
        if self.messages is not None:
            self.messages.hold_back(first, last)
        self.gather()
        self.look_up(first, last)
        return 0

    cdef int gather(self) except -1 nogil:
        cdef double start = now()
        self.done += 1
        self.come(self.rank)
        self.wait_for_all()
        self.waited += now() - start
        return 0

    cpdef int64_t agree(self, int64_t flags) except? -1:
        return self.gather_flags(flags, self.size)

    cpdef int64_t agree_without_waiting(self, int64_t flags) except? -1:
        # all ranks must synchronize before the next call: late ranks still read the flags of this one
        return self.gather_flags(flags, self.size if self.several else self.sharing)

    cdef int64_t gather_flags(self, int64_t flags, int64_t n) except? -1:
        """Collective: return the flags that any of the first n ranks has set."""
        cdef int64_t r, column = FLAGS + self.agreed % 2  # late ranks still read it during the next call
        cdef double start = now()
        self.agreed += 1
        self.done += 1
        self.lines[self.rank, column] = flags
        self.come(self.rank)
        with nogil:
            if self.several and self.rank > 0:
                self.wait_for(self.size)
                flags = self.lines[self.size, column]
            else:
                self.wait_for_first(n)
                flags = 0
                for r in range(n):
                    flags |= self.lines[r, column]
        if self.several and self.rank == 0:
            flags = self.across(flags)
            self.lines[self.size, column] = flags
            self.come(self.size)
        self.waited += now() - start
        return flags

    cdef int wait_for_all(self) except -1 nogil:
        return self.wait_for_first(self.size)

    cdef int wait_for_first(self, int64_t n) except -1 nogil:
        cdef int64_t r
        for r in range(n):
            self.wait_for(r)
        return 0

    cdef void come(self, int64_t line) noexcept nogil:
        """Mark the synchronization as reached in a line: of this rank, or the last one, of other nodes."""
        self.lines[line, PROCESSOR] = processor()
        raise_to(self.done, &self.lines[line, DONE], &self.lines[line, ASLEEP])

    cdef int wait_for(self, int64_t r) except -1 nogil:
        cdef int64_t turns = 0
        cdef double next_look = 0.0
        while load(&self.lines[r, DONE]) < self.done:
            turns += 1
            if turns > self.spins or self.needs_core(r):
                if now() > next_look:
                    if next_look > 0.0:
                        self.look_around()
                    next_look = now() + LOOK
                sleep_below(self.done, &self.lines[r, DONE], &self.lines[r, ASLEEP])
            else:
                spin()
        return 0

    cdef bint needs_core(self, int64_t r) noexcept nogil:
        """Whether the rank that writes line `r` may be waiting for the core of this rank.

        Then this rank sleeps at once. Yielding is not enough: other processes may take the core for milliseconds,
        while a woken rank runs soon.
        """
        cdef int here = processor()
        return self.crowded or (here >= 0 and self.lines[r, PROCESSOR] == here)

    cdef int look_around(self) except -1 nogil:
        cdef int64_t r
        for r in range(self.size):
            if r != self.rank and not is_locked(self.fd, r):
                with gil:
                    raise self.lost(r)
        return 0

    cdef int look_up(self, int64_t first, int64_t last) except -1 nogil:
        """Write the spikes of members as indices; few spikes are of members, so a bit mask filters them first."""
        cdef int64_t t, k, i, stop, start, place, number, shift
        cdef const uint64_t* top
        cdef const uint32_t* ids
        cdef uint32_t* chosen
        cdef double begun = now()
        if self.received is None:
            return 0
        place, top, shift = self.numbered.at.ptr[first], &self.members.top[0], self.members.shift
        for t in range(first, last):
            for k in range(self.received.n):
                ids = self.received.at[k].ids
                i = self.received.at[k].ptr[t]
                while i < self.received.at[k].ptr[t + 1]:
                    stop = min(i + AT_ONCE, self.received.at[k].ptr[t + 1])
                    self.numbered.make_room(place + stop - i)
                    chosen = self.numbered.at.ids
                    start = place
                    for i in range(i, stop):  # without a branch
                        chosen[place] = ids[i]
                        place += has(top, ids[i] >> shift)
                    i, stop, place = stop, place, start
                    for start in range(start, stop):
                        number = self.members.find(chosen[start])
                        chosen[place] = <uint32_t> number
                        place += number >= 0
            self.numbered.at.ptr[t + 1] = place
        self.looked_up += now() - begun
        return 0
