// SPDX-License-Identifier: MIT
// Types that were written for the cereal library travel between processes as they are.
//
//     #include <cereal/types/string.hpp>
//
//     class sample {
//     public:
//         template <class Archive>
//         void serialize(Archive& archive) { archive(number_, name_); }
//     private:
//         int number_ = 0;
//         std::string name_;
//     };
//
//     sample over_and_back(const sample& s) {
//         return weft::ipc::decode<sample>(weft::ipc::encode(s).bytes());
//     }
//
// All forms count: serialize, save and load, the minimal ones, members or not, with a version or
// without; base classes, shared and unique pointers. Aggregates travel by their members, with this
// header or without; one that should travel as cereal says is told so:
//
//     struct cached { int n = 0; int* cache = nullptr; };
//     template <class Archive>
//     void serialize(Archive& archive, cached& c) { archive(c.n); }
//     template <>
//     struct weft::ipc::codec<cached> : weft::ipc::cereal_codec<cached> {};
//
// Not offered: pointers to polymorphic classes, for then a message would choose the class. What
// only has a weft::ipc::codec can't be a member of what cereal writes.
//
// Threads:      any.
// Cancellation: none.
// Errors:       codec_error, also for what cereal has to say; whatever the type's own functions
//               throw.
// Cost:         that of cereal's binary archives. Containers are filled by cereal, which makes room
//               for as many elements as the message claims: never more than it has bytes left.
// Needs:        the headers of cereal (Debian: libcereal-dev); nothing else of weft includes this.
// Source:       cereal/archives/binary.hpp, https://uscilab.github.io/cereal.
#pragma once
#include <weft/ipc/codec.hpp>

#include <cereal/cereal.hpp>

namespace cereal::memory_detail {
template <class T>
struct PtrWrapper; // of cereal/types/memory.hpp
}

namespace weft::ipc {

namespace detail {

// What cereal wraps values in on their way; they don't count as values inside of values.
template <class T>
inline constexpr bool is_wrapping = std::is_arithmetic_v<T>;
template <class T>
inline constexpr bool is_wrapping<cereal::NameValuePair<T>> = true;
template <class T>
inline constexpr bool is_wrapping<cereal::SizeTag<T>> = true;
template <class T>
inline constexpr bool is_wrapping<cereal::BinaryData<T>> = true;
template <class T>
inline constexpr bool is_wrapping<cereal::memory_detail::PtrWrapper<T>> = true;

class cereal_depth {
public:
    void down() {
        if (left_ == 0)
            bad_value("values lie too deep in each other");
        --left_;
    }
    void up() noexcept { ++left_; }

private:
    unsigned left_ = archive_limits().depth;
};

} // namespace detail

/// What a type's serialize or save gets when it is sent.
class cereal_writer : public cereal::OutputArchive<cereal_writer>, public detail::cereal_depth {
public:
    explicit cereal_writer(archive_writer& out)
        : cereal::OutputArchive<cereal_writer>(this), out_(out) {}
    [[nodiscard]] archive_writer& out() noexcept { return out_; }

private:
    archive_writer& out_;
};

/// What a type's serialize or load gets when it has arrived.
class cereal_reader : public cereal::InputArchive<cereal_reader>, public detail::cereal_depth {
public:
    explicit cereal_reader(archive_reader& in)
        : cereal::InputArchive<cereal_reader>(this), in_(in) {}
    [[nodiscard]] archive_reader& in() noexcept { return in_; }

private:
    archive_reader& in_;
};

// cereal finds these by their archive. The names it wants are fixed by macros.
template <class T>
    requires std::is_arithmetic_v<T>
void CEREAL_SAVE_FUNCTION_NAME(cereal_writer& archive, const T& value) {
    ipc::encode<T>(archive.out(), value);
}
template <class T>
    requires std::is_arithmetic_v<T>
void CEREAL_LOAD_FUNCTION_NAME(cereal_reader& archive, T& value) {
    value = ipc::decode<T>(archive.in());
}
template <class T>
void CEREAL_SAVE_FUNCTION_NAME(cereal_writer& archive, const cereal::NameValuePair<T>& pair) {
    archive(pair.value);
}
template <class T>
void CEREAL_LOAD_FUNCTION_NAME(cereal_reader& archive, cereal::NameValuePair<T>& pair) {
    archive(pair.value);
}
template <class T>
void CEREAL_SAVE_FUNCTION_NAME(cereal_writer& archive, const cereal::SizeTag<T>& tag) {
    archive.out().write_count(static_cast<std::size_t>(tag.size));
}
template <class T>
void CEREAL_LOAD_FUNCTION_NAME(cereal_reader& archive, cereal::SizeTag<T>& tag) {
    // How large an element is only cereal knows, so a claim is held to what is certain: each takes
    // a byte.
    tag.size = static_cast<std::remove_reference_t<T>>(archive.in().read_count(1, 1));
}
template <class T>
void CEREAL_SAVE_FUNCTION_NAME(cereal_writer& archive, const cereal::BinaryData<T>& data) {
    archive.out().write(
        {static_cast<const std::byte*>(data.data), static_cast<std::size_t>(data.size)});
}
template <class T>
void CEREAL_LOAD_FUNCTION_NAME(cereal_reader& archive, cereal::BinaryData<T>& data) {
    auto bytes = archive.in().read(static_cast<std::size_t>(data.size));
    if (!bytes.empty())
        std::memcpy(data.data, bytes.data(), bytes.size());
}

// Called around each value.
template <class T>
void prologue(cereal_writer& archive, const T&) {
    if constexpr (!detail::is_wrapping<T>)
        archive.down();
}
template <class T>
void epilogue(cereal_writer& archive, const T&) {
    if constexpr (!detail::is_wrapping<T>)
        archive.up();
}
template <class T>
void prologue(cereal_reader& archive, const T&) {
    if constexpr (!detail::is_wrapping<T>)
        archive.down();
}
template <class T>
void epilogue(cereal_reader& archive, const T&) {
    if constexpr (!detail::is_wrapping<T>)
        archive.up();
}

/// The codec of a T that cereal can write, whatever else it is.
template <class T>
struct cereal_codec {
    static void encode(archive_writer& out, const T& value) {
        nesting deeper = out.nest();
        try {
            cereal_writer archive(out);
            archive(value);
            archive.serializeDeferments();
        } catch (const cereal::Exception& e) {
            detail::bad_value(e.what());
        }
    }
    static T decode(archive_reader& in) {
        nesting deeper = in.nest();
        try {
            T value = fresh();
            cereal_reader archive(in);
            archive(value);
            archive.serializeDeferments();
            return value;
        } catch (const cereal::Exception& e) {
            detail::bad_value(e.what());
        }
    }

private:
    // A default constructor may be cereal's secret.
    static T fresh() {
        if constexpr (std::default_initializable<T>)
            return T();
        else
            return std::move(*std::unique_ptr<T>(cereal::access::construct<T>()));
    }
};

} // namespace weft::ipc

CEREAL_SETUP_ARCHIVE_TRAITS(weft::ipc::cereal_reader, weft::ipc::cereal_writer)

namespace weft::ipc {

namespace detail {
// Asked of classes that nothing else knows, when they are sent.
template <class T>
concept for_cereal =
    std::is_class_v<T> && !aggregate<T> && !sequence<T> && !keyed<T> && !path_like<T> &&
    cereal::traits::is_output_serializable<T, cereal_writer>::value &&
    cereal::traits::is_input_serializable<T, cereal_reader>::value;
} // namespace detail

template <detail::for_cereal T>
struct codec<T> : cereal_codec<T> {};

} // namespace weft::ipc
