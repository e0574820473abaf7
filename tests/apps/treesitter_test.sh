# tests/apps/treesitter_test.sh: a program that emscripten made to load side modules, tree-sitter with two grammars, linked to one
# image: the grammars lie at two places in the program's memory and table. It prints what the program's own loader prints in V8.
. "${HUSK_SOURCE:-.}/tests/harness.sh"
need_kvm
guests=$HUSK_BUILD/guests
for name in tree_sitter tree_sitter_ini tree_sitter_css; do
    need_guest $name
done
if ! command -v wat2wasm >/dev/null; then
    skip all "no wat2wasm (package wabt)"
    finish
fi
parts=$HUSK_SOURCE/tests/apps/treesitter
for part in env got main; do
    check "$part.wat" wat2wasm "$parts/$part.wat" -o "$scratch/$part.wasm"
done
at() { # GRAMMAR: its aliases
    echo "env.__memory_base=env.$1_memory_base,env.__table_base=env.$1_table_base"
}
linked=(--link "env=$scratch/env.wasm" --link "GOT.mem=$scratch/got.wasm" --link "ts=$guests/tree_sitter.wasm"
    --link "ini=$guests/tree_sitter_ini.wasm,$(at ini)"
    --link "css=$guests/tree_sitter_css.wasm,$(at css),env.iswspace=ts.iswspace,env.iswalnum=ts.iswalnum" "$scratch/main.wasm")

tree() { # LETTER FILE HUSK-FLAG…: of what is in the file
    local letter=$1 file=$2
    shift 2
    { printf %s "$letter" && cat "$file"; } | "$husk" run "$@" "${linked[@]}" 2>"$scratch/err"
}

printf '[section]\nkey=value\n; a comment\n[other]\nx = y z\nempty=\n' >"$scratch/ini"
printf 'a { color: red; margin: 0 1px } /* c */ @media print { b:hover > .x { top: 1em } } @import "u";' >"$scratch/css"
for ((i = 0; i < 300; i++)); do
    printf '.c%d, #i%d::before { width: calc(%dpx + 2%%); content: "%d" }\n' $i $i $i $i
done >"$scratch/long"
printf 'a { color: ; } } b {{ [' >"$scratch/wrong"
same "ini" "$(tree i "$scratch/ini")" "(document (section (section_name (text)) (setting (setting_name) (setting_value)))\
 (comment (text)) (section (section_name (text)) (setting (setting_name) (setting_value)) (setting (setting_name))))"

node=$HUSK_BUILD/diff/node/node_modules/node/bin/node
[ -x "$node" ] || node=$(command -v node)
loader=$HUSK_BUILD/guest-src/web-tree-sitter-0.27.2/package/debug/web-tree-sitter.js
compare() { # LETTER GRAMMAR FILE
    local expected
    if ! expected=$("$node" "$parts/parse.mjs" "$loader" "$guests/tree_sitter_$2.wasm" <"$scratch/$3" 2>"$scratch/err"); then
        skip "$3 as in V8" "no node that runs the loader: $(head -n 1 "$scratch/err")"
        return
    fi
    same "$3 as in V8, -O2" "$(tree "$1" "$scratch/$3")" "$expected"
    same "$3 as in V8, -O0" "$(tree "$1" "$scratch/$3" -O0)" "$expected"
}
compare i ini ini
compare c css css
compare c css long
compare c css wrong

# The image alone: a snapshot of it after nothing has run, restored for each text.
check "compiles" "$husk" compile "${linked[@]}" -o "$scratch/linked.husk"
same "the image" "$(printf 'i[a]\nb=c\n' | "$husk" run "$scratch/linked.husk")" \
    "(document (section (section_name (text)) (setting (setting_name) (setting_value))))"
contains "its instances" "$("$husk" inspect "$scratch/linked.husk")" "instances"
finish
