// bench/programs/work.js: what scripts do, in ECMAScript 5: objects, strings, regular expressions, closures, sorting, JSON, floats.
function words(n) {
    var list = [], seed = 42, i, j, word
    for (i = 0; i < n; ++i) {
        seed = (seed * 69069 + 1) % 1048576
        word = ""
        for (j = 0; j < 3 + seed % 9; ++j)
            word += String.fromCharCode(97 + Math.floor(seed / (j * 7 + 1)) % 26)
        list.push(word)
    }
    return list
}

function count(list) {
    var counts = {}, keys = [], i, word
    for (i = 0; i < list.length; ++i)
        counts["_" + list[i]] = (counts["_" + list[i]] || 0) + 1
    for (word in counts)
        keys.push(word)
    keys.sort(function (a, b) {
        return counts[b] - counts[a] || (a < b ? -1 : a > b ? 1 : 0)
    })
    return keys.length + " " + keys[0] + " " + counts[keys[0]]
}

function text(list) {
    var line = list.join(" "), n = 0
    var upper = line.replace(/[aeiou]+[b-d]/g, function (found) {
        ++n
        return found.toUpperCase()
    })
    return n + " " + upper.split(" ").length + " " + upper.indexOf("zzz") + " " + upper.length
}

function Point(x, y) {
    this.x = x
    this.y = y
}
Point.prototype.add = function (other) {
    return new Point(this.x + other.x, this.y + other.y)
}
Point.prototype.length = function () {
    return Math.sqrt(this.x * this.x + this.y * this.y)
}

function objects(n) {
    var sum = new Point(0, 0), i
    for (i = 0; i < n; ++i)
        sum = sum.add(new Point(i % 7 - 3, i % 11 - 5))
    return sum.length().toFixed(6)
}

function matrix(n) {
    var a = [], b = [], i, j, k, sum, last = 0
    for (i = 0; i < n; ++i) {
        a[i] = []
        b[i] = []
        for (j = 0; j < n; ++j) {
            a[i][j] = i + j
            b[i][j] = i - j + 0.5
        }
    }
    for (i = 0; i < n; ++i)
        for (j = 0; j < n; ++j) {
            sum = 0
            for (k = 0; k < n; ++k)
                sum += a[i][k] * b[k][j]
            last = sum
        }
    return last
}

function json(n) {
    var rows = [], i
    for (i = 0; i < n; ++i)
        rows.push({ name: "row " + i, values: [i, i / 4, i * i], ok: i % 3 === 0, note: null })
    var back = JSON.parse(JSON.stringify(rows))
    return back.length + " " + back[n - 1].values[2] + " " + JSON.stringify(back).length
}

function compose(n) {
    function add(before, i) {
        return function (x) {
            return before(x) + i
        }
    }
    var f = function (x) {
        return x
    }, i
    for (i = 1; i <= n; ++i)
        f = add(f, i)
    return f(0)
}

function work() {
    var list = words(6000)
    print(count(list))
    print(text(list))
    print(objects(60000), matrix(48), compose(40))
    print(json(3000))
}

work()
work()
