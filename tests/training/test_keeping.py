import pytest

from depthbench.errors import BadInput
from depthbench.training.keeping import WEIGHTS, KeepWeights


@pytest.mark.parametrize("text", ["none", "last", "best", "every:25"])
def test_a_choice_is_written_as_it_is_read(text):
    assert str(KeepWeights.parse(text)) == text


@pytest.mark.parametrize("text", ["", "first", "every", "every:", "every:0", "every:-3", "every:1.5", "Last"])
def test_anything_else_is_refused_with_the_choices(text):
    with pytest.raises(BadInput, match="none, last, best or every:N"):
        KeepWeights.parse(text)


def test_the_files_of_a_run_are_known_from_its_steps():
    assert KeepWeights.parse("none").files(12) == {}
    assert KeepWeights.parse("best").files(12, 8) == {WEIGHTS: 8}
    kept = KeepWeights.parse("every:5")
    assert kept.files(12, 8) == {
        "weights-step-000005.safetensors": 5,
        "weights-step-000010.safetensors": 10,
        WEIGHTS: 12,
    }
    assert [step for step in range(13) if kept.is_due(step)] == [5, 10]
