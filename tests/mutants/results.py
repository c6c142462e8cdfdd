"""What mutmut has found out, read from the files that it leaves beside the mutated code."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from difflib import unified_diff
from pathlib import Path

# mutmut's exit codes: 0 the tests passed, 5 and 33 no test runs the function, 24, 36, 152 and 255 it took too long.
KILLED, TOO_LONG = (1, 3), (-24, 24, 36, 152, 255)
NO_TEST = (5, 33)
SKIPPED = 34
VERDICTS = ("killed", "too long", "survived", "no test", "odd")


@dataclass
class File:
    """One source file; `codes` are the exit codes of its mutants, None for one that has not been tried."""

    path: Path
    codes: dict[str, int | None] = field(default_factory=dict)

    def count(self) -> Counter[str]:
        return Counter(verdict(code) for code in self.codes.values())

    def survivors(self) -> list[str]:
        return [name for name, code in self.codes.items() if verdict(code) in ("survived", "no test", "odd")]


def verdict(code: int | None) -> str:
    if code is None or code == SKIPPED:
        return "untried"
    for codes, word in zip((KILLED, TOO_LONG, (0,), NO_TEST), VERDICTS, strict=False):
        if code in codes:
            return word
    return "odd"


def read(place: Path, names: list[str]) -> list[File]:
    """The files of the room that have mutants; only those called `names`, if there are any."""
    metas = sorted((place / "mutants" / "shardproxy").rglob("*.meta"))
    found = [File(meta.with_suffix(""), json.loads(meta.read_text())["exit_code_by_key"]) for meta in metas]
    return [each for each in found if each.codes and (not names or each.path.stem in names)]


def forget_survivors(place: Path, names: list[str]) -> bool:
    """What has not been killed in the files called `names` (none: in all) is to be tried again; nothing else is.

    Says whether there is anything from a former run.
    """
    metas = list((place / "mutants").rglob("*.meta"))
    for meta in metas:
        data = json.loads(meta.read_text())
        other = None if not names or meta.with_suffix("").stem in names else SKIPPED
        codes = data["exit_code_by_key"]
        data["exit_code_by_key"] = {name: code if code in KILLED else other for name, code in codes.items()}
        meta.write_text(json.dumps(data))
    (place / "mutants" / "mutmut-stats.json").unlink(missing_ok=True)  # which test runs what may have changed
    return bool(metas)


def table(files: list[File]) -> str:
    """A line for each file and one for all; a mutant that took too long was noticed, too."""
    head = f"{'file':24}{'mutants':>9}" + "".join(f"{word:>10}" for word in VERDICTS) + f"{'killed %':>10}"
    total: Counter[str] = Counter()
    for each in files:
        total += each.count()
    return "\n".join([head, *(_line(each.path.name, each.count()) for each in files), _line("all", total)])


def _line(name: str, counted: Counter[str]) -> str:
    tried = sum(counted[word] for word in VERDICTS)
    share = 100 * (counted["killed"] + counted["too long"]) / tried if tried else 0
    return f"{name:24}{tried:9}" + "".join(f"{counted[word]:10}" for word in VERDICTS) + f"{share:10.1f}"


def write_survivors(place: Path, files: list[File]) -> None:
    """Each with the lines that were changed."""
    with (place / "survivors.diff").open("w") as out:
        for each in files:
            functions = _functions(each.path)
            for name in each.survivors():
                changed = name.rpartition(".")[2]
                original = functions.get(changed.rpartition("_")[0] + "_orig", [])
                diff = list(unified_diff(original, functions.get(changed, []), lineterm="", n=1))
                out.write(f"# {verdict(each.codes[name])}: {name}\n")
                out.writelines(f"{line}\n" for line in diff[3:])


def _functions(path: Path) -> dict[str, list[str]]:
    """The lines of every function of a mutated file, by the name that mutmut has given it; that name is not in them."""
    lines = path.read_text().splitlines()
    spans = json.loads(path.with_name(path.name + ".spans").read_text())["spans"]
    return {name: [line.replace(name, "") for line in lines[start - 1 : end]] for name, (start, end) in spans.items()}
