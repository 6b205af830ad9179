"""Candidate against baseline: the order of the turns, and what is made of their times."""

import math
import random
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from runner_agent.pairs import compare, compared, order, pair_ratios, sign_flip_p
from runner_protocol.results import IterationRecord, Variant, Verdict, Word

C, B = Variant.CANDIDATE, Variant.BASELINE


def ran(number: int, variant: Variant, wall_ns: int, **changes: object) -> IterationRecord:
    return IterationRecord(number=number, variant=variant, wall_ns=wall_ns, exit_code=0).model_copy(update=changes)


@given(pairs=st.integers(0, 60), seed=st.integers())
def test_each_pair_has_both_and_every_second_mirrors_the_one_before(pairs: int, seed: int) -> None:
    turns = order(pairs, random.Random(seed))
    halves = [turns[place : place + 2] for place in range(0, len(turns), 2)]
    assert len(turns) == 2 * pairs
    assert all(set(pair) == {C, B} for pair in halves)
    assert all(two == one[::-1] for one, two in zip(halves[::2], halves[1::2], strict=False))


def test_who_goes_first_is_chance() -> None:
    firsts = {order(1, random.Random(seed))[0] for seed in range(20)}
    assert firsts == {C, B}


def test_pairs_are_formed_in_the_order_of_running_without_warm_ups() -> None:
    records = [ran(0, C, 5, warm_up=True), ran(1, C, 20), ran(2, B, 10), ran(3, B, 10), ran(4, C, 30)]
    assert pair_ratios(records) == [2.0, 3.0]


def test_a_half_that_was_run_again_counts_with_its_quiet_run() -> None:
    quiet, disturbed = Verdict(word=Word.QUIET), Verdict(word=Word.DISTURBED)
    records = [
        ran(0, C, 90, verdict=disturbed),
        ran(1, C, 20, verdict=quiet, repeats=0),
        ran(2, B, 10, verdict=quiet),
    ]
    assert pair_ratios(records) == [2.0]


def test_a_pair_with_a_failed_half_is_left_out() -> None:
    records = [ran(0, C, 20, exit_code=1), ran(1, B, 10), ran(2, B, 10), ran(3, C, 30)]
    assert pair_ratios(records) == [3.0]
    assert compare(records[:2]) is None


def test_the_same_work_twice_is_no_difference() -> None:
    found = compared([1.0] * 12)
    assert (found.ratio, found.ratio_lower, found.ratio_upper, found.p_value) == (1.0, 1.0, 1.0, 1.0)
    assert found.minimum_detectable_effect == 0.0


def test_three_per_cent_more_work_is_found_through_two_per_cent_of_noise() -> None:
    chance = random.Random(3)
    found = compared([1.03 * math.exp(chance.gauss(0, 0.02)) for _ in range(30)])
    assert 1.01 < found.ratio_lower < found.ratio < found.ratio_upper < 1.05
    assert found.ratio_lower < 1.03 < found.ratio_upper
    assert found.p_value < 0.001
    assert found.minimum_detectable_effect is not None
    assert 0.005 < found.minimum_detectable_effect < 0.03


@pytest.mark.parametrize("pairs", [6, 9, 20, 21, 60])
@pytest.mark.parametrize("seed", range(40))
def test_the_interval_leaves_out_1_where_p_is_below_5_per_cent(pairs: int, seed: int) -> None:
    chance = random.Random(seed)
    found = compared([math.exp(chance.gauss(0.04 / math.sqrt(pairs), 0.05)) for _ in range(pairs)])
    assert (found.p_value < 0.05) == (not found.ratio_lower <= 1 <= found.ratio_upper)


@given(logs=st.lists(st.floats(-0.5, 0.5), min_size=1, max_size=40))
def test_the_ratio_is_the_median_of_the_averages_of_every_two(logs: list[float]) -> None:
    averages = [(one + two) / 2 for place, one in enumerate(logs) for two in logs[place:]]
    found = compared([math.exp(log) for log in logs])
    assert math.log(found.ratio) == pytest.approx(median(averages), abs=1e-9)
    assert found.ratio_lower <= found.ratio <= found.ratio_upper


def test_one_wild_pair_among_many_moves_the_ratio_little() -> None:
    chance = random.Random(7)
    ratios = [math.exp(chance.gauss(0, 0.01)) for _ in range(29)]
    assert compared([*ratios, 3.0]).ratio == pytest.approx(compared(ratios).ratio, abs=0.003)


def test_few_pairs_promise_no_detectable_effect() -> None:
    assert compared([1.1, 1.0, 0.9]).minimum_detectable_effect is None


@pytest.mark.parametrize("pairs", [6, 12, 20])
@pytest.mark.parametrize("seed", range(5))
def test_p_is_that_of_the_signed_rank_test(pairs: int, seed: int) -> None:
    chance = random.Random(seed)
    logs = [chance.gauss(0.01, 0.03) for _ in range(pairs)]
    assert sign_flip_p(logs) == pytest.approx(float(stats.wilcoxon(logs, method="exact").pvalue))


def test_p_of_many_pairs_is_close_to_the_exact_one() -> None:
    chance = random.Random(9)
    logs = [chance.gauss(0.01, 0.03) for _ in range(40)]
    assert sign_flip_p(logs) == pytest.approx(float(stats.wilcoxon(logs, method="exact").pvalue), rel=0.05)


def test_false_alarms_are_as_rare_as_promised() -> None:
    chance = random.Random(5)
    trials = 400
    alarms = sum(sign_flip_p([chance.gauss(0, 0.03) for _ in range(15)]) < 0.05 for _ in range(trials))
    assert alarms / trials < 0.09
