import pytest

from depthbench.errors import BadInput
from depthbench.study.file import load_study
from depthbench.study.grid import Grid, join_grids, requested_runs

SEVERAL = """
[grid]
network = ["resnet", "preresnet"]
depth = [20, 110]

[[also]]
network = ["resnet_bottleneck"]
depth = [110, 164]
seed = [7]
"""


@pytest.mark.parametrize(
    ("requested", "runs"),
    [
        ({"seed": [5]}, [("resnet preresnet", (20, 110), (5,)), ("resnet_bottleneck", (110, 164), (5,))]),
        ({"depth": [164]}, [("resnet_bottleneck", (164,), (7,))]),
        ({"depth": [110]}, [("resnet preresnet", (110,), (0, 1, 2)), ("resnet_bottleneck", (110,), (7,))]),
        ({"depth": [8, 164]}, [("resnet preresnet", (8,), (0, 1, 2)), ("resnet_bottleneck", (164,), (7,))]),
        ({"depth": "auto"}, [("resnet preresnet", (), (0, 1, 2)), ("resnet_bottleneck", (), (7,))]),
        ({"network": ["plain"], "depth": "auto"}, [("plain", (), (0, 1, 2))]),
        ({"network": ["plain"]}, [("plain", (20, 110), (0, 1, 2))]),
        (
            {"network": ["plain", "resnet_bottleneck"], "seed": [5]},
            [("plain", (20, 110), (5,)), ("resnet_bottleneck", (110, 164), (5,))],
        ),
        ({"network": ["resnet", "preresnet_bottleneck"], "depth": [20, 29]}, None),
        (
            {"network": ["resnet", "resnet_bottleneck"], "depth": [56]},
            [("resnet resnet_bottleneck", (56,), (0, 1, 2))],
        ),
    ],
)
def test_a_grid_applies_to_all_grids_of_a_study(requested, runs, tmp_path):
    file = tmp_path / "several.toml"
    file.write_text(SEVERAL, encoding="utf-8")
    if runs is None:  # one of the combinations is impossible
        with pytest.raises(BadInput, match="several: resnet: depth"):
            load_study(file, grid=requested)
        return
    study = load_study(file, grid=requested)
    grids = [(" ".join(g.network), tuple(g.depth), tuple(g.seed)) for g in (study.grid, *study.also)]
    assert grids == runs


DEFAULT = Grid()


@pytest.mark.parametrize(
    ("grid", "runs"),
    [
        ({"seed": "unset"}, [("resnet preresnet", [20, 110], [0, 1, 2]), ("plain", [110, 200], [0, 1, 2])]),
        ({"depth": "unset"}, [("resnet preresnet", DEFAULT.depth, [7]), ("plain", DEFAULT.depth, [8])]),
        ({"network": "unset"}, [("plain resnet", [20, 110], [7]), ("plain resnet", [110, 200], [8])]),
        ({"depth": "unset", "network": ["vgg"]}, [("vgg", DEFAULT.depth, [7])]),
        ({"network": "unset", "depth": [8]}, [("plain resnet", [8], [7])]),
        ({"seed": "unset", "depth": [200]}, [("plain", [200], [0, 1, 2])]),
        ("unset", [("plain resnet", DEFAULT.depth, DEFAULT.seed)]),
    ],
)
def test_a_key_that_is_unset_has_its_default_in_every_grid(grid, runs, tmp_path):
    file = tmp_path / "several.toml"
    first = 'network = ["resnet", "preresnet"]\ndepth = [20, 110]\nseed = [7]'
    other = 'network = ["plain"]\ndepth = [110, 200]\nseed = [8]'
    file.write_text(f"[grid]\n{first}\n[[also]]\n{other}\n", encoding="utf-8")
    study = load_study(file, grid=grid)
    assert [(" ".join(each.network), each.depth, each.seed) for each in study.all_grids] == runs


def test_a_default_that_does_not_suit_the_networks_is_named(tmp_path):
    file = tmp_path / "several.toml"
    file.write_text(SEVERAL, encoding="utf-8")
    with pytest.raises(
        BadInput, match=r"use 29 or 38; grid.depth is unset, which means \[20, 32, 44, 56, 110\]"
    ):
        load_study(file, grid={"depth": "unset"})
    with pytest.raises(BadInput, match=r"unknown key 'grid.dpth'"):
        load_study(file, grid={"dpth": "unset"})


def test_a_file_can_leave_a_key_of_its_first_grid_unset(tmp_path):
    file = tmp_path / "several.toml"
    file.write_text(SEVERAL.replace("[20, 110]", '"unset"'), encoding="utf-8")
    assert [grid.depth for grid in load_study(file, grid={"seed": [5]}).all_grids] == [
        DEFAULT.depth,
        [110, 164],
    ]


def test_depths_can_replace_those_that_are_still_to_be_chosen(tmp_path):
    file = tmp_path / "several.toml"
    file.write_text(SEVERAL.replace("[20, 110]", '"auto"'), encoding="utf-8")
    assert [grid.depth for grid in load_study(file).all_grids] == [[], [110, 164]]
    study = load_study(file, grid={"depth": [20, 164]})
    assert [grid.depth for grid in study.all_grids] == [[20, 164], [164]]
    study = load_study(file, grid={"network": ["resnet"]})
    assert [(grid.network, grid.depth) for grid in study.all_grids] == [(["resnet"], [])]


def test_depths_to_be_chosen_are_stored_as_auto_and_have_no_runs_yet():
    study = load_study("quick", grid={"depth": "auto"})
    assert study.networks() == ["plain", "resnet"]
    assert 'depth = "auto"' in study.to_toml()
    with pytest.raises(ValueError, match="depends on the images"):
        list(study.runs())


@pytest.mark.parametrize(
    ("depth", "message"),
    [
        ([], "should have at least 1 value"),
        ("automatic", "should be a list in square brackets"),
        (["auto"], "should be a whole number"),
    ],
)
def test_depths_are_a_list_of_numbers_or_auto(depth, message):
    with pytest.raises(BadInput, match=message):
        load_study("quick", grid={"depth": depth})


def test_a_grid_can_be_a_table_or_a_grid_and_also_can_be_replaced(tmp_path):
    file = tmp_path / "several.toml"
    file.write_text(SEVERAL, encoding="utf-8")
    assert load_study(file, grid=Grid(depth=[164])) == load_study(file, grid={"depth": [164]})
    study = load_study(file, grid={"network": ["resnet_bottleneck"], "depth": [110]}, also=[])
    assert (study.grid.network, study.grid.seed, study.also) == (["resnet_bottleneck"], [0, 1, 2], [])


def test_a_study_requests_each_run_of_its_grids_once():
    grid = {"network": ["plain"], "depth": [8, 20], "seed": [0]}
    other = {"network": ["plain"], "depth": [20], "seed": [0, 1]}
    assert requested_runs({"grid": grid, "also": [other]}) == [
        (8, "plain", 0),
        (20, "plain", 0),
        (20, "plain", 1),
    ]


@pytest.mark.parametrize(
    ("depths", "expected"),
    [
        ([([8], [0]), ([20], [0])], [([8, 20], [0])]),  # every combination: one grid
        ([([8], [0]), ([20], [1])], [([8], [0]), ([20], [1])]),
        ([([8], [0]), ([8, 20], [0, 1])], [([8, 20], [0, 1])]),  # one grid contains the other
    ],
)
def test_joined_grids_have_the_same_runs(depths, expected):
    grids = [Grid(network=["plain"], depth=depth, seed=seed) for depth, seed in depths]
    joined = join_grids(grids)
    assert [(grid.depth, grid.seed) for grid in joined] == expected
    assert {c for grid in joined for c in grid.cells()} == {c for grid in grids for c in grid.cells()}
