import pytest
from hypothesis import given
from hypothesis import settings as few
from hypothesis import strategies as st

from depthbench.errors import BadInput
from depthbench.networks import NETWORKS
from depthbench.registry import Entry
from depthbench.study.file import load_study, merge, parse_setting, read_study
from depthbench.study.model import FORMAT

# Bad input: one line that names the key, the value and what is allowed


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("learning_rate = 1", "unknown key 'learning_rate'; keys: "),
        ("[recipes]", "unknown key 'recipes'; did you mean 'recipe'?"),
        ("[recipe]\nlrr = 1", "unknown key 'recipe.lrr'; did you mean 'lr'? Keys of recipe: "),
        ("[options]\nwidht = 1", "unknown key 'options.widht'; did you mean 'width'?"),
        ("recipe = 3", "recipe = 3: should be a table: write its keys below [recipe]"),
        ('[recipe]\nlr = "0.1"', 'recipe.lr = "0.1": should be a number'),
        ("[recipe]\nlr = true", "recipe.lr = true: should be a number"),
        ("[recipe]\nlr = 0", "recipe.lr = 0: should be above 0"),
        ("[recipe]\nlr = nan", "recipe.lr = NaN: should be a finite number"),
        ("[recipe]\nlr = inf", "recipe.lr = Infinity: should be a finite number"),
        ("[recipe]\nsteps = 1.5", "recipe.steps = 1.5: should be a whole number"),
        ("[recipe]\nsteps = 0", "recipe.steps = 0: should be at least 1"),
        ("[recipe]\nbatch_size = 1", "recipe.batch_size = 1: should be at least 2"),
        ("[recipe]\nmomentum = 1", "recipe.momentum = 1: should be below 1"),
        ("[recipe]\nmilestones = [0]", "recipe.milestones[0] = 0: should be above 0"),
        ('[recipe]\nprecision = "fp16"', "recipe.precision = \"fp16\": should be 'fp32', 'tf32' or 'bf16'"),
        ("[recipe]\nsteps = 1\nepochs = 1", "recipe: steps and epochs exclude each other: set only one"),
        (
            '[options]\nnorm = "bacth"',
            "options.norm = \"bacth\": should be 'batch', 'none', 'group' or 'layer'",
        ),
        (
            '[options]\ninit = "zero"',
            'options.init = "zero": should be he, xavier, orthogonal, delta_orthogonal or normal:STD',
        ),
        ('[options]\ninit = "normal:0.0"', 'options.init = "normal:0.0": should be he, xavier'),
        ('[options]\ninit = "normal:-1"', 'options.init = "normal:-1": should be he, xavier'),
        ("[options]\ndropout = 1", "options.dropout = 1: should be below 1"),
        ('[data]\nname = "nosuch"', "data: no data set is called 'nosuch'; data sets: "),
        ("[data]\nval_size = 5\nval_fraction = 0.1", "data: val_fraction and val_size exclude each other"),
        ("[data]\nval_fraction = 1", "data.val_fraction = 1: should be below 1"),
        ("[data]\nimage_size = 32", "data: image_size is only for folders of images, and digits is not one"),
        ('[data]\npath = "x"\nimage_size = 1', "data.image_size = 1: should be at least 2"),
        ("[grid]\ndepth = []", "grid.depth = []: "),
        ("[grid]\ndepth = 20", "grid.depth = 20: should be a list in square brackets, such as [20]"),
        (
            '[probe]\nnames = "[a, b]"',
            'probe.names = "[a, b]": should be a list in square brackets, such as ["a", "b"]',
        ),
        ('[grid]\ndepth = [20, "x"]', 'grid.depth[1] = "x": should be a whole number'),
        (
            "[grid]\ndepth = [20, 21]",
            "plain: depth 21 is not 6n+2 with n >= 1; use 20 or 26",
        ),
        ("[grid]\ndepth = [0]", "grid.depth[0] = 0: should be at least 1"),
        ("[grid]\nseed = [-1]", "grid.seed[0] = -1: should be at least 0"),
        ('[grid]\nnetwork = ["resnets"]', "no network is called 'resnets'; did you mean 'resnet'?"),
        ('may_diverge = ["plian"]', "may_diverge: no network is called 'plian'; did you mean 'plain'?"),
        ('[probe]\nnames = ["gradient"]', 'probe.names[0] = "gradient": should be attention_entropy, '),
        (
            '[recipe]\nschedule = "cosin"\noptimizer = "foo"\nwarmup = "lineal"\nlr = -1',
            'has 4 errors: (1) recipe.optimizer = "foo": should be adam, adamw, muon, normalised_sgd, '
            "rmsprop or sgd; "
            "(2) recipe.lr = -1: should be above 0; "
            '(3) recipe.schedule = "cosin": should be constant, cosine, plateau or step; '
            '(4) recipe.warmup = "lineal": should be hold, linear or none',
        ),
        (
            '[variants.a]\nof = "plain"\n[variants.a.recipe]\nschedule = "foo"',
            'variants.a.recipe.schedule = "foo": should be constant, cosine, plateau or step',
        ),
        ("[probe]\nsteps = [-1]", "probe.steps[0] = -1: should be at least 0"),
        ("[evaluate]\nevery = 0", "evaluate.every = 0: should be at least 1"),
        ('name = "a/b"', 'name = "a/b": should be 1 to 100 letters, digits'),
        ('name = ""', 'name = "": should be 1 to 100 letters'),
        (
            "[recipe]\nlr = -1\nsteps = 0",
            "has 2 errors: (1) recipe.steps = 0: should be at least 1; (2) recipe.lr = -1: ",
        ),
    ],
)
def test_a_wrong_study_file_is_refused(tmp_path, text, message):
    file = tmp_path / "wrong.toml"
    file.write_text(text)
    with pytest.raises(BadInput) as error:
        load_study(file)
    assert str(error.value).replace("wrong:", "wrong", 1).startswith(f"study wrong {message}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[recipe]\nsteps = 10\nlr =\n", r"wrong.toml is not valid TOML: .*line 3"),
        (b"name = '\xff'\n", r"wrong.toml is not valid TOML: .*utf-8"),
        (b"format = 99\n", rf"wrong.toml has results format 99, but this version .* reads format {FORMAT}: "),
        (b"format = '1'\n", r"has results format '1'"),
    ],
)
def test_a_file_that_is_not_a_study_is_refused(tmp_path, content, message):
    file = tmp_path / "wrong.toml"
    file.write_bytes(content)
    with pytest.raises(BadInput, match=message) as error:
        load_study(file)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nosuch", "study 'nosuch': no such study; bundled studies: "),
        ("quik", "study 'quik': no such study; did you mean 'quick'? Bundled studies: "),
        ("nosuch.toml", "study 'nosuch.toml': no such file; bundled studies: "),
    ],
)
def test_an_unknown_study_is_refused(name, message):
    with pytest.raises(BadInput) as error:
        load_study(name)
    assert str(error.value).startswith(message)


# Overrides


def test_an_unknown_key_of_a_further_grid_is_refused(tmp_path):
    file = tmp_path / "several.toml"
    file.write_text("[[also]]\nsead = [7]\n", encoding="utf-8")
    for grid in ({}, {"grid": {"seed": [1]}}):
        with pytest.raises(BadInput, match=r"unknown key 'also\[0\]\.sead'"):
            load_study(file, **grid)


@pytest.mark.parametrize("several", ["also = 3", "also = [3]", "grid = 3\nalso = [{seed = [1]}]"])
def test_a_grid_that_is_not_a_table_is_refused(several, tmp_path):
    file = tmp_path / "several.toml"
    file.write_text(several, encoding="utf-8")
    with pytest.raises(BadInput, match=r"study several: (also|also\[0\]|grid) = 3: should be"):
        load_study(file, grid={"seed": [1]})


def test_merge_goes_table_by_table_and_changes_neither_input():
    below, above = {"a": {"x": 1, "y": 2}, "b": 3}, {"a": {"y": 5}, "c": {"z": 6}}
    assert merge(below, above) == {"a": {"x": 1, "y": 5}, "b": 3, "c": {"z": 6}}
    assert below == {"a": {"x": 1, "y": 2}, "b": 3}
    assert above == {"a": {"y": 5}, "c": {"z": 6}}


def test_a_list_is_replaced_and_not_extended():
    assert merge({"grid": {"depth": [20, 56]}}, {"grid": {"depth": [8]}}) == {"grid": {"depth": [8]}}


@pytest.mark.parametrize(
    ("one", "other"), [("steps", "epochs"), ("epochs", "steps"), ("val_size", "val_fraction")]
)
def test_a_key_replaces_the_key_that_it_excludes(one, other):
    assert merge({one: 1}, {other: 2}) == {other: 2}
    assert merge({}, {one: 1, other: 2}) == {one: 1, other: 2}  # for the validation to refuse


def test_epochs_replace_the_steps_of_a_study():
    assert load_study("quick").recipe.steps is not None
    recipe = load_study("quick", recipe={"epochs": 3}).recipe
    assert (recipe.steps, recipe.epochs) == (None, 3)


TABLES = st.recursive(
    st.integers(), lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3), max_leaves=8
).filter(lambda table: isinstance(table, dict))


@few(max_examples=50, deadline=None, derandomize=True)
@given(below=TABLES, above=TABLES)
def test_overrides_win_and_other_keys_stay(below, above):
    merged = merge(below, above)
    assert merge(merged, above) == merged
    assert set(merged) == set(below) | set(above)
    assert all(merged[key] == below[key] for key in set(below) - set(above))


@pytest.mark.parametrize(
    ("setting", "values"),
    [
        ("recipe.lr=0.05", {"recipe": {"lr": 0.05}}),
        ("lr=0.05", {"recipe": {"lr": 0.05}}),
        ("lr = 1e-3", {"recipe": {"lr": 0.001}}),
        ("norm=none", {"options": {"norm": "none"}}),
        ('norm="none"', {"options": {"norm": "none"}}),
        ("init=normal:0.01", {"options": {"init": "normal:0.01"}}),
        ("flip=false", {"recipe": {"flip": False}}),
        ("milestones=[0.3, 0.6]", {"recipe": {"milestones": [0.3, 0.6]}}),
        ("probe.steps=[0,1]", {"probe": {"steps": [0, 1]}}),
        ("depth=[8]", {"grid": {"depth": [8]}}),
        ("name=mine", {"name": "mine"}),
        ("data.name=mnist", {"data": {"name": "mnist"}}),
        ("path=", {"data": {"path": ""}}),
        ("optimizer_settings.eps=1e-6", {"recipe": {"optimizer_settings": {"eps": 1e-6}}}),
        ("recipe.optimizer_settings.eps=1", {"recipe": {"optimizer_settings": {"eps": 1}}}),
        ("recipe.nosuch=1", {"recipe": {"nosuch": 1}}),  # for the validation to refuse
        ("recipes.lr=1", {"recipes": {"lr": 1}}),
    ],
)
def test_a_setting_is_a_key_and_a_value_as_in_a_file(setting, values):
    assert parse_setting(setting) == values


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("lr", "--set lr is not of the form KEY=VALUE: write e.g. --set lr=0.05"),
        ("=1", "--set =1 is not of the form KEY=VALUE"),
        ("lrr=1", "--set lrr=1: unknown key 'lrr'; did you mean 'lr'? Keys: "),
        (
            "every=3",
            "--set every=3: several sections have a key 'every': write probe.every or evaluate.every",
        ),
    ],
)
def test_a_malformed_setting_is_refused(setting, message):
    with pytest.raises(BadInput) as error:
        parse_setting(setting)
    assert str(error.value).startswith(message)


def test_a_wrong_setting_is_reported_like_one_in_a_file():
    with pytest.raises(BadInput, match=r"study quick: unknown key 'recipe\.nosuch'"):
        load_study("quick", **parse_setting("recipe.nosuch=1"))


def test_a_relative_data_path_starts_from_the_file_that_names_it(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text('[data]\npath = "photos"\n')
    assert load_study(file).data.path == str(tmp_path / "photos")


def written(folder, **files):
    for name, text in files.items():
        (folder / f"{name}.toml").write_text(text)
    return folder


def test_a_study_extends_a_bundled_one_or_a_file(tmp_path):
    folder = written(
        tmp_path,
        base='extends = "quick"\nname = "base"\n[recipe]\nlr = 0.5\n[variants.v]\nof = "plain"',
        mine='extends = "base.toml"\n[grid]\ndepth = [8]\n[variants.v.options]\nnorm = "none"',
    )
    study = load_study(folder / "mine.toml")
    variant = {"v": {"of": "plain", "options": {"norm": "none"}}}
    expected = load_study("quick", name="mine", recipe={"lr": 0.5}, grid={"depth": [8]}, variants=variant)
    assert study == expected
    assert [run.run_id for run in study.runs()] == [run.run_id for run in expected.runs()]
    assert "extends" not in study.to_toml()
    (tmp_path / "stored.toml").write_text(study.to_toml())
    assert load_study(tmp_path / "stored.toml") == study


def test_a_grid_replaces_all_grids_of_the_extended_study_and_data_replace_its_data(tmp_path):
    folder = written(
        tmp_path,
        base='[grid]\ndepth = [20]\n[[also]]\ndepth = [56]\n[data]\npath = "photos"\nimage_size = 8',
        same='extends = "base.toml"',
        grid='extends = "base.toml"\n[grid]\nseed = [0]',
        data='extends = "base.toml"\n[data]\nname = "digits"',
    )
    same, grid, data = (load_study(folder / f"{name}.toml") for name in ("same", "grid", "data"))
    assert (same.name, [other.depth for other in same.also]) == ("same", [[56]])
    assert same.data.path == str(tmp_path / "photos")
    assert (grid.also, grid.grid.depth, grid.grid.seed) == ([], [20], [0])
    assert (data.data.name, data.data.path, data.data.image_size) == ("digits", None, None)


def test_plug_ins_of_the_extended_study_need_consent(tmp_path):
    folder = written(tmp_path, base='plugins = ["p.py"]', mine='extends = "base.toml"')
    asked = []

    def refuse(file, plugin):
        asked.append((file.name, plugin.name))
        raise BadInput("no")

    with pytest.raises(BadInput, match="no"):
        read_study(folder / "mine.toml", {}, check_consent=refuse)
    assert asked == [("base.toml", "p.py")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('extends = "c.toml"', r"study c extends itself \(c.toml -> c.toml\): remove one `extends`"),
        ('extends = "d.toml"', r"study c extends itself \(c.toml -> d.toml -> c.toml\)"),
        ('extends = "quik"', "study c: extends = 'quik': no such study or file; did you mean 'quick'"),
        ('extends = "none.toml"', "study c: extends = 'none.toml': no such study or file"),
        ("extends = 5", "study c: extends = 5: should be the name of a bundled study or a TOML file"),
        ('extend = "quick"', "study c: unknown key 'extend'; did you mean 'extends'"),
        ('extends = "empty.toml"', "empty.toml is empty"),
    ],
)
def test_a_study_that_cannot_be_extended(tmp_path, text, message):
    written(tmp_path, c=text, d='extends = "c.toml"', empty="")
    with pytest.raises(BadInput, match=message) as error:
        load_study(tmp_path / "c.toml")
    assert "\n" not in str(error.value)


class Mine:
    """A network that a script defines."""


@pytest.mark.parametrize(("value", "described"), [(Mine, ""), (Entry(Mine), "an entry for ")])
def test_a_network_that_a_script_puts_into_the_list_is_refused_in_one_line(monkeypatch, value, described):
    monkeypatch.setitem(NETWORKS, "mine", value)
    message = rf"^NETWORKS\['mine'\] is {described}the class Mine, .* add plugins=\[.*\] to load_study$"
    with pytest.raises(BadInput, match=message):
        load_study("quick")
