-- bench/programs/work.lua ROUNDS: what scripts do: tables, strings, patterns, closures, sorting, floats. 0 rounds: only loaded.
local rounds = tonumber(arg[1])

local function words(n)
  local list, seed = {}, 42
  for i = 1, n do
    seed = (seed * 1103515245 + 12345) % 2147483648
    local letters = {}
    for j = 1, 3 + seed % 9 do
      letters[j] = string.char(97 + (seed // (j * 7 + 1)) % 26)
    end
    list[i] = table.concat(letters)
  end
  return list
end

local function count(list)
  local counts = {}
  for _, word in ipairs(list) do counts[word] = (counts[word] or 0) + 1 end
  local keys = {}
  for word in pairs(counts) do keys[#keys + 1] = word end
  table.sort(keys, function(a, b)
    if counts[a] ~= counts[b] then return counts[a] > counts[b] end
    return a < b
  end)
  return #keys, keys[1], counts[keys[1]]
end

local function text(list)
  local line = table.concat(list, " ")
  local upper, n = line:gsub("%f[%a]%a", string.upper)
  local vowels = 0
  for _ in upper:gmatch("[aeiou]+") do vowels = vowels + 1 end
  local found = 0
  local at = upper:find("qu", 1, true)
  while at do
    found = found + 1
    at = upper:find("qu", at + 1, true)
  end
  return n, vowels, found, #upper
end

local Point = {}
Point.__index = Point
function Point.new(x, y) return setmetatable({ x = x, y = y }, Point) end
function Point:add(other) return Point.new(self.x + other.x, self.y + other.y) end
function Point:length() return math.sqrt(self.x * self.x + self.y * self.y) end

local function objects(n)
  local sum = Point.new(0, 0)
  for i = 1, n do sum = sum:add(Point.new(i % 7 - 3, i % 11 - 5)) end
  return string.format("%.6f", sum:length())
end

local function matrix(n)
  local a, b, c = {}, {}, {}
  for i = 1, n do
    a[i], b[i], c[i] = {}, {}, {}
    for j = 1, n do a[i][j], b[i][j] = i + j, i - j + 0.5 end
  end
  for i = 1, n do
    local row, out = a[i], c[i]
    for j = 1, n do
      local sum = 0.0
      for k = 1, n do sum = sum + row[k] * b[k][j] end
      out[j] = sum
    end
  end
  return c[n][1], c[1][n]
end

local function compose(n)
  local f = function(x) return x end
  for i = 1, n do
    local before = f
    f = function(x) return before(x) + i end
  end
  return f(0)
end

for i = 1, rounds do
  local list = words(20000)
  print(i, count(list))
  print(i, text(list))
  print(i, objects(200000), compose(150), matrix(80))
end
