# tests/cli/completion_test.sh: shells complete the commands and options that --help shows, all of them and no others; and what they offer at
# some places of a command line, in bash, and in zsh and fish where they are.
. "${HUSK_SOURCE:-.}/tests/harness.sh"
cd "$scratch" || exit 1
make_completions=$HUSK_SOURCE/tools/make-completions
table=$HUSK_SOURCE/packaging/completion/husk.list
"$make_completions" rows "$table" >rows || { fail rows "the table is wrong"; finish; }

# ---- the table is what --help says ----
commands=$("$husk" help | sed -nE 's/^  husk ([a-z]+).*/\1/p')
check "there are commands" test "$(wc -l <<<"$commands")" -ge 8
same "the commands" "$(awk -F '\t' '$2 == "" { print $1 }' rows | sort)" "$(sort <<<"$commands")"
same "help has the commands" "$(awk -F '\t' '$1 == "help" && $2 == "" { print $3 }' rows | tr -d '()' | tr ' ' '\n' | sort)" \
    "$(grep -vxE 'help|version' <<<"$commands" | sort)"
while read -r command; do
    [ "$command" != help ] && [ "$command" != version ] || continue
    help=$("$husk" help "$command")
    same "husk $command: its options" "$(awk -F '\t' -v c="$command" '$1 == c && $2 != "" { print $2 }' rows | sort -u)" \
        "$(grep -oE '(^|[[ ,|])--?[A-Za-z][A-Za-z0-9-]*' <<<"$help" | grep -oE -e '--?[A-Za-z].*' | sort -u)"
done <<<"$commands"
words=$("$husk" cache --help | sed -nE 's/^  ([a-z]+) .*/\1/p' | sort -u)
same "husk cache: its words" "$(awk -F '\t' '$1 == "cache" && $2 == "" { print $3 }' rows | tr -d '()' | tr ' ' '\n' | sort)" "$words"

# ---- a table that is wrong is refused ----
refused() { # NAME TEXT-OF-THE-ERROR LINE…
    local name=$1 text=$2
    shift 2
    printf '%s\n' "$@" >wrong.list
    if "$make_completions" bash wrong.list >wrong.bash 2>wrong.err; then fail "$name" "not refused"; else contains "$name" "$(cat wrong.err)" "$text"; fi
    same "$name: nothing is written" "$(cat wrong.bash)" ""
}
refused "an unknown argument" "line 1: no such argument" "run | wasm | text"
refused "an unknown option" "line 2: no such option" "run | none | text" "- | ---x | none | text"
refused "an unknown command" "line 1: no such command above" "+ | run"
refused "a quotation mark" "line 1: a letter" "run | none | it's"
refused "a missing column" "line 1: neither" "a | b | none | text"

# ---- bash ----
"$make_completions" bash "$table" completion.bash
check "bash: syntax" bash -n completion.bash
mkdir -p "a folder" plain
touch a.wasm b.husk c.txt "a file.wasm" plain/d.wasm
bash_offers() { # WORD…: the last one is being completed; prints what is offered, sorted
    bash -c 'source completion.bash; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _husk; printf "%s\n" "${COMPREPLY[@]}"' bash husk "$@" | sort
}
offers() { # SHELL WORD…
    "${1}_offers" "${@:2}" | tr '\n' ' ' | sed 's/ $//'
}
same "bash: commands" "$(offers bash sn)" "snapshot"
same "bash: an option" "$(offers bash run --max-)" "--max-memory --max-names --max-open --max-private"
same "bash: only options of the command" "$(offers bash doctor --)" "--help --json"
same "bash: modules and folders" "$(bash_offers run '')" "a file.wasm
a folder
a.wasm
b.husk
plain"
same "bash: modules in a folder" "$(offers bash inspect plain/)" "plain/d.wasm"
same "bash: an option's words" "$(offers bash compile --cpu x86-64-v)" "x86-64-v2 x86-64-v3 x86-64-v4"
same "bash: an option's words, behind =" "$(offers bash compile --cpu = x86-64-v3)" "x86-64-v3"
same "bash: right behind =" "$(offers bash run --unknown-imports =)" "refuse trap"
same "bash: folders" "$(bash_offers run --dir '')" "a folder
plain"
same "bash: any text" "$(offers bash run --env '')" ""
same "bash: behind an option's argument" "$(offers bash run --env a.wasm b)" "b.husk"
same "bash: an optional argument is in the word" "$(offers bash run --reproducible b)" "b.husk"
same "bash: an optional argument behind =" "$(offers bash run --reproducible = 7 b)" "b.husk"
same "bash: the program's own arguments are files" "$(offers bash run a.wasm c.t)" "c.txt"
same "bash: they are no options of husk" "$(offers bash run a.wasm --di)" ""
same "bash: other commands' options stand anywhere" "$(offers bash compile a.wasm --out)" "--output"
same "bash: a file behind it" "$(offers bash compile a.wasm -o c.t)" "c.txt"
same "bash: words of a command" "$(offers bash cache l)" "limit list"
same "bash: no command of this name" "$(offers bash nonsense --)" ""
same "bash: without a command" "$(offers bash '' | wc -w)" "$(($("$make_completions" rows "$table" | grep -c "$(printf '\t\t')") + 2))"

# ---- fish ----
if command -v fish >/dev/null; then
    export HOME=$scratch XDG_CONFIG_HOME=$scratch/config XDG_DATA_HOME=$scratch/data
    "$make_completions" fish "$table" completion.fish
    check "fish: syntax" fish -n completion.fish
    fish_offers() { # LINE
        fish --no-config -c 'source completion.fish; complete -C $argv[1]' "$1" 2>&1 | cut -f 1 | sort
    }
    same "fish: commands" "$(offers fish 'husk sn')" "snapshot"
    same "fish: an option" "$(offers fish 'husk run --max-')" "--max-memory --max-names --max-open --max-private"
    same "fish: only options of the command" "$(offers fish 'husk doctor --')" "--help --json"
    same "fish: modules" "$(offers fish 'husk inspect plain/')" "plain/d.wasm"
    same "fish: an option's words" "$(offers fish 'husk compile --cpu x86-64-v')" "x86-64-v2 x86-64-v3 x86-64-v4"
    same "fish: folders" "$(offers fish 'husk run --dir pl')" "plain/"
    same "fish: words of a command" "$(offers fish 'husk cache l')" "limit list"
    same "fish: a file" "$(offers fish 'husk compile a.wasm -o c.t')" "c.txt"
else
    skip fish "fish is not installed"
fi

# ---- zsh: in a terminal of its own, which says what the list is ----
if command -v zsh >/dev/null; then
    mkdir -p functions
    "$make_completions" zsh "$table" functions/_husk
    check "zsh: syntax" zsh -n functions/_husk
    cat >ask.zsh <<'ZSH'
zmodload zsh/zpty
zpty z zsh -f -i
zpty -w z 'PS1=; PROMPT=; fpath=('$PWD'/functions $fpath); autoload -U compinit; compinit -u -d '$PWD'/dump
zstyle ":completion:*" list-separator ""; zstyle ":completion:*" verbose no; LISTMAX=1000; setopt no_beep
list() { compadd() { local -a got; builtin compadd -A got "$@"; (( $#got )) && print -rl -- $got >>'$PWD'/offered; builtin compadd "$@" }; _main_complete; print done >>'$PWD'/offered }
zle -C list list-choices list; bindkey "^X" list'
zpty -w -n z "$1"$'\x18'
for ((i = 0; i < 200; i++)); do [[ -e offered && $(tail -n 1 offered) == done ]] && break; sleep 0.05; done
zpty -d z
ZSH
    zsh_offers() { # LINE
        rm -f offered
        timeout 60 zsh -f ask.zsh "$1" >/dev/null 2>&1
        grep -vx done offered | sort -u
    }
    same "zsh: commands" "$(offers zsh 'husk sn')" "snapshot"
    same "zsh: an option" "$(offers zsh 'husk run --max-')" "--max-memory --max-names --max-open --max-private"
    same "zsh: only options of the command" "$(offers zsh 'husk doctor --')" "--help --json"
    same "zsh: an option's words" "$(offers zsh 'husk compile --cpu x86-64-v')" "x86-64-v2 x86-64-v3 x86-64-v4"
    same "zsh: words of a command" "$(offers zsh 'husk cache l')" "limit list"
    contains "zsh: modules" "$(offers zsh 'husk inspect plain/')" "d.wasm"
else
    skip zsh "zsh is not installed"
fi
finish
