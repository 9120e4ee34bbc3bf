#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""House rules that no other tool knows. Usage: tidy_check.py [FILE...] | --self-test

Without arguments it looks at the whole tree, with files at those alone. Prints `file:line: what is wrong`, exits 1 if anything is.

Rules of the tree: SPDX line first; headers, sources and tests listed in their meson.build; each public header with a purpose and
the five labels; modules include downwards only, impl/ stays inside of its module, liburing and fmt where they belong; nothing
left to do later in the text.

Rules for coroutines: g++ 12 destroys some temporaries twice if their full expression contains co_await or co_yield, and awaits
what stands to the right of && and || in any case, without a word (tests/canary/known_bad.cpp has every shape). They are found in sources, tests, examples, in the examples of header comments and in the
C++ of the documentation. Working on tokens, the lint can't know types: where it is wrong, name the object in a statement
of its own, or write `// coroutine-lint: why it is harmless` on the line.
"""
from __future__ import annotations

import pathlib
import re
import sys
from typing import Iterator, NamedTuple

ROOT = pathlib.Path(__file__).resolve().parent.parent
MODULES = ["runtime", "sync", "ipc", "executors"]
# Which modules a module's files may include besides their own.
BELOW = {"runtime": set(), "sync": {"runtime"}, "ipc": {"runtime"}, "executors": {"runtime", "sync", "ipc"}}
FOLDERS = MODULES + ["tests", "examples", "benchmarks", "docs", "tools", "cmake", ".ci"]
LABELS = ["Threads:", "Cancellation:", "Errors:", "Cost:", "Source:"]
# Headers that cost too much, or whose macros are too many, for every user to pay.
HEAVY = {"thread", "filesystem", "iostream", "regex", "future"}
LINE_LIMIT = 100
# Catch2's macros that have their argument a second time, behind a false &&.
EVALUATED_TWICE = {"CHECK", "CHECK_FALSE", "REQUIRE", "REQUIRE_FALSE", "CHECKED_IF", "CHECKED_ELSE", "CHECK_NOFAIL"}
MARK = "coroutine-" + "lint:"  # not to be found here


class Finding(NamedTuple):
    path: str
    line: int
    text: str


# --- Tokens ------------------------------------------------------------------------------------------------------------

class Token(NamedTuple):
    text: str
    line: int
    kind: str  # name, number, string, op


TOKEN = re.compile(
    r"""
    (?P<space>\s+|\\\n)
  | (?P<comment>//[^\n]*|/\*.*?\*/)
  | (?P<raw>(?:u8|u|U|L)?R"(?P<delim>[^()\s\\]{0,16})\(.*?\)(?P=delim)")
  | (?P<string>(?:u8|u|U|L)?"(?:[^"\\\n]|\\.)*"|(?:u8|u|U|L)?'(?:[^'\\\n]|\\.)+')
  | (?P<number>\.?[0-9](?:'?[0-9a-zA-Z_.]|(?<=[eEpP])[+-])*)
  | (?P<name>[A-Za-z_]\w*)
  | (?P<op>::|->\*?|\+\+|--|<<=|>>=|<=>|<=|>=|==|!=|&&|\|\||[-+*/%&|^]=|\.\.\.|<<|[^\w\s])
    """,
    re.X | re.S,
)


def tokens_of(code: str, first_line: int = 1) -> list[Token]:
    """Tokens without comments and preprocessor lines. `>>` is two tokens, as templates need it."""
    # A directive hides its whole line; the lines stay, so that numbers fit.
    code = re.sub(
        r"^[ \t]*#(?:[^\n\\]|\\.|\\\n)*", lambda m: "\n" * m.group().count("\n"), code, flags=re.M)
    found = []
    line = first_line
    at = 0
    while at < len(code):
        m = TOKEN.match(code, at)
        if m is None:
            at += 1
            continue
        kind = m.lastgroup
        if kind == "delim" or kind == "raw":
            kind = "string"
        if kind not in ("space", "comment"):
            found.append(Token(m.group(), line, kind))
        line += m.group().count("\n")
        at = m.end()
    return found


# --- Coroutines --------------------------------------------------------------------------------------------------------

OPEN = {"(": ")", "[": "]", "{": "}"}
CLOSE = {")", "]", "}"}
WAITS = {"co_await", "co_yield"}
# After these a brace begins a block of statements (unless a type's name comes between).
BEFORE_BLOCK = {")", "else", "do", "try", ";", "{", "}", "noexcept", "const", "override", "final", "mutable", "&&", "&",
                "requires", "constexpr", "consteval", "static"}
# Types whose braces are harmless: trivially destructible, or made by a constructor.
HARMLESS = {
    "nanoseconds", "microseconds", "milliseconds", "seconds", "minutes", "hours", "duration", "time_point", "span",
    "string_view", "byte", "size_t", "ssize_t", "ptrdiff_t", "int", "long", "unsigned", "char", "bool", "double", "float",
    "int8_t", "int16_t", "int32_t", "int64_t", "uint8_t", "uint16_t", "uint32_t", "uint64_t", "string", "optional",
    "pair", "tuple", "unique_ptr", "shared_ptr", "function", "monostate", "nullopt_t", "stop_token", "coroutine_handle",
    "source_location", "reference_wrapper", "thread", "jthread", "lock_guard", "unique_lock", "scoped_lock",
    "error_code", "error_condition", "exception_ptr", "error_category",
}
AWAITABLE = re.compile(r"(^|_)(task|op|awaiter|awaitable|operation|auto|handle)$")


def matching(tokens: list[Token]) -> dict[int, int]:
    """Index of each bracket's partner."""
    partner = {}
    stack = []
    for i, t in enumerate(tokens):
        if t.text in OPEN and t.kind == "op":
            stack.append(i)
        elif t.text in CLOSE and t.kind == "op" and stack:
            # Unbalanced text (macros, snippets): take the nearest that fits.
            while stack and OPEN[tokens[stack[-1]].text] != t.text:
                stack.pop()
            if stack:
                partner[stack[-1]] = i
                partner[i] = stack.pop()
    return partner


def angle_start(tokens: list[Token], close: int) -> int | None:
    """Where the template argument list that ends at `close` begins."""
    depth = 0
    for i in range(close, max(-1, close - 200), -1):
        text = tokens[i].text
        if text == ">":
            depth += 1
        elif text == "<":
            depth -= 1
            if depth == 0:
                return i
        elif text in (";", "{", "}"):
            return None
    return None


def type_before(tokens: list[Token], brace: int) -> tuple[int, str] | None:
    """The name directly before a brace, `a::b<c>` as (index of its first token, last name), or nothing."""
    i = brace - 1
    if i < 0:
        return None
    if tokens[i].text == ">":
        start = angle_start(tokens, i)
        if start is None:
            return None
        i = start - 1
    if i < 0 or tokens[i].kind != "name" or tokens[i].text in KEYWORDS:
        return None
    last = tokens[i].text
    while i >= 2 and tokens[i - 1].text == "::":
        j = i - 2
        if tokens[j].text == ">":
            start = angle_start(tokens, j)
            if start is None:
                break
            j = start - 1
        if j < 0 or tokens[j].kind != "name":
            break
        i = j
    if i >= 1 and tokens[i - 1].text == "::":
        i -= 1
    return i, last


KEYWORDS = {
    "return", "co_return", "co_await", "co_yield", "throw", "new", "delete", "if", "else", "for", "while", "do", "switch", "case",
    "try", "catch", "struct", "class", "union", "enum", "namespace", "template", "typename", "using", "const", "constexpr",
    "static", "auto", "noexcept", "override", "final", "mutable", "requires", "operator", "default", "goto", "export",
    "public", "private", "protected", "inline", "virtual", "explicit", "friend", "sizeof", "decltype", "and", "or", "not",
}


def lambda_intros(tokens: list[Token], partner: dict[int, int]) -> dict[int, int | None]:
    """For each `[` that begins a lambda the index of its body's brace."""
    found = {}
    for i, t in enumerate(tokens):
        if t.text != "[" or i not in partner or i in found:
            continue
        before = tokens[i - 1] if i > 0 else None
        if before is not None:
            ends_a_value = (before.kind in ("number", "string") or before.text in (")", "]", "}")
                            or (before.kind == "name" and before.text not in KEYWORDS))
            if ends_a_value and before.text != "}":
                continue
        if (before is not None and before.text == "[") or (i + 1 < len(tokens) and tokens[i + 1].text == "["):
            continue  # an attribute
        j = partner[i] + 1
        body = None
        steps = 0
        while j < len(tokens) and steps < 300:
            text = tokens[j].text
            if text == "{":
                body = j
                break
            if text in ("(", "["):
                j = partner.get(j, j)
            elif text in (";", ")", "]", "}") or (text == "," and steps == 0):
                break
            j += 1
            steps += 1
        if body is not None:
            found[i] = body
    return found


class Structure:
    """What each brace is, and where the full expressions of a text lie."""

    def __init__(self, tokens: list[Token]):
        self.tokens = tokens
        self.partner = matching(tokens)
        self.lambdas = lambda_intros(tokens, self.partner)
        self.bodies = {body: intro for intro, body in self.lambdas.items() if body is not None}
        self.block = {i: self.is_block(i) for i, t in enumerate(tokens) if t.text == "{" and i in self.partner}

    def is_block(self, i: int) -> bool:
        if i in self.bodies or i == 0:
            return True
        before = self.tokens[i - 1].text
        if before in BEFORE_BLOCK:
            # `{{` and `}{` only occur inside of initialisers if the outer brace is one.
            if before in ("{", "}", ";"):
                outer = self.enclosing_brace(i)
                return outer is None or self.is_block(outer)
            if before in ("&&", "&"):  # void f() && {, but a && {}
                return self.tokens[i - 2].text in (")", "const")
            return True
        if before == ":":  # label, case, access; or `c ? a : {`, which is no C++
            return True
        # struct x {, class x : public y<z> {, namespace a::b {, enum class e : int {, operator() -> type {
        j = i - 1
        steps = 0
        while j >= 0 and steps < 200:
            text = self.tokens[j].text
            if text in ("struct", "class", "union", "enum", "namespace", "extern", "concept"):
                # `template <class T> T f() {` has it inside of angle brackets, which end in a later `)` or `>`.
                return not self.inside_angle(j, i)
            if text == "->":
                return j > 0 and self.tokens[j - 1].text in (")", "]", "noexcept", "mutable", "const") or (
                    j > 0 and self.tokens[j - 1].kind == "name" and self.after_signature(j))
            if text in (";", "{", "}", "=", "return", "co_return", "co_await", "co_yield", "(", "throw", "?"):
                if text == "(":
                    return False
                # `template <...> requires c<T> T f() {` ended in `)`, and was found above.
                return False
            if text in (")", "]") and j in self.partner:
                # a member initialiser list: x(int a) : b_(a), c_{a} {   ends in ) or }; handled by BEFORE_BLOCK
                j = self.partner[j]
            j -= 1
            steps += 1
        return False

    def after_signature(self, arrow: int) -> bool:
        return self.tokens[arrow - 1].text in ("noexcept", "const", "mutable")

    def inside_angle(self, j: int, i: int) -> bool:
        depth = 0
        for k in range(j, i):
            text = self.tokens[k].text
            if text == "<":
                depth += 1
            elif text == ">":
                depth -= 1
                if depth < 0:
                    return True
        return False

    def enclosing_brace(self, i: int) -> int | None:
        depth = 0
        for j in range(i - 1, -1, -1):
            text = self.tokens[j].text
            if text in CLOSE and j in self.partner:
                depth += 1
            elif text in OPEN and j in self.partner:
                if depth == 0:
                    return j if text == "{" else None
                depth -= 1
        return None

    def expressions(self) -> Iterator[list[int]]:
        """Token indices of each full expression, without the bodies of lambdas in it. Statements are good enough: their
        parts in the head of `for` are told apart, and a condition ends where its parenthesis does."""
        yield from self.statements(0, len(self.tokens))

    def statements(self, start: int, end: int) -> Iterator[list[int]]:
        current: list[int] = []
        i = start
        while i < end:
            t = self.tokens[i].text
            if t == "{" and i in self.partner:
                close = self.partner[i]
                if i in self.bodies and self.bodies[i] >= start:
                    yield from self.statements(i + 1, close)
                    current += [i, close]
                elif self.block.get(i, False):
                    if current:
                        yield current
                        current = []
                    yield from self.statements(i + 1, close)
                else:
                    current.append(i)  # an initialiser: part of the expression
                    inner, nested = self.flat(i + 1, close)
                    current += inner + [close]
                    yield from nested
                i = close + 1
                continue
            if t in ("if", "while", "for", "switch") and self.tokens[i].kind == "name":
                j = i + 1
                if j < end and self.tokens[j].text == "constexpr":
                    j += 1
                if j < end and self.tokens[j].text == "(" and j in self.partner:
                    close = self.partner[j]
                    yield from self.split_head(j + 1, close)
                    current = []
                    i = close + 1
                    continue
            if t in ("(", "[") and i in self.partner:
                close = self.partner[i]
                inner, nested = self.flat(i + 1, close)
                current += [i] + inner + [close]
                yield from nested
                i = close + 1
                continue
            if t == ";":
                if current:
                    yield current
                current = []
            else:
                current.append(i)
            i += 1
        if current:
            yield current

    def flat(self, start: int, end: int) -> tuple[list[int], list[list[int]]]:
        """The tokens of a bracket's inside without lambda bodies, and the expressions of those bodies."""
        inner: list[int] = []
        nested: list[list[int]] = []
        i = start
        while i < end:
            if self.tokens[i].text == "{" and i in self.bodies and i in self.partner:
                close = self.partner[i]
                nested += list(self.statements(i + 1, close))
                inner += [i, close]
                i = close + 1
            else:
                inner.append(i)
                i += 1
        return inner, nested

    def split_head(self, start: int, end: int) -> Iterator[list[int]]:
        """`for (a; b; c)`, `if (a; b)`: each part is a full expression."""
        inner, nested = self.flat(start, end)
        yield from nested
        part: list[int] = []
        for i in inner:
            if self.tokens[i].text == ";":
                if part:
                    yield part
                part = []
            else:
                part.append(i)
        if part:
            yield part


def initialises_a_declaration(s: Structure, expression: list[int], brace: int) -> bool:
    """`type name{...}` at the outermost level of a statement: the object itself, no temporary."""
    tokens = s.tokens
    name = brace - 1
    if name not in expression or tokens[name].kind != "name" or tokens[name].text in KEYWORDS:
        return False
    before = name - 1
    if before not in expression:
        return False
    t = tokens[before]
    # `static constexpr foo bar{`, `a::b<c> d{`, `auto& x{`
    return (t.kind == "name" and t.text not in KEYWORDS - {"const", "auto", "constexpr", "static"}) or t.text in (">", "&", "*", "&&")


def split_captures(tokens: list[Token], start: int, end: int, partner: dict[int, int]) -> Iterator[list[Token]]:
    part: list[Token] = []
    i = start
    while i < end:
        if tokens[i].text in OPEN and i in partner:
            part += tokens[i:partner[i] + 1]
            i = partner[i] + 1
            continue
        if tokens[i].text == ",":
            yield part
            part = []
        else:
            part.append(tokens[i])
        i += 1
    if part:
        yield part


def simple_operand(tokens: list[Token], part: list[int]) -> bool:
    """Whether a branch of a conditional can only be a number, a name or a member: nothing that makes an object."""
    for i in part:
        t = tokens[i]
        if t.text in ("{", "co_await", "co_yield", "throw"):
            return False
        if t.text == "(":
            before = tokens[i - 1] if i > 0 else None
            if before is not None and i - 1 in part and (before.kind == "name" or before.text in (">", ")", "]")):
                name = before.text
                if name == ">":
                    start = angle_start(tokens, i - 1)
                    name = tokens[start - 1].text if start else ""
                # Casts to numbers, and getters that give numbers everywhere.
                if name not in ("static_cast", "size", "ssize", "sizeof", "count", "min", "max", "data", "get", "value"):
                    return False
        if t.kind == "string" and t.text.endswith('"s'):
            return False
    return True


def lint_expression(s: Structure, expression: list[int], path: str, known_types: dict[str, str]) -> Iterator[Finding]:
    tokens = s.tokens
    if not any(tokens[i].text in WAITS for i in expression):
        return
    members = set(expression)

    def finding(i: int, text: str) -> Finding:
        return Finding(path, tokens[i].line, text)

    for i in expression:
        t = tokens[i].text
        if t == "throw" and any(tokens[j].text == "co_await" for j in expression if j > i):
            yield finding(i, "an await inside of throw: await first, then throw")
        elif t == "new" and tokens[i].kind == "name":
            j = i + 1
            while j < len(tokens) and j in members and tokens[j].text not in ("(", "{", ";", ","):
                j += 1
            if j in members and tokens[j].text in ("(", "{") and j in s.partner:
                if any(tokens[k].text == "co_await" for k in expression if j < k < s.partner[j]):
                    yield finding(i, "an await among the arguments of new: await first")
        elif t == "?" :
            yield from lint_conditional(s, expression, i, path)
        elif t in ("&&", "||"):
            if awaits_on_the_right(tokens, [j for j in expression if j > i]):
                yield finding(i, f"an await to the right of {t}, which g++ 12 awaits in any case: use if, or a variable")
        elif t in EVALUATED_TWICE and i + 1 in s.partner:
            if any(tokens[j].text in WAITS for j in expression if i < j < s.partner[i + 1]):
                yield finding(i, f"an await inside of {t}, which has its argument twice: await into a variable first")
        elif t == "{" and i in s.partner and i not in s.bodies:
            yield from lint_brace(s, expression, i, path, known_types)
        elif t == "[" and i in s.lambdas:
            for capture in split_captures(tokens, i + 1, s.partner[i], s.partner):
                text = "".join(c.text for c in capture)
                if not text or text.startswith("&") or text == "this":
                    continue
                yield finding(i, f"a lambda made on the spot captures [{text}] by value, in an expression that awaits: name the "
                                 "lambda in a statement of its own first")
                break


def awaits_on_the_right(tokens: list[Token], rest: list[int]) -> bool:
    """Whether the operand that begins there awaits. `auto&& x = co_await y` has no operand there, but a name."""
    depth = 0
    for i in rest:
        t = tokens[i].text
        if t in OPEN:
            depth += 1
        elif t in CLOSE:
            depth -= 1
            if depth < 0:
                return False
        elif depth == 0 and t in (",", ";", "=", ":", "?"):
            return False
        elif t in WAITS:
            return True
    return False


def lint_conditional(s: Structure, expression: list[int], question: int, path: str) -> Iterator[Finding]:
    tokens = s.tokens
    at = expression.index(question)
    depth = 0
    branches: list[list[int]] = [[]]
    pending = 0
    for i in expression[at + 1:]:
        t = tokens[i].text
        if t in OPEN:
            depth += 1
        elif t in CLOSE:
            depth -= 1
            if depth < 0:
                break
        elif depth == 0 and t == "?":
            pending += 1
        elif depth == 0 and t == ":":
            if pending:
                pending -= 1
            elif len(branches) == 1:
                branches.append([])
                continue
        elif depth == 0 and t in (",", ";") :
            break
        branches[-1].append(i)
    if not all(simple_operand(tokens, b) for b in branches):
        yield Finding(path, tokens[question].line,
                      "a conditional that may make objects, in an expression that awaits: use if, or a variable")


def lint_brace(s: Structure, expression: list[int], brace: int, path: str, known_types: dict[str, str]) -> Iterator[Finding]:
    tokens = s.tokens
    close = s.partner[brace]
    inside = [i for i in expression if brace < i < close]
    line = tokens[brace].line
    before = tokens[brace - 1].text if brace > 0 else ""
    if any(tokens[i].text in WAITS for i in inside):
        yield Finding(path, line, "an await inside of an initialiser's braces: await into a variable first")
        return
    if before == "->" or initialises_a_declaration(s, expression, brace):
        return
    named = type_before(tokens, brace)
    if named is None:
        if before in ("(", ",", "co_await", "co_yield", "{", "=", "?", ":", "return") and inside:
            # Options are trivially destructible by another rule of the house: {.backlog = 5} is safe.
            if tokens[brace + 1].text != ".":
                yield Finding(path, line, "braces without a type among the arguments, in an expression that awaits: call the "
                                          "constructor, or make the object in a statement of its own")
        return
    _, name = named
    if name in HARMLESS or name.endswith("_options") or known_types.get(name) in ("constructor", "trivial"):
        return
    yield Finding(path, line, f"{name}{{...}} may be an aggregate, in an expression that awaits: make it in a statement of its "
                              "own first")


def lint_initializer_lists(s: Structure, path: str) -> Iterator[Finding]:
    """No std::initializer_list parameter in a function that returns an awaitable."""
    tokens = s.tokens
    for i, t in enumerate(tokens):
        if t.text != "initializer_list":
            continue
        depth = 0
        j = i
        while j >= 0:  # the parenthesis around it
            if tokens[j].text in CLOSE and j in s.partner:
                j = s.partner[j]
            elif tokens[j].text == "(":
                break
            elif tokens[j].text in (";", "{", "}"):
                j = -1
                break
            j -= 1
        if j <= 0 or tokens[j - 1].kind != "name":
            continue
        name = j - 1
        returns = []
        k = name - 1
        while k >= 0 and tokens[k].text not in (";", "{", "}", ":", ")"):
            if tokens[k].text == ">" and (start := angle_start(tokens, k)) is not None:
                k = start
            else:
                returns.append(tokens[k].text)
            k -= 1
        after = s.partner.get(j, j) + 1
        while after < len(tokens) and tokens[after].text in ("const", "noexcept", "&", "&&"):
            after += 1
        if after < len(tokens) and tokens[after].text == "->":
            returns = [x.text for x in tokens[after + 1:after + 6]]
        if any(AWAITABLE.search(r) for r in returns):
            yield Finding(path, t.line, "a std::initializer_list parameter in a function that returns an awaitable: g++ 12 rejects "
                                        "its calls; take a span or a vector")


TRIVIAL_MEMBER = re.compile(
    r"^(?:const |static |constexpr |inline |mutable )*(?:std::)?(?:chrono::)?(?:weft::)?"
    r"(?:bool|char|int|long|short|unsigned|float|double|std::byte|byte|u?int(?:8|16|32|64)_t|size_t|ssize_t|ptrdiff_t|pid_t|mode_t|uid_t|"
    r"string_view|span<[^;]*>|duration|time_point|(?:nano|micro|milli)?seconds|in_addr_t)(?!\w)[^;(]*$|^[^;(]*\*[^;(]*$")


def types_in(code: str) -> dict[str, str]:
    """What braces around a type's name mean: `constructor` if the class declares one, `trivial` if it is an aggregate of numbers
    and views, else `aggregate`. Good enough to spare people from false alarms."""
    code = re.sub(r"//[^\n]*|/\*.*?\*/", "", code, flags=re.S)
    kinds: dict[str, str] = {}
    for m in re.finditer(r"\b(?:struct|class)\s+(?:\[\[\w+\]\]\s*)?(\w+)\s*(?:final\s*)?(:[^{};]*)?\{", code):
        name = m.group(1)
        depth = 1
        at = m.end()
        shallow = []
        while at < len(code) and depth:
            c = code[at]
            if c == "{":
                depth += 1
            elif c == "}":
                depth -= 1
                if depth == 1:
                    shallow.append(";")
            elif depth == 1:
                shallow.append(c)
            at += 1
        body = "".join(shallow)
        if re.search(rf"(?<![~\w]){name}\s*\(", body):
            kind = "constructor"
        else:
            declared = [re.sub(r"\s+", " ", d).strip() for d in re.split(r";|\b(?:public|private|protected)\s*:", body)]
            data = [d for d in declared
                    if d and "(" not in d.split("=")[0] and not re.match(r"(using|friend|struct|class|enum|template|typedef)\b", d)]
            kind = "trivial" if not m.group(2) and all(TRIVIAL_MEMBER.match(d) for d in data) else "aggregate"
        # A name that means two things is taken for the worse.
        if kinds.get(name, kind) != kind:
            kind = "aggregate"
        kinds[name] = kind
    for m in re.finditer(r"\benum\s+(?:class\s+)?(\w+)", code):
        kinds.setdefault(m.group(1), "trivial")
    return kinds


def lint_code(code: str, path: str, first_line: int = 1, known_types: dict[str, str] | None = None) -> list[Finding]:
    excused = {first_line + n for n, text in enumerate(code.split("\n")) if MARK in text}
    s = Structure(tokens_of(code, first_line))
    found = list(lint_initializer_lists(s, path))
    for expression in s.expressions():
        found += lint_expression(s, expression, path, known_types or {})
    unique = {(f.line, f.text): f for f in found if f.line not in excused}
    return sorted(unique.values())


def example_blocks(text: str) -> Iterator[tuple[int, str]]:
    """(first line, code) of what stands indented in comments, `//     code`, after an empty line of the comment."""
    block: list[str] = []
    start = 0
    after_blank = False
    for n, line in enumerate(text.split("\n") + [""], 1):
        m = re.match(r"\s*///?(?:     (.*)|\s*)$", line)
        if m and (block or (after_blank and m.group(1) is not None)):
            if not block:
                start = n
            block.append(m.group(1) or "")
        elif block:
            yield start, "\n".join(block).rstrip() + "\n"
            block = []
        after_blank = m is not None and m.group(1) is None


def fenced_blocks(text: str) -> Iterator[tuple[int, str]]:
    for m in re.finditer(r"^```(?:cpp|c\+\+)[^\n]*\n(.*?)^```", text, re.M | re.S):
        yield text.count("\n", 0, m.start()) + 2, m.group(1)


# --- The tree ----------------------------------------------------------------------------------------------------------

CODE = {".hpp", ".cpp", ".h", ".c", ".cc"}
SCRIPTS = {".py", ".sh"}


def tree_files() -> list[pathlib.Path]:
    found = [p for p in ROOT.iterdir() if p.is_file()]
    for folder in FOLDERS:
        found += [p for p in sorted((ROOT / folder).rglob("*")) if p.is_file() and "__pycache__" not in p.parts]
    return found


def is_text(path: pathlib.Path) -> bool:
    if path.suffix in {".png", ".jpg", ".ico", ".gz", ".bin", ".pyc"}:
        return False
    try:
        return "\0" not in path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return False


def check_first_line(name: str, path: pathlib.Path, text: str) -> Iterator[Finding]:
    lines = text.split("\n")
    wanted = None
    if path.suffix in CODE or name.endswith((".hpp.in", ".cpp.in")):
        wanted = "// SPDX-License-Identifier: MIT"
    elif path.suffix in SCRIPTS | {".build"} or path.name in ("meson_options.txt",) or text.startswith("#!"):
        wanted = "# SPDX-License-Identifier: MIT"
    if wanted is None:
        return
    if lines and lines[0].startswith("#!"):
        lines = lines[1:]
    if not lines or lines[0] != wanted:
        yield Finding(name, 1, f"the first line is not `{wanted}`")


def check_wording(name: str, text: str) -> Iterator[Finding]:
    for n, line in enumerate(text.split("\n"), 1):
        if re.search(r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b", line):
            yield Finding(name, n, "something left to do later: issues are for that")


def check_lines(name: str, path: pathlib.Path, text: str) -> Iterator[Finding]:
    if path.suffix not in CODE:
        return
    for n, line in enumerate(text.split("\n"), 1):
        if len(line) > LINE_LIMIT:
            yield Finding(name, n, f"{len(line)} columns; {LINE_LIMIT} is the limit")


def module_of(name: str) -> str | None:
    first = name.split("/")[0]
    return first if first in MODULES else None


def check_includes(name: str, text: str) -> Iterator[Finding]:
    module = module_of(name)
    parts = name.split("/")
    public = module is not None and name.endswith(".hpp") and "impl" not in parts
    tested = parts[1] if parts[0] == "tests" and len(parts) > 2 else None
    for n, line in enumerate(text.split("\n"), 1):
        m = re.match(r'\s*#\s*include\s*([<"])([^>"]+)[>"]', line)
        if not m:
            continue
        quote, target = m.groups()
        if target.startswith("weft/"):
            other = target.split("/")[1]
            if module is not None and other != module and other not in BELOW[module]:
                yield Finding(name, n, f"{module}/ includes {other}/, which is not below it")
            inside = parts[0] == "benchmarks" or parts[:2] == ["tests", "fuzz"]
            if "/impl/" in target and other not in (module, tested) and not inside:
                yield Finding(name, n, f"impl/ of {other} belongs to {other} alone")
            if "/impl/" in target and public:
                yield Finding(name, n, "a public header includes a header of impl/, which isn't installed")
        elif quote == '"':
            if module is not None and "impl/" not in target and "impl" not in parts:
                yield Finding(name, n, "within a module only headers of impl/ are included with quotes")
            if public:
                yield Finding(name, n, "a public header includes with quotes: it isn't found that way when installed")
        if target in ("liburing.h", "liburing/io_uring.h") or target.startswith("liburing"):
            allowed = (name.startswith("runtime/impl/") or re.match(r"runtime/kernel_\w+\.cpp$", name)
                       or parts[0] == "benchmarks" or name.startswith(("tests/runtime/", "tests/support/fake_kernel")))
            if not allowed:
                yield Finding(name, n, "liburing is included in runtime/impl/ and runtime/kernel_*.cpp alone")
        if public:
            if target.startswith("fmt/") and parts[-1] not in ("log.hpp", "format.hpp"):
                yield Finding(name, n, "fmt is for .cpp files, log.hpp and format.hpp")
            if target in HEAVY:
                yield Finding(name, n, f"<{target}> costs every user too much for a public header")


def leading_comment(text: str) -> str:
    lines = []
    for line in text.split("\n"):
        if not line.startswith("//"):
            break
        lines.append(line)
    return "\n".join(lines)


def check_header(name: str, text: str) -> Iterator[Finding]:
    parts = name.split("/")
    if module_of(name) is None or not name.endswith(".hpp"):
        return
    if "#pragma once" not in text:
        yield Finding(name, 1, "no #pragma once")
    comment = leading_comment(text)
    if len(comment.split("\n")) < 2:
        yield Finding(name, 2, "no purpose: what is this header for?")
    if "impl" in parts or "detail" in parts:
        return
    for label in LABELS:
        # At the beginning of a line or after a sentence: short answers may share a line.
        if not re.search(rf"(?:^// |[.;] ){label} *[^\s.]", comment, re.M):
            yield Finding(name, 2, f"the header's comment doesn't say `{label}` (\"none\" is an answer)")


def check_own_header(name: str, text: str, is_file=lambda path: (ROOT / path).is_file()) -> Iterator[Finding]:
    """A header stands alone because the .cpp file of the same name begins with it; without one it is compiled by itself."""
    if module_of(name) is None or not name.endswith(".cpp") or "impl" in name.split("/"):
        return
    own = name.removesuffix(".cpp") + ".hpp"
    first = re.search(r'^#include (.*)$', text, re.M)
    if is_file(own) and (first is None or first[1] != f"<weft/{own}>"):
        yield Finding(name, 1, f"doesn't begin with <weft/{own}>")


def check_lists() -> Iterator[Finding]:
    """Whatever is in a module is in its meson.build."""
    for module in MODULES:
        for listing, folder, prefix, kinds in (
                (f"{module}/meson.build", module, f"{module}/", (".hpp", ".cpp")),
                (f"tests/{module}/meson.build", f"tests/{module}", "", ("_test.cpp",))):
            path = ROOT / listing
            if not path.exists():
                yield Finding(listing, 1, "doesn't exist")
                continue
            listed = set(re.findall(r"'([^'\n]+)'", path.read_text()))
            for file in sorted((ROOT / folder).rglob("*")):
                if not file.name.endswith(kinds):
                    continue
                inside = file.relative_to(ROOT / folder).as_posix()
                if file.suffix == ".hpp":
                    wanted = prefix + inside
                    if inside.startswith("impl/"):
                        if wanted in listed:
                            yield Finding(listing, 1, f"{wanted} is installed, but impl/ is not for users")
                        continue
                else:
                    wanted = inside
                if wanted not in listed:
                    yield Finding(listing, 1, f"'{wanted}' is not listed")


def check_file(path: pathlib.Path, known_types: dict[str, str]) -> list[Finding]:
    name = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.as_posix()
    if not is_text(path):
        return []
    text = path.read_text(encoding="utf-8")
    found: list[Finding] = []
    found += check_first_line(name, path, text)
    found += check_wording(name, text)
    found += check_lines(name, path, text)
    if path.suffix in CODE:
        found += check_includes(name, text)
        found += check_header(name, text)
        found += check_own_header(name, text)
        if not name.startswith("tests/canary/known_bad"):
            found += lint_code(text, name, 1, known_types)
            for line, code in example_blocks(text):
                found += lint_code(code, name, line, known_types)
    elif path.suffix == ".md":
        for line, code in fenced_blocks(text):
            found += lint_code(code, name, line, known_types)
    return found


# --- Self test ---------------------------------------------------------------------------------------------------------

BAD = {
    "an aggregate made on the spot": "task<> t() { co_await f(agg{1, x}); }",
    "the same, template and namespace": "task<> t() { auto r = co_await f(a::agg<int>{1, x}); }",
    "an empty one": "task<> t() { co_await f(agg{}); }",
    "std::array": "task<> t() { co_await f(std::array<token, 2>{a, b}); }",
    "braces without a type": "task<> t() { co_await f({1, x}); }",
    "the same, second argument": "task<> t() { co_await f(y, {1, x}); }",
    "an aggregate awaiter": "task<> t() { co_await waiter{x}; }",
    "a capturing lambda": "task<> t() { co_await call([x] { return x; }); }",
    "one that captures everything": "task<> t() { co_await call([=] { return x; }); }",
    "one that moves in": "task<> t() { co_await call([&a, p = std::move(p)]() mutable -> task<> { co_await p->wait(); }); }",
    "one that is called at once": "task<> t() { co_await [p]() -> task<> { co_await p->wait(); }(); }",
    "a conditional of tasks": "task<> t() { co_await (c ? mk(1) : mk(2)); }",
    "a conditional with an await": "task<> t() { auto v = c ? co_await a() : T{}; }",
    "a conditional among arguments": "task<> t() { co_await f(c ? std::string(a) : std::string(b)); }",
    "an await in braces": "task<> t() { agg a{1, co_await x()}; }",
    "an await in braces after =": "task<> t() { agg a = {1, co_await x()}; }",
    "an await in a returned aggregate": "task<agg> t() { co_return agg{co_await x()}; }",
    "new": "task<> t() { auto* p = new T(co_await x()); }",
    "throw": "task<> t() { throw E(co_await x()); }",
    "throw in a handler": "task<> t() { try { co_await a(); } catch (...) { throw E(1, co_await x()); } }",
    "co_yield of an aggregate": "generator<agg> g() { co_yield agg{1, x}; }",
    "in a condition": "task<> t() { while (co_await f(agg{1})) {} }",
    "in the head of a for": "task<> t() { for (int i = 0; co_await f({i, x}); ++i) {} }",
    "in a lambda's body": "auto l = [&]() -> task<> { co_await f(agg{1}); };",
    "in a lambda given to a scope": "task<> t() { co_await scope([&](group& g) -> task<> { co_await f(agg{1}); co_return; }); }",
    "in a member function": "struct s { task<> t() const { co_await f(agg{1}); } };",
    "in a template": "template <class T> requires c<T> task<> t(T x) { co_await f(agg{x}); }",
    "an await to the right of &&": "task<> t() { while (open && co_await more()) {} }",
    "an await to the right of ||": "task<bool> t() { co_return done || (wait, co_await more()); }",
    "the same among arguments": "task<> t() { f(1, open && g(2, co_await more())); }",
    "an await in a check": "task<> t() { CHECK(co_await x() == 1); }",
    "an await in a false check": "task<> t() { REQUIRE_FALSE(f(co_await x())); }",
    "initializer_list parameter": "task<> all(std::initializer_list<int> l);",
    "initializer_list in an operation": "struct s { wait_op get(int n, std::initializer_list<key> l) noexcept; };",
    "initializer_list, trailing type": "auto all(std::initializer_list<int> l) -> task<int>;",
}
GOOD = {
    "a constructor": "task<> t() { co_await f(token(1)); }",
    "options": "task<> t() { co_await f({.backlog = 5}); }",
    "named options": "task<> t() { co_await f(listen_options{.backlog = 5}); }",
    "durations": "task<> t() { co_await sleep_for(std::chrono::milliseconds{5}); }",
    "references": "task<> t() { co_await call([&x, &] { return x; }); }",
    "this": "task<> t() { co_await call([this] { return x_; }); }",
    "a scope": "task<> t() { co_await with_task_group([&](task_group& g) -> task<> { g.spawn(f, agg{1, x}); co_return; }); }",
    "a named lambda": "task<> t() { auto l = [x] { return x; }; co_await call(l); }",
    "a named aggregate": "task<> t() { agg a{1, x}; co_await f(a); }",
    "an aggregate beside": "task<> t() { auto op = f(agg{1, x}); co_await std::move(op); }",
    "a conditional of numbers": "task<> t() { co_await f(c ? 1 : 2, c ? a.b : d->e); }",
    "a conditional elsewhere": "task<> t() { auto s = c ? mk(1) : mk(2); co_await std::move(s); }",
    "an await in parentheses": "task<> t() { T v(co_await x()); }",
    "a returned aggregate": "task<agg> t() { co_return agg{1, x}; }",
    "throw without an await": "task<> t() { co_await x(); throw E(1); }",
    "if with blocks": "task<> t() { if (co_await x()) { agg a{1}; f(a); } else { f(agg{2}); } }",
    "a loop": "task<> t() { while (auto v = co_await g.next()) { use(agg{*v}); } }",
    "a range": "task<> t() { for (auto& v : co_await x()) { use({v, 1}); } }",
    "a lambda that isn't part": "void f() { auto l = [x]() -> task<> { co_await x->wait(); }; }",
    "a comment": "task<> t() { /* co_await f(agg{1}) */ co_await f(); } // co_await f({1, 2})",
    "a string": 'task<> t() { co_await f("agg{1}", R"(co_await g({1, x}))"); }',
    "an await to the left of &&": "task<> t() { while (co_await more() && open) {} }",
    "an await behind a name": "task<> t() { auto&& x = co_await more(); for (auto&& y : co_await more()) {} }",
    "an await in the next statement": "task<> t() { bool b = c && d; co_await f(b && c, 1); }",
    "a check that throws": "task<> t() { CHECK_THROWS_AS(co_await x(), e); }",
    "excused": "task<> t() { co_await call([n] { return n; }); } // coroutine-" "lint: n is an int",
    "initializer_list elsewhere": "struct s { s(std::initializer_list<int> l); void add(std::initializer_list<int> l); };",
    "a class around": "class c : public d<e> { struct promise_type { suspend f() noexcept { return {}; } }; agg a_{1, 2}; };",
    "a member list": "struct s { s(int a) : a_(a), b_{a} { use(a); } task<> t() { co_await f(a_); } };",
    "an attribute": "[[nodiscard]] task<> t([[maybe_unused]] int x) { co_await f(a[x], b[1]); }",
    "a test case": 'TEST_CASE("a: b", "[c]") { run([]() -> task<> { co_await f(token(1)); CHECK(agg{1}.n == 1); }()); }',
}
TYPES = {"token": "constructor"}


def self_test() -> int:
    wrong = []
    for what, code in BAD.items():
        if not lint_code(code, what, 1, TYPES):
            wrong.append(f"not found: {what}: {code}")
    for what, code in GOOD.items():
        for f in lint_code(code, what, 1, TYPES):
            wrong.append(f"false alarm: {what}: {f.text}: {code}")

    def expect(found: list[Finding], *parts: str) -> None:
        texts = [f.text for f in found]
        if len(found) != len(parts) or not all(any(p in t for t in texts) for p in parts):
            wrong.append(f"expected {parts}, found {texts}")

    header = ("// SPDX-License-Identifier: MIT\n// A thing.\n//\n//     weft::task<> t() { co_await f(agg{1}); }\n//\n"
              "// Threads: none. Cancellation: none.\n// Errors: none.\n// Cost: O(1).\n// Source: none.\n#pragma once\n")
    expect(list(check_header("sync/thing.hpp", header)))
    expect(list(check_header("sync/thing.hpp", header.replace("// Cost: O(1).\n", ""))), "Cost:")
    expect(list(check_header("sync/thing.hpp", header.replace("Errors: none.", "Errors:"))), "Errors:")
    expect(list(check_header("sync/thing.hpp", header.replace("#pragma once", ""))), "#pragma once")
    expect(list(check_header("sync/detail/thing.hpp", "// SPDX\n// A part.\n#pragma once\n")))
    examples = list(example_blocks(header + "// Threads: a long answer\n//          goes on.\n"))
    if [line for line, _ in examples] != [4]:
        wrong.append(f"examples of a header: {examples}")
    own = "#include <weft/sync/thing.hpp>\n"
    expect(list(check_own_header("sync/thing.cpp", own + "#include <atomic>\n", lambda path: True)))
    expect(list(check_own_header("sync/thing.cpp", "#include <atomic>\n" + own, lambda path: True)), "doesn't begin")
    expect(list(check_own_header("sync/thing.cpp", "#include <atomic>\n", lambda path: False)))
    expect(list(check_includes("runtime/a.hpp", "#include <weft/sync/event.hpp>\n")), "not below")
    expect(list(check_includes("sync/a.hpp", "#include <weft/ipc/pipe.hpp>\n")), "not below")
    expect(list(check_includes("executors/a.hpp", "#include <weft/ipc/pipe.hpp>\n#include <weft/sync/event.hpp>\n")))
    expect(list(check_includes("sync/a.cpp", "#include <weft/runtime/impl/ring.hpp>\n")), "belongs to runtime")
    expect(list(check_includes("tests/runtime/ring_test.cpp", "#include <weft/runtime/impl/ring.hpp>\n")))
    expect(list(check_includes("runtime/loop.cpp", '#include "impl/ring.hpp"\n')))
    expect(list(check_includes("runtime/loop.cpp", "#include <liburing.h>\n")), "liburing")
    expect(list(check_includes("runtime/kernel_ring.cpp", "#include <liburing.h>\n")))
    expect(list(check_includes("sync/a.hpp", "#include <thread>\n#include <fmt/format.h>\n")), "<thread>", "fmt")
    expect(list(check_includes("sync/a.cpp", "#include <thread>\n#include <fmt/format.h>\n")))
    expect(list(check_wording("a", "// TO" "DO: later\n")), "later")
    expect(list(check_first_line("a.cpp", pathlib.Path("a.cpp"), "#include <x>\n")), "first line")
    expect(list(check_first_line("a.py", pathlib.Path("a.py"), "#!/usr/bin/env python3\n# SPDX-License-Identifier: MIT\n")))
    kinds = types_in("struct o { int a = 1; std::span<int> s; }; struct g { token t; }; class c { public: c(int); };")
    if kinds != {"o": "trivial", "g": "aggregate", "c": "constructor"}:
        wrong.append(f"kinds of types: {kinds}")
    for w in wrong:
        print(w)
    print(f"{len(BAD)} bad and {len(GOOD)} good shapes, {len(wrong)} mistakes")
    return 1 if wrong else 0


def main(arguments: list[str]) -> int:
    if arguments == ["--self-test"]:
        return self_test()
    files = tree_files()
    known_types: dict[str, str] = {}
    for path in files:
        if path.suffix in CODE and is_text(path):
            for name, kind in types_in(path.read_text(encoding="utf-8")).items():
                known_types[name] = kind if known_types.get(name, kind) == kind else "aggregate"
    chosen = [pathlib.Path(a).resolve() for a in arguments] or files
    found: list[Finding] = []
    for path in chosen:
        found += check_file(path, known_types)
    if not arguments:
        found += check_lists()
    for f in found:
        print(f"{f.path}:{f.line}: {f.text}")
    print(f"{len(chosen)} files, {len(found)} findings")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
