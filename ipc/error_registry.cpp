// SPDX-License-Identifier: MIT
#include <weft/ipc/error_registry.hpp>

#include <weft/ipc/detail/type_name.hpp>

#include <cstring>
#include <cxxabi.h>
#include <filesystem>
#include <future>
#include <mutex>
#include <new>
#include <typeinfo>
#include <unordered_map>
#include <variant>

namespace weft::ipc {

// --- How the types that aren't made from one text travel -----------------------------------------

namespace {

class category_table {
public:
    static category_table& instance() {
        static category_table& t = *new category_table(); // others are asked at any time
        return t;
    }
    void add(const std::error_category& c) {
        std::scoped_lock held(mutex_);
        known_.push_back(&c);
    }
    const std::error_category* find(std::string_view name) {
        std::scoped_lock held(mutex_);
        for (const std::error_category* known : known_)
            if (name == known->name())
                return known;
        return nullptr;
    }

private:
    std::mutex mutex_;
    std::vector<const std::error_category*> known_{
        &std::system_category(), &std::generic_category(), &std::iostream_category(),
        &std::future_category()};
};

} // namespace

bool register_error_category(const std::error_category& category) {
    category_table::instance().add(category);
    return true;
}

void codec<std::error_code>::encode(archive_writer& out, const std::error_code& e) {
    ipc::encode<std::int32_t>(out, e.value());
    ipc::encode<std::string_view>(out, e.category().name());
}

std::error_code codec<std::error_code>::decode(archive_reader& in) {
    auto value = ipc::decode<std::int32_t>(in);
    auto name = ipc::decode<std::string>(in);
    const std::error_category* known = category_table::instance().find(name);
    if (known == nullptr)
        throw codec_error("an error category that isn't registered: " + name);
    return {value, *known};
}

void codec<std::exception_ptr>::encode(archive_writer& out, const std::exception_ptr& e) {
    ipc::encode<bool>(out, e != nullptr);
    if (e)
        encode_error(out, e);
}

std::exception_ptr codec<std::exception_ptr>::decode(archive_reader& in) {
    return ipc::decode<bool>(in) ? decode_error(in) : nullptr;
}

template <>
struct codec<std::system_error> {
    static void encode(archive_writer& out, const std::system_error& e) {
        ipc::encode(out, e.code());
        // what() is "text: message of the code"; the constructor will append the message again.
        std::string_view text = e.what();
        std::string message = e.code().message();
        if (text.ends_with(message)) {
            text.remove_suffix(message.size());
            if (text.ends_with(": "))
                text.remove_suffix(2);
        }
        ipc::encode(out, text.substr(0, remote_error::longest_text));
    }
    static std::system_error decode(archive_reader& in) {
        auto code = ipc::decode<std::error_code>(in);
        auto text = ipc::decode<std::string>(in);
        return text.empty() ? std::system_error(code) : std::system_error(code, text);
    }
};

template <>
struct codec<std::filesystem::filesystem_error> {
    using type = std::filesystem::filesystem_error;
    static void encode(archive_writer& out, const type& e) {
        ipc::encode(out, e.code());
        ipc::encode(out, e.path1());
        ipc::encode(out, e.path2());
        // what() is "filesystem error: text: message [path] [path]"
        std::string_view text = e.what();
        constexpr std::string_view before = "filesystem error: ";
        if (text.starts_with(before))
            text.remove_prefix(before.size());
        if (auto end = text.find(": " + e.code().message()); end != std::string_view::npos)
            text = text.substr(0, end);
        ipc::encode(out, text.substr(0, remote_error::longest_text));
    }
    static type decode(archive_reader& in) {
        auto code = ipc::decode<std::error_code>(in);
        auto first = ipc::decode<std::filesystem::path>(in);
        auto second = ipc::decode<std::filesystem::path>(in);
        return {ipc::decode<std::string>(in), first, second, code};
    }
};

template <>
struct codec<truncated_error> {
    static void encode(archive_writer& out, const truncated_error& e) {
        ipc::encode(out, e.partial());
        ipc::encode(out, e.expected());
    }
    static truncated_error decode(archive_reader& in) {
        auto partial = ipc::decode<std::string>(in);
        return truncated_error(std::move(partial), ipc::decode<std::size_t>(in));
    }
};

template <>
struct codec<limit_error> {
    static void encode(archive_writer& out, const limit_error& e) {
        ipc::encode<std::string_view>(out, e.what());
        ipc::encode(out, e.consumed());
    }
    static limit_error decode(archive_reader& in) {
        auto text = ipc::decode<std::string>(in);
        return limit_error(text, ipc::decode<std::size_t>(in));
    }
};

template <>
struct codec<interrupted_error> {
    static void encode(archive_writer& out, const interrupted_error& e) {
        ipc::encode(out, e.signal());
    }
    static interrupted_error decode(archive_reader& in) {
        return interrupted_error(ipc::decode<int>(in));
    }
};

template <>
struct codec<remote_error> {
    static void encode(archive_writer& out, const remote_error& e) {
        ipc::encode(out, e.type_name());
        ipc::encode(out, e.text());
        ipc::encode(out, e.trace());
    }
    static remote_error decode(archive_reader& in) {
        auto type = ipc::decode<std::string>(in);
        auto text = ipc::decode<std::string>(in);
        return remote_error(type, text, ipc::decode<std::string>(in));
    }
};

template <>
struct codec<worker_lost> {
    static void encode(archive_writer& out, const worker_lost& e) {
        ipc::encode(out, e.pid());
        ipc::encode(out, e.status().known());
        ipc::encode(out, e.status().number());
        ipc::encode(out, e.status().core_dumped());
        ipc::encode(out, e.out_of_memory());
        ipc::encode(out, e.function());
        ipc::encode(out, e.tag());
        ipc::encode<std::int64_t>(out, e.ran_for().count());
        ipc::encode(out, e.last_words());
    }
    static worker_lost decode(archive_reader& in) {
        int pid = ipc::decode<int>(in);
        bool known = ipc::decode<bool>(in);
        int number = ipc::decode<int>(in);
        bool core_dumped = ipc::decode<bool>(in);
        exit_status status;
        if (known)
            status = number < 0 ? exit_status::by_signal(-number, core_dumped)
                                : exit_status::by_exit(number);
        worker_lost::details d;
        d.out_of_memory = ipc::decode<bool>(in);
        const auto function = ipc::decode<std::string>(in);
        d.function = function;
        d.tag = ipc::decode<std::uint64_t>(in);
        d.ran_for = duration(ipc::decode<std::int64_t>(in));
        const auto last_words = ipc::decode<std::string>(in);
        d.last_words = last_words;
        return worker_lost(pid, status, d);
    }
};

template <>
struct codec<exception_group> {
    // what() is "<where>: 2 errors ..."; the group is made anew from its parts.
    static void encode(archive_writer& out, const exception_group& e) {
        std::string_view text = e.what();
        ipc::encode(out, text.substr(0, text.find(':')));
        out.write_count(e.errors().size());
        nesting deeper = out.nest();
        for (const std::exception_ptr& inner : e.errors())
            encode_error(out, inner);
    }
    static exception_group decode(archive_reader& in) {
        auto where = ipc::decode<std::string>(in);
        std::size_t n = in.read_count(1, sizeof(std::exception_ptr));
        nesting deeper = in.nest();
        std::vector<std::exception_ptr> errors;
        for (std::size_t i = 0; i != n; ++i)
            errors.push_back(decode_error(in));
        return exception_group(where, std::move(errors));
    }
};

namespace {

// --- The table -----------------------------------------------------------------------------------

struct table {
    std::mutex mutex;
    // By the name's hash. Null: two types have the name, so neither is known.
    std::unordered_map<std::uint64_t, const error_entry*> by_id;

    static table& instance() {
        // Never destroyed: exceptions may cross until the very end of the process.
        static table& t = *new table();
        return t;
    }

    const error_entry* find(std::uint64_t id) {
        std::lock_guard lock(mutex);
        auto found = by_id.find(id);
        return found == by_id.end() ? nullptr : found->second;
    }
};

// Types whose constructors take no text: they have one text only.
template <class E>
void encode_nothing(archive_writer&) {}
template <class E>
std::exception_ptr decode_nothing(archive_reader&, const std::exception_ptr& cause) {
    return detail::error_around(E(), cause);
}
template <class E>
void register_textless() {
    static const error_entry entry(typeid(E), encode_nothing<E>, decode_nothing<E>,
                                   detail::copier<E>());
}

void register_known() {
    static const bool once = [] {
        register_error<std::runtime_error>();
        register_error<std::logic_error>();
        register_error<std::invalid_argument>();
        register_error<std::domain_error>();
        register_error<std::length_error>();
        register_error<std::out_of_range>();
        register_error<std::range_error>();
        register_error<std::overflow_error>();
        register_error<std::underflow_error>();
        register_error<std::system_error>();
        register_error<std::filesystem::filesystem_error>();
        register_textless<std::exception>();
        register_textless<std::bad_alloc>();
        register_textless<std::bad_array_new_length>();
        register_textless<std::bad_cast>();
        register_textless<std::bad_typeid>();
        register_textless<std::bad_exception>();
        register_textless<std::bad_function_call>();
        register_textless<std::bad_optional_access>();
        register_textless<std::bad_variant_access>();
        register_textless<std::bad_weak_ptr>();

        register_error<error>();
        register_error<state_error>();
        register_error<timeout_error>();
        register_error<eof_error>();
        register_error<truncated_error>();
        register_error<limit_error>();
        register_error<protocol_error>();
        register_error<unavailable_error>();
        register_error<interrupted_error>();
        register_error<lookup_error>();
        register_error<exception_group>();
        register_textless<cancelled_error>();
        register_error<codec_error>();
        register_error<remote_error>();
        register_error<worker_lost>();
        register_error<pool_terminated>();
        return true;
    }();
    static_cast<void>(once);
}

// --- One exception -------------------------------------------------------------------------------

// The mangled name of the type of the exception that is being handled, without the wrapper of
// throw_with_nested.
std::string current_type_name() {
    const std::type_info* type = abi::__cxa_current_exception_type();
    std::string name = type == nullptr ? "foreign exception" : type->name();
    constexpr std::string_view wrapper = "St17_Nested_exceptionI";
    if (name.starts_with(wrapper) && name.ends_with('E'))
        name = name.substr(wrapper.size(), name.size() - wrapper.size() - 1);
    return name;
}

std::string current_text() {
    try {
        throw;
    } catch (const std::exception& e) {
        return std::string(detail::text_of(e));
    } catch (const std::string& s) {
        return s;
    } catch (const char* s) {
        return s == nullptr ? "" : s;
    } catch (...) {
        return {};
    }
}

void put_text(archive_writer& out, std::string_view text) {
    ipc::encode(out, text.substr(0, remote_error::longest_text));
}

// Who an exception is in whose chain of causes another one lies.
struct outermost {
    std::string type, text;
};

// The trace that an exception brought along from a third process, if `e` is what carries it.
std::string trace_carried_by(const std::exception_ptr& e, const outermost& top) {
    if (!e)
        return {};
    try {
        std::rethrow_exception(e);
    } catch (const remote_error& r) {
        return r.type_name() == top.type && r.text() == top.text ? r.trace() : std::string();
    } catch (...) { // a cause like any other
        return {};
    }
}

// It lies in the innermost of the causes.
std::string trace_inside(std::exception_ptr e, const outermost& top) {
    while (e) {
        if (std::string trace = trace_carried_by(e, top); !trace.empty())
            return trace;
        e = detail::cause_of(e);
    }
    return {};
}

outermost current_as_outermost() {
    return {detail::readable_type_name(current_type_name().c_str())
                .substr(0, remote_error::longest_text),
            current_text().substr(0, remote_error::longest_text)};
}

void encode_level(archive_writer& out, std::string_view trace, const outermost* top,
                  unsigned level);

void encode_cause(archive_writer& out, const outermost& top, unsigned level) {
    const std::exception_ptr cause = detail::cause_of(std::current_exception());
    const bool travels =
        cause && level != detail::most_causes && trace_carried_by(cause, top).empty();
    ipc::encode<bool>(out, travels);
    if (!travels)
        return;
    try {
        std::rethrow_exception(cause);
    } catch (...) {
        encode_level(out, {}, &top, level + 1);
    }
}

// The layout: type name, text, trace, id of the type or 0, what the type's codec wrote, as a string
// of bytes, and whether a cause follows, which is written in the same way.
void encode_level(archive_writer& out, std::string_view trace, const outermost* top,
                  unsigned level) {
    std::string name = current_type_name();
    const outermost self = current_as_outermost();
    put_text(out, self.type);
    put_text(out, self.text);
    put_text(out, top != nullptr || !trace.empty()
                      ? std::string(trace)
                      : trace_inside(detail::cause_of(std::current_exception()), self));
    const error_entry* entry = table::instance().find(detail::hash_of_name(name.c_str()));
    bool told = false;
    if (entry != nullptr) {
        archive_writer details;
        try {
            entry->encode(details);
            ipc::encode(out, entry->id());
            out.write_count(details.size());
            out.write(details.bytes());
            told = true;
        } catch (...) {
            // Its codec failed, or the exception isn't what its name says: the text has to do.
            static_cast<void>(entry);
        }
    }
    if (!told) {
        ipc::encode(out, std::uint64_t{0});
        out.write_count(0);
    }
    encode_cause(out, top != nullptr ? *top : self, level);
}

} // namespace

error_entry::error_entry(const std::type_info& type, encode_function e, decode_function d,
                         copy_function c)
    : encode(e), decode(d), copy(c), name_(type.name()), id_(detail::hash_of_name(name_)) {
    table& t = table::instance();
    std::lock_guard lock(t.mutex);
    auto [place, fresh] = t.by_id.try_emplace(id_, this);
    if (!fresh)
        place->second = nullptr;
}

void encode_error(archive_writer& out, const std::exception_ptr& e, std::string_view trace) {
    register_known();
    std::size_t start = out.size();
    try {
        try {
            std::rethrow_exception(e);
        } catch (...) {
            encode_level(out, trace, nullptr, 0);
        }
    } catch (...) { // no memory for the whole story
        out.rewind(start);
        put_text(out, "an exception that couldn't be told");
        put_text(out, "");
        put_text(out, "");
        ipc::encode(out, std::uint64_t{0});
        out.write_count(0);
        ipc::encode<bool>(out, false);
    }
}

std::exception_ptr detail::cause_of(const std::exception_ptr& e) noexcept {
    try {
        std::rethrow_exception(e);
    } catch (const std::nested_exception& outer) {
        return outer.nested_ptr();
    } catch (...) { // nothing is
        return nullptr;
    }
}

remote_error describe_error(const std::exception_ptr& e, std::string_view trace) {
    try {
        std::rethrow_exception(e);
    } catch (...) {
        const outermost self = current_as_outermost();
        return {self.type, self.text,
                trace.empty() ? trace_inside(detail::cause_of(std::current_exception()), self)
                              : std::string(trace)};
    }
}

namespace {
// `pending`: the error whose trace is to lie in the innermost of its causes.
std::exception_ptr decode_level(archive_reader& in, const remote_error* pending) {
    nesting deeper = in.nest();
    auto type = ipc::decode<std::string>(in);
    auto text = ipc::decode<std::string>(in);
    auto trace = ipc::decode<std::string>(in);
    auto id = ipc::decode<std::uint64_t>(in);
    auto details = in.read(in.read_count(1, 0));
    const remote_error remote(type, text, trace);
    const error_entry* entry = id == 0 ? nullptr : table::instance().find(id);
    if (entry != nullptr && !trace.empty())
        pending = &remote;
    std::exception_ptr inside;
    if (ipc::decode<bool>(in))
        inside = decode_level(in, pending);
    else if (pending != nullptr)
        inside = std::make_exception_ptr(*pending);
    if (entry != nullptr) {
        try {
            archive_reader bytes(details);
            std::exception_ptr e = entry->decode(bytes, inside);
            bytes.finish();
            return e;
        } catch (...) {
            // Its codec doesn't understand its own bytes: the texts are still there.
            static_cast<void>(entry);
        }
    }
    return detail::error_around(remote, inside);
}
} // namespace

std::exception_ptr decode_error(archive_reader& in) {
    register_known();
    return decode_level(in, nullptr);
}

std::exception_ptr copy_error(const std::exception_ptr& e) noexcept {
    try {
        register_known();
        try {
            std::rethrow_exception(e);
        } catch (...) {
            const error_entry* entry =
                table::instance().find(detail::hash_of_name(current_type_name().c_str()));
            return entry == nullptr || entry->copy == nullptr ? e : entry->copy();
        }
    } catch (...) { // no memory, or its copy constructor threw
        return std::current_exception();
    }
}

} // namespace weft::ipc
