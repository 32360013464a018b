import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from depthbench.errors import BadInput
from depthbench.networks import NETWORKS
from depthbench.networks.families.common import NINE_N_PLUS_2, SIX_N_PLUS_2
from depthbench.networks.family import DepthList, DepthRule, Family


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
    assert str(error.value) == f"depth {depth} is not 6n+2 with n >= 1; use {nearest}"


@settings(max_examples=50, deadline=None, derandomize=True)
@given(step=st.integers(1, 12), offset=st.integers(0, 12), depth=st.integers(1, 400))
def test_a_rule_accepts_exactly_its_depths(step, offset, depth):
    rule = DepthRule(step, offset)
    if depth in [step * n + offset for n in range(1, 401)]:
        assert step * rule.n(depth) + offset == depth
    else:
        with pytest.raises(BadInput, match="; use ") as error:
            rule.n(depth)
        for near in str(error.value).rpartition("; use ")[2].split(" or "):
            assert abs(int(near) - depth) < step or int(near) == step + offset
            rule.n(int(near))


@pytest.mark.parametrize(("rule", "text"), [((), "any"), ((1, 3), "n+3"), ((6, 2), "6n+2")])
def test_the_text_of_a_rule(rule, text):
    assert str(DepthRule(*rule)) == text


def test_a_plugin_family_has_any_depth():
    assert Family(object).depths.n(7) == 7


def test_the_family_decides_between_blocks_at_depths_of_both_rules():
    assert (SIX_N_PLUS_2.n(110), NINE_N_PLUS_2.n(110)) == (18, 12)
    assert (NINE_N_PLUS_2.n(164), NINE_N_PLUS_2.n(1001)) == (18, 111)
    with pytest.raises(BadInput, match=r"depth 1001 is not 6n\+2 with n >= 1; use 998 or 1004"):
        NETWORKS["preresnet"].depths.n(1001)


def test_a_list_accepts_exactly_its_depths():
    depths = DepthList((18, 34))
    assert (str(depths), depths.n(34), depths.depth(2), depths.depth(3)) == ("18, 34", 2, 34, None)
    with pytest.raises(BadInput, match="depth 20 does not exist; use 18 or 34"):
        depths.n(20)


def test_a_list_that_goes_on_accepts_every_depth_after_its_last():
    depths = DepthList((11, 13, 16), goes_on=True)
    assert str(depths) == "11, 13, 16 and every depth above"
    assert [depths.depth(n) for n in (1, 3, 4, 40)] == [11, 16, 17, 53]
    assert [depths.n(depth) for depth in (11, 16, 17, 53)] == [1, 3, 4, 40]


@pytest.mark.parametrize(
    ("name", "depth", "nearest"),
    [
        ("densenet_imagenet", 150, "121 or 161"),
        ("densenet_imagenet", 1, "121"),
        ("densenet_imagenet", 300, "264"),
        ("vgg", 12, "11 or 13"),
        ("vgg", 18, "16 or 19"),
        ("vgg", 2, "11"),
        ("fractalnet", 320, "160"),
        ("googlenet", 20, "22"),
    ],
)
def test_a_depth_that_is_not_in_a_list_is_refused_with_the_nearest_ones(name, depth, nearest):
    with pytest.raises(BadInput) as error:
        NETWORKS[name].depths.n(depth)
    assert str(error.value) == f"depth {depth} does not exist; use {nearest}"


@pytest.mark.parametrize(
    ("name", "depth", "width", "shortcut", "order"),
    [
        ("resnet", 110, 16, "A", "original"),
        ("resnet_bottleneck", 164, 16, "B", "original"),
        ("preresnet", 110, 16, "A", "full_pre"),
        ("preresnet_bottleneck", 164, 16, "B", "full_pre"),
        ("resnet_imagenet", 34, 64, "A", "original"),
        ("resnet_imagenet", 50, 64, "B", "original"),
    ],
)
def test_defaults_are_those_of_the_paper_at_the_depth(name, depth, width, shortcut, order):
    defaults = NETWORKS[name].defaults(depth)
    assert (defaults["width"], defaults["shortcut"], defaults["order"]) == (width, shortcut, order)
    assert (defaults["norm"], defaults["init"], defaults["gate"]) == ("batch", "he", "none")
    assert NETWORKS[name].settle(depth, {}) == defaults


def test_options_without_effect_are_settled_to_their_defaults():
    plain, residual = NETWORKS["plain"], NETWORKS["resnet"]
    of_shortcuts = {"gate": "exclusive", "gate_bias": 0.0, "branch_scale": 0.5, "shortcut": "C"}
    assert plain.settle(20, of_shortcuts) == plain.defaults(20)
    assert residual.settle(20, of_shortcuts) == residual.defaults(20) | of_shortcuts
    assert residual.settle(20, {"gate_bias": 0.0, "width": None}) == residual.defaults(20)
    stride = {"bottleneck_stride": "3x3"}
    for depth, has_effect in ((34, False), (50, True)):
        family = NETWORKS["resnet_imagenet"]
        assert (family.settle(depth, stride) != family.defaults(depth)) == has_effect


def test_a_plugin_builder_gets_only_what_is_given():
    given = {"depth": 3, "in_channels": 1, "num_classes": 2}
    assert Family(dict)(**given, norm="none") == given | {"norm": "none"}
    named = Family(dict, "mine", {"groups": 2}, takes=frozenset({"norm", "width"}))
    assert named(**given) == given | {"groups": 2}
    assert named(**given, groups=4) == given | {"groups": 4}


def test_fixed_options_are_defaults_too():
    mine = Family("depthbench.networks.cifar:CifarNet", "mine", {"residual": True, "shortcut": "C"})
    assert mine.defaults(20)["shortcut"] == "C"
    assert mine.settle(20, {"shortcut": "B"})["shortcut"] == "B"


def test_a_fixed_option_may_be_set_to_its_value_and_to_no_other():
    highway = NETWORKS["highway"]
    assert highway.fixed == {"norm": "none", "order": "original"}
    named = highway(depth=8, in_channels=3, width=4, norm="none")
    assert [name for name, _ in named.named_parameters()] == [
        name for name, _ in highway(depth=8, in_channels=3, width=4).named_parameters()
    ]
    with pytest.raises(TypeError, match="takes no option 'norm'"):
        highway(depth=8, in_channels=3, norm="group")
    settled = highway.settle(8, {"norm": "batch", "width": 4})  # a study file always has a norm
    assert (settled["norm"], settled["width"]) == ("none", 4)
