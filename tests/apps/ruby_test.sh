# tests/apps/ruby_test.sh: examples/ruby.c with Ruby 3.4 and its library from npm: a reactor that wants JavaScript around it and gets none.
# Exceptions, fibers (asyncify), the library, private files, and a clean state for each script.
. "${HUSK_SOURCE:-.}/tests/harness.sh"
ruby=$HUSK_BUILD/examples/ruby
[ -x "$ruby" ] || { skip all "the examples were not built"; finish; }
same "without a script" "$("$ruby" nowhere.wasm 2>&1; echo $?)" "usage: ruby ruby+stdlib.wasm SCRIPT…
2"
need_kvm
need_guest ruby
image=$scratch/ruby.husk
if ! "$husk" compile -O0 "$guest" -o "$image" 2>"$scratch/err"; then # 30 MB of wasm: at -O2 it would compile for minutes
    fail compiles "$(cat "$scratch/err")"
    finish
fi

# scripts SCRIPT…: what they print is $out, what is wrong with them $said.
scripts() {
    out=$("$ruby" "$image" "$@" 2>"$scratch/said")
    code=$?
    said=$(cat "$scratch/said")
}

scripts '$x = 3; class String; def twice = self * 2; end; "ab".twice' '[$x, "ab".respond_to?(:twice)]' \
    'File.write("/work/lib.rb", "module Lib; X = 5; end"); require "/work/lib.rb"; Dir.mkdir("/work/d")
     File.rename("/work/lib.rb", "/work/d/l.rb"); [Lib::X, Dir.glob("/work/**/*").sort, File.size("/work/d/l.rb")]' \
    '[defined?(Lib), Dir.children("/work")]' 'puts JSON.generate({a: [1, nil]})'
same "every script starts clean: exit code" $code 0
same "every script starts clean: no message" "$said" ""
same "every script starts clean" "$out" '"abab"
[nil, false]
[5, ["/work/d", "/work/d/l.rb"], 22]
[nil, []]
{"a":[1,null]}
nil'

scripts 'fiber = Fiber.new { 3.times { |i| Fiber.yield i * i }; :done }; 4.times.map { fiber.resume }' \
    '[2**100, "äöü".upcase, "left right".sub(/(\w+) (\w+)/, "\\2 \\1"), [3, 1, 2].sort_by { -_1 }, 10.0 / 3]' \
    'catch(:a) { 10.times { |i| throw :a, i if i == 4 } }' '(1..200_000).map(&:to_s).sum(&:size)' \
    'require "yaml"; require "digest"; [{"a" => [1, nil]}.to_yaml, Digest::SHA256.hexdigest("husk")[0, 16]]' \
    'def f(n) = f(n + 1); begin; f(0); rescue SystemStackError => e; e.class; end'
same "the language and its library: exit code" $code 0
same "the language and its library" "$out" '[0, 1, 4, :done]
[1267650600228229401496703205376, "ÄÖÜ", "right left", [3, 2, 1], 3.3333333333333335]
4
1088895
["---\na:\n- 1\n-\n", "c8b1f4b76229cb72"]
SystemStackError'

scripts 'raise "oops"' 'eval("1 +")' 'File.read("/etc/passwd")' 'require "js"; JS.global' 'exit 3' '"and on"'
same "errors: exit code" $code 1
same "errors: the next script runs" "$out" '"and on"'
contains "an exception" "$said" "oops (RuntimeError)"
contains "a script that is none" "$said" "(SyntaxError)"
contains "a file of the host" "$said" "No such file or directory @ rb_sysopen - /etc/passwd (Errno::ENOENT)"
contains "JavaScript" "$said" 'script 4: the module called the unknown import "rb-js-abi-host.global-this: func() -> handle<js-abi-value>"'
contains "a script that leaves" "$said" "exit (SystemExit)"
finish
