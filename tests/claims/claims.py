"""
Reads tests/claims/*.claims: what docs/trust.md and SECURITY.md say, the test that shows it, and the fault with which that test must fail.

    claim NAME: in short
    says: docs/trust.md: words of the document, as they stand there
    test: LANE/SUITE NAME            of a shell suite: SUITE and the name of a check
    prints: words                    of a suite that ends itself: what its output has when the test failed
    needs: TARGET…                   what ninja builds besides a C suite
    fault: FILE
    - lines of the file, which stand there once
    + lines in their place, or none
    reason: why no test can show it  (instead of test and fault)

Lines before the first claim that begin with "title:" head the table. A claim may have several `says` and several faults; all faults are
in the tree at the same time.
"""
import dataclasses
import pathlib
import re

DOCUMENTS = ("docs/trust.md", "SECURITY.md")


@dataclasses.dataclass
class Fault:
    path: str
    old: str = ""
    new: str = ""

    def apply(self, text):
        """The text with the fault in it; ValueError if its lines do not stand there exactly once."""
        found = ("\n" + text).count("\n" + self.old)
        if not self.old or found != 1:
            raise ValueError(f"{self.path} has the lines of the fault {found} times, not once")
        return ("\n" + text).replace("\n" + self.old, "\n" + self.new)[1:]


@dataclasses.dataclass
class Claim:
    name: str
    short: str
    title: str
    says: list = dataclasses.field(default_factory=list)
    suite: str = ""
    test: str = ""
    prints: str = ""
    needs: list = dataclasses.field(default_factory=list)
    faults: list = dataclasses.field(default_factory=list)
    reason: str = ""

    @property
    def lane(self):
        return self.suite.partition("/")[0]

    @property
    def source(self):
        """Pattern of the suite's file below tests/."""
        lane, _, name = self.suite.partition("/")
        return lane, f"{name}_test"


def _add_line(claim, key, value):
    if key == "says":
        path, _, words = value.partition(": ")
        claim.says.append((path, words))
    elif key == "test":
        claim.suite, _, claim.test = value.partition(" ")
    elif key == "prints":
        claim.prints = value
    elif key == "needs":
        claim.needs += value.split()
    elif key == "fault":
        claim.faults.append(Fault(value))
    elif key == "reason":
        claim.reason = value
    else:
        raise ValueError(f"no such line: {key}: {value}")


def parse(text):
    """The claims of one file."""
    claims, title = [], ""
    for number, line in enumerate(text.splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        if line[0] in "-+":
            if not claims or not claims[-1].faults:
                raise ValueError(f"line {number}: no fault is begun")
            fault, code = claims[-1].faults[-1], line[2:] + "\n"
            if line[0] == "-":
                fault.old += code
            else:
                fault.new += code
            continue
        key, _, value = line.partition(": ")
        if key == "title":
            title = value
        elif key.startswith("claim "):
            claims.append(Claim(key[6:], value, title))
        else:
            _add_line(claims[-1], key, value)
    return claims


def read(root):
    """All claims of a tree, in the order of the files' names."""
    claims = []
    for path in sorted((root / "tests/claims").glob("*.claims")):
        claims += parse(path.read_text())
    return claims


def _words(text):
    return " ".join(text.split())


def _has_test(root, claim):
    lane, stem = claim.source
    for path in (root / "tests" / lane).rglob(stem + ".*"):
        text = path.read_text()
        if path.suffix == ".c":
            return re.search(rf"^TEST\({re.escape(claim.test)}\)", text, re.MULTILINE) is not None
        return f'"{claim.test}"' in text
    return False


def _problems_of(root, claim, documents):
    for path, words in claim.says:
        if path not in documents:
            yield f"says something of {path}, which is not one of the documents"
        elif _words(words) not in documents[path]:
            yield f'{path} does not say "{words}"'
    if not claim.says:
        yield "quotes no document"
    if claim.reason:
        if claim.suite or claim.faults:
            yield "has a reason why there is no test, and a test"
        return
    if not claim.faults:
        yield "has no fault"
    if not _has_test(root, claim):
        yield f"there is no test {claim.suite} {claim.test}"
    texts = {}
    for fault in claim.faults:
        try:
            text = texts.get(fault.path) or (root / fault.path).read_text()
            texts[fault.path] = fault.apply(text)
            if texts[fault.path] == text:
                yield f"the fault changes nothing in {fault.path}"
        except (OSError, ValueError) as problem:
            yield str(problem)


def problems(root, claims):
    """What is wrong with the list: one text each."""
    documents = {path: _words((root / path).read_text()) for path in DOCUMENTS if (root / path).is_file()}
    seen = set()
    for claim in claims:
        if claim.name in seen:
            yield f"{claim.name}: is there twice"
        seen.add(claim.name)
        for problem in _problems_of(root, claim, documents):
            yield f"{claim.name}: {problem}"


def _sentences(text):
    """Sentences of a document, and the rows of its tables."""
    for block in re.split(r"\n\n+", text):
        rows = block.splitlines()
        if rows[0].startswith("|"):
            yield from rows[2:]
        elif not rows[0].startswith("#"):
            yield from re.split(r"(?<=[.:]) (?=[A-Z`*-])", _words(block))


def unquoted(root, claims):
    """(document, sentence) of what no claim quotes any part of."""
    for path in DOCUMENTS:
        quotes = [_words(words) for claim in claims for where, words in claim.says if where == path]
        for sentence in _sentences((root / path).read_text()):
            plain = _words(sentence)
            if plain and not any(quote in plain or plain in quote for quote in quotes):
                yield path, plain


def judge(claim, status, output):
    """passed, failed, skipped or broken. A test that fails says so by its name; whatever else went wrong is no failure of this test."""
    if f"skipped: {claim.test}: " in output:
        return "skipped"
    if f": {claim.test}: " in output or f"{claim.test}: died of a signal" in output:
        return "failed"
    if claim.prints and claim.prints in output and status != 0:
        return "failed"
    return "passed" if status == 0 and re.search(r"^\S+: [1-9]\d* passed, 0 failed,", output, re.MULTILINE) else "broken"


def _cell(text):
    return text.replace("|", "\\|")


def _code(text):
    """Code in a cell of a table: in backquotes, its blanks made one."""
    text = _words(text)
    return f"`` {_cell(text)} ``" if "`" in text else f"`{_cell(text)}`"


def _fault_text(fault):
    where = f"`{fault.path}`: "
    if not fault.new:
        return where + "without " + _code(fault.old)
    return where + _code(fault.old) + " becomes " + _code(fault.new)


def table(claims):
    """The tables of docs/claims.md."""
    lines = []
    title = None
    for claim in (c for c in claims if not c.reason):
        if claim.title != title:
            title = claim.title
            lines += ["", f"### {title}", "", "| claim | test | fault with which it fails |", "|---|---|---|"]
        faults = "; ".join(_fault_text(fault) for fault in claim.faults)
        lines.append(f"| `{claim.name}`: {_cell(claim.short)} | `{claim.suite}` {_cell(claim.test)} | {faults} |")
    lines += ["", "### What no test here can show", "", "| claim | why |", "|---|---|"]
    lines += [f"| {_cell(c.short)} | {_cell(c.reason)} |" for c in claims if c.reason]
    return "\n".join(lines[1:]) + "\n"
