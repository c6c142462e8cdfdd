"""Steps of the model by chance, for as long as wanted: `python -m tests.inprocess.soak --steps 1000000 [--seed N]`."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from random import Random

from tests.inprocess.model import Model

STEPS_OF_A_WORLD = 400


def soak(steps: int, seed: int) -> Counter[str]:
    """How often each step was taken.  Raises when something is wrong, after saying how to get there again."""
    taken: Counter[str] = Counter()
    while taken.total() < steps:
        random, model = Random(seed), Model()
        names: list[str] = []
        try:
            for _ in range(STEPS_OF_A_WORLD):
                names.append(model.step(random))
            model.close()
        except BaseException:
            print(f"seed {seed}, step {len(names)}, after {names[-12:]}", file=sys.stderr)
            raise
        taken.update(names)
        seed += 1
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    began = time.monotonic()
    taken = soak(given.steps, given.seed)
    print(f"{taken.total()} steps in {time.monotonic() - began:.0f} s, nothing wrong: {dict(taken.most_common())}")


if __name__ == "__main__":
    main()
