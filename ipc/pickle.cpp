// SPDX-License-Identifier: MIT
// The pickle machine, without the opcodes that name, make or call anything.
//
// A pickle may refer to a value that it built before, also while that one is still being filled. So
// the values are built as a graph first, and turned into a tree afterwards, which is what is
// charged for: a graph of a few bytes can be a tree of any size, or none.
#include <weft/ipc/python_value.hpp>

#include "impl/utf8.hpp"

#include <weft/runtime/buffer.hpp>

#include <algorithm>
#include <bit>
#include <cstring>
#include <deque>
#include <optional>

namespace weft::ipc {

namespace {

using kind = python_value::kind;

enum class op : std::uint8_t {
    mark = '(',
    stop = '.',
    binfloat = 'G',
    binint = 'J',
    binint1 = 'K',
    binint2 = 'M',
    none = 'N',
    binunicode = 'X',
    short_binbytes = 'C',
    binbytes = 'B',
    append = 'a',
    appends = 'e',
    binget = 'h',
    long_binget = 'j',
    binput = 'q',
    long_binput = 'r',
    setitem = 's',
    tuple = 't',
    setitems = 'u',
    empty_tuple = ')',
    empty_list = ']',
    empty_dict = '}',
    proto = 0x80,
    tuple1 = 0x85,
    tuple2 = 0x86,
    tuple3 = 0x87,
    newtrue = 0x88,
    newfalse = 0x89,
    long1 = 0x8a,
    long4 = 0x8b,
    short_binunicode = 0x8c,
    binunicode8 = 0x8d,
    binbytes8 = 0x8e,
    empty_set = 0x8f,
    additems = 0x90,
    memoize = 0x94,
    frame = 0x95,
};

// --- Writing -------------------------------------------------------------------------------------

void put(archive_writer& out, op o) { out.write_value(o); }

template <class T>
void put_number(archive_writer& out, op o, T value) {
    static_assert(std::endian::native == std::endian::little);
    put(out, o);
    out.write_value(value);
}

void put_int(archive_writer& out, std::int64_t i) {
    if (i >= 0 && i <= 0xff) {
        put_number(out, op::binint1, static_cast<std::uint8_t>(i));
    } else if (i >= 0 && i <= 0xffff) {
        put_number(out, op::binint2, static_cast<std::uint16_t>(i));
    } else if (i == static_cast<std::int32_t>(i)) {
        put_number(out, op::binint, static_cast<std::int32_t>(i));
    } else {
        put_number(out, op::long1, std::uint8_t{8});
        out.write_value(i);
    }
}

std::uint64_t swapped(std::uint64_t v) noexcept { return __builtin_bswap64(v); }

void put_block(archive_writer& out, std::span<const std::byte> b, op in_1, op in_4, op in_8) {
    if (b.size() <= 0xff)
        put_number(out, in_1, static_cast<std::uint8_t>(b.size()));
    else if (b.size() <= 0xffffffff)
        put_number(out, in_4, static_cast<std::uint32_t>(b.size()));
    else
        put_number(out, in_8, static_cast<std::uint64_t>(b.size()));
    out.write(b);
}

void put_value(archive_writer& out, const python_value& v);

void put_items(archive_writer& out, const std::vector<python_value>& items) {
    for (const python_value& i : items)
        put_value(out, i);
}

void put_tuple(archive_writer& out, const std::vector<python_value>& items) {
    constexpr op short_ones[] = {op::empty_tuple, op::tuple1, op::tuple2, op::tuple3};
    bool is_short = items.size() < std::size(short_ones);
    if (!is_short)
        put(out, op::mark);
    put_items(out, items);
    put(out, is_short ? short_ones[items.size()] : op::tuple);
}

void put_filled(archive_writer& out, op empty, const std::vector<python_value>& items, op fill) {
    put(out, empty);
    if (items.empty())
        return;
    put(out, op::mark);
    put_items(out, items);
    put(out, fill);
}

void put_value(archive_writer& out, const python_value& v) {
    switch (v.type()) {
    case kind::none:
        put(out, op::none);
        return;
    case kind::boolean:
        put(out, v.as_bool() ? op::newtrue : op::newfalse);
        return;
    case kind::integer:
        put_int(out, v.as_int());
        return;
    case kind::real:
        put_number(out, op::binfloat, swapped(std::bit_cast<std::uint64_t>(v.as_real())));
        return;
    case kind::text:
        put_block(out, as_bytes(v.as_text()), op::short_binunicode, op::binunicode,
                  op::binunicode8);
        return;
    case kind::bytes:
        put_block(out, v.as_bytes(), op::short_binbytes, op::binbytes, op::binbytes8);
        return;
    default:
        break;
    }
    nesting deeper = out.nest();
    switch (v.type()) {
    case kind::list:
        put_filled(out, op::empty_list, v.items(), op::appends);
        break;
    case kind::set:
        put_filled(out, op::empty_set, v.items(), op::additems);
        break;
    case kind::tuple:
        put_tuple(out, v.items());
        break;
    default:
        put(out, op::empty_dict);
        if (v.pairs().empty())
            break;
        put(out, op::mark);
        for (const auto& [key, value] : v.pairs()) {
            put_value(out, key);
            put_value(out, value);
        }
        put(out, op::setitems);
    }
}

// --- Reading -------------------------------------------------------------------------------------

[[noreturn]] void bad(const char* what) {
    throw codec_error(std::string("this is no pickle of plain values: ") + what);
}

// A value of the graph: itself, or where it is.
struct part {
    kind type = kind::none;
    union {
        std::int64_t integer = 0;
        double real;
        std::size_t place; // of a block or a container
    };
};

// The bytes of a str or of bytes, and the value when it has been made.
struct block {
    std::span<const std::byte> bytes;
    python_value value;
};

class unpickler {
public:
    unpickler(std::span<const std::byte> message, const archive_limits& limits)
        : in_(message, limits), size_(message.size()) {}

    python_value run() {
        if (next() != op::proto)
            bad("it doesn't begin with its protocol");
        auto protocol = in_.read_value<std::uint8_t>();
        if (protocol < 2 || protocol > 5)
            bad("its protocol isn't 2 to 5");
        for (op o = next(); o != op::stop; o = next())
            step(o);
        in_.finish();
        if (stack_.size() != 1 || !marks_.empty())
            bad("something is left over");
        return tree(stack_.back());
    }

private:
    op next() { return in_.read_value<op>(); }

    static part of(kind k, std::int64_t i = 0) {
        part p;
        p.type = k;
        p.integer = i;
        return p;
    }
    void push(part p) { stack_.push_back(p); }

    template <class Length>
    void push_block(kind k) {
        std::uint64_t size = in_.read_value<Length>();
        if (size > in_.left())
            bad("it is cut off");
        auto bytes = in_.read(static_cast<std::size_t>(size));
        if (k == kind::text && !detail::is_utf8(as_text(bytes)))
            bad("a str isn't UTF-8");
        blocks_.push_back({bytes, python_value()});
        push(of(k, static_cast<std::int64_t>(blocks_.size() - 1)));
    }

    void push_long(std::size_t size) {
        if (size > in_.left())
            bad("it is cut off");
        auto bytes = in_.read(size);
        // Two's complement, the least significant byte first. What is beyond 64 bits must repeat
        // the sign.
        std::uint64_t low = 0;
        bool negative = size != 0 && (bytes[size - 1] & std::byte{0x80}) != std::byte{};
        std::byte sign = negative ? std::byte{0xff} : std::byte{};
        for (std::size_t i = 0; i != std::max<std::size_t>(size, 8); ++i) {
            std::byte b = i < size ? bytes[i] : sign;
            if (i < 8)
                low |= static_cast<std::uint64_t>(b) << (8 * i);
            else if (b != sign)
                bad("an int has more than 64 bits");
        }
        auto value = static_cast<std::int64_t>(low);
        if ((value < 0) != negative)
            bad("an int has more than 64 bits");
        push(of(kind::integer, value));
    }

    // A new container with what lies on the stack from `first` on.
    void push_container(kind k, std::size_t first) {
        containers_.emplace_back(stack_.begin() + static_cast<std::ptrdiff_t>(first), stack_.end());
        stack_.resize(first);
        push(of(k, static_cast<std::int64_t>(containers_.size() - 1)));
    }
    void push_empty(kind k) { push_container(k, stack_.size()); }

    void require(std::size_t n) const {
        // What lies under a mark can't be reached from above it.
        std::size_t bottom = marks_.empty() ? 0 : marks_.back();
        if (stack_.size() < bottom + n)
            bad("the stack is empty");
    }
    std::size_t take_mark() {
        if (marks_.empty())
            bad("there is no mark");
        std::size_t m = marks_.back();
        marks_.pop_back();
        return m;
    }

    // Puts what lies on the stack from `first` on into the container under it.
    void fill(kind k, std::size_t first) {
        if (first == 0 || stack_[first - 1].type != k)
            bad("what is filled is no container of the kind");
        if (!marks_.empty() && marks_.back() >= first)
            bad("what is filled lies under a mark");
        if (k == kind::dict && (stack_.size() - first) % 2 != 0)
            bad("a key without a value");
        std::vector<part>& c = containers_[stack_[first - 1].place];
        c.insert(c.end(), stack_.begin() + static_cast<std::ptrdiff_t>(first), stack_.end());
        stack_.resize(first);
    }

    void memoize(std::size_t at) {
        require(1);
        if (at >= memo_.size()) {
            if (at > memoized_ + size_) // as many as there are bytes would be too many already
                bad("it counts what it remembers in a way of its own");
            memo_.resize(at + 1);
        }
        memoized_ += memo_[at] ? 0 : 1;
        memo_[at] = stack_.back();
    }
    void get(std::size_t at) {
        if (at >= memo_.size() || !memo_[at])
            bad("it refers to what isn't there");
        push(*memo_[at]);
    }

    void step(op o) {
        switch (o) {
        case op::none:
            return push(of(kind::none));
        case op::newtrue:
            return push(of(kind::boolean, 1));
        case op::newfalse:
            return push(of(kind::boolean, 0));
        case op::binint1:
            return push(of(kind::integer, in_.read_value<std::uint8_t>()));
        case op::binint2:
            return push(of(kind::integer, in_.read_value<std::uint16_t>()));
        case op::binint:
            return push(of(kind::integer, in_.read_value<std::int32_t>()));
        case op::long1:
            return push_long(in_.read_value<std::uint8_t>());
        case op::long4: {
            auto size = in_.read_value<std::int32_t>();
            if (size < 0)
                bad("a negative length");
            return push_long(static_cast<std::size_t>(size));
        }
        case op::binfloat: {
            part p = of(kind::real);
            p.real = std::bit_cast<double>(swapped(in_.read_value<std::uint64_t>()));
            return push(p);
        }
        case op::short_binunicode:
            return push_block<std::uint8_t>(kind::text);
        case op::binunicode:
            return push_block<std::uint32_t>(kind::text);
        case op::binunicode8:
            return push_block<std::uint64_t>(kind::text);
        case op::short_binbytes:
            return push_block<std::uint8_t>(kind::bytes);
        case op::binbytes:
            return push_block<std::uint32_t>(kind::bytes);
        case op::binbytes8:
            return push_block<std::uint64_t>(kind::bytes);
        case op::empty_list:
            return push_empty(kind::list);
        case op::empty_tuple:
            return push_empty(kind::tuple);
        case op::empty_dict:
            return push_empty(kind::dict);
        case op::empty_set:
            return push_empty(kind::set);
        case op::tuple1:
        case op::tuple2:
        case op::tuple3: {
            std::size_t n = static_cast<std::size_t>(o) - static_cast<std::size_t>(op::tuple1) + 1;
            require(n);
            return push_container(kind::tuple, stack_.size() - n);
        }
        case op::tuple:
            return push_container(kind::tuple, take_mark());
        case op::append:
            require(2);
            return fill(kind::list, stack_.size() - 1);
        case op::setitem:
            require(3);
            return fill(kind::dict, stack_.size() - 2);
        case op::appends:
            return fill(kind::list, take_mark());
        case op::setitems:
            return fill(kind::dict, take_mark());
        case op::additems:
            return fill(kind::set, take_mark());
        case op::mark:
            return marks_.push_back(stack_.size());
        case op::memoize:
            return memoize(memoized_);
        case op::binput:
            return memoize(in_.read_value<std::uint8_t>());
        case op::long_binput:
            return memoize(in_.read_value<std::uint32_t>());
        case op::binget:
            return get(in_.read_value<std::uint8_t>());
        case op::long_binget:
            return get(in_.read_value<std::uint32_t>());
        case op::frame: // for those who read from a file
            if (in_.read_value<std::uint64_t>() > in_.left())
                bad("a frame is cut off");
            return;
        case op::proto:
        case op::stop:
            break;
        }
        bad("an opcode that isn't understood, or that names code");
    }

    // A str that is referred to again is there once. But whoever writes or shows the value has it
    // many times, so a long one counts each time.
    python_value text(kind k, block& b) {
        constexpr std::size_t is_short = 64;
        bool first = b.value.is_none();
        if (first)
            b.value =
                k == kind::text ? python_value(as_text(b.bytes)) : python_value::bytes(b.bytes);
        if (first)
            in_.charge(1, sizeof(std::string));
        if (first || b.bytes.size() > is_short)
            in_.charge(b.bytes.size(), 1);
        return b.value;
    }

    // What the graph looks like from here. One that contains itself is deeper than any limit.
    python_value tree(const part& p) {
        switch (p.type) {
        case kind::none:
            return {};
        case kind::boolean:
            return p.integer != 0;
        case kind::integer:
            return p.integer;
        case kind::real:
            return p.real;
        case kind::text:
        case kind::bytes:
            return text(p.type, blocks_[p.place]);
        default:
            break;
        }
        nesting deeper = in_.nest();
        const std::vector<part>& parts = containers_[p.place];
        if (!parts.empty())
            in_.charge(1, sizeof(std::vector<part>));
        in_.charge(parts.size(), sizeof(python_value));
        if (p.type == kind::dict) {
            std::vector<python_value::pair> pairs;
            pairs.reserve(parts.size() / 2);
            for (std::size_t i = 0; i != parts.size(); i += 2) {
                python_value key = tree(parts[i]);
                pairs.emplace_back(std::move(key), tree(parts[i + 1]));
            }
            return python_value::dict(std::move(pairs));
        }
        std::vector<python_value> items;
        items.reserve(parts.size());
        for (const part& i : parts)
            items.push_back(tree(i));
        return p.type == kind::list    ? python_value::list(std::move(items))
               : p.type == kind::tuple ? python_value::tuple(std::move(items))
                                       : python_value::set(std::move(items));
    }

    archive_reader in_;
    std::vector<part> stack_;
    std::vector<std::size_t> marks_;
    std::deque<block> blocks_;
    std::deque<std::vector<part>> containers_;
    std::vector<std::optional<part>> memo_;
    std::size_t memoized_ = 0;
    std::size_t size_;
};

} // namespace

byte_buffer pickle(const python_value& v) {
    archive_writer out;
    put_number(out, op::proto, std::uint8_t{4});
    put_value(out, v);
    put(out, op::stop);
    return out.take();
}

python_value unpickle(std::span<const std::byte> message, const archive_limits& limits) {
    return unpickler(message, limits).run();
}

} // namespace weft::ipc
