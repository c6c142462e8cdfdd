# System calls on sockets, without Python: -1 and errno when they fail.
from libc.stdint cimport uint32_t

cdef extern from *:
    """
    #include <arpa/inet.h>
    #include <netinet/in.h>
    #include <string.h>
    #include <sys/ioctl.h>
    #include <sys/socket.h>
    #include <sys/uio.h>
    #include <unistd.h>
    #ifndef SOCK_NONBLOCK /* without _GNU_SOURCE */
    #define SOCK_NONBLOCK 04000
    #define SOCK_CLOEXEC 02000000
    extern int accept4(int, struct sockaddr *, socklen_t *, int);
    #endif
    typedef struct { int family; char host[INET6_ADDRSTRLEN]; int port; uint32_t flow, scope; } sp_peer;
    static inline void sp_read_peer(const struct sockaddr_storage *from, sp_peer *peer) {
        peer->family = from->ss_family;
        if (from->ss_family == AF_INET) {
            const struct sockaddr_in *in = (const struct sockaddr_in *)from;
            inet_ntop(AF_INET, &in->sin_addr, peer->host, sizeof peer->host);
            peer->port = ntohs(in->sin_port);
        } else if (from->ss_family == AF_INET6) {
            const struct sockaddr_in6 *in = (const struct sockaddr_in6 *)from;
            inet_ntop(AF_INET6, &in->sin6_addr, peer->host, sizeof peer->host);
            peer->port = ntohs(in->sin6_port);
            peer->flow = ntohl(in->sin6_flowinfo);
            peer->scope = in->sin6_scope_id;
        }
    }
    static inline int sp_accept(int fd, sp_peer *peer) {
        struct sockaddr_storage from;
        socklen_t size = sizeof from;
        from.ss_family = 0;
        int got = accept4(fd, (struct sockaddr *)&from, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (got >= 0)
            sp_read_peer(&from, peer);
        return got;
    }
    static inline void sp_peer_of(int fd, sp_peer *peer) {
        struct sockaddr_storage from;
        socklen_t size = sizeof from;
        if (getpeername(fd, (struct sockaddr *)&from, &size) == 0)
            sp_read_peer(&from, peer);
    }
    static inline ssize_t sp_send(int fd, const char *data, size_t size) { return send(fd, data, size, MSG_NOSIGNAL); }
    static inline ssize_t sp_send_two(int fd, const char *a, size_t m, const char *b, size_t n) {
        struct iovec parts[2] = {{(void *)a, m}, {(void *)b, n}};
        struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
        return sendmsg(fd, &message, MSG_NOSIGNAL);
    }
    static inline ssize_t sp_receive(int fd, char *into, size_t most) { return recv(fd, into, most, 0); }
    static inline int sp_end_writing(int fd) { return shutdown(fd, SHUT_WR); }
    static inline int sp_reset_on_close(int fd) {
        struct linger at_once = {1, 0};
        return setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    }
    /* What the kernel holds: FIONREAD, of the peer's that we have not read; TIOCOUTQ, of ours that it has not acknowledged. */
    static inline int sp_queued(int fd, unsigned long question) {
        int bytes = 0;
        return ioctl(fd, question, &bytes) == 0 ? bytes : 0;
    }
    """
    ctypedef struct sp_peer:
        int family
        char* host
        int port
        uint32_t flow, scope
    const int AF_INET, AF_INET6
    int sp_accept(int fd, sp_peer* peer) noexcept nogil
    void sp_peer_of(int fd, sp_peer* peer) noexcept nogil
    Py_ssize_t sp_send(int fd, const char* data, size_t size) noexcept nogil
    Py_ssize_t sp_send_two(int fd, const char* a, size_t m, const char* b, size_t n) noexcept nogil
    Py_ssize_t sp_receive(int fd, char* into, size_t most) noexcept nogil
    int sp_end_writing(int fd) noexcept nogil
    int sp_reset_on_close(int fd) noexcept nogil
    int sp_queued(int fd, unsigned long question) noexcept nogil
    const unsigned long FIONREAD, TIOCOUTQ
    int sp_close "close"(int fd) noexcept nogil
