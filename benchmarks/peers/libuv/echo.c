// SPDX-License-Identifier: MIT
// An echo server on libuv. Its buffer exists once, as callbacks finish with it: a connection that
// waits has none. Prints its port.
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

struct unsent {
    uv_write_t request;
    char data[];
};

static char buffer[4096];

static void closed(uv_handle_t* handle) { free(handle); }

static void drop(uv_stream_t* stream) {
    if (!uv_is_closing((uv_handle_t*)stream))
        uv_close((uv_handle_t*)stream, closed);
}

static void lend_buffer(uv_handle_t* handle, size_t suggested, uv_buf_t* out) {
    (void)handle;
    (void)suggested;
    *out = uv_buf_init(buffer, sizeof buffer);
}

static void received(uv_stream_t* stream, ssize_t got, const uv_buf_t* from);

static void written(uv_write_t* request, int status) {
    uv_stream_t* stream = request->handle;
    free(request);
    if (status == 0)
        uv_read_start(stream, lend_buffer, received);
    else
        drop(stream);
}

static void received(uv_stream_t* stream, ssize_t got, const uv_buf_t* from) {
    if (got < 0) {
        drop(stream);
        return;
    }
    uv_buf_t answer = uv_buf_init(from->base, (unsigned)got);
    int sent = uv_try_write(stream, &answer, 1);
    if (sent == got || got == 0)
        return;
    if (sent < 0 && sent != UV_EAGAIN) {
        drop(stream);
        return;
    }
    // The peer reads slowly: keep the rest, and read no more until it is gone.
    unsigned left = (unsigned)(got - (sent < 0 ? 0 : sent));
    struct unsent* u = malloc(sizeof *u + left);
    memcpy(u->data, from->base + got - left, left);
    uv_buf_t rest = uv_buf_init(u->data, left);
    uv_read_stop(stream);
    uv_write(&u->request, stream, &rest, 1, written);
}

static void connected(uv_stream_t* listener, int status) {
    uv_tcp_t* c = malloc(sizeof *c);
    if (status < 0 || uv_tcp_init(listener->loop, c) != 0) {
        free(c);
        return;
    }
    if (uv_accept(listener, (uv_stream_t*)c) == 0) {
        uv_tcp_nodelay(c, 1);
        uv_read_start((uv_stream_t*)c, lend_buffer, received);
    } else {
        drop((uv_stream_t*)c);
    }
}

int main(void) {
    uv_loop_t* loop = uv_default_loop();
    uv_tcp_t listener;
    struct sockaddr_in address;
    int size = sizeof address;
    uv_ip4_addr("127.0.0.1", 0, &address);
    uv_tcp_init(loop, &listener);
    if (uv_tcp_bind(&listener, (struct sockaddr*)&address, 0) != 0 ||
        uv_listen((uv_stream_t*)&listener, 4096, connected) != 0 ||
        uv_tcp_getsockname(&listener, (struct sockaddr*)&address, &size) != 0) {
        fprintf(stderr, "cannot listen\n");
        return 1;
    }
    printf("port\t%u\n", ntohs(address.sin_port));
    fflush(stdout);
    return uv_run(loop, UV_RUN_DEFAULT);
}
