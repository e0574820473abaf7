// For MuJS (ECMAScript 5). What it must print is computed by hand or by definition, see mujs_test.sh.
var counts = {};
"a b c a b a".split(" ").forEach(function (word) { counts[word] = (counts[word] || 0) + 1; });
print(JSON.stringify(counts));
function Counter() { this.n = 0; }
Counter.prototype.add = function (k) { this.n += k; return this; };
print(new Counter().add(40).add(2).n);
print([5, 3, 9, 1].sort(function (a, b) { return a - b; }).join("-"));
print("2024-05-06".replace(/(\d+)-(\d+)-(\d+)/, "$3.$2.$1"));
var sum = 0;
for (var i = 1; i <= 100000; i++) { sum += i; }
print(sum, 0.5 + 0.25, 1 / 0, parseInt("ff", 16), (255).toString(2));
