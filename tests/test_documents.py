"""Check the links, paths, examples and sections of the READMEs, of CONTRIBUTING and of study comments."""

import re
from pathlib import Path

import pytest

from depthbench.networks import NETWORKS
from depthbench.plugins.loading import load_plugin
from depthbench.study.file import load_study

CHECKOUT = Path(__file__).parent.parent
DOCUMENTS = [
    CHECKOUT / name
    for name in (
        "README.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "studies/README.md",
        "results/README.md",
        "results/reference/README.md",
    )
]
STUDIES = sorted((CHECKOUT / "studies").glob("*.toml"))


def code(document: Path, language: str) -> list[str]:
    """Return the code blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", document.read_text(encoding="utf-8"), flags=re.DOTALL)


def anchor(heading: str) -> str:
    """Return the anchor that a Markdown heading gets."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_the_readme_is_short():
    assert len((CHECKOUT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_links_lead_to_files_and_headings(document):
    text = re.sub(r"```.*?```", "", document.read_text(encoding="utf-8"), flags=re.DOTALL)
    for link in re.findall(r"\]\((?!https?:)([^)]+)\)", text):
        name, _, heading = link.partition("#")
        target = document.parent / name if name else document
        assert target.exists(), link
        if heading:
            headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), flags=re.MULTILINE)
            assert heading in map(anchor, headings), link


def test_contributing_names_files_that_exist():
    text = (CHECKOUT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for name in set(re.findall(r"`([\w/.]+/(?:\w+\.(?:py|toml|csv))?)`", text)):
        assert any((root / name).exists() for root in (CHECKOUT, CHECKOUT / "depthbench")), name


def test_the_study_of_the_readme_loads(tmp_path):
    (example,) = code(CHECKOUT / "README.md", "toml")
    file = tmp_path / "my_study.toml"
    file.write_text(example, encoding="utf-8")
    assert {run.network for run in load_study(file).runs()} == {"plain", "plain-no-norm"}


def test_the_plugin_of_the_readme_builds(tmp_path):
    example = next(block for block in code(CHECKOUT / "README.md", "python") if "NETWORKS" in block)
    file = tmp_path / "my_block.py"
    file.write_text(example, encoding="utf-8")
    load_plugin(file)
    try:
        network = NETWORKS["no-norm"](depth=20, in_channels=1, num_classes=10)
    finally:
        del NETWORKS["no-norm"]
    assert sum(layer.weight.ndim > 1 for layer in network.modules() if hasattr(layer, "weight")) == 20


@pytest.mark.parametrize("study", STUDIES, ids=lambda path: path.stem)
def test_a_study_opens_with_a_question_a_command_a_cost_and_a_result(study):
    comment = study.read_text(encoding="utf-8").partition('name = "')[0]
    assert comment.splitlines()[0].startswith("# ")
    assert re.search(r"\?\n", comment), "no question"
    parts = re.findall(r"^# (Run|Short|Cost|Expect):", comment, flags=re.MULTILINE)
    assert [part for part in parts if part != "Short"] == ["Run", "Cost", "Expect"]
