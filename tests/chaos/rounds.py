"""A round: which faults it does, in which order, and doing them while runs come in. All of it follows from a seed."""

import time
from collections.abc import Iterator, Sequence
from random import Random

from chaos.faults import FAULTS, OF_POSTGRESQL, OF_SQLITE, Fault
from chaos.world import World


def deal(database: str, seed: int, number: int) -> list[Fault]:
    """Every kind that can be done with this database, once."""
    return _shuffled(FAULTS + _of(database), seed, number)


def deal_half(database: str, seed: int, number: int) -> list[Fault]:
    """What any database can bear once over both of them, and what this one alone can."""
    half = _shuffled(FAULTS, seed, number)[database == "sqlite" :: 2]
    return _shuffled((*half, *_of(database)), seed, number)


def play(world: World, faults: Sequence[Fault], seed: int, number: int) -> Iterator[str]:
    """Do these faults while runs come in; tell what each did."""
    for place, fault in enumerate(faults):
        # Of its own, so that what one fault draws hangs on nothing that another one finds.
        chance = Random(f"{seed}/{number}/{place}")
        if place % 4 == 0:
            world.submit(number * 100 + place // 4, iterations=chance.choice([1, 1, 2]))
        yield fault(world, chance)
        world.revive()
        time.sleep(chance.uniform(0, 0.5))


def _of(database: str) -> tuple[Fault, ...]:
    return OF_SQLITE if database == "sqlite" else OF_POSTGRESQL


def _shuffled(kinds: Sequence[Fault], seed: int, number: int) -> list[Fault]:
    deck = list(kinds)
    Random(f"{seed}/{number}").shuffle(deck)
    return deck
