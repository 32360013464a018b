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
    ]
    with pytest.raises(BadInput, match="list data probe: only `list settings` takes a second word"):
        describe_list("data", "probe")
