# tests/packages/contents_test.sh: the Debian packages of the tree: which there are, what is in them, what they depend on, and that lintian
# has nothing to say. The suites of the lane debian install them.
. "${HUSK_SOURCE:-.}/tests/harness.sh"
for program in dh lintian dpkg-deb; do
    command -v $program >/dev/null || { skip all "no $program (tools/install-deps build packages)"; finish; }
done
unset MAKEFLAGS MAKELEVEL DESTDIR SOURCE_DATE_EPOCH
packages=$HUSK_BUILD/packages
"$HUSK_SOURCE/tools/build-packages" "$packages" >"$scratch/log" 2>&1 || { fail "build-packages" "$(tail -n 30 "$scratch/log")"; finish; }
version=$(sed -nE 's/^#define HUSK_VERSION_[A-Z]+ ([0-9]+)$/\1/p' "$HUSK_SOURCE/include/husk_base.h" | paste -s -d .)-1
cd "$packages" || exit 1
mapfile -t names < <(ls -- *.deb | grep -v -e -dbgsym | sed 's/_.*//')
for name in husk husk-compiler libhusk0 libhusk-dev; do
    check "there is a package $name" test -f "${name}_${version}_amd64.deb"
done
same "the version is the project's" "$(ls -- *.deb | grep -vF "_${version}_amd64.deb")" ""
for name in husk-serve husk-oci; do # where the tree has the program, and what it needs is here
    program=$(find build -maxdepth 1 -name $name)
    same "there is a package $name if there is the program" "$(ls "${name}"_* 2>/dev/null)" "${program:+${name}_${version}_amd64.deb}"
done
same "lintian" "$(lintian --allow-root --fail-on none ./*.deb 2>&1 | grep -v '^N:')" ""

check_bill=$HUSK_SOURCE/tests/packages/check_bill.py
field() { # PACKAGE FIELD
    dpkg-deb -f "$1_${version}_amd64.deb" "$2"
}
for name in "${names[@]}"; do
    dpkg-deb -x "${name}_${version}_amd64.deb" "$scratch/$name"
    dpkg-deb -e "${name}_${version}_amd64.deb" "$scratch/$name.control"
    same "$name: sums" "$(cd "$scratch/$name" && md5sum --quiet -c "$scratch/$name.control/md5sums" 2>&1)" ""
    same "$name: files without a sum" "$(cd "$scratch/$name" && find . -type f | wc -l)" "$(wc -l <"$scratch/$name.control/md5sums")"
    check "$name: copyright" grep -q '^Files: xxhash.h' "$scratch/$name/usr/share/doc/$name/copyright"
    contains "$name: changelog" "$(zcat "$scratch/$name/usr/share/doc/$name/changelog.gz")" "## ${version%-1}"
    contains "$name: Debian's changelog" "$(zcat "$scratch/$name/usr/share/doc/$name/changelog.Debian.gz")" "husk ($version)"
    documents=$scratch/$name/usr/share/doc/$name
    same "$name: its bill of materials" "$(python3 "$check_bill" "$documents/$name.cdx.json" "$scratch/$name" "$documents/licenses" 2>&1)" "good"
    same "$name: owners" "$(dpkg-deb -c "${name}_${version}_amd64.deb" | awk '$2 != "root/root"')" ""
    same "$name: others' writing" "$(find "$scratch/$name" ! -type l -perm /022)" ""
done
bill=$scratch/libhusk0/usr/share/doc/libhusk0/libhusk0.cdx.json
contains "a bill has what a header brought" "$(cat "$scratch/libhusk-dev/usr/share/doc/libhusk-dev/libhusk-dev.cdx.json")" '"name": "libxxhash-dev"'
contains "the compiler's bill has LLVM" "$(cat "$scratch/husk-compiler/usr/share/doc/husk-compiler/husk-compiler.cdx.json")" '"name": "libllvm'
cp -r "$scratch/libhusk0" "$scratch/more" # that a bill can be bad
cp "$scratch/husk/usr/bin/husk" "$scratch/more/usr/lib/another.so.0"
contains "a file that is not in the bill" "$(python3 "$check_bill" "$bill" "$scratch/more" "$(dirname "$bill")/licenses" 2>&1)" "not in the bill: usr/lib/another.so.0"
rm -r "$scratch/more"
contains "a licence that is missing" "$(python3 "$check_bill" "$bill" "$scratch/libhusk0" "$scratch" 2>&1)" "no licence libxxhash-dev.txt"
same "no file in two packages" "$(for name in "${names[@]}"; do (cd "$scratch/$name" && find . ! -type d); done | sort | uniq -d)" ""
same "no path of this machine" "$(cd "$scratch" && grep -rlaF -e "$HUSK_SOURCE/" -e "$packages" . 2>/dev/null)" ""
for name in *-dbgsym_*.deb; do dpkg-deb -x "$name" "$scratch/debug"; done
same "no path of this machine in debug symbols" "$(grep -rlaF -e "$HUSK_SOURCE/" "$scratch/debug")" ""
while read -r file; do
    dynamic=$(readelf -d "$file")
    same "${file#"$scratch/"}: no rpath" "$(grep -E 'R(UN)?PATH' <<<"$dynamic")" ""
    [[ $dynamic == *"no dynamic section"* ]] || contains "${file#"$scratch/"}: bound at once" "$dynamic" BIND_NOW
    same "${file#"$scratch/"}: stripped" "$(readelf -S "$file" | grep -c -e '\.symtab' -e '\.debug_info')" 0
    id=$(readelf -n "$file" | sed -n 's/.*Build ID: //p')
    check "${file#"$scratch/"}: its debug symbols are in a package" test -f "$scratch/debug/usr/lib/debug/.build-id/${id:0:2}/${id:2}.debug"
done < <(find "$scratch"/*/usr/bin "$scratch"/*/usr/lib* -type f \( -path '*/bin/*' -o -path '*/libexec/*' -o -name '*.so.*' \))

contains "husk recommends the compiler of its version" "$(field husk Recommends)" "husk-compiler (= $version)"
same "husk needs no LLVM" "$(field husk Depends | grep -ciE 'llvm|husk')" 0
contains "the compiler depends on LLVM" "$(field husk-compiler Depends)" libllvm
contains "libhusk-dev: the same version" "$(field libhusk-dev Depends)" "libhusk0 (= $version)"
series=${version%.*}
contains "programs depend on this series of libhusk0" "$(cat "$scratch/libhusk0.control/shlibs")" \
    "libhusk 0 libhusk0 (>= ${version%-1}), libhusk0 (<< ${series%.*}.$((${series#*.} + 1))~)"
same "all headers" "$(ls "$scratch/libhusk-dev/usr/include")" "$(cd "$HUSK_SOURCE/include" && ls -- *.h)"
for page in "$HUSK_SOURCE"/docs/man/*.[1-8]; do
    same "man page ${page##*/}" "$(cd "$scratch" && find . -path "*/man/*/${page##*/}.gz" | wc -l)" 1
done
for file in README.md LICENSE NOTICE docs/trust.md examples/hello.c examples/guests/plugin.c; do
    check "documents: $file" eval "[ -e '$scratch/husk/usr/share/doc/husk/$file' ] || [ -h '$scratch/husk/usr/share/doc/husk/$file' ]"
done
for file in bash-completion/completions/husk zsh/vendor-completions/_husk fish/vendor_completions.d/husk.fish; do
    check "completion: $file" test -s "$scratch/husk/usr/share/$file"
done
while read -r holder; do # NOTICE's licences are in the packages' copyright
    contains "copyright has NOTICE's $holder" "$(cat "$scratch/husk/usr/share/doc/husk/copyright")" "$holder"
done < <(sed -n 's/^ *Copyright (C) //p' "$HUSK_SOURCE/NOTICE")
"$HUSK_SOURCE/tools/build-packages" "$packages" --wrong >"$scratch/log" 2>&1
same "build-packages: wrong usage" $? 2
finish
