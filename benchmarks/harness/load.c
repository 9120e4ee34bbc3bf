// SPDX-License-Identifier: MIT
// Load for an echo server: connections with one request of 64 bytes in flight each, for a fixed
// time.
//
//     load PORT CONNECTIONS WARM_UP_MS WINDOW_MS SERVER_PID
//
// Prints, for the window alone: the processor time that the server used for a request, requests a
// second, and how long the 50th and the 99th of a hundred took.
#define _GNU_SOURCE
#include "measure.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { message_size = 64, batch = 512, sub_buckets = 32, buckets = 40 * sub_buckets };

struct connection {
    int fd;
    unsigned received;
    int64_t sent_at;
};

// Latencies by powers of two, each cut in 32: within 3 % of the truth.
static uint64_t histogram[buckets];

static unsigned bucket_of(uint64_t ns) {
    if (ns < sub_buckets)
        return (unsigned)ns;
    unsigned exponent = 63 - (unsigned)__builtin_clzll(ns);
    unsigned bucket =
        (exponent - 4) * sub_buckets + (unsigned)((ns >> (exponent - 5)) & (sub_buckets - 1));
    return bucket < buckets ? bucket : buckets - 1;
}

static double value_of(unsigned bucket) {
    if (bucket < sub_buckets)
        return bucket;
    unsigned exponent = bucket / sub_buckets + 4;
    return (double)((uint64_t)(sub_buckets + bucket % sub_buckets) << (exponent - 5));
}

static double percentile(uint64_t count, double share) {
    uint64_t wanted = (uint64_t)((double)count * share);
    uint64_t seen = 0;
    for (unsigned b = 0; b < buckets; ++b) {
        seen += histogram[b];
        if (seen > wanted)
            return value_of(b);
    }
    return 0;
}

static void fail(const char* what) {
    perror(what);
    exit(1);
}

static void send_request(struct connection* c, int64_t now) {
    static const char message[message_size] = {'w', 'e', 'f', 't'};
    c->received = 0;
    c->sent_at = now;
    if (send(c->fd, message, message_size, MSG_NOSIGNAL) != message_size)
        fail("send");
}

int main(int argc, char** argv) {
    if (argc != 6) {
        fprintf(stderr, "usage: load PORT CONNECTIONS WARM_UP_MS WINDOW_MS SERVER_PID\n");
        return 2;
    }
    unsigned count = (unsigned)atoi(argv[2]);
    int64_t warm_up = (int64_t)atoi(argv[3]) * 1000000;
    int64_t window = (int64_t)atoi(argv[4]) * 1000000;
    clockid_t server_clock;
    if (clock_getcpuclockid((pid_t)atoi(argv[5]), &server_clock) != 0)
        fail("no such server");

    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)atoi(argv[1]))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    struct connection* connections = calloc(count, sizeof *connections);
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    for (unsigned i = 0; i < count; ++i) {
        struct connection* c = &connections[i];
        c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (c->fd < 0 || connect(c->fd, (struct sockaddr*)&address, sizeof address) != 0)
            fail("connect");
        int on = 1;
        setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
        epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &e);
    }
    for (unsigned i = 0; i < count; ++i)
        send_request(&connections[i], wall_ns());

    int64_t begin = wall_ns() + warm_up;
    int64_t cpu_before = 0;
    uint64_t answers = 0;
    int measuring = 0;
    while (1) {
        struct epoll_event events[batch];
        int n = epoll_wait(epoll, events, batch, 1000);
        int64_t now = wall_ns();
        if (n == 0) {
            fprintf(stderr, "load: the server has stopped answering\n");
            return 1;
        }
        if (!measuring && now >= begin) {
            measuring = 1;
            begin = now;
            cpu_before = nanoseconds_of(server_clock);
        }
        if (measuring && now >= begin + window) {
            double cpu = (double)(nanoseconds_of(server_clock) - cpu_before);
            print_metric("cpu", "us", cpu / 1000 / (double)answers);
            print_metric("rate", "1/s", (double)answers * 1e9 / (double)(now - begin));
            print_metric("p50", "us", percentile(answers, 0.50) / 1000);
            print_metric("p99", "us", percentile(answers, 0.99) / 1000);
            return 0;
        }
        for (int i = 0; i < n; ++i) {
            struct connection* c = events[i].data.ptr;
            char buffer[message_size];
            ssize_t got = recv(c->fd, buffer, message_size - c->received, 0);
            if (got <= 0)
                fail("recv");
            c->received += (unsigned)got;
            if (c->received < message_size)
                continue;
            int64_t answered = wall_ns();
            if (measuring) {
                ++histogram[bucket_of((uint64_t)(answered - c->sent_at))];
                ++answers;
            }
            send_request(c, answered);
        }
    }
}
