// SPDX-License-Identifier: MIT
// An echo server by hand on io_uring: multishot accept, one-shot receive into the connection's own
// buffer, send; one enter for all that a turn brought. Prints its port.
//
// Tried against it, and no better here: a receive linked behind each send, provided buffers,
// multishot receive, waiting for data without trying to receive first.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <liburing.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { buffer_size = 4096, ring_entries = 1024 };

struct connection {
    int fd;
    unsigned length; // of what is to be sent
    unsigned sent;
    char buffer[buffer_size];
};

static struct io_uring ring;

// The low bit of the user data tells a send from a receive; the listener's is zero.
enum { is_send = 1 };

static struct io_uring_sqe* entry(void) {
    struct io_uring_sqe* sqe = io_uring_get_sqe(&ring);
    while (sqe == NULL) {
        io_uring_submit(&ring);
        sqe = io_uring_get_sqe(&ring);
    }
    return sqe;
}

static void start_accept(int listener) {
    struct io_uring_sqe* sqe = entry();
    io_uring_prep_multishot_accept(sqe, listener, NULL, NULL, SOCK_CLOEXEC);
    io_uring_sqe_set_data64(sqe, 0);
}

static void start_receive(struct connection* c) {
    struct io_uring_sqe* sqe = entry();
    io_uring_prep_recv(sqe, c->fd, c->buffer, buffer_size, 0);
    io_uring_sqe_set_data64(sqe, (uintptr_t)c);
}

static void start_send(struct connection* c) {
    struct io_uring_sqe* sqe = entry();
    io_uring_prep_send(sqe, c->fd, c->buffer + c->sent, c->length - c->sent,
                       MSG_NOSIGNAL | MSG_WAITALL);
    io_uring_sqe_set_data64(sqe, (uintptr_t)c | is_send);
}

static void drop(struct connection* c) {
    close(c->fd);
    free(c);
}

static void accepted(int fd) {
    struct connection* c = malloc(sizeof *c);
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    c->fd = fd;
    start_receive(c);
}

static void completed(struct connection* c, int sending, int result) {
    if (result <= 0) {
        drop(c);
    } else if (sending) {
        c->sent += (unsigned)result;
        if (c->sent < c->length)
            start_send(c);
        else
            start_receive(c);
    } else {
        c->length = (unsigned)result;
        c->sent = 0;
        start_send(c);
    }
}

int main(void) {
    struct sockaddr_in address = {.sin_family = AF_INET};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener < 0 || bind(listener, (struct sockaddr*)&address, size) != 0 ||
        listen(listener, 4096) != 0 ||
        getsockname(listener, (struct sockaddr*)&address, &size) != 0) {
        perror("listen");
        return 1;
    }
    struct io_uring_params options = {
        .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SUBMIT_ALL |
                 IORING_SETUP_CQSIZE,
        .cq_entries = 4 * ring_entries,
    };
    int error = io_uring_queue_init_params(ring_entries, &ring, &options);
    if (error < 0) {
        fprintf(stderr, "io_uring: %s\n", strerror(-error));
        return 1;
    }
    io_uring_register_ring_fd(&ring);
    start_accept(listener);
    printf("port\t%u\n", ntohs(address.sin_port));
    fflush(stdout);
    while (1) {
        io_uring_submit_and_wait(&ring, 1);
        struct io_uring_cqe* cqe;
        unsigned head, seen = 0;
        io_uring_for_each_cqe(&ring, head, cqe) {
            ++seen;
            uint64_t data = io_uring_cqe_get_data64(cqe);
            if (data != 0)
                completed((struct connection*)(uintptr_t)(data & ~(uint64_t)is_send),
                          (data & is_send) != 0, cqe->res);
            else if (cqe->res >= 0)
                accepted(cqe->res);
            if (data == 0 && (cqe->flags & IORING_CQE_F_MORE) == 0)
                start_accept(listener);
        }
        io_uring_cq_advance(&ring, seen);
    }
}
