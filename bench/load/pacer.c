/* Open-loop load at a constant rate over keep-alive connections to 127.0.0.1; prints one line of JSON.
 *
 *   pacer PORT PATH PAIRS_FILE CONNECTIONS RATE_PER_S SECONDS
 *
 * Request n is due at start + n / rate whatever the server does, and its latency counts from that moment: if all
 * connections are busy it waits for one, and the wait is part of the figure (no coordinated omission). One thread; it
 * sleeps in epoll between events, so that it leaves the cores to the server. The first second is warm-up and is not
 * counted. wrk cannot do this: it has no rate limit, and its think time is in whole milliseconds. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

enum { BUFFER = 65536, MAX_PAIRS = 200000, MAX_CONNECTIONS = 4096, WARM_UP_NS = 1000000000 };

struct connection {
    int fd, busy;
    uint64_t due, sent;
    size_t used;
    char *buffer;
};

static struct connection connections[MAX_CONNECTIONS];
static int idle[MAX_CONNECTIONS], idle_head, n_idle, n_connections;
static char *requests[MAX_PAIRS];
static size_t request_size[MAX_PAIRS], n_pairs;
static uint32_t *from_due, *from_send;
static size_t n_samples, max_samples;
static uint64_t n_status_errors, n_broken, n_answers, count_from;
static struct sockaddr_in address = {.sin_family = AF_INET};
static int poller;

static void fail(const char *what) {
    fprintf(stderr, "pacer: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void put_idle(int n) {
    idle[(idle_head + n_idle++) % n_connections] = n;
    connections[n].busy = 0;
    connections[n].used = 0;
}

static int take_idle(void) { /* the one that has been idle longest, so that all connections carry load */
    int n = idle[idle_head];
    idle_head = (idle_head + 1) % n_connections;
    n_idle--;
    return n;
}

static void open_connection(int n) {
    struct connection *c = &connections[n];
    int one = 1;
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&address, sizeof address) < 0) fail("connect");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    struct epoll_event e = {.events = EPOLLIN, .data.u32 = (uint32_t)n};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &e) < 0) fail("epoll_ctl");
}

static void reopen(int n) {
    if (connections[n].busy) n_broken++;
    close(connections[n].fd);
    open_connection(n);
    if (connections[n].busy) put_idle(n);
}

/* Whether the buffer holds a whole answer: by Content-Length, or by walking its chunks. */
static int is_whole(struct connection *c) {
    c->buffer[c->used] = 0;
    char *end = strstr(c->buffer, "\r\n\r\n");
    if (!end) return 0;
    char *body = end + 4, *stop = c->buffer + c->used;
    *end = 0; /* headers only, for the searches below; put back before the next look */
    char *length = strcasestr(c->buffer, "\r\ncontent-length:");
    int chunked = strcasestr(c->buffer, "\r\ntransfer-encoding: chunked") != NULL;
    *end = '\r';
    if (!chunked) return length && stop - body >= strtol(length + 17, NULL, 10);
    for (;;) {
        char *line = memmem(body, (size_t)(stop - body), "\r\n", 2);
        if (!line) return 0;
        long size = strtol(body, NULL, 16);
        if (stop - line < size + 4) return 0;
        if (size == 0) return 1;
        body = line + 2 + size + 2;
    }
}

static void add_sample(uint64_t due, uint64_t sent, uint64_t now) {
    if (due < count_from || n_samples >= max_samples) return;
    from_due[n_samples] = (uint32_t)((now - due) / 1000);
    from_send[n_samples++] = (uint32_t)((now - sent) / 1000);
}

static void receive(int n) {
    struct connection *c = &connections[n];
    ssize_t got = recv(c->fd, c->buffer + c->used, BUFFER - 1 - c->used, 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0 || !c->busy || c->used + (size_t)got >= BUFFER - 1) {
        reopen(n);
        return;
    }
    c->used += (size_t)got;
    if (!is_whole(c)) return;
    uint64_t now = now_ns();
    n_answers++;
    if (strncmp(c->buffer, "HTTP/1.1 200", 12) != 0) n_status_errors++;
    add_sample(c->due, c->sent, now);
    put_idle(n);
}

static void read_pairs(const char *file, const char *path) {
    char line[16384], request[17408];
    FILE *f = fopen(file, "r");
    if (!f) fail(file);
    while (n_pairs < MAX_PAIRS && fgets(line, sizeof line, f)) {
        char *host = strtok(line, "\t\n"), *token = strtok(NULL, "\t\n");
        if (!host || !token) continue;
        int size = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n\r\n", path, host, token);
        requests[n_pairs] = strdup(request);
        request_size[n_pairs++] = (size_t)size;
    }
    fclose(f);
    if (n_pairs == 0) fail("no pairs in the file");
}

static int by_value(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static uint32_t at(const uint32_t *sorted, double share) { return n_samples ? sorted[(size_t)((double)(n_samples - 1) * share)] : 0; }

int main(int argc, char **argv) {
    if (argc != 7) {
        fprintf(stderr, "usage: pacer PORT PATH PAIRS_FILE CONNECTIONS RATE_PER_S SECONDS\n");
        return 2;
    }
    double rate = atof(argv[5]), seconds = atof(argv[6]);
    n_connections = atoi(argv[4]);
    if (rate < 1 || rate > 1e6 || seconds < 2 || seconds > 600 || n_connections < 1 || n_connections > MAX_CONNECTIONS) {
        fprintf(stderr, "pacer: out of range: rate 1 to 1e6, seconds 2 to 600, connections 1 to %d\n", MAX_CONNECTIONS);
        return 2;
    }
    address.sin_port = htons((uint16_t)atoi(argv[1]));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    read_pairs(argv[3], argv[2]);
    prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0); /* the default slack of 50 us would be part of every latency */
    max_samples = (size_t)(rate * seconds) + 1;
    from_due = malloc(max_samples * sizeof *from_due);
    from_send = malloc(max_samples * sizeof *from_send);
    poller = epoll_create1(0);
    if (!from_due || !from_send || poller < 0) fail("start");
    for (int n = 0; n < n_connections; n++) {
        connections[n].buffer = malloc(BUFFER);
        if (!connections[n].buffer) fail("start");
        open_connection(n);
        put_idle(n);
    }

    uint64_t start = now_ns(), stop = start + (uint64_t)(seconds * 1e9), give_up = stop + 5000000000u, n_sent = 0, now;
    uint64_t n_due = (uint64_t)(rate * seconds);
    count_from = start + WARM_UP_NS;
    struct epoll_event events[256];
    while ((now = now_ns()) < give_up) {
        uint64_t due = 0;
        while (n_sent < n_due && n_idle > 0 && (due = start + (uint64_t)((double)n_sent * 1e9 / rate)) <= now && now < stop) {
            struct connection *c = &connections[take_idle()];
            size_t pair = n_sent++ % n_pairs;
            c->busy = 1;
            c->due = due;
            c->sent = now;
            if (send(c->fd, requests[pair], request_size[pair], MSG_NOSIGNAL) != (ssize_t)request_size[pair]) reopen((int)(c - connections));
            now = now_ns();
        }
        if ((now >= stop || n_sent == n_due) && n_idle == n_connections) break;
        uint64_t wait = n_idle > 0 && n_sent < n_due && now < stop && due > now ? due - now : 100000000u;
        if (n_idle > 0 && n_sent < n_due && now < stop && due <= now) wait = 0;
        struct timespec timeout = {.tv_sec = (time_t)(wait / 1000000000u), .tv_nsec = (long)(wait % 1000000000u)};
        int n_events = epoll_pwait2(poller, events, 256, &timeout, NULL);
        if (n_events < 0 && errno != EINTR) fail("epoll_pwait2");
        for (int n = 0; n < n_events; n++) receive((int)events[n].data.u32);
    }

    /* Requests without an answer count with the time they have waited: leaving them out would flatter a stalled server. */
    now = now_ns();
    for (int n = 0; n < n_connections; n++)
        if (connections[n].busy) add_sample(connections[n].due, connections[n].sent, now);
    for (uint64_t n = n_sent; n < n_due; n++) {
        uint64_t due = start + (uint64_t)((double)n * 1e9 / rate);
        add_sample(due, due, now);
    }

    qsort(from_due, n_samples, sizeof *from_due, by_value);
    qsort(from_send, n_samples, sizeof *from_send, by_value);
    printf("{\"rate\":%.0f,\"due\":%llu,\"sent\":%llu,\"answers\":%llu,\"status_errors\":%llu,\"broken\":%llu,\"samples\":%zu,"
           "\"p50_us\":%u,\"p90_us\":%u,\"p99_us\":%u,\"p999_us\":%u,\"max_us\":%u,\"from_send_p50_us\":%u,\"from_send_p99_us\":%u}\n",
           rate, (unsigned long long)n_due, (unsigned long long)n_sent, (unsigned long long)n_answers, (unsigned long long)n_status_errors,
           (unsigned long long)n_broken, n_samples, at(from_due, .5), at(from_due, .9), at(from_due, .99), at(from_due, .999),
           at(from_due, 1), at(from_send, .5), at(from_send, .99));
    return 0;
}
