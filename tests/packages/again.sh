# tests/packages/again.sh: for the suites that build twice and compare, sourced after tests/harness.sh.

# copy_tree TO: the sources without what was built, with times of another checkout
copy_tree() {
    mkdir -p "$1"
    tar -C "$HUSK_SOURCE" --exclude=./.git --exclude='./build*' --exclude=__pycache__ -cf - . | tar -C "$1" -xf -
    find "$1" -type f -exec touch -d 2001-01-01 {} +
}

# build_in TREE OUTPUT: by the tree's tools/$builder
build_in() {
    "$1/tools/$builder" "$2" >"$scratch/log" 2>&1 || { fail "$builder" "$(tail -n 30 "$scratch/log")"; finish; }
}

open_archive() { # FILE FOLDER
    case $1 in
    *.deb) dpkg-deb -R "$1" "$2" ;;
    *) python3 -m zipfile -e "$1" "$2" ;;
    esac
}

# What two archives differ in: files by name, or else their order, times or modes.
differences() { # FILE FILE
    local folder found
    folder=$(mktemp -d -p "$scratch")
    open_archive "$1" "$folder/1" && open_archive "$2" "$folder/2" || { echo "it cannot be opened"; return; }
    found=$(cd "$folder" && diff -rq --no-dereference 1 2)
    echo "${found:-the files in it are the same: their order, times or modes differ}"
}

same_archive() { # NAME FILE FILE
    if cmp -s "$2" "$3"; then pass; else fail "$1: byte for byte" "$(differences "$2" "$3")"; fi
}
