# tests/unit/layers_test.sh: tools/check-layers finds an include in the wrong direction, in a small
# tree of its own.
. "${HUSK_SOURCE:-.}/tests/harness.sh"
check "the tree as it is passes" "$HUSK_SOURCE/tools/check-layers"

folders=$("$HUSK_SOURCE/tools/check-layers" table | sed -n 's/^| `\([a-z/]*\)\/`.*/\1/p')
cd "$scratch" || exit 1
mkdir -p tools docs
cp "$HUSK_SOURCE/tools/check-layers" tools/
tools/check-layers table | tee README.md >docs/architecture.md
for folder in $folders; do
    mkdir -p "$folder"
    : >"$folder/of_${folder//\//_}.h"
done
check "an empty tree passes" tools/check-layers

# includes FILE TEXT: what is said of a file with this line.
includes() {
    echo "$2" >"$1"
    tools/check-layers
    rm "$1"
}

# Of each two folders of a house, the later may include the earlier; and not the other way round.
ordered() { # FOLDER…
    local before= folder other
    for folder; do
        for other in $before; do
            same "$folder may include $other" "$(includes "$folder/a.c" "#include \"of_${other//\//_}.h\"")" ""
            contains "$other may not include $folder" \
                "$(includes "$other/a.c" "#include \"of_${folder//\//_}.h\"")" \
                "$other/a.c:1: \"of_${folder//\//_}.h\" is not in a folder that $other/ may include"
        done
        before="$before $folder"
    done
}
ordered $(grep '^host/' <<<"$folders")
ordered $(grep '^compiler/' <<<"$folders" | grep -v client)
check "pairs were tried" test "$passed" -gt 60
for folder in $(grep '^compiler/' <<<"$folders" | grep -v client); do
    contains "what is linked into an embedder does not include $folder" \
        "$(includes compiler/client/a.c "#include \"of_${folder//\//_}.h\"")" "is not in a folder"
done
contains "a header is looked at, too" "$(includes host/vm/a.h '#  include "of_host_call.h"')" 'host/vm/a.h:1: "of_host_call.h" is not'
contains "host never includes compiler" "$(includes host/wasi/a.c '#include "of_compiler_plan.h"')" "is not in a folder"
contains "compiler never includes host" "$(includes compiler/worker/a.c '#include "of_host_vm.h"')" "is not in a folder"
contains "the command includes only what is public" "$(includes cli/a.c '#include "of_base.h"')" "is not in a folder"
contains "a file in no folder of host" "$(includes host/a.c '')" "host/a.c: belongs into one of the folders"
contains "a file in no folder of compiler" "$(includes compiler/a.c '')" "compiler/a.c: belongs into one of the folders"
for folder in wasm compiler/link compiler/worker; do
    contains "$folder does not know LLVM" "$(includes $folder/a.c '#include <llvm-c/Core.h>')" "only compiler/lower/ may know LLVM"
done
same "the lowering does" "$(includes compiler/lower/a.c '#include <llvm-c/Core.h>')" ""
contains "KVM is the host's" "$(includes cli/a.c '#include <linux/kvm.h>')" "only host/"
sed -i 1,3d docs/architecture.md
contains "another table in the documents" "$(tools/check-layers)" "docs/architecture.md: its table of folders is not"
finish
