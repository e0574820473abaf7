# tests/apps/yosys_test.sh: yosys with ABC inside it, built for WASI, from npm: it synthesises a small design; netlist and statistics are
# those that V8 made of it.
. "${HUSK_SOURCE:-.}/tests/harness.sh"
need_kvm
need_guest yosys
if ! command -v node >/dev/null; then
    skip all "no node to unpack yosys's own library of cells"
    finish
fi
parts=$HUSK_SOURCE/tests/apps/yosys
package=$("$HUSK_SOURCE/tools/fetch-package" "$HUSK_BUILD/guest-src" npm @yowasp/yosys 0.55.944)
check "the library is unpacked" node "$parts/unpack.mjs" "$package/package/gen/resources-yosys.js" "$scratch/root"
mkdir "$scratch/work"
cp "$parts/design.v" "$scratch/work"
# 30 MB of wasm: at -O2 it would compile for minutes.
yosys=("$husk" run -O0 --no-verify --dir "$scratch/root/share::/share::ro" --dir mem::/tmp --dir "$scratch/work::/work" "$guest" -q)

"${yosys[@]}" -p "read_verilog /work/design.v; synth -flatten -top top; abc -g AND,OR,XOR; write_verilog -noattr /work/gates.v;
    write_blif /work/gates.blif; tee -o /work/stat stat" >"$scratch/said" 2>&1
same "exit code" "$? $(grep -v '^Warning' "$scratch/said")" "0 "
same "the netlist" "$(cd "$scratch/work" && sha256sum gates.v gates.blif)" "8732af449c1cc2df96d729dca321eb701f5c2f496cfc7c91e40f7c2efdeb31a4  gates.v
f5d90c12230edf591e372bc40ce76a8822a94a8e7728e7f5828b22d887c88f1b  gates.blif"
contains "the statistics" "$(cat "$scratch/work/stat")" "Number of cells:               1114"
"${yosys[@]}" -p "read_verilog /work/nothing.v" >"$scratch/said" 2>&1
same "no such file: exit code" $? 1
contains "no such file" "$(cat "$scratch/said")" "not found or is a directory"
printf 'module m(input a output b); endmodule\n' >"$scratch/work/wrong.v"
"${yosys[@]}" -p "read_verilog /work/wrong.v" >"$scratch/said" 2>&1
same "wrong Verilog: exit code" $? 1
contains "wrong Verilog" "$(cat "$scratch/said")" "/work/wrong.v:1: ERROR: syntax error"
finish
