"""A share of `./dev chaos` that every run of the tests has time for: each kind of fault once, half on each database.

One fault on top of the other, while runs come in; then the world heals and every invariant must hold.
"""

from pathlib import Path

import pytest
from chaos.rounds import deal_half, play
from chaos.world import world

pytestmark = [pytest.mark.docker, pytest.mark.chaos, pytest.mark.xdist_group("rounds")]

SEED = 12


@pytest.mark.parametrize("database", ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def test_faults_on_top_of_each_other_lose_no_run_and_leave_nothing(database: str, tmp_path: Path) -> None:
    faults = deal_half(database, SEED, 0)
    with world(tmp_path, database) as made:
        for fault, told in zip(faults, play(made, faults, SEED, 0), strict=True):
            print(f"{fault.__name__}: {told}")
        assert made.settle() == []
