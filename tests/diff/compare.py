"""
Compares traces. V8's is the measure; what Husk may do differently is here and nowhere else (docs/testing.md explains it):

- after an access out of bounds, at levels that are not strict and in modules that are not known to stay in bounds, nothing is compared,
  but V8's host calls must be the first of Husk's; if Husk did not trap out of bounds, that is an allowed miss, and counted;
- a call that exhausts V8's stack, or runs out of its time, is not compared;
- several kinds of traps are one for V8.
"""
from dataclasses import dataclass, field

# V8's (and Wasmtime's) kinds that stand for several of Husk's.
SEVERAL = {
    "table": {"table", "undefined"},
    "signature": {"uninitialized", "mismatch"},
    "float": {"overflow", "conversion"},
}


@dataclass
class Block:
    """A call, or the start of an instance."""

    key: str
    hosts: list = field(default_factory=list)
    end: str = "= none"
    state: list = field(default_factory=list)

    def trap(self):
        return self.end[len("= trap ") :] if self.end.startswith("= trap ") else None


@dataclass
class Difference:
    key: str  # "call N" or "start"
    what: str
    expected: str
    found: str

    def is_of_memory(self):
        return self.what == "state" and " diff:m" in self.expected + self.found


@dataclass
class Verdict:
    difference: Difference = None
    calls: int = 0  # compared
    misses: int = 0  # allowed
    uncertain: int = 0  # not compared: exhausted stack, time-out, out of bounds


def parse(text):
    blocks = []
    for line in text.splitlines():
        if line == "fresh":
            continue
        if not line.startswith((" ", "=")):
            blocks.append(Block(line))
        elif not blocks:
            blocks.append(Block(line))
        elif line.startswith(" host "):
            blocks[-1].hosts.append(line)
        elif line.startswith("="):
            blocks[-1].end = line
        else:
            blocks[-1].state.append(line)
    return blocks


def ends(blocks):
    """Step to the kind of trap that ended it."""
    return {int(block.key.split()[1]): block.trap() for block in blocks if block.key.startswith("call ")}


def same_end(expected, found):
    if expected.end == found.end:
        return True
    return expected.trap() is not None and found.trap() in SEVERAL.get(expected.trap(), ())


def first_unequal(expected, found):
    for i in range(max(len(expected), len(found))):
        a = expected[i] if i < len(expected) else "(nothing)"
        b = found[i] if i < len(found) else "(nothing)"
        if a != b:
            return a, b
    return None


def difference_of(expected, found):
    """Of two blocks that must be equal."""
    if expected.key != found.key:
        return Difference(expected.key, "order", expected.key, found.key)
    unequal = first_unequal(expected.hosts, found.hosts)
    if unequal is not None:
        return Difference(expected.key, "host calls", *unequal)
    if not same_end(expected, found):
        return Difference(expected.key, "end", expected.end, found.end)
    unequal = first_unequal(expected.state, found.state)
    return None if unequal is None else Difference(expected.key, "state", *unequal)


def judge(expected, found, is_exact, may_miss=True):
    """expected: V8's blocks; found: another engine's; is_exact: even accesses out of bounds must be as in V8; may_miss: they need not trap."""
    verdict = Verdict()
    rest = iter(found)
    for block in expected:
        trap = block.trap()
        if trap == "timeout":
            verdict.uncertain += 1
            if block.key == "start":
                break
            continue
        other = next(rest, Block("(nothing)"))
        if trap == "stack" or (trap == "memory" and not is_exact):
            verdict.uncertain += 1
            unequal = first_unequal(block.hosts, other.hosts[: len(block.hosts)])
            if trap == "memory" and unequal is not None:
                verdict.difference = Difference(block.key, "host calls before an access out of bounds", *unequal)
                break
            is_miss = trap == "memory" and other.trap() != "memory"
            if is_miss and not may_miss:
                verdict.difference = Difference(block.key, "end", block.end, other.end)
                break
            verdict.misses += is_miss
            if block.key == "start":
                break
            continue
        verdict.calls += 1
        verdict.difference = difference_of(block, other)
        if verdict.difference is not None:
            break
    return verdict
