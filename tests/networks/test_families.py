import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from depthbench.errors import BadInput
from depthbench.networks import NETWORKS, NINE_N_PLUS_2, SIX_N_PLUS_2, DepthRule, Family


@pytest.mark.parametrize(
    ("depth", "n"), [(8, 1), (20, 3), (56, 9), (110, 18), (1202, 200), (50, 8), (152, 25)]
)
def test_depth_is_six_n_plus_two(depth, n):
    assert SIX_N_PLUS_2.n(depth) == n


@pytest.mark.parametrize(
    ("depth", "nearest"),
    [(21, "20 or 26"), (25, "20 or 26"), (18, "14 or 20"), (9, "8 or 14"), (2, "8"), (1, "8")],
)
def test_another_depth_is_refused_with_the_nearest_ones(depth, nearest):
    with pytest.raises(BadInput) as error:
        SIX_N_PLUS_2.n(depth)
    assert str(error.value) == f"depth {depth} is not 6n+2, n >= 1; nearest: {nearest}"


@settings(max_examples=50, deadline=None, derandomize=True)
@given(step=st.integers(1, 12), offset=st.integers(0, 12), depth=st.integers(1, 400))
def test_a_rule_has_exactly_the_depths_it_says(step, offset, depth):
    rule = DepthRule(step, offset)
    if depth in [step * n + offset for n in range(1, 401)]:
        assert step * rule.n(depth) + offset == depth
    else:
        with pytest.raises(BadInput, match="nearest") as error:
            rule.n(depth)
        for near in str(error.value).rpartition("nearest: ")[2].split(" or "):
            assert abs(int(near) - depth) < step or int(near) == step + offset
            rule.n(int(near))


@pytest.mark.parametrize(("rule", "text"), [((), "any"), ((1, 3), "n+3"), ((6, 2), "6n+2")])
def test_a_rule_says_what_it_allows(rule, text):
    assert str(DepthRule(*rule)) == text


def test_a_plugin_family_has_any_depth():
    assert Family(object).depths.n(7) == 7


def test_some_depths_are_of_both_rules_and_the_family_says_which():
    assert (SIX_N_PLUS_2.n(110), NINE_N_PLUS_2.n(110)) == (18, 12)
    assert (NINE_N_PLUS_2.n(164), NINE_N_PLUS_2.n(1001)) == (18, 111)
    with pytest.raises(BadInput, match=r"depth 1001 is not 6n\+2, n >= 1; nearest: 998 or 1004"):
        NETWORKS["preresnet"].depths.n(1001)


def test_twins_name_each_other():
    for name, family in NETWORKS.items():
        if family.twin is not None:
            assert NETWORKS[family.twin].twin == name
            assert NETWORKS[family.twin].depths == family.depths
