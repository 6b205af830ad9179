"""Kills, cuts and fills things at random, in rounds, and looks after each round whether anything was lost.

    ./dev chaos --minutes 20 --seed 7 --database postgresql

A round submits a few runs, does ten faults one on top of the other while they run, heals, and checks every invariant.
What a round does follows from the seed and its number alone; a round that fails prints the command that does it again.
"""

import argparse
import faulthandler
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).parent.parent))

from chaos.faults import Fault, faults_for
from chaos.world import World, world

RUNS_A_ROUND = 5
FAULTS_A_ROUND = 10


def play(world: World, faults: tuple[Fault, ...], chance: Random, number: int) -> list[str]:
    """Do these faults while runs come in; return what does not hold afterwards."""
    runs = Random(number)
    for place, fault in enumerate(faults):
        if place % 2 == 0:
            world.submit(number * 100 + place, iterations=runs.choice([1, 2, 3]))
        fault(world, chance)
        world.revive()
        time.sleep(chance.uniform(0, 0.5))
    return world.settle()


def rounds(options: argparse.Namespace, made: World, done: Counter[str]) -> int:
    """Round after round until the time is up; the number of the one that failed, or -1."""
    ends = time.monotonic() + options.minutes * 60
    kinds = faults_for(options.database)
    number: int = options.round
    while time.monotonic() < ends and (options.rounds is None or number < options.round + options.rounds):
        chance = Random(f"{options.seed}/{number}")
        faults = tuple(chance.choice(kinds) for _ in range(FAULTS_A_ROUND))
        began = time.monotonic()
        broken = play(made, faults, chance, number)
        done.update(fault.__name__ for fault in faults)
        names = ", ".join(fault.__name__ for fault in faults)
        print(f"round {number}: {time.monotonic() - began:.0f} s: {names}", flush=True)
        if broken:
            print("\n".join(broken))
            return number
        number += 1
    return -1


def main() -> int:
    """0: nothing was lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--round", type=int, default=0, help="the first round")
    parser.add_argument("--rounds", type=int, help="stop after so many rounds, whatever the time")
    options = parser.parse_args()
    faulthandler.enable()
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    done: Counter[str] = Counter()
    with world(folder, options.database) as made:
        failed = rounds(options, made, done)
        if failed >= 0:
            shutil.copytree(folder, f"{folder}-kept", ignore=shutil.ignore_patterns("engine", "*.sock", "key"))
    print(f"{done.total()} faults, seed {options.seed}, {options.database}")
    print("\n".join(f"{count:6} {name}" for name, count in sorted(done.items())))
    if failed < 0:
        return 0
    print(f"\nround {failed} broke an invariant; logs and database are in {folder}-kept. Again:")
    print(f"./dev chaos --seed {options.seed} --database {options.database} --round {failed} --rounds 1")
    return 1


if __name__ == "__main__":
    sys.exit(main())
