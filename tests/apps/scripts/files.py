# tests/apps/scripts/files.py: files by CPython, in a folder that is its argument: modules, packages, text, bytes, temporary files,
# links, times, trees. It prints what tests/apps/python_test.sh expects; native Python prints the same.
import csv
import errno
import hashlib
import json
import os
import pathlib
import shutil
import stat
import sys
import tempfile
import zipfile

root = pathlib.Path(sys.argv[1])


def fails(what, function, *args):
    try:
        function(*args)
        print(what, "no error")
    except OSError as error:
        print(what, type(error).__name__, errno.errorcode[error.errno])


# Modules: a package that is written, imported (compiled to __pycache__), changed and imported again.
(root / "pack" / "deep").mkdir(parents=True)
(root / "pack" / "__init__.py").write_text("from .deep.leaf import VALUE\n")
(root / "pack" / "deep" / "__init__.py").touch()
(root / "pack" / "deep" / "leaf.py").write_text("VALUE = 41 + 1\n")
sys.path.insert(0, str(root))
import pack

print("import", pack.VALUE, sorted(p.name for p in (root / "pack").rglob("*") if p.suffix != ".pyc"))
print("compiled", len(list((root / "pack").rglob("*.pyc"))))

# Text and bytes, seeks, append, truncation, update in place.
text = root / "text"
text.write_text("one\ntwo\nthree\n", encoding="utf-8")
with text.open("a") as f:
    f.write("vier: \u00fc\u4e16\U0001f600\n")
with text.open("r+b") as f:
    f.seek(4)
    f.write(b"TWO")
    f.seek(-1, os.SEEK_END)
    print("read", f.read(), f.tell())
print(text.read_text(encoding="utf-8").split("\n"))
os.truncate(text, 7)
print("truncated", text.read_bytes(), text.stat().st_size)
with open(root / "sparse", "wb") as f:
    f.seek(1 << 20)
    f.write(b"end")
data = (root / "sparse").read_bytes()
print("sparse", len(data), data.count(0))
with open(root / "large", "wb", buffering=0) as f:
    for i in range(64):
        f.write(bytes([i]) * 65537)
print("large", hashlib.sha256((root / "large").read_bytes()).hexdigest())
fd = os.open(root / "large", os.O_RDONLY)
print("pread", os.pread(fd, 4, 65536), os.lseek(fd, 0, os.SEEK_CUR))
os.close(fd)

# Names.
os.rename(text, root / "renamed")
os.replace(root / "sparse", root / "renamed")
os.link(root / "large", root / "hard")
os.symlink("large", root / "soft")
os.symlink("nowhere", root / "dangling")
print("links", os.readlink(root / "soft"), (root / "hard").stat().st_nlink, (root / "soft").stat().st_size)
print("same", os.path.samefile(root / "hard", root / "soft"), stat.S_ISLNK(os.lstat(root / "soft").st_mode))
print("dangling", os.path.exists(root / "dangling"), os.path.lexists(root / "dangling"))
print("list", sorted((e.name, e.is_dir(), e.is_symlink()) for e in os.scandir(root)))
for i in range(300):
    (root / f"many-{i:03}").touch()
names = os.listdir(root)
print("many", len(names), len(set(names)))
for name in names:
    if name.startswith("many-"):
        os.unlink(root / name)
print("fewer", len(os.listdir(root)))

# Errors.
fails("missing", open, root / "missing")
fails("folder", open, root / "pack", "w")
fails("exists", os.mkdir, root / "pack")
fails("exclusive", open, root / "large", "x")
fails("not empty", os.rmdir, root / "pack")
fails("not a folder", os.listdir, root / "large")
fails("below a file", open, root / "large" / "x")
fails("long", open, root / ("n" * 300))

# Times.
os.utime(root / "large", ns=(1_000_000_001_000_000_007, 1_234_567_890_123_456_789))
st = os.stat(root / "large")
print("times", st.st_mtime_ns, st.st_atime_ns)

# Formats of the library.
with zipfile.ZipFile(root / "a.zip", "w") as z:
    z.write(root / "pack" / "__init__.py", "init.py")
    z.writestr("sub/json", json.dumps({"k": [1, 2.5, None]}))
with zipfile.ZipFile(root / "a.zip") as z:
    print("zip", sorted(z.namelist()), json.loads(z.read("sub/json")), z.testzip())
with open(root / "t.csv", "w", newline="") as f:
    csv.writer(f).writerows([["a", 'q"uote'], [1, "new\nline"]])
with open(root / "t.csv", newline="") as f:
    print("csv", list(csv.reader(f)))
with tempfile.TemporaryDirectory(dir=root) as d:
    shutil.copytree(root / "pack", os.path.join(d, "copy"))
    print("copied", sorted(os.listdir(d)), sorted(p for p in os.listdir(os.path.join(d, "copy")) if p != "__pycache__"))
with tempfile.NamedTemporaryFile(dir=root, delete_on_close=False) if sys.version_info >= (3, 12) else tempfile.NamedTemporaryFile(dir=root) as f:
    f.write(b"x" * 100000)
    f.flush()
    print("temporary", os.path.getsize(f.name))

# Trees.
shutil.rmtree(root / "pack")
print("left", sorted(os.listdir(root)))
