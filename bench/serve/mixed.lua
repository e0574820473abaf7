-- Requests for wrk, good and hostile: bench/serve/soak. Each has a number, which its answer repeats: an answer with a number that was
-- not asked for, or was answered already, is somebody else's.
local open = {}
local number = 0
local threads = {}
wrong, refused, right, late = 0, 0, 0, 0

function setup(thread)
    thread:set("id", #threads)
    table.insert(threads, thread)
end

function init()
    math.randomseed(id + 1)
end

function request()
    number = number + 1
    local text = string.format("%xn%x", id, number)
    local chance = math.random(1000)
    open[text] = true
    if chance <= 700 then return wrk.format("GET", "/canary?" .. text) end
    if chance <= 900 then return wrk.format("POST", "/echo", nil, "body of " .. text .. string.rep(".", math.random(3000))) end
    open[text] = nil
    if chance <= 940 then return wrk.format("GET", "/nap?5") end
    if chance <= 995 then return wrk.format("GET", "/trap?" .. text) end
    return wrk.format("GET", "/loop?" .. text)
end

function response(status, headers, body)
    local text = body:match("^canary (%x+n%x+) clean\n$") or body:match("^body of (%x+n%x+)%.*$")
    if status == 503 then
        refused = refused + 1
    elseif status == 504 then
        late = late + 1
    elseif status == 200 and text and open[text] then
        open[text] = nil
        right = right + 1
    elseif (status == 200 and body == "napped 5\n") or (status == 500 and body == "500 Internal Server Error\n") then
        right = right + 1
    else
        wrong = wrong + 1
        io.stderr:write(string.format("wrong: %d %s\n", status, body:sub(1, 200)))
    end
end

function done(summary, latency, requests)
    local sums = {wrong = 0, refused = 0, right = 0, late = 0}
    for _, thread in ipairs(threads) do
        for name in pairs(sums) do sums[name] = sums[name] + thread:get(name) end
    end
    local errors = summary.errors
    io.write(string.format("right %d late %d refused %d wrong %d unconnected %d unread %d unwritten %d timeouts %d p50_us %d p99_us %d max_us %d\n",
        sums.right, sums.late, sums.refused, sums.wrong, errors.connect, errors.read, errors.write, errors.timeout,
        latency:percentile(50), latency:percentile(99), latency.max))
end
