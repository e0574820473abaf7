# tests/apps/pandoc_test.sh: pandoc, which is Haskell, built for WASI, from npm: documents and errors.
. "${HUSK_SOURCE:-.}/tests/harness.sh"
need_kvm
if [ -z "${HUSK_LONG_APPS:-}" ]; then
    skip all "pandoc is 59 MB of wasm, more than a minute of CPU time to compile: set HUSK_LONG_APPS=1"
    finish
fi
need_guest pandoc
image=$scratch/pandoc.husk
if ! "$husk" compile -O0 "$guest" -o "$image" 2>"$scratch/err"; then
    fail compiles "$(cat "$scratch/err")"
    finish
fi
pandoc() { # ARGUMENT…
    "$husk" run --no-verify --dir mem::/ "$image" "$@" 2>&1
}

printf '# Title\n\nSome *text* and `code`.\n\n| a | b |\n|---|---|\n| 1 | 2 |\n' >"$scratch/in.md"
same "Markdown to HTML" "$(pandoc -f markdown -t html <"$scratch/in.md" | tr -d '\n')" '<h1 id="title">Title</h1><p>Some <em>text</em> and '\
'<code>code</code>.</p><table><thead><tr><th>a</th><th>b</th></tr></thead><tbody><tr><td>1</td><td>2</td></tr></tbody></table>'
pandoc -f html -t markdown <<<'<p>One <b>two</b></p>' >"$scratch/out"
same "HTML to Markdown" "$? $(cat "$scratch/out")" "0 One **two**"
pandoc -t nonsense <"$scratch/in.md" >"$scratch/out"
same "no such format" "$? $(cat "$scratch/out")" "22 Unknown output format 'nonsense'"
pandoc -f json <<<'{' >"$scratch/out"
same "a document that is none: exit code" $? 64
contains "a document that is none" "$(cat "$scratch/out")" "JSON parse error"
finish
