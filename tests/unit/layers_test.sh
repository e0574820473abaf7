# tests/unit/layers_test.sh: tools/check-layers finds an include in the wrong direction, in a small
# tree of its own.
. "${HUSK_SOURCE:-.}/tests/harness.sh"
check "the tree as it is passes" "$HUSK_SOURCE/tools/check-layers"

folders=$("$HUSK_SOURCE/tools/check-layers" table | sed -n 's/^| `\([a-z/]*\)\/`.*/\1/p')
cd "$scratch" || exit 1
mkdir -p tools docs
cp "$HUSK_SOURCE/tools/check-layers" tools/
tools/check-layers table >docs/architecture.md
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
ordered $(grep '^host/' <<<"$folders" | grep -v '^host/files$')
ordered $(grep '^compiler/' <<<"$folders" | grep -v client)
check "pairs were tried" test "$passed" -gt 60
for folder in $(grep '^compiler/' <<<"$folders" | grep -v client); do
    contains "what is linked into an embedder does not include $folder" \
        "$(includes compiler/client/a.c "#include \"of_${folder//\//_}.h\"")" "is not in a folder"
done
contains "a header is looked at, too" "$(includes host/vm/a.h '#  include "of_host_call.h"')" 'host/vm/a.h:1: "of_host_call.h" is not'
contains "private layers know no machines" "$(includes host/files/a.c '#include "of_host_memory.h"')" "is not in a folder"
contains "virtual machines know no private layers" "$(includes host/vm/a.c '#include "of_host_files.h"')" "is not in a folder"
same "WASI knows them" "$(includes host/wasi/a.c '#include "of_host_files.h"')" ""
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
behind="what stands behind host/memory/machine.h"
for line in '#include "vm.h"' '#include "syspages.h"' 'struct vm *vm;' 'const struct vcpu_ops *ops;' \
    'struct sys_space *space;' 'gpa_t at = gpa_of_gva(0);' 'run(sandbox->machine->vcpu);'; do
    contains "not above machines: $line" "$(includes host/call/a.c "$line")" "host/call/a.c:1: $behind"
done
same "machines have VMs" "$(includes host/memory/a.c 'struct vm *vm;')" ""
same "another struct" "$(includes host/call/a.c 'struct vm_regs regs;')" ""
same "a comment may name a VM" "$(includes host/call/a.c '/* struct vm */')" ""
contains "KVM is host/vm's" "$(includes host/memory/a.c 'kvm_do_run(vcpu);')" "may name KVM"
same "the engine opens it" "$(includes host/engine/engine.c 'vm_kvm_backend_new(path);')" ""
for line in '#include "cpu_x86_64.h"' 'x = X86_VECTOR_PF;' 'pc = regs.rip;' 'regs->r10 = 0;'; do
    contains "x86-64 has files of its own: $line" "$(includes host/call/a.c "$line")" "may know x86-64"
done
same "they know it" "$(includes host/call/a_x86_64.c 'pc = regs.rip;')" ""
sed -i 1,3d docs/architecture.md
contains "another table in the documents" "$(tools/check-layers)" "docs/architecture.md: its table of folders is not"
finish
