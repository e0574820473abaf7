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
same "the netlist" "$(cd "$scratch/work" && sha256sum gates.v gates.blif)" "a1569881d7edccab0327d5fb2b6a3e66a6166090b7709bb2a69e9e9fe832e83b  gates.v
e44ba863f90796d2458cef5166d18760b9f97dfcd14d63c13ee43a78e4133c64  gates.blif"
contains "the statistics" "$(cat "$scratch/work/stat")" "Number of cells:               1092"
"${yosys[@]}" -p "read_verilog /work/nothing.v" >"$scratch/said" 2>&1
same "no such file: exit code" $? 1
contains "no such file" "$(cat "$scratch/said")" "not found or is a directory"
printf 'module m(input a output b); endmodule\n' >"$scratch/work/wrong.v"
"${yosys[@]}" -p "read_verilog /work/wrong.v" >"$scratch/said" 2>&1
same "wrong Verilog: exit code" $? 1
contains "wrong Verilog" "$(cat "$scratch/said")" "/work/wrong.v:1: ERROR: syntax error"
finish
