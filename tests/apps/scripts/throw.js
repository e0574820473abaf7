// Exceptions of JavaScript, each of which is a setjmp() and a longjmp() of the interpreter.
function thrower(depth, what) {
    if (depth === 0)
        throw what;
    thrower(depth - 1, what);
}

function show(name, f) {
    try {
        print(name + ": returned " + f());
    } catch (e) {
        print(name + ": threw " + (e instanceof Error ? e.name + ": " + e.message : typeof e + " " + e));
    }
}

show("a number", function () { thrower(0, 42); });
show("from 50 deep", function () { thrower(50, "a string"); });
show("an Error", function () { throw new Error("message"); });
show("a RangeError", function () { return (1).toFixed(1000); });
show("a TypeError", function () { return null.x; });
show("a ReferenceError", function () { return nowhere; });
show("a SyntaxError", function () { try { return eval("1 +"); } catch (e) { throw new Error(e.name); } });
show("no error", function () { return "fine"; });

var order = [];
function ordered(how) {
    for (var i = 0; i < 3; i++) {
        try {
            order.push("try " + i);
            if (how === "throw" && i === 1)
                throw i;
            if (how === "return" && i === 1)
                return "returned";
            if (how === "continue")
                continue;
            if (how === "break")
                break;
        } catch (e) {
            order.push("catch " + e);
            throw "again " + e;
        } finally {
            order.push("finally " + i);
            if (how === "override")
                return "overridden";
        }
    }
    return "ended";
}
["throw", "return", "continue", "break", "override", "none"].forEach(function (how) {
    order = [];
    show(how, function () { return ordered(how); });
    print("    " + order.join(", "));
});

// Through native functions of the interpreter: sort, replace, forEach, JSON, getters.
show("through sort", function () { [3, 1, 2].sort(function () { throw new Error("in sort"); }); });
show("through replace", function () { return "abc".replace(/b/, function () { throw "in replace"; }); });
show("through forEach", function () { [1].forEach(function (x) { thrower(3, x); }); });
show("through JSON", function () { return JSON.stringify({toJSON: function () { throw new Error("in JSON"); }}); });
show("through a getter", function () { return Object.defineProperty({}, "x", {get: function () { throw "in get"; }}).x; });
show("JSON.parse", function () { try { JSON.parse("{"); } catch (e) { return e.name; } });

function tower(n) {
    try {
        if (n > 0)
            tower(n - 1);
        else
            throw [];
    } catch (e) {
        e.push(n);
        throw e;
    } finally {
        order.push(n);
    }
}
order = [];
show("a tower", function () { try { tower(12); } catch (e) { return e.length; } });
print(order.join(" "));

var caught = 0;
for (var i = 0; i < 20000; i++) {
    try {
        thrower(i % 8, i);
    } catch (e) {
        caught += e;
    }
}
print(caught);
function endless() { return endless() + 1; }
show("no stack left", function () { try { endless(); } catch (e) { return "an error"; } });
throw new Error("that nobody catches");
