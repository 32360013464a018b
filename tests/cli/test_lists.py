import pytest

from depthbench.cli.lists import LISTS, describe_list, opening_sentence
from depthbench.errors import BadInput
from depthbench.networks import NETWORKS, Family
from depthbench.study.file import bundled_studies


def test_studies_are_listed_with_the_whole_first_sentence(tmp_path):
    file = tmp_path / "s.toml"
    for text, opening in (
        (
            "# He et al. 2015, sec. 4.2: a question? And more.\n# Run: x\n",
            "He et al. 2015, sec. 4.2: a question?",
        ),
        ("# A sentence\n# of two lines. More.\n", "A sentence of two lines"),
        ("# No full stop\n# Run:     it\n[data]\n", "No full stop"),
        ("[data]\n", ""),
    ):
        file.write_text(text)
        assert opening_sentence(file) == opening
    assert all(opening_sentence(path) for path in bundled_studies().values())


@pytest.mark.parametrize("what", LISTS)
def test_every_name_of_a_list_is_described_in_one_line(what):
    described = describe_list(what)
    assert len(described) > 1
    for name, about in described.items():
        assert about, name
        assert "\n" not in about


def test_a_network_of_a_plug_in_need_not_be_described(monkeypatch):
    monkeypatch.setitem(NETWORKS, "mine", Family(dict))
    assert describe_list("networks")["mine"] == "depths any"


def test_an_unknown_list_with_a_second_word_is_refused_with_the_nearest_one():
    with pytest.raises(BadInput, match=r"list setings: no such list; did you mean 'settings'\?"):
        describe_list("setings", "recipe")


def test_an_unknown_list_is_refused_with_the_known_ones():
    with pytest.raises(
        BadInput, match=r"list colours: no such list; .*networks, optimizers, probes, settings"
    ):
        describe_list("colours")
    with pytest.raises(BadInput, match="list netwroks: no such list; did you mean 'networks'"):
        describe_list("netwroks")


def test_settings_can_be_restricted_to_a_section():
    assert list(describe_list("settings", "probe")) == [
        "probe.names",
        "probe.steps",
        "probe.every",
        "probe.each_use",
        "probe.coordinates",
    ]
    with pytest.raises(BadInput, match="list data probe: only `list settings` and `list networks` take a"):
        describe_list("data", "probe")


def test_a_network_is_described_with_its_twin_or_what_it_is_matched_with():
    described = describe_list("networks", "wide_resnet")
    family = NETWORKS["wide_resnet"]
    assert described["matched with"] == family.matched
    assert described["depth counts"] == family.depth_counts
    assert described["depths"] == "6n+4"
    assert "widen = 10, width = 16" in described["options"]
    assert "twin" not in described
    assert describe_list("networks", "plain")["twin"] == "resnet"
    with pytest.raises(BadInput, match="no network is called 'densnet'; did you mean 'densenet'"):
        describe_list("networks", "densnet")


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_is_described_with_the_default_of_each_option(name):
    """At the shallowest depth."""
    described = describe_list("networks", name)
    assert ("twin" in described) != ("matched with" in described)
    options = described["options"].partition(" (")[0].split(", ")
    assert [option.partition(" = ")[0] for option in options] == sorted(NETWORKS[name].takes)
    assert all(option.partition(" = ")[2] not in ("", "None") for option in options)


def test_the_options_of_a_plug_ins_network_are_listed(monkeypatch):
    def build(depth, in_channels, num_classes, *, alpha: float = 0.5): ...

    monkeypatch.setitem(NETWORKS, "mine", Family(build))
    assert describe_list("networks", "mine")["options"] == "alpha = 0.5 (defaults at 1 layer)"
