import pytest

from depthbench.cli.flags import (
    choose_study,
    overrides,
    parse_depths,
    parse_jobs,
    parse_list,
    parse_pairs,
    parse_seeds,
    parse_shard,
)
from depthbench.errors import BadInput
from depthbench.study.file import load_study


@pytest.mark.parametrize(
    ("flag", "text", "kind", "values"),
    [
        ("--depths", None, int, None),
        ("--depths", "20,56,110", int, [20, 56, 110]),
        ("--depths", " 56, 20 ,", int, [56, 20]),
        ("--depths", "20,56,20", int, [20, 56]),
        ("--networks", "plain", str, ["plain"]),
        ("--networks", "resnet,plain,resnet", str, ["resnet", "plain"]),
    ],
)
def test_a_list_has_each_value_once_in_the_given_order(flag, text, kind, values):
    assert parse_list(flag, text, kind) == values


@pytest.mark.parametrize(
    ("flag", "text", "kind", "message"),
    [
        ("--depths", "20,x", int, "--depths 20,x: 'x' is not a whole number; write e.g. --depths 20,56,110"),
        ("--depths", "20.0", int, "--depths 20.0: '20.0' is not a whole number"),
        ("--depths", "", int, "--depths has no value: write e.g. --depths 20,56,110"),
        ("--depths", " , ", int, "--depths has no value"),
        (
            "--depths",
            "8,,14",
            int,
            "--depths 8,,14: a value is missing before or after a comma; write e.g. --d",
        ),
        ("--networks", ",plain", str, "--networks ,plain: a value is missing before or after a comma"),
        ("--networks", "", str, "--networks has no value: write e.g. --networks plain,resnet"),
        ("NETWORKS", "", str, "NETWORKS has no value: write e.g. plain,resnet"),
        ("--seeds", "a", int, "--seeds a: 'a' is not a whole number; write e.g. --seeds 0,1,2"),
    ],
)
def test_a_malformed_list_is_refused(flag, text, kind, message):
    with pytest.raises(BadInput) as error:
        parse_list(flag, text, kind)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    ("text", "seeds"), [(None, None), ("3", [0, 1, 2]), ("1", [0]), ("0,4", [0, 4]), ("4,", [4])]
)
def test_seeds_are_a_number_or_with_a_comma_a_list(text, seeds):
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["0", "-2"])
def test_a_count_of_no_seeds_is_refused(text):
    with pytest.raises(BadInput, match=f"--seeds {text}: the number of seeds is (at least 1|1 to)"):
        parse_seeds(text)


def test_flags_that_were_not_given_change_nothing():
    assert overrides([], recipe={"steps": None}, grid={"depth": None}) == {}


def test_settings_come_in_order_and_flags_last():
    given = overrides(
        ["lr=0.1", "recipe.batch_size=16", "lr=0.2", "recipe.epochs=2"],
        recipe={"batch_size": 32, "steps": 10},
    )
    assert given == {"recipe": {"lr": 0.2, "batch_size": 32, "steps": 10}}


def test_steps_and_epochs_in_one_command_exclude_each_other():
    given = overrides([], recipe={"steps": 5, "epochs": 2.0})
    with pytest.raises(BadInput, match="steps and epochs exclude each other"):
        load_study("quick", **given)


@pytest.mark.parametrize(
    ("study", "data", "base", "data_name"),
    [
        (None, None, "quick", None),
        (None, "digits", "quick", "digits"),
        ("mine.toml", None, "mine.toml", None),
        ("mine.toml", "mnist", "mine.toml", "mnist"),
        (None, "cifar10", None, "cifar10"),  # the recipe of the paper
    ],
)
def test_the_study_to_start_from(study, data, base, data_name):
    chosen, given = choose_study(study, data, None, {})
    assert chosen == base
    assert given.get("data", {}).get("name") == data_name


def test_data_in_a_folder_has_the_name_of_the_folder(tmp_path):
    folder = tmp_path / "My flowers (2)"
    folder.mkdir()
    base, given = choose_study(None, str(folder), None, {})
    study = load_study(base, **given)
    assert (study.data.name, study.data.path) == ("My flowers (2)", str(folder))
    assert study.name == "My-flowers-2"  # a directory of results

    base, given = choose_study("quick", str(folder), None, {})
    study = load_study(base, **given)
    assert (study.data.name, study.data.path) == ("My flowers (2)", str(folder))
    assert study.name == "quick"
    assert study.recipe.steps == load_study("quick").recipe.steps


def test_a_data_set_replaces_a_folder(tmp_path):
    file = tmp_path / "photos.toml"
    file.write_text('[data]\npath = "photos"\nimage_size = 32\n')
    base, given = choose_study(str(file), "mnist", None, {})
    data = load_study(base, **given).data
    assert (data.name, data.path, data.image_size) == ("mnist", None, None)


def test_an_image_size_for_a_data_set_that_has_one_is_refused():
    base, given = choose_study(None, "digits", None, {"data": {"image_size": 32}})
    with pytest.raises(BadInput, match="image_size is only for folders of images"):
        load_study(base, **given)


def test_a_given_name_is_the_name_of_the_study():
    given = {"recipe": {"lr": 1.0}}
    base, named = choose_study(None, "cifar10", "big", given)
    assert load_study(base, **named).name == "big"
    assert given == {"recipe": {"lr": 1.0}}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("nosuch", "--data nosuch: no such data set, folder or text file; data sets: cifar10, "),
        ("cifar", "--data cifar: no such data set, folder or text file; did you mean 'cifar10'?"),
        ("./nosuch", "--data ./nosuch: no such folder"),
    ],
)
def test_missing_data_is_refused(data, message):
    with pytest.raises(BadInput) as error:
        choose_study(None, data, None, {})
    assert str(error.value).startswith(message)


def test_jobs_are_a_number_or_left_to_the_machine():
    assert parse_jobs("auto") is None
    assert parse_jobs("3") == 3
    for text in ("0", "-1", "many", "1.5", ""):
        with pytest.raises(BadInput, match="use auto or a whole number"):
            parse_jobs(text)


def test_a_shard_is_two_numbers():
    assert (parse_shard("2/8"), parse_shard(None)) == ((2, 8), None)
    for text in ("2", "2/", "/8", "2/x", "-1/8", "2/8/9", "1.5/2"):
        with pytest.raises(BadInput, match=f"--shard {text}: write the number of the shard"):
            parse_shard(text)


def test_parameters_are_pairs():
    assert parse_pairs("--slurm", ["time=1:00", "comment=a=b", "exclusive="]) == (
        ("time", "1:00"),
        ("comment", "a=b"),
        ("exclusive", ""),
    )
    for text in ("time", "=1"):
        with pytest.raises(BadInput, match=f"--slurm {text} is not of the form KEY=VALUE"):
            parse_pairs("--slurm", [text])


def test_depths_are_numbers_or_auto():
    assert parse_depths(None) is None
    assert parse_depths("20,56") == [20, 56]
    assert parse_depths(" auto ") == "auto"


@pytest.mark.parametrize("text", ["auto,20", "20, auto", "auto,"])
def test_auto_among_other_depths_is_refused_in_one_line(text):
    with pytest.raises(BadInput, match=f"^--depths {text}: auto chooses all depths; write --depths auto, or"):
        parse_depths(text)
