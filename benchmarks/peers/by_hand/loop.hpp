// SPDX-License-Identifier: MIT
// A loop by hand that others post functions to: a mailbox of nodes, and an eventfd in an epoll set,
// which is written to only if the loop is about to sleep or sleeps.
#pragma once
#include <atomic>
#include <cstdint>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <thread>
#include <unistd.h>
#include <utility>

namespace by_hand {

class loop {
public:
    struct node {
        node* next = nullptr;
        void (*run)(node*) = nullptr;
    };

    loop() : epoll_(epoll_create1(EPOLL_CLOEXEC)), event_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
        epoll_event e{};
        e.events = EPOLLIN | EPOLLET; // each write is an edge, so that nobody needs to read
        epoll_ctl(epoll_, EPOLL_CTL_ADD, event_, &e);
    }
    ~loop() {
        close(event_);
        close(epoll_);
    }
    loop(const loop&) = delete;
    loop& operator=(const loop&) = delete;

    template <class F>
    void post(F f) {
        struct function_node : node {
            explicit function_node(F&& g) : function(std::move(g)) {}
            F function;
        };
        node* n = new function_node(std::move(f));
        n->run = [](node* self) {
            auto* mine = static_cast<function_node*>(self);
            mine->function();
            delete mine;
        };
        post_node(n);
    }

    void post_node(node* n) noexcept {
        node* head = mail_.load(std::memory_order_relaxed);
        do {
            n->next = head;
        } while (!mail_.compare_exchange_weak(head, n));
        if (parked_.load() && parked_.exchange(false)) {
            std::uint64_t one = 1;
            if (write(event_, &one, sizeof one) < 0)
                std::abort();
        }
    }

    /// Runs what is in the mailbox, in the order of posting.
    void take_mail() noexcept {
        if (mail_.load(std::memory_order_relaxed) == nullptr)
            return;
        node* newest = mail_.exchange(nullptr, std::memory_order_acquire);
        node* oldest = nullptr;
        while (newest != nullptr) {
            node* below = newest->next;
            newest->next = oldest;
            oldest = newest;
            newest = below;
        }
        while (oldest != nullptr)
            oldest->run(std::exchange(oldest, oldest->next));
    }

    /// Sleeps until there is mail, and runs it, until `done`.
    void run_until(const bool& done) noexcept {
        while (!done) {
            parked_.store(true);
            if (mail_.load() == nullptr) {
                epoll_event e;
                epoll_wait(epoll_, &e, 1, -1);
            }
            parked_.store(false, std::memory_order_relaxed);
            take_mail();
        }
    }

private:
    int epoll_;
    int event_;
    alignas(64) std::atomic<node*> mail_{nullptr};
    std::atomic<bool> parked_{false};
};

} // namespace by_hand
