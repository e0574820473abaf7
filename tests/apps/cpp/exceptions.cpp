// tests/apps/cpp/exceptions.cpp: what C++ does with exceptions. The same program, built natively, prints the same.
// exceptions [uncaught | noexcept | destructor]: first all that comes back, then one of what ends the program.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <new>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

std::string trace;

struct Noted { // says when it ends
    std::string name;
    explicit Noted(std::string n) : name(std::move(n)) {
        trace += "+" + name;
    }
    Noted(const Noted &other) : name(other.name + "'") {
        trace += "+" + name;
    }
    ~Noted() {
        trace += "-" + name;
    }
};

void tell(const std::string &what) {
    std::cout << what << (trace.empty() ? "" : " [" + trace + "]") << '\n';
    trace.clear();
}

struct Base : std::exception {
    int code;
    explicit Base(int c) : code(c) {
    }
    const char *what() const noexcept override {
        return "Base";
    }
};
struct Other {
    virtual ~Other() = default;
    long other = 77;
};
struct Derived : Base, Other { // Other is not at its start
    explicit Derived(int c) : Base(c) {
    }
    const char *what() const noexcept override {
        return "Derived";
    }
};
struct Left : virtual Base {
    Left() : Base(1) {
    }
};
struct Right : virtual Base {
    Right() : Base(2) {
    }
};
struct Diamond : Left, Right {
    Diamond() : Base(3) {
    }
};
struct Big { // more than fits anywhere but the heap
    char text[3000];
    double number;
};

struct Node { // virtual calls that throw, each with something to destroy
    virtual ~Node() = default;
    virtual int value(int depth) const = 0;
};
struct Leaf : Node {
    int kind;
    explicit Leaf(int k) : kind(k) {
    }
    int value(int depth) const override {
        Noted here("leaf");
        switch (kind) {
        case 0: throw 42;
        case 1: throw std::string("a string");
        case 2: throw Derived(depth);
        case 3: throw Diamond();
        case 4: throw "a literal";
        case 5: throw 2.5;
        case 6: throw std::make_unique<int>(depth); // a type that only moves
        case 7: {
            Big big{};
            std::strcpy(big.text + 2900, "at the end");
            big.number = 1.25;
            throw big;
        }
        case 8: throw static_cast<Derived *>(nullptr);
        case 9: throw nullptr;
        case 10: throw 5LL;
        default: return kind;
        }
    }
};
struct Branch : Node {
    std::unique_ptr<Node> below;
    explicit Branch(Node *node) : below(node) {
    }
    int value(int depth) const override {
        Noted here("b" + std::to_string(depth));
        return below->value(depth + 1) + 1;
    }
};

int catch_by_type(const Node &node) {
    try {
        return node.value(0);
    } catch (int i) {
        tell("int " + std::to_string(i));
    } catch (const std::string &s) {
        tell("string " + s);
    } catch (const Other &o) { // of Derived, at an offset
        tell("Other " + std::to_string(o.other));
    } catch (const Base &b) {
        tell(std::string("Base ") + b.what() + " " + std::to_string(b.code));
    } catch (const Other *o) { // a pointer to a class derived from it
        tell(o == nullptr ? "no Other" : "an Other");
    } catch (const char *text) {
        tell(std::string("literal ") + (text == nullptr ? "of nothing" : text));
    } catch (double d) {
        tell("double " + std::to_string(d));
    } catch (std::unique_ptr<int> &p) {
        tell("unique_ptr " + std::to_string(*p));
    } catch (const Big &b) {
        tell(std::string("Big ") + (b.text + 2900) + " " + std::to_string(b.number));
    } catch (...) {
        tell("something else");
    }
    return -1;
}

void types() {
    for (int kind = 0; kind < 12; kind++)
        tell("kind " + std::to_string(kind) + ": " +
             std::to_string(catch_by_type(Branch(new Branch(new Branch(new Leaf(kind)))))));
}

void rethrows() {
    try {
        try {
            Noted outer("outer");
            try {
                Noted inner("inner");
                throw Derived(5);
            } catch (Base &b) { // by reference: the change is seen further out
                b.code++;
                throw;
            }
        } catch (Base &b) {
            tell("again " + std::to_string(b.code));
            throw std::runtime_error("another " + std::to_string(b.code));
        }
    } catch (const std::exception &e) {
        tell(e.what());
    }
    try {
        try {
            throw Derived(9);
        } catch (Base b) { // a copy, sliced
            b.code = 0;
            tell(b.what());
            throw;
        }
    } catch (Derived &d) {
        tell("whole again " + std::to_string(d.code));
    }
}

void while_another_is_handled() {
    try {
        throw 1;
    } catch (int outer) {
        for (int i = 0; i < 3; i++)
            try {
                throw i * 10;
            } catch (int inner) {
                tell("within " + std::to_string(outer) + ": " + std::to_string(inner));
            }
        try {
            throw;
        } catch (int again) {
            tell("still " + std::to_string(again));
        }
    }
    tell("uncaught: " + std::to_string(std::uncaught_exceptions()));
}

struct CatchesInside { // a destructor that throws and catches while another exception is on its way
    ~CatchesInside() {
        int flying = std::uncaught_exceptions();
        try {
            throw std::logic_error("inside");
        } catch (const std::exception &e) {
            trace += std::string(e.what()) + std::to_string(flying);
        }
    }
};

void destructors() {
    try {
        CatchesInside c;
        throw std::out_of_range("outside");
    } catch (const std::out_of_range &e) {
        tell(e.what());
    }
}

struct Throwing : Noted { // in a constructor: what is complete is destroyed, in reverse
    Noted member{"member"}, second;
    explicit Throwing(int where) try : Noted("base"), second(where == 1 ? throw 1 : "second") {
        Noted local("local");
        if (where == 2)
            throw 2;
    } catch (int) {
        trace += "!";
    }
};
struct Counted {
    static int alive, limit;
    Counted() {
        if (alive == limit)
            throw std::length_error("that many");
        alive++;
    }
    Counted(const Counted &) : Counted() {
    }
    ~Counted() {
        alive--;
    }
};
int Counted::alive, Counted::limit;

void constructors() {
    for (int where = 0; where < 3; where++)
        try {
            Throwing t(where);
            trace += "made";
        } catch (int i) {
            tell("constructor " + std::to_string(i));
        }
    tell("constructors");
    Counted::limit = 7;
    try {
        delete[] new Counted[10];
    } catch (const std::length_error &e) {
        tell(e.what() + std::to_string(Counted::alive));
    }
    std::vector<Counted> vector(3);
    try {
        vector.resize(6); // copies what is there: all or nothing
    } catch (const std::length_error &e) {
        tell(e.what() + std::to_string(vector.size()) + std::to_string(Counted::alive));
    }
}

void pointers() {
    std::exception_ptr kept;
    try {
        std::vector<int>(3).at(10);
    } catch (...) {
        kept = std::current_exception();
    }
    for (int i = 0; i < 2; i++)
        try {
            std::rethrow_exception(kept);
        } catch (const std::out_of_range &) {
            tell("out_of_range, kept");
        }
    try {
        try {
            throw std::runtime_error("within");
        } catch (...) {
            std::throw_with_nested(std::logic_error("around"));
        }
    } catch (const std::exception &e) {
        std::string text = e.what();
        try {
            std::rethrow_if_nested(e);
        } catch (const std::exception &inner) {
            text += std::string(" ") + inner.what();
        }
        tell(text);
    }
    try {
        std::rethrow_exception(std::make_exception_ptr(std::string("made")));
    } catch (const std::string &s) {
        tell(s);
    }
}

template <class Function> void expect(const char *name, Function function) {
    try {
        function();
        tell(std::string(name) + ": nothing");
    } catch (const std::bad_alloc &) {
        tell(std::string(name) + ": bad_alloc");
    } catch (const std::bad_cast &) {
        tell(std::string(name) + ": bad_cast");
    } catch (const std::bad_function_call &) {
        tell(std::string(name) + ": bad_function_call");
    } catch (const std::out_of_range &) {
        tell(std::string(name) + ": out_of_range");
    } catch (const std::invalid_argument &) {
        tell(std::string(name) + ": invalid_argument");
    } catch (const std::ios_base::failure &) {
        tell(std::string(name) + ": failure");
    } catch (const std::length_error &) {
        tell(std::string(name) + ": length_error");
    }
}

void library() { // thrown by code of the library itself, and through it
    std::map<std::string, int> map{{"one", 1}};
    expect("map", [&] { map.at("two"); });
    expect("string", [] { std::string("abc").substr(9); });
    expect("stoi", [] { std::stoi("x"); });
    expect("stoi, large", [] { std::stoi("99999999999999"); });
    expect("stod", [] { std::stod("1.5"); });
    expect("vector", [] { std::vector<char>().reserve(static_cast<std::size_t>(-1)); });
    volatile std::size_t much = static_cast<std::size_t>(-1) / 2;
    expect("new", [&] { ::operator delete(::operator new(much)); });
    expect("function", [] { std::function<void()>()(); });
    expect("dynamic_cast", [] {
        Derived d(1);
        Base &b = d;
        (void)dynamic_cast<Diamond &>(b);
    });
    expect("stream", [] {
        std::istringstream in("x");
        in.exceptions(std::ios::failbit);
        int i;
        in >> i;
    });
    std::vector<int> numbers{5, 3, 9, 1, 7};
    int compared = 0;
    expect("sort", [&] {
        std::sort(numbers.begin(), numbers.end(), [&](int a, int b) {
            if (++compared == 4)
                throw std::invalid_argument("");
            return a < b;
        });
    });
}

int deep(int depth, int step) {
    Noted *none = nullptr;
    std::unique_ptr<Noted> kept(none);
    try {
        if (depth == 0)
            throw step;
        return deep(depth - 1, step) + 1;
    } catch (const std::exception &) { // never
        return 0;
    }
}

void many() {
    long sum = 0;
    for (int i = 0; i < 20000; i++)
        try {
            sum += deep(i % 10, i);
        } catch (int step) {
            sum += step;
        }
    tell("many: " + std::to_string(sum));
    try {
        deep(2000, 1);
    } catch (int step) {
        tell("from 2000 deep: " + std::to_string(step));
    }
}

[[noreturn]] void terminated() {
    std::cout << "terminated" << std::endl;
    std::_Exit(3);
}

void never() noexcept {
    std::vector<int>().at(1), throw Derived(1);
}

struct ThrowsInDestructor {
    ~ThrowsInDestructor() noexcept(false) {
        throw Derived(2);
    }
};

} // namespace

int main(int argc, char **argv) {
    types();
    rethrows();
    while_another_is_handled();
    destructors();
    constructors();
    pointers();
    library();
    many();
    std::cout.flush();
    std::string how = argc > 1 ? argv[1] : "";
    if (how == "uncaught")
        throw std::runtime_error("nobody catches this");
    std::set_terminate(terminated);
    if (how == "noexcept")
        never();
    if (how == "destructor") {
        try {
            ThrowsInDestructor t;
            throw Base(1);
        } catch (...) {
            std::cout << "not here\n";
        }
    }
    return 0;
}
