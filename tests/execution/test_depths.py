import pytest

from depthbench.errors import BadInput
from depthbench.execution.cost.images import ImageFootprint
from depthbench.execution.cost.run_memory import count_run
from depthbench.execution.depths import (
    DEEPEST,
    FACTORS,
    SIMILAR,
    Ladder,
    choose_costs,
    choose_depths,
    depths_to_choose_from,
)
from depthbench.execution.plan import make_plan
from depthbench.execution.settings import Execution
from depthbench.networks import NETWORKS, DepthList, DepthRule, Family
from depthbench.study.file import load_study
from tests.networks.test_check import stack


def ladder(network, depths, cost=10):
    """Return a network whose layers have `cost` multiply-adds each."""
    return Ladder(network, depths, lambda depth: cost * depth)


@pytest.fixture
def choose(digits):
    """Return a function that chooses the depths of networks for digits, and the notes without "auto: "."""

    def run(*networks, **study):
        grid = {"network": list(networks), "depth": "auto", "seed": [0]}
        study, choice = choose_depths(load_study("quick", grid=grid, **study), digits)
        return study, choice, [note.removeprefix("auto: ") for note in choice.notes]

    return run


def test_the_nearest_depth_is_found_without_counting_far_more_expensive_ones():
    counted = []

    def cost_of(depth):
        counted.append(depth)
        return depth

    depths = range(1, 1001)
    for cost, expected in ((0.1, 1), (1, 1), (37, 37), (37.4, 37), (37.6, 38), (999.9, 1000), (5000, 1000)):
        counted.clear()
        assert Ladder("any", depths, cost_of).nearest(cost) == expected
        assert max(counted) <= max(2 * cost, 1)
        assert len(counted) < 50


def test_the_nearest_cost_is_the_one_with_the_smallest_ratio():
    """57 is nearer to 80 as a ratio (1.40 against 1.43) but nearer to 40 as a difference."""
    assert ladder("any", [4, 8]).nearest(55) == 4
    assert ladder("any", [4, 8]).nearest(57) == 8
    assert ladder("any", [4, 8]).similar([55, 300]) == {4: 55}


def test_a_depth_stays_similar_to_a_cost_if_it_is_also_the_nearest_to_others():
    assert ladder("one", [10]).similar([100, 200, 400]) == {10: 100}
    assert ladder("one", [10]).similar([25, 50, 100]) == {10: 100}
    assert ladder("two", [10, 20]).similar([100, 200, 400]) == {10: 100, 20: 200}


def test_costs_begin_where_all_networks_have_depths_and_differ_as_much_as_possible():
    cheap, costly = ladder("cheap", range(1, 201)), ladder("costly", range(10, 201))
    assert choose_costs([cheap]) == (10, 40, 160)
    assert choose_costs([cheap, costly]) == (100, 400, 1600)
    limited = ladder("limited", [10, 20, 40])
    assert choose_costs([cheap, costly, limited]) == (100, 200, 400)
    assert FACTORS == (4, 2)


def test_a_network_with_one_depth_and_one_that_costs_far_more_do_not_raise_the_costs():
    cheap, several = ladder("cheap", range(1, 11)), ladder("several", range(2, 11))
    one, costly = ladder("one", [9]), ladder("costly", range(500, 600))
    assert choose_costs([cheap, one]) == (10, 20, 40)
    assert choose_costs([cheap, several, costly]) == (20, 40, 80)
    costly_too = ladder("costly too", range(500, 600))
    assert choose_costs([cheap, costly, costly_too]) == (10, 20, 40)
    assert choose_costs([costly, costly_too])[0] == 5000
    assert choose_costs([one]) == (90, 360, 1440)


@pytest.mark.parametrize(
    ("rule", "first", "last", "number"),
    [
        (DepthRule(6, 2), 8, 200, 33),
        (DepthRule(), 8, 200, 193),  # as of most plug-ins
        (DepthRule(2, 2), 8, 200, 97),
        (DepthRule(1, 300), 301, 301, 1),
        (DepthList((5, 10, 400)), 5, 400, 3),
        (DepthList((22,)), 22, 22, 1),
        (DepthList((264,)), 264, 264, 1),
        (DepthList((11, 13), goes_on=True), 11, 200, 189),
    ],
)
def test_depths_to_choose_from(rule, first, last, number):
    depths = depths_to_choose_from(rule)
    assert (depths[0], depths[-1], len(depths)) == (first, last, number)


def test_networks_get_depths_of_similar_cost_at_the_size_of_the_images(choose, digits):
    """The convolutions of vgg 11 on 1x8x8 cost 9 * (64 * 64 + 16 * 8192 + 4 * (32768 + 65536) + 131072 + 3 *
    262144), and its classifier 5120, together 13.0 million."""
    study, choice, notes = choose("resnet", "densenet_bc", "vgg")
    assert [len(depths) for depths in choice.depths.values()] == [2, 3, 3]
    assert choice.depths["vgg"][0] == 11
    images = ImageFootprint(digits.shape, len(digits.classes), held=0, evaluated=0)
    costs = {"about 13.0 M": [], "about 26.0 M": [], "about 52.1 M": []}
    for run in study.runs():
        reason = choice.reasons[run.network, run.depth]
        costs[reason].append(count_run(run, images).multiply_adds)
    assert 13_018_112 in costs["about 13.0 M"]
    assert all(max(each) / min(each) < SIMILAR for each in costs.values())
    lowest, missing = notes
    assert lowest == (
        "depths of about 13.0 M, 26.0 M and 52.1 M multiply-adds per image of 1x8x8; the first is "
        "the cost of vgg at depth 11"
    )
    assert missing == "resnet has no depth of about 52.1 M between 8 and 200 layers"
    assert choose("resnet", "densenet_bc", "vgg")[0] == study


def test_networks_with_the_same_depths_share_a_grid_and_others_are_kept(digits):
    grids = {
        "grid": {"network": ["plain", "resnet", "highway"], "depth": "auto"},
        "also": [{"network": ["vgg"], "depth": [13], "seed": [5]}],
    }
    study, choice = choose_depths(load_study("quick", **grids), digits)
    assert [(grid.network, grid.seed) for grid in study.all_grids] == [
        (["plain", "resnet"], [0, 1, 2]),
        (["highway"], [0, 1, 2]),
        (["vgg"], [5]),
    ]
    assert study.also[-1].depth == [13]
    assert "vgg" not in choice.depths
    assert choose_depths(study, digits) == (study, None)


def test_networks_without_a_depth_of_similar_cost_get_the_nearest_and_are_named(choose):
    _, choice, notes = choose("resnet", "wide_resnet", "googlenet")
    assert choice.depths["wide_resnet"] == (10,)
    assert choice.reasons["wide_resnet", 10] == "the nearest"
    about = {note.split()[0]: note for note in notes[1:]}
    assert about["wide_resnet"] == (
        "wide_resnet has no depth of similar cost: its shallowest depth, 10, has 62.3 M multiply-adds, 5.2 "
        "times the highest of these"
    )
    assert "its only depth, 22, has" in about["googlenet"]
    assert set(about) == {"wide_resnet", "googlenet"}
    assert choice.depths["resnet"] == (8, 26, 86)


def test_a_network_with_one_depth_that_has_one_of_the_costs_is_named_with_it(choose):
    _, choice, notes = choose("googlenet")
    assert choice.depths["googlenet"] == (22,)
    assert notes[0].startswith("depths of about 97.5 M, 390.0 M and 1.6 G multiply-adds")
    assert notes[1:] == ["googlenet has no depth of about 390.0 M and 1.6 G: its only depth is 22"]


def test_options_and_variants_change_the_costs(choose):
    wide = {"wide": {"of": "resnet", "options": {"width": 32}}}
    _, usual, _ = choose("resnet", "wide", variants=wide)
    _, of_all, _ = choose("resnet", options={"width": 32})
    assert usual.reasons["resnet", usual.depths["resnet"][0]] == "about 3.0 M"
    assert usual.depths["resnet"][0] > usual.depths["wide"][0] == of_all.depths["resnet"][0] == 8


def test_a_plug_in_with_any_depth_is_chosen_from_8_layers_on(choose, monkeypatch):
    built = []

    def build(depth, in_channels, num_classes):
        built.append(depth)
        return stack(depth, in_channels, num_classes)

    monkeypatch.setitem(NETWORKS, "mine", Family(build))
    _, choice, _ = choose("mine")
    first, *_, last = choice.depths["mine"]
    assert (first, min(built)) == (8, 8)
    assert last <= max(built) <= DEEPEST


def test_a_plug_in_that_fails_at_some_depth_is_refused_in_one_line(choose, monkeypatch):
    def build(depth, in_channels, num_classes):
        if depth > 8:
            raise RuntimeError("too\ndeep")
        return stack(depth, in_channels, num_classes)

    monkeypatch.setitem(NETWORKS, "failing", Family(build))
    with pytest.raises(BadInput, match=r"network 'failing' at depth \d+: .*too deep; fix") as error:
        choose("failing")
    assert "\n" not in str(error.value)


def test_images_too_small_for_a_stem_are_refused_before_anything_is_counted(tmp_path):
    study = load_study("quick", grid={"network": ["vgg_imagenet", "resnet"], "depth": "auto"})
    with pytest.raises(
        BadInput, match="network 'vgg_imagenet': its stem and pooling leave nothing of images of 8x8"
    ):
        make_plan(study, Execution(tmp_path, device="cpu"))


def test_a_plan_has_the_chosen_runs_and_finds_them_again(tmp_path):
    def plan(shard=None):
        grid = {"network": ["resnet", "plain_mlp"], "depth": "auto", "seed": [0]}
        return make_plan(load_study("quick", grid=grid), Execution(tmp_path, device="cpu", shard=shard))

    first = plan()
    assert first.depth_choice.notes[0] in first.notes
    assert not any(grid.is_auto for grid in first.study.all_grids)
    ids = [run.run_id for run in first.todo]
    assert len(ids) == sum(map(len, first.depth_choice.depths.values()))
    with first.store.opened(first.study, first.data_hash):
        pass
    assert 'depth = "auto"' not in (first.store.path / "study.toml").read_text()
    assert [run.run_id for run in plan().todo] == ids
    shards = [run.run_id for index in (1, 2) for run in plan((index, 2)).todo]
    assert sorted(shards) == sorted(ids)
