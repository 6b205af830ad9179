"""Kills, cuts and fills things at random, in rounds, and looks after each round whether anything was lost.

    ./dev chaos --minutes 20 --seed 7 --database postgresql

A round does every kind of fault once, one on top of the other, in an order of its own, while runs come in and are done;
then it heals and checks every invariant.
What a round does follows from the seed and its number alone; a round that fails prints the command that does it again.
"""

import argparse
import faulthandler
import shutil
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).parent.parent))

from chaos.faults import MISSED
from chaos.rounds import deal, play
from chaos.world import World, world


def one_round(options: argparse.Namespace, world: World, number: int, done: Counter[str]) -> list[str]:
    """Play it and settle; what does not hold afterwards."""
    began = time.monotonic()
    faults = deal(options.database, options.seed, number)
    told = list(play(world, faults, options.seed, number))
    faulted_s = time.monotonic() - began
    broken = world.settle()
    names = [fault.__name__ for fault in faults]
    done.update(name if MISSED not in word else f"{name} ({MISSED})" for name, word in zip(names, told, strict=True))
    words = ", ".join(f"{name} ({word})" for name, word in zip(names, told, strict=True))
    print(f"round {number}: {faulted_s:.0f} s and {time.monotonic() - began - faulted_s:.0f} s: {words}", flush=True)
    return broken


def rounds(options: argparse.Namespace, made: World, done: Counter[str]) -> int:
    """Round after round until the time is up; the number of the one that failed, or -1."""
    ends = time.monotonic() + options.minutes * 60
    number: int = options.round
    while time.monotonic() < ends and (options.rounds is None or number < options.round + options.rounds):
        if broken := one_round(options, made, number, done):
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
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # Who ends us wants the world taken down.
    done: Counter[str] = Counter()
    with TemporaryDirectory(prefix="chaos-") as folder, world(Path(folder), options.database) as made:
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
