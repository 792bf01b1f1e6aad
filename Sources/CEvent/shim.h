// libevent and the socket calls for Swift: what the headers offer, and static-inline shims where they offer only
// macros, varargs or pointer juggling. Every shim that can fail returns a negative errno. Unsafe memory of the EventLoop
// room lives here and nowhere else.
#pragma once
#include <arpa/inet.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <event2/listener.h>
#include <fcntl.h>
#include <grp.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <pwd.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

// Linux calls that the C library shows only under _GNU_SOURCE, which Swift's own Glibc module is not built with.
extern int accept4(int descriptor, struct sockaddr *name, socklen_t *length, int flags);
extern int pthread_setname_np(pthread_t thread, const char *name);
extern int setresuid(uid_t real, uid_t effective, uid_t saved);
extern int setresgid(gid_t real, gid_t effective, gid_t saved);
extern int initgroups(const char *user, gid_t group);

// ---- Readiness: libevent's callbacks only note what is ready; Swift reads the list after the wait. ----

struct meridian_ready {
    uint64_t token;
    uint32_t role;
    uint32_t writable;
};

struct meridian_ready_list {
    struct meridian_ready *items;
    size_t count;
    size_t capacity;
    int timer_fired;
};

struct meridian_watch {
    struct meridian_ready_list *list;
    uint64_t token;
    uint32_t role;
    struct event *read;
    struct event *write;
};

static inline void meridian_on_ready(evutil_socket_t descriptor, short what, void *context) {
    (void)descriptor;
    struct meridian_watch *watch = (struct meridian_watch *)context;
    struct meridian_ready_list *list = watch->list;
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? list->capacity * 2 : 64;
        void *items = realloc(list->items, capacity * sizeof *list->items);
        if (!items) abort();
        list->items = (struct meridian_ready *)items;
        list->capacity = capacity;
    }
    struct meridian_ready *ready = &list->items[list->count++];
    ready->token = watch->token;
    ready->role = watch->role;
    ready->writable = (what & EV_WRITE) != 0;
}

static inline void meridian_on_timer(evutil_socket_t descriptor, short what, void *context) {
    (void)descriptor;
    (void)what;
    ((struct meridian_ready_list *)context)->timer_fired = 1;
}

static inline struct event_base *meridian_base_new(void) {
    struct event_config *config = event_config_new();
    if (!config) return NULL;
    event_config_set_flag(config, EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST | EVENT_BASE_FLAG_NOLOCK);
    struct event_base *base = event_base_new_with_config(config);
    event_config_free(config);
    return base;
}

static inline struct meridian_watch *meridian_watch_new(
    struct event_base *base, struct meridian_ready_list *list, int descriptor, uint64_t token, uint32_t role) {
    struct meridian_watch *watch = (struct meridian_watch *)calloc(1, sizeof *watch);
    if (!watch) return NULL;
    watch->list = list;
    watch->token = token;
    watch->role = role;
    watch->read = event_new(base, descriptor, EV_READ | EV_PERSIST, meridian_on_ready, watch);
    watch->write = event_new(base, descriptor, EV_WRITE | EV_PERSIST, meridian_on_ready, watch);
    if (!watch->read || !watch->write) abort();
    return watch;
}

static inline void meridian_watch_free(struct meridian_watch *watch) {
    event_free(watch->read);
    event_free(watch->write);
    free(watch);
}

static inline struct event *meridian_timer_new(struct event_base *base, struct meridian_ready_list *list) {
    return event_new(base, -1, 0, meridian_on_timer, list);
}

static inline void meridian_timer_add(struct event *timer, uint64_t microseconds) {
    struct timeval wait = {(time_t)(microseconds / 1000000), (suseconds_t)(microseconds % 1000000)};
    event_add(timer, &wait);
}

// ---- Clocks ----

static inline uint64_t meridian_clock_microseconds(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}

// The clock that goes on while the machine is suspended: a loop must notice that it was away.
static inline uint64_t meridian_monotonic_microseconds(void) { return meridian_clock_microseconds(CLOCK_BOOTTIME); }
static inline uint64_t meridian_wall_microseconds(void) { return meridian_clock_microseconds(CLOCK_REALTIME); }

// ---- Addresses ----

struct meridian_address {
    struct sockaddr_storage storage;
    socklen_t length;
};

// Resolves a name (`numeric` = 0) or reads an address (`numeric` = 1); returns how many were found, or a negative
// getaddrinfo error.
static inline int meridian_resolve(
    const char *host, uint16_t port, int numeric, int passive, struct meridian_address *found, int room) {
    char service[8];
    snprintf(service, sizeof service, "%u", (unsigned)port);
    struct addrinfo hints;
    memset(&hints, 0, sizeof hints);
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_NUMERICSERV | (numeric ? AI_NUMERICHOST : 0) | (passive ? AI_PASSIVE : 0);
    struct addrinfo *list = NULL;
    int failure = getaddrinfo(*host ? host : NULL, service, &hints, &list);
    if (failure) return failure < 0 ? failure : -failure;
    int count = 0;
    for (struct addrinfo *each = list; each && count < room; each = each->ai_next) {
        if (each->ai_addrlen > sizeof found[count].storage) continue;
        memset(&found[count], 0, sizeof found[count]);
        memcpy(&found[count].storage, each->ai_addr, each->ai_addrlen);
        found[count].length = each->ai_addrlen;
        count++;
    }
    freeaddrinfo(list);
    return count;
}

static inline int meridian_unix_address(const char *path, struct meridian_address *address) {
    struct sockaddr_un *name = (struct sockaddr_un *)&address->storage;
    memset(address, 0, sizeof *address);
    if (strlen(path) >= sizeof name->sun_path) return -ENAMETOOLONG;
    name->sun_family = AF_UNIX;
    strcpy(name->sun_path, path);
    address->length = sizeof *name;
    return 0;
}

// `host:port`, IPv6 in brackets; `unix` for a unix socket's peer.
static inline void meridian_address_text(const struct meridian_address *address, char *text, size_t room) {
    char host[INET6_ADDRSTRLEN] = "";
    const struct sockaddr *name = (const struct sockaddr *)&address->storage;
    if (name->sa_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)name;
        inet_ntop(AF_INET, &v4->sin_addr, host, sizeof host);
        snprintf(text, room, "%s:%u", host, (unsigned)ntohs(v4->sin_port));
    } else if (name->sa_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)name;
        inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof host);
        snprintf(text, room, "[%s]:%u", host, (unsigned)ntohs(v6->sin6_port));
    } else {
        snprintf(text, room, "unix");
    }
}

// The address without its port, in network order; returns 4 or 16, or 0 for a unix socket.
static inline int meridian_address_bytes(const struct meridian_address *address, uint8_t *bytes) {
    const struct sockaddr *name = (const struct sockaddr *)&address->storage;
    if (name->sa_family == AF_INET) {
        memcpy(bytes, &((const struct sockaddr_in *)name)->sin_addr, 4);
        return 4;
    }
    if (name->sa_family != AF_INET6) return 0;
    memcpy(bytes, &((const struct sockaddr_in6 *)name)->sin6_addr, 16);
    return 16;
}

static inline int meridian_address_is_loopback(const struct meridian_address *address) {
    const struct sockaddr *name = (const struct sockaddr *)&address->storage;
    if (name->sa_family == AF_UNIX) return 1;
    if (name->sa_family == AF_INET)
        return ntohl(((const struct sockaddr_in *)name)->sin_addr.s_addr) >> 24 == 127;
    if (name->sa_family == AF_INET6)
        return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)name)->sin6_addr);
    return 0;
}

// ---- The background ----

// Swift hides fork, since it copies only the thread that calls it: this is for a process that has no other yet.
static inline pid_t meridian_fork(void) { return fork(); }

// True when writing there cannot fail for want of a reader: a file that somebody redirected output to.
static inline int meridian_is_file(int descriptor) {
    struct stat found;
    return fstat(descriptor, &found) == 0 && S_ISREG(found.st_mode);
}

// What a child that was waited for ended with, as a shell would say it.
static inline int meridian_exit_code(int status) {
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + (WIFSIGNALED(status) ? WTERMSIG(status) : 0);
}

// ---- Sockets ----

static inline int meridian_socket_bind(const struct meridian_address *address, int shared) {
    int family = ((const struct sockaddr *)&address->storage)->sa_family;
    int descriptor = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (descriptor < 0) return -errno;
    int on = 1;
    if (family != AF_UNIX) {
        setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        if (shared) setsockopt(descriptor, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    }
    if (family == AF_INET6) setsockopt(descriptor, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    if (bind(descriptor, (const struct sockaddr *)&address->storage, address->length) < 0) {
        int failure = errno;
        close(descriptor);
        return -failure;
    }
    return descriptor;
}

static inline int meridian_socket_name(int descriptor, struct meridian_address *address) {
    memset(address, 0, sizeof *address);
    address->length = sizeof address->storage;
    return getsockname(descriptor, (struct sockaddr *)&address->storage, &address->length) < 0 ? -errno : 0;
}

/// Bytes written that the other end has not acknowledged.
static inline int meridian_socket_unacknowledged(int descriptor) {
    int bytes = 0;
    return ioctl(descriptor, TIOCOUTQ, &bytes) < 0 ? 0 : bytes;
}

static inline uint16_t meridian_socket_port(int descriptor) {
    struct meridian_address address;
    if (meridian_socket_name(descriptor, &address) < 0) return 0;
    const struct sockaddr *name = (const struct sockaddr *)&address.storage;
    if (name->sa_family == AF_INET) return ntohs(((const struct sockaddr_in *)name)->sin_port);
    if (name->sa_family == AF_INET6) return ntohs(((const struct sockaddr_in6 *)name)->sin6_port);
    return 0;
}

static inline int meridian_socket_listen(int descriptor, int backlog) { return listen(descriptor, backlog) < 0 ? -errno : 0; }

static inline int meridian_socket_accept(int listener, struct meridian_address *peer) {
    memset(peer, 0, sizeof *peer);
    peer->length = sizeof peer->storage;
    int descriptor = accept4(listener, (struct sockaddr *)&peer->storage, &peer->length, SOCK_NONBLOCK | SOCK_CLOEXEC);
    return descriptor < 0 ? -errno : descriptor;
}

// Small requests must not wait for acknowledgements, and a machine that vanished must be noticed.
static inline void meridian_socket_tune(int descriptor) {
    int on = 1, idle = 30, interval = 10, probes = 3;
    setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(descriptor, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(descriptor, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
    setsockopt(descriptor, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
    setsockopt(descriptor, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
}

// Begins a connection; the descriptor becomes writable when it is decided.
static inline int meridian_socket_connect(const struct meridian_address *address) {
    int family = ((const struct sockaddr *)&address->storage)->sa_family;
    int descriptor = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (descriptor < 0) return -errno;
    if (family != AF_UNIX) meridian_socket_tune(descriptor);
    if (connect(descriptor, (const struct sockaddr *)&address->storage, address->length) < 0 && errno != EINPROGRESS) {
        int failure = errno;
        close(descriptor);
        return -failure;
    }
    return descriptor;
}

// The outcome of a connection that was begun: 0 or an errno.
static inline int meridian_socket_error(int descriptor) {
    int failure = 0;
    socklen_t length = sizeof failure;
    if (getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &failure, &length) < 0) return errno;
    return failure;
}

static inline int meridian_socket_pair(int *first, int *second) {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0) return -errno;
    *first = pair[0];
    *second = pair[1];
    return 0;
}

static inline ssize_t meridian_read(int descriptor, void *bytes, size_t count) {
    ssize_t done = read(descriptor, bytes, count);
    return done < 0 ? -errno : done;
}

static inline ssize_t meridian_write(int descriptor, const void *bytes, size_t count) {
    ssize_t done = write(descriptor, bytes, count);
    return done < 0 ? -errno : done;
}

/// Writes several pieces with one call.
static inline ssize_t meridian_write_pieces(int descriptor, const struct iovec *pieces, int count) {
    ssize_t done = writev(descriptor, pieces, count);
    return done < 0 ? -errno : done;
}

static inline int meridian_is_socket(const char *path) {
    struct stat found;
    return lstat(path, &found) == 0 && S_ISSOCK(found.st_mode);
}

static inline int meridian_exists(const char *path) {
    struct stat found;
    return lstat(path, &found) == 0;
}

// Unacknowledged or unread for so long, the connection is given up: keep-alive is silent while data is on its way.
static inline void meridian_socket_user_timeout(int descriptor, unsigned milliseconds) {
    setsockopt(descriptor, IPPROTO_TCP, TCP_USER_TIMEOUT, &milliseconds, sizeof milliseconds);
}

// The id of a group, by name: 0 or an errno, ENOENT when there is none.
static inline int meridian_group(const char *name, gid_t *group) {
    char room[16384];
    struct group entry, *found = NULL;
    int failure = getgrnam_r(name, &entry, room, sizeof room, &found);
    if (failure) return failure;
    if (!found) return ENOENT;
    *group = found->gr_gid;
    return 0;
}

// Gives a unix socket that we made its mode, and to a group unless that is (gid_t)-1; 0 or an errno. What the path names by now
// may be another's link to a file of ours: only a socket is touched (ENOTSOCK).
static inline int meridian_own_socket(const char *path, mode_t mode, gid_t group) {
    int descriptor = open(path, __O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (descriptor < 0) return errno;
    char held[40];
    snprintf(held, sizeof held, "/proc/self/fd/%d", descriptor);
    struct stat known;
    int failure = 0;
    if (fstat(descriptor, &known) < 0) failure = errno;
    else if (!S_ISSOCK(known.st_mode)) failure = ENOTSOCK;
    else if (chmod(held, mode) < 0) failure = errno;
    else if (group != (gid_t)-1 && chown(held, (uid_t)-1, group) < 0) failure = errno;
    close(descriptor);
    return failure;
}

// ---- Privileges ----

struct meridian_account {
    uid_t user;
    gid_t group;
};

// The ids of a user, by name (or by `number` if there is none): 0 or an errno, ENOENT when nobody is known by it.
static inline int meridian_user(const char *name, uid_t number, struct meridian_account *account) {
    char room[16384];
    struct passwd entry, *found = NULL;
    int failure = name ? getpwnam_r(name, &entry, room, sizeof room, &found) : getpwuid_r(number, &entry, room, sizeof room, &found);
    if (failure) return failure;
    if (!found) return ENOENT;
    account->user = found->pw_uid;
    account->group = found->pw_gid;
    return 0;
}

// Becomes another user for good, with the further groups of the user by this name, or with none if there is no name; 0 or an errno.
// Before any thread is started: the kernel changes one thread only, and the C library the others one after the other.
static inline int meridian_become(uid_t user, gid_t group, const char *name) {
    if ((name ? initgroups(name, group) : setgroups(1, &group)) < 0) return errno;
    if (setresgid(group, group, group) < 0) return errno;
    if (setresuid(user, user, user) < 0) return errno;
    // Not even a program with the set-user-id bit gives anything back.
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) return errno;
    return 0;
}

// Whether root can be had back: tried, not assumed.
static inline int meridian_can_regain(void) { return setuid(0) == 0 || seteuid(0) == 0 || setgid(0) == 0 || setegid(0) == 0; }

// Raises the limit on open files as far as allowed, to at most `wanted`, and returns what it is now.
static inline uint64_t meridian_raise_open_files(uint64_t wanted) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) return 0;
    if (limit.rlim_max < wanted && limit.rlim_max != RLIM_INFINITY) {
        struct rlimit higher = {wanted, wanted};
        if (setrlimit(RLIMIT_NOFILE, &higher) == 0) return wanted;  // root may
    }
    if (limit.rlim_cur < wanted) {
        limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
        setrlimit(RLIMIT_NOFILE, &limit);
        getrlimit(RLIMIT_NOFILE, &limit);
    }
    return limit.rlim_cur;
}

// ---- Wake-ups and signals ----

static inline int meridian_eventfd(void) {
    int descriptor = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return descriptor < 0 ? -errno : descriptor;
}

static inline void meridian_eventfd_signal(int descriptor) {
    uint64_t one = 1;
    while (write(descriptor, &one, sizeof one) < 0 && errno == EINTR) {}
}

static inline void meridian_eventfd_clear(int descriptor) {
    uint64_t count;
    while (read(descriptor, &count, sizeof count) < 0 && errno == EINTR) {}
}

static inline void meridian_ignore_sigpipe(void) { signal(SIGPIPE, SIG_IGN); }

// Blocks the signals in this thread (and those it starts) and has them read from the descriptor that is returned.
static inline int meridian_signalfd(const int *signals, int count) {
    sigset_t set;
    sigemptyset(&set);
    for (int i = 0; i < count; i++) sigaddset(&set, signals[i]);
    if (pthread_sigmask(SIG_BLOCK, &set, NULL) != 0) return -errno;
    int descriptor = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    return descriptor < 0 ? -errno : descriptor;
}

// The next signal that arrived, or 0.
static inline int meridian_signalfd_next(int descriptor) {
    struct signalfd_siginfo info;
    return read(descriptor, &info, sizeof info) == sizeof info ? (int)info.ssi_signo : 0;
}

static inline void meridian_error_text(int failure, char *text, size_t room) {
    if (strerror_r(failure, text, room) != 0) snprintf(text, room, "error %d", failure);
}

static inline void meridian_name_thread(const char *name) {
    char brief[16];
    snprintf(brief, sizeof brief, "%s", name);
    pthread_setname_np(pthread_self(), brief);
}

// ---- The service manager ----

// One datagram to a unix socket; a path that begins with @ is in the abstract namespace.
static inline void meridian_notify(const char *path, const char *state) {
    struct sockaddr_un name;
    size_t length = strlen(path);
    if ((path[0] != '/' && path[0] != '@') || length >= sizeof name.sun_path) return;
    memset(&name, 0, sizeof name);
    name.sun_family = AF_UNIX;
    memcpy(name.sun_path, path, length);
    if (path[0] == '@') name.sun_path[0] = 0;
    int descriptor = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (descriptor < 0) return;
    sendto(descriptor, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&name,
        (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length));
    close(descriptor);
}
