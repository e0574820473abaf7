-- Errors of Lua, each of which is a setjmp() and a longjmp() of the interpreter.
local function thrower(depth, what)
    if depth == 0 then error(what, 0) end
    thrower(depth - 1, what)
    return depth
end

print(pcall(error, "message"))
print(pcall(error, "with a place", 1))
print(pcall(error))
print(select("#", pcall(error, nil)))
print(pcall(function() local t = nil; t.x = 1 end))
print(pcall(function() return 1 + {} end))
print(pcall(function() return #5 end))
print(pcall(thrower, 100, "from 100 deep"))
print(pcall(thrower, 150, "from 150 deep"))
print(pcall(pcall, error, "twice"))
print(pcall(string.rep))
print(pcall(string.rep, "x", -1))
print(pcall(load, function() error("in a reader", 0) end))
print(load("x ="))
local object = setmetatable({}, {__tostring = function() return "an object" end})
print(select(2, pcall(error, object)) == object, tostring(object))
print(xpcall(thrower, function(e) return "handled " .. e end, 10, "in xpcall"))
print(xpcall(thrower, function(e) return debug.traceback(e, 1):match("^[^\n]*") end, 3, "traced"))
print(xpcall(error, function() error("in the handler", 0) end, "x"))

-- Through C functions: sort, gsub, tostring, table.concat, require, metamethods, and closing variables.
print(pcall(table.sort, {3, 2, 1}, function() error("in sort", 0) end))
print(pcall(string.gsub, "abc", "b", function() error("in gsub", 0) end))
print(pcall(tostring, setmetatable({}, {__tostring = function() error("in tostring", 0) end})))
print(pcall(function() return setmetatable({}, {__index = function(_, k) error("no " .. k, 0) end}).field end))
local order = {}
local function closer(name)
    return setmetatable({}, {__close = function(_, e) order[#order + 1] = name .. ":" .. tostring(e) end})
end
print(pcall(function()
    local a <close> = closer("a")
    local b <close> = closer("b")
    thrower(5, "closing")
end))
print(table.concat(order, " "))

-- Coroutines: errors that leave them, that stay inside, and yields across pcall.
local co = coroutine.create(function() coroutine.yield(1); error("in a coroutine", 0) end)
print(coroutine.resume(co)); print(coroutine.resume(co)); print(coroutine.resume(co))
print(coroutine.wrap(function() return pcall(function() coroutine.yield(); thrower(3, "after a yield") end) end)())
local inside = coroutine.wrap(function()
    local ok, e = pcall(function() coroutine.yield("yielded"); thrower(3, "after a yield") end)
    coroutine.yield(tostring(ok) .. " " .. e)
    error("at the end", 0)
end)
print(inside(), inside(), pcall(inside))

-- All of the stack; and many.
local function endless(n) return endless(n + 1) + 1 end
local ok, e = pcall(endless, 1)
print(ok, e:match("stack overflow"))
print(select(2, pcall(string.rep, "x", 1 << 40)))
local caught = 0
for i = 1, 100000 do
    local _, e = pcall(thrower, i % 8, i)
    caught = caught + e
end
print(caught)
error("that nobody catches")
