// SPDX-License-Identifier: MIT
// An echo server by hand on epoll: level-triggered, one read and one write a request. Prints its
// port.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { batch = 512, buffer_size = 4096 };

// What the socket didn't take at once. Only slow readers have one.
struct connection {
    int fd;
    unsigned left;
    char* unsent;
};

static int epoll;
static struct connection listener;

static void watch(struct connection* c, uint32_t events, int how) {
    struct epoll_event e = {.events = events, .data.ptr = c};
    if (epoll_ctl(epoll, how, c->fd, &e) != 0) {
        perror("epoll_ctl");
        exit(1);
    }
}

static void drop(struct connection* c) {
    close(c->fd);
    free(c->unsent);
    free(c);
}

static void accept_all(void) {
    while (1) {
        int fd = accept4(listener.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            return;
        int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        struct connection* c = calloc(1, sizeof *c);
        c->fd = fd;
        watch(c, EPOLLIN, EPOLL_CTL_ADD);
    }
}

static void flush(struct connection* c) {
    ssize_t sent = send(c->fd, c->unsent, c->left, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) {
        drop(c);
        return;
    }
    if (sent > 0) {
        c->left -= (unsigned)sent;
        memmove(c->unsent, c->unsent + sent, c->left);
    }
    if (c->left == 0) {
        free(c->unsent);
        c->unsent = NULL;
        watch(c, EPOLLIN, EPOLL_CTL_MOD);
    }
}

static void answer(struct connection* c) {
    char buffer[buffer_size];
    ssize_t got = recv(c->fd, buffer, sizeof buffer, 0);
    if (got <= 0) {
        if (got == 0 || errno != EAGAIN)
            drop(c);
        return;
    }
    ssize_t sent = send(c->fd, buffer, (size_t)got, MSG_NOSIGNAL);
    if (sent == got)
        return;
    if (sent < 0 && errno != EAGAIN) {
        drop(c);
        return;
    }
    sent = sent < 0 ? 0 : sent;
    c->left = (unsigned)(got - sent);
    c->unsent = malloc(c->left);
    memcpy(c->unsent, buffer + sent, c->left);
    watch(c, EPOLLOUT, EPOLL_CTL_MOD);
}

int main(void) {
    struct sockaddr_in address = {.sin_family = AF_INET};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    listener.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (listener.fd < 0 || bind(listener.fd, (struct sockaddr*)&address, size) != 0 ||
        listen(listener.fd, 4096) != 0 ||
        getsockname(listener.fd, (struct sockaddr*)&address, &size) != 0) {
        perror("listen");
        return 1;
    }
    epoll = epoll_create1(EPOLL_CLOEXEC);
    watch(&listener, EPOLLIN, EPOLL_CTL_ADD);
    printf("port\t%u\n", ntohs(address.sin_port));
    fflush(stdout);
    while (1) {
        struct epoll_event events[batch];
        int n = epoll_wait(epoll, events, batch, -1);
        for (int i = 0; i < n; ++i) {
            struct connection* c = events[i].data.ptr;
            if (c == &listener)
                accept_all();
            else if (c->left != 0)
                flush(c);
            else
                answer(c);
        }
    }
}
