"""Checks a bill of materials against what is there: check_bill.py BILL FOLDER LICENCES. Prints `good`, or what is wrong.

Written apart from tools/make-bill: every ELF file below FOLDER is in the bill with its sum, all that it needs is there, a
library whose code is inside has its licence in LICENCES, and the bill has what CycloneDX 1.6 requires. A wheel's RECORD
has the sums of its files.
"""

import base64
import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

bill, folder, licences = json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]), Path(sys.argv[3])
wrong = []


def demand(claim, text):
    if not claim:
        wrong.append(text)


def package_of(library):
    path = subprocess.run(["cc", f"-print-file-name={library}"], capture_output=True, text=True).stdout.strip()
    for name in (Path(path).resolve(), path, str(Path(path).resolve()).removeprefix("/usr")):
        found = subprocess.run(["dpkg-query", "-S", str(name)], capture_output=True, text=True)
        if found.returncode == 0:
            return found.stdout.split(":")[0]
    return None


def check_form():
    demand(bill.get("bomFormat") == "CycloneDX" and bill.get("specVersion") == "1.6" and bill.get("version") == 1, "no CycloneDX 1.6")
    root = bill["metadata"]["component"]
    kinds = {"application", "library", "file"}
    for part in [root, *bill["components"]]:
        demand(part.get("type") in kinds and part.get("name") and part.get("bom-ref"), f"incomplete: {part}")
        for licence in part.get("licenses", []):
            demand(("expression" in licence) != ("license" in licence), f"licence: {licence}")
        if part["type"] == "library":
            demand(part.get("version") and re.match(r"pkg:(deb/\w+|pypi)/[\w.+-]+@[\w.+~%-]+", part.get("purl", "")), f"no purl: {part}")
            demand(part.get("licenses"), f"no licence: {part}")
    refs = [part["bom-ref"] for part in [root, *bill["components"]]]
    demand(len(set(refs)) == len(refs), "a reference twice")
    demand(sorted(entry["ref"] for entry in bill["dependencies"]) == sorted(refs), "dependencies of other parts")
    for entry in bill["dependencies"]:
        demand(set(entry["dependsOn"]) <= set(refs), f"unknown: {entry}")


def check_files():
    components = {part["bom-ref"]: part for part in bill["components"]}
    depends = {entry["ref"]: entry["dependsOn"] for entry in bill["dependencies"]}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not path.is_file() or path.read_bytes()[:4] != b"\x7fELF":
            continue
        name = str(path.relative_to(folder))
        part = components.get(f"file:{name}")
        if part is None:
            wrong.append(f"not in the bill: {name}")
            continue
        sums = {"alg": "SHA-256", "content": hashlib.sha256(path.read_bytes()).hexdigest()}
        demand(sums in part["hashes"], f"another sum: {name}")
        names = {components[ref]["name"] for ref in depends[part["bom-ref"]]}
        for library in re.findall(r"\(NEEDED\).*\[(.*)\]", subprocess.run(["readelf", "-d", path], capture_output=True, text=True).stdout):
            demand(library in {Path(other).name for other in names} or package_of(library) in names, f"{name} needs {library}")


def check_licences():
    for part in bill["components"]:
        properties = {entry["name"]: entry["value"] for entry in part.get("properties", [])}
        if part["type"] != "library" or properties["husk:place"] == "system":
            continue
        text = licences / properties.get("husk:licence-text", "none")
        demand(text.is_file() and text.stat().st_size > 500, f"no licence {text.name}")


def check_record(record):
    for line in record.read_text().splitlines():
        name, digest, _ = line.rsplit(",", 2)
        content = (folder / name).read_bytes()
        expected = "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        demand(digest == expected or name.endswith("RECORD"), f"RECORD: {name}")
    named = {line.rsplit(",", 2)[0] for line in record.read_text().splitlines()}
    there = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    demand(named == there, f"RECORD: {sorted(named ^ there)}")


check_form()
check_files()
check_licences()
for record in folder.glob("*.dist-info/RECORD"):
    check_record(record)
print("\n".join(wrong) or "good")
