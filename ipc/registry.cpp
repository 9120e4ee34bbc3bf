// SPDX-License-Identifier: MIT
#include <weft/ipc/registry.hpp>

#include <weft/ipc/detail/type_name.hpp>

#include <mutex>
#include <unordered_map>

namespace weft::ipc {

namespace {

// Constant initialisation: entries of other source files register before this one's dynamic
// initialisers would have run.
constinit std::atomic<function_entry*> entries{nullptr};

struct key {
    std::uint64_t id, signature;
    friend bool operator==(const key&, const key&) = default;
};
struct hash_of_key {
    std::size_t operator()(const key& k) const noexcept {
        return k.id ^ (k.signature * 0x9e3779b97f4a7c15);
    }
};

} // namespace

struct function_index {
    static void push(function_entry& e) noexcept {
        e.next_ = entries.load(std::memory_order_relaxed);
        // pairs with the acquire in update()
        while (!entries.compare_exchange_weak(e.next_, &e, std::memory_order_release,
                                              std::memory_order_relaxed)) {
        }
    }

    static function_index& instance() {
        static function_index index;
        return index;
    }

    // Takes in what has been registered since the last time: at first all, later what came with a
    // loaded library.
    void update() {
        function_entry* first =
            entries.load(std::memory_order_acquire); // pairs with the release in push()
        for (function_entry* e = first; e != newest.load(std::memory_order_relaxed); e = e->next_) {
            auto [place, fresh] = by_key.try_emplace(key{e->id_, e->signature_}, e);
            if (!fresh) {
                e->ambiguous_.store(true, std::memory_order_relaxed);
                place->second->ambiguous_.store(true, std::memory_order_relaxed);
            }
        }
        newest.store(
            first,
            std::memory_order_release); // pairs with the acquire in check(): the marks are made
    }

    const function_entry& find(const key& wanted) {
        std::lock_guard lock(mutex);
        update();
        auto found = by_key.find(wanted);
        if (found != by_key.end()) {
            if (found->second->ambiguous_.load(std::memory_order_relaxed))
                refuse(*found->second);
            return *found->second;
        }
        for (const auto& [k, e] : by_key)
            if (k.id == wanted.id)
                throw state_error("this process knows " + detail::readable_type_name(e->name_) +
                                  " with another signature: is it the same program?");
        throw state_error("this process doesn't know the function that it was asked for: is it the "
                          "same program, with "
                          "the same libraries loaded?");
    }

    [[noreturn]] static void refuse(const function_entry& e) {
        throw state_error(
            "two functions of the program are called " + detail::readable_type_name(e.name_) +
            ", so another process couldn't tell which is meant: rename one, or move it out of the "
            "unnamed namespace");
    }

    std::mutex mutex;
    std::unordered_map<key, function_entry*, hash_of_key> by_key;
    std::atomic<function_entry*> newest{nullptr};
};

function_entry::function_entry(const std::type_info& function, const std::type_info& signature,
                               invoke_function call, bool takes_stop) noexcept
    : name_(function.name()), signature_name_(signature.name()), id_(detail::hash_of_name(name_)),
      signature_(detail::hash_of_name(signature_name_)), invoke_(call), takes_stop_(takes_stop) {
    function_index::push(*this);
}

void function_entry::check() const {
    function_index& index = function_index::instance();
    if (entries.load(std::memory_order_relaxed) != index.newest.load(std::memory_order_acquire)) {
        std::lock_guard lock(index.mutex);
        index.update();
    }
    if (ambiguous_.load(std::memory_order_relaxed))
        function_index::refuse(*this);
}

const function_entry& find_function(std::uint64_t id, std::uint64_t signature) {
    return function_index::instance().find(key{id, signature});
}

void detail::throw_null_argument() {
    throw codec_error("a null pointer was passed where a text is wanted");
}

} // namespace weft::ipc
