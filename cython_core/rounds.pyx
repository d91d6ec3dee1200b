"""How ranks meet at the end of a round: called by the kernels that run a sample, without the interpreter."""

from libc.stdint cimport int64_t, uint32_t

from pareprop.core.spike_log cimport SegmentedLog, SpikeLog

cdef extern from *:
    """
    #include <errno.h>
    #include <fcntl.h>
    #include <sched.h>
    #include <time.h>

    static inline double seconds(void) {
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        return t.tv_sec + 1e-9 * t.tv_nsec;
    }

    static inline void spin(void) {
    #if defined(__x86_64__) || defined(__i386__)
        __builtin_ia32_pause();
    #elif defined(__aarch64__)
        __asm__ __volatile__("yield");
    #endif
    }

    static inline void nap(void) {
        struct timespec t = {0, 50000};
        nanosleep(&t, NULL);
    }

    static inline long long load(const void* place) {
        return __atomic_load_n((const long long*) place, __ATOMIC_ACQUIRE);
    }

    static inline void store(void* place, long long value) {
        __atomic_store_n((long long*) place, value, __ATOMIC_RELEASE);
    }

    /* A rank holds a lock on one byte of a file; the system drops it with the process, whatever ended that. */
    static int lock(int fd, long byte) {
    #ifdef F_OFD_SETLK
        struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
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
    double seconds() nogil
    void spin() nogil
    void nap() nogil
    int sched_yield() nogil
    long long load(const void*) nogil
    void store(void*, long long) nogil
    int lock(int, long) nogil
    int is_locked(int, long) nogil

cdef enum:                # columns of a rank's line in shared memory, which no other rank writes to
    DONE = 0              # meetings that it has come to
    NANOSECONDS = 1       # of the leader: what the transfer between nodes took
    LINE = 16             # numbers in a line: two cache lines, which processors fetch together

cdef enum:
    SPINS = 200           # before a rank that waits lets others have its core
    YIELDS = 500          # before it sleeps

cdef double LOOK = 0.25   # seconds between looks whether the others still live


cdef class Meeting:
    """One process: nobody to wait for.

    Attributes
    ----------
    waited, transferred : float
        Seconds until the others were there, and of what had to be done then.
    """

    cdef int meet(self, int64_t first, int64_t last, int64_t signal_first, int64_t signal_last) except -1 nogil:
        return 0

    cdef int gather(self) except -1 nogil:
        return 0

    def round(self, int64_t first, int64_t last, int64_t signal_first=0, int64_t signal_last=0):
        """Collective: complete the log of steps [first, last) and the signals of [signal_first, signal_last)."""
        with nogil:
            self.meet(first, last, signal_first, signal_last)

    def rounds(self, int64_t first, int64_t last):
        """Collective: one round after each of the steps [first, last), as kernels do them."""
        cdef int64_t t
        with nogil:
            for t in range(first, last):
                self.meet(t, t + 1, t, t + 1)

    def barrier(self):
        """Collective: wait for the ranks that share this one's memory."""
        with nogil:
            self.gather()


cdef class CalledMeeting(Meeting):
    """A stand-in for other ranks, in Python.

    Parameters
    ----------
    call : callable
        Takes the four steps of `round`.
    barrier : callable
    """

    cdef object call, wait

    def __init__(self, call, wait=None):
        self.call, self.wait = call, wait

    cdef int meet(self, int64_t first, int64_t last, int64_t signal_first, int64_t signal_last) except -1 nogil:
        cdef double start = seconds()
        with gil:
            self.call(first, last, signal_first, signal_last)
        self.transferred += seconds() - start
        return 0

    cdef int gather(self) except -1 nogil:
        if self.wait is not None:
            with gil:
                self.wait()
        return 0


cdef class NodeMeeting(Meeting):
    """The ranks of a node, which write their spikes where the others read them, and its leader that tells other nodes.

    Parameters
    ----------
    rank : int
        Of this process in its node; the leader is 0.
    lines : ndarray
        int64 (n_ranks + 1, 16), shared: who has come to how many meetings; the last one: what came from other nodes.
    fd : int
        File of the shared memory, opened by this rank alone.
    lost : callable
        Makes an exception of the number of a rank that ended.
    crowded : bool
        Whether there are more ranks than cores, so that who waits must let others have its core at once.
    """

    cdef int64_t[:, ::1] lines
    cdef int64_t rank, size, done, spins
    cdef int fd
    cdef object lost
    cdef Meeting between
    cdef bint several
    cdef SegmentedLog heard
    cdef SpikeLog numbered
    cdef const uint32_t[::1] numbers

    def __init__(self, int64_t rank, lines, int fd, lost, bint crowded):
        self.rank, self.lines, self.fd, self.lost = rank, lines, fd, lost
        self.size = self.lines.shape[0] - 1
        self.spins = 0 if crowded else SPINS
        if lock(fd, rank) != 0:
            raise OSError(f"cannot lock byte {rank} of the shared memory")

    @staticmethod
    def columns():
        """Numbers in a line."""
        return LINE

    def connect(self, Meeting between):
        """There are several nodes; `between` is how the leader meets the others, None on other ranks."""
        self.several, self.between = True, between

    def number(self, SegmentedLog heard, SpikeLog numbered, numbers):
        """Write to `numbered` those spikes of `heard` that are in `numbers`, uint32 ascending, by their place there."""
        self.heard, self.numbered, self.numbers = heard, numbered, numbers

    def living(self):
        """The ranks that have not ended."""
        return [r for r in range(self.size) if r == self.rank or is_locked(self.fd, r)]

    cdef int meet(self, int64_t first, int64_t last, int64_t signal_first, int64_t signal_last) except -1 nogil:
        cdef double start, there, apart
        start = seconds()
        self.done += 1
        store(&self.lines[self.rank, DONE], self.done)
        if not self.several:
            self.wait_for_all()
            there = seconds()
            self.waited += there - start
        elif self.rank == 0:
            self.wait_for_all()
            there = seconds()
            self.waited += there - start
            start = there
            self.between.meet(first, last, signal_first, signal_last)
            there = seconds()
            apart = self.between.transferred
            self.transferred += apart
            self.waited += there - start - apart
            self.between.transferred = self.between.waited = 0.0
            self.lines[self.size, NANOSECONDS] = <int64_t> (1e9 * apart)
            store(&self.lines[self.size, DONE], self.done)
        else:
            self.wait_for(self.size)
            there = seconds()
            apart = min(there - start, 1e-9 * self.lines[self.size, NANOSECONDS])
            self.transferred += apart
            self.waited += there - start - apart
        if self.heard is not None:
            self.look_up(first, last)
            self.transferred += seconds() - there
        return 0

    cdef int gather(self) except -1 nogil:
        cdef double start = seconds()
        self.done += 1
        store(&self.lines[self.rank, DONE], self.done)
        self.wait_for_all()
        self.waited += seconds() - start
        return 0

    cdef int wait_for_all(self) except -1 nogil:
        cdef int64_t r
        for r in range(self.size):
            self.wait_for(r)
        return 0

    cdef int wait_for(self, int64_t r) except -1 nogil:
        cdef int64_t turns = 0
        cdef double due = 0.0
        while load(&self.lines[r, DONE]) < self.done:
            if turns < self.spins:
                spin()
            elif turns < self.spins + YIELDS:
                sched_yield()
            else:
                nap()
            turns += 1
            if turns > self.spins and turns % 16 == 0 and seconds() > due:
                if due > 0.0:
                    self.look_around()
                due = seconds() + LOOK
        return 0

    cdef int look_around(self) except -1 nogil:
        cdef int64_t r
        for r in range(self.size):
            if r != self.rank and not is_locked(self.fd, r):
                with gil:
                    raise self.lost(r)
        return 0

    cdef int look_up(self, int64_t first, int64_t last) except -1 nogil:
        """Ids and numbers both ascend, so each look-up starts where the one before ended, in strides that double."""
        cdef int64_t t, k, i, low, high, middle, stride, end = self.numbers.shape[0]
        cdef int64_t place = self.numbered.at.ptr[first], n = 0
        cdef uint32_t source
        cdef const uint32_t* ids
        for k in range(self.heard.n):
            n += self.heard.at[k].ptr[last] - self.heard.at[k].ptr[first]
        self.numbered.make_room(place + n)
        for t in range(first, last):
            low = 0
            for k in range(self.heard.n):
                ids = self.heard.at[k].ids
                for i in range(self.heard.at[k].ptr[t], self.heard.at[k].ptr[t + 1]):
                    source = ids[i]
                    high, stride = low, 1
                    while high < end and self.numbers[high] < source:
                        low = high + 1
                        high += stride
                        stride *= 2
                    high = min(high, end)
                    while low < high:
                        middle = (low + high) >> 1
                        if self.numbers[middle] < source:
                            low = middle + 1
                        else:
                            high = middle
                    if low < end and self.numbers[low] == source:
                        self.numbered.at.ids[place] = <uint32_t> low
                        place += 1
            self.numbered.at.ptr[t + 1] = place
        return 0
