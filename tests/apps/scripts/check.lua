-- Exercises what a Lua program uses, and prints what it computed; the native interpreter must print the same.
local function fib(n) return n < 2 and n or fib(n - 1) + fib(n - 2) end
print("fib", fib(24))

local words = {}
for word in ("the quick brown fox jumps over the lazy dog the end"):gmatch("%a+") do
    words[word] = (words[word] or 0) + 1
end
local names = {}
for name in pairs(words) do names[#names + 1] = name end
table.sort(names, function(a, b)
    if words[a] ~= words[b] then return words[a] > words[b] end
    return a < b
end)
for _, name in ipairs(names) do io.write(name, "=", words[name], " ") end
print()

local Point = {}
Point.__index = Point
Point.__add = function(a, b) return setmetatable({x = a.x + b.x, y = a.y + b.y}, Point) end
Point.__tostring = function(p) return ("(%g, %g)"):format(p.x, p.y) end
local sum = setmetatable({x = 0, y = 0}, Point)
for i = 1, 1000 do sum = sum + setmetatable({x = i, y = 1 / i}, Point) end
print("points", tostring(sum))

-- No coroutines and no pcall: without setjmp they end in a trap.
local function numbers(limit)
    local i = 0
    return function() i = i + 1 if i <= limit then return i * i end end
end
local total = 0
for square in numbers(500) do total = total + square end
print("squares", total)

print("integers", 7 // -2, 7 % -2, math.maxinteger + 1 == math.mininteger, 1 << 62, 0xff ~ 0x0f)
print("floats", 1e308 * 10, -1e308 * 10, 0.1 + 0.2, 2 ^ 0.5, math.floor(-1.5), 1e15, 123456.789e3)
print("format", ("%5d|%-5s|%05.1f|%x|%q"):format(42, "ab", 3.14159, 255, "a\nb"))
print("gsub", (("hello world"):gsub("o", "0")), ("key = value"):match("^(%w+)%s*=%s*(%w+)$"))

local sieve, count = {}, 0
for i = 2, 20000 do
    if not sieve[i] then
        count = count + 1
        for j = i * i, 20000, i do sieve[j] = true end
    end
end
print("primes", count)

local parts = {}
for i = 1, 20000 do parts[i] = tostring(i) end
local text = table.concat(parts, ",")
print("text", #text, text:sub(-12), select("#", table.unpack(parts, 1, 200)))
collectgarbage()
local chunk = load("local a, b = ... return a * b, a .. b")
print("load", chunk(6, 7))
print(string.pack("<i4z", 305419896, "husk"):byte(1, -1))
