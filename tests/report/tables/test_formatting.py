import math

import pytest

from depthbench.report.tables.formatting import number, seed_differences, signed, significant


@pytest.mark.parametrize(
    ("value", "text"), [(-0.001, "+0.00"), (0.0, "+0.00"), (-0.005001, "-0.01"), (12.5, "+12.50")]
)
def test_a_difference_that_rounds_to_zero_has_no_minus(value, text):
    assert signed(value) == text
    assert seed_differences({"differences": {3: value}, "diverged": 0}) == f"3: {text}"


def test_numbers_are_never_minus_zero():
    assert number(-0.001) == "0.00"
    assert number(-1234.5, places=1) == "-1,234.5"


def test_unknown_numbers_are_empty():
    assert (number(None), number(math.inf), signed(math.nan)) == ("", "", "")


@pytest.mark.parametrize(
    ("value", "text"), [(1, "1.00"), (0.96, "0.960"), (158, "158"), (9660.4, "9,660"), (5.79e-6, "5.79e-06")]
)
def test_three_digits_are_significant(value, text):
    assert significant(value) == text
