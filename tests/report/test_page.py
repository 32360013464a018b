import math
import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest
import torch
from torch import nn

import depthbench
from depthbench.errors import BadInput
from depthbench.registry import Entry
from depthbench.report import FIGURES, write_report
from depthbench.report.entries import CHAPTERS, ReportTable, Table
from depthbench.report.page import _command, template
from depthbench.report.tables import TABLES
from depthbench.store.study_store import StudyStore
from tests.report.conftest import DRAWN, STEPS, store_study, study_of


class Page(HTMLParser):
    """The ids, references, headings and images of a page."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.references, self.tags, self.labels = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.tags.append(tag)
        if "id" in values:
            self.ids.append(values["id"])
        self.references += [values[k] for k in ("src", "href", "xlink:href", "srcset", "data") if k in values]
        self.references += [f"#{values[k]}" for k in ("aria-labelledby",) if k in values]
        if tag == "svg" and values.get("class") != "spark":
            self.labels.append(values.get("aria-label"))


WRITE = """
import math, sys
from depthbench.report import drawing, write_report
drawing.MANY_FIGURES = math.inf  # starting processes takes longer; test_drawing.py covers them
early = [name for name in ("matplotlib", "seaborn") if name in sys.modules]
print(write_report(sys.argv[1]), early, "torch" in sys.modules)
"""


@pytest.fixture(scope="module")
def written(partial):
    """The report of `partial`, written by a separate process in the directory above."""
    command = [sys.executable, "-c", WRITE, partial.name]
    return subprocess.run(command, capture_output=True, text=True, cwd=partial.parent, check=False)


@pytest.fixture(scope="module")
def report(written, partial):
    assert written.returncode == 0, written.stderr
    return partial / "report" / "index.html"


@pytest.fixture
def figures(monkeypatch):
    """Return a function that limits reports to some figures, because drawing them all takes seconds."""

    def only(*names):
        monkeypatch.setattr(
            "depthbench.report.page.FIGURES", {k: v for k, v in FIGURES.items() if k in names}
        )

    return only


@pytest.fixture(scope="module")
def html(report):
    return report.read_text(encoding="utf-8")


def test_a_report_never_imports_torch_and_draws_lazily(written):
    assert written.stdout == "made-up/report/index.html [] False\n", written.stderr
    assert written.stderr == ""  # no warning of a library reaches the person


def test_the_report_has_exactly_the_documented_files(report):
    figures = {path.name for path in (report.parent / "figures").iterdir()}
    assert figures == {f"{name}.{suffix}" for name in DRAWN for suffix in ("svg", "png")}
    tables = {path.name for path in (report.parent / "tables").iterdir()}
    names = (
        "summary",
        "verdicts_train",
        "verdicts_test",
        "diagnosis",
        "reach",
        "choice",
        "runs",
        "missing",
        "rates",
        "responses",
        "reproduction",
    )
    assert tables == {f"{name}.{suffix}" for name in names for suffix in ("csv", "md", "tex")}


def test_the_page_loads_nothing_else(html):
    page = Page(html)
    inside = [r for r in page.references if r.startswith("#") or r.startswith("data:")]
    assert page.references == inside
    assert not {"link", "iframe", "img", "object"} & set(page.tags)
    addresses = set(re.findall(r"https?://[^\s\"'<)]+", html))
    assert addresses == {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }  # namespaces, not fetched
    assert "@import" not in html
    assert len(html) < 2_000_000


def test_ids_are_unique_and_every_reference_has_its_target(html):
    page = Page(html)
    assert len(page.ids) == len(set(page.ids))
    wanted = {r[1:] for r in page.references if r.startswith("#")} | set(re.findall(r"url\(#([^)]+)\)", html))
    assert wanted
    assert wanted <= set(page.ids)


def test_every_figure_has_a_text_alternative_and_says_how_to_read_it(html):
    labels = Page(html).labels
    expected = []
    for entry in (FIGURES[name].load() for name in DRAWN):
        title = f"{entry.title}, {entry.choice}" if entry.choice else entry.title
        expected.append(f"{title}. {entry.caption}")
    assert sorted(labels) == sorted(expected)


def test_the_answer_comes_first_and_the_evidence_in_chapters(html):
    parts = re.findall('<(?:section id="answer"|details id="(.*?)")', html)
    without = {"sweep", "changes"}  # the study has neither a sweep nor variants with a baseline
    assert parts == ["", *(chapter for chapter in CHAPTERS if chapter not in without)]
    assert html.index('class="verdicts"') < html.index('id="degradation-svg"') < html.index("<details")
    badges = re.findall('<span class="badge (.*?)">(.*?)</span>(?: <small>(.*?)</small>)?', html)
    assert badges == [
        ("open", "inconclusive", "about 21 seeds in all would decide it"),  # one run of three diverged
        ("good", "no degradation", ""),
        ("open", "inconclusive", "a verdict needs 3 seeds"),
    ]
    assert "resnet does not degrade (-0.60 points from depth 8 to 14) and plain is inconclusive (" in html
    assert "(n\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}1, too few to judge)" in html


def test_the_page_says_what_was_run_what_is_missing_and_how_to_run_it_again(html):
    assert "18 runs: 14 done, 1 diverged, 1 failed, 1 interrupted, 1 not started" in html
    assert "failed: OSError: the disk | is full" in html
    assert "not started" in html
    assert "<code>depthbench run made-up/study.toml --results .</code>" in html
    assert "data_hash = &#34;datahash&#34;" in html
    assert "cpu (made up)" in html
    assert "abc123" in html


def test_the_command_names_the_whole_path_from_elsewhere(partial, tmp_path, figures):
    figures()
    html = write_report(partial, tmp_path / "out").read_text()
    assert (
        f"<code>depthbench run {partial.resolve() / 'study.toml'} --results {partial.resolve().parent}</code>"
        in html
    )


def test_the_command_names_the_plugins_that_it_executes(tmp_path, figures, monkeypatch):
    figures()
    study = study_of(networks=("resnet",), depths=(8,), seeds=(0,))
    path = store_study(tmp_path / "results" / "mine", study)
    monkeypatch.chdir(tmp_path)
    assert "This command executes" not in write_report(path).read_text()
    file = path / "study.toml"
    text = file.read_text()
    file.write_text(text.replace("plugins = []", f'plugins = ["{tmp_path}/my block.py", "/b.py"]'))
    html = write_report(path).read_text()
    command = "depthbench run results/mine/study.toml --plugin &#39;my block.py&#39; --plugin /b.py"
    assert f"<code>{command}</code>" in html
    assert "This command executes <code>my block.py</code> and <code>/b.py</code>. Read these files" in html


def test_the_command_of_a_search_quotes_what_a_stored_study_names(tmp_path):
    study = {"frontier": {}, "grid": {"network": ["plain; id", "resnet"], "depth": [8], "seed": [0]}}
    command = _command(tmp_path / "mine", study)
    assert command.startswith("depthbench frontier 'plain; id,resnet' --seeds 0, ")
    assert " --name mine " in command


def test_a_missing_probe_is_stated_and_its_old_figure_removed(tmp_path, figures):
    figures("response_std")
    study = study_of(networks=("resnet",), depths=(8,), seeds=(0,))
    path = store_study(tmp_path / "made-up", study)
    old = path / "report" / "figures" / "response_std.svg"
    old.parent.mkdir(parents=True)
    old.write_text("of an older report")
    (run,) = StudyStore(path).run_stores()
    run.write_rows(run.frame("history").to_dict("records"), run.frame("layers").drop(columns="response_std"))
    html = write_report(path).read_text()
    assert "Nothing to show: this needs the probe <code>response_std</code>." in html
    assert not old.exists()
    assert "All runs of the study have finished." in html


def test_a_chapter_without_anything_to_show_is_one_line(tmp_path, figures):
    figures("gradient_preact", "heatmap_preact", "gradient_weight")
    path = store_study(tmp_path / "made-up", study_of(networks=("resnet",), depths=(8,), seeds=(0,)))
    (run,) = StudyStore(path).run_stores()
    layers = run.frame("layers").drop(columns=["grad_norm_preact", "grad_norm_weight"])
    run.write_rows(run.frame("history").to_dict("records"), layers)
    html = write_report(path).read_text()
    (needs,) = re.findall(r"othing to show: this needs ([^.]*)\.", html)
    for probe in ("the probe <code>grad_norm_preact</code>", "the probe <code>grad_norm_weight</code>"):
        assert needs.count(probe) == 1 + (f"positive values of {probe}" in needs)
    assert html.count("othing to show") == 1


def test_a_study_that_only_began_has_a_report(tmp_path, figures):
    figures("curves", "degradation")
    endings = {("plain", 8, 0): ("interrupted", 40), ("plain", 8, 1): None}
    path = store_study(
        tmp_path / "made-up", study_of(networks=("plain",), depths=(8,), seeds=(0, 1)), endings
    )
    html = write_report(path).read_text()
    assert "2 runs: 1 interrupted, 1 not started" in html
    assert "No verdict is possible: it needs two depths with finished runs of the same seed." in html
    needs = "a finished run with a train or test error, and a network that trains better than chance"
    assert f"Nothing to show: this needs {needs}." in html


@pytest.mark.parametrize(
    ("logged", "says"),
    [
        ({"loss": 1.0}, "no finished run has a train error. Log <code>train_error_eval=</code>"),
        ({"loss": 1.0, "val_error": 50.0}, "no finished run has a train error"),
        ({"loss": math.nan}, "their chance error is unknown. Pass <code>classes=</code>"),
    ],
)
def test_watched_runs_without_errors_have_a_page_that_says_so(tmp_path, figures, logged, says):
    figures("degradation", "curves", "choice")
    for depth in (1, 2):
        network = nn.Sequential(*(nn.Linear(2, 2) for _ in range(depth)))
        with depthbench.watch(network, tmp_path / "mine", name="net") as watch:
            with watch.step():
                network(torch.ones(1, 2)).sum().backward()
            watch.log(**logged)
    html = write_report(tmp_path / "mine").read_text()
    assert f"No verdict is possible: {'all finished runs diverged, and ' * ('chance' in says)}{says}" in html
    assert "Nothing to show: this needs a finished run with a train or test error" in html


def test_a_search_shows_the_frontier_first(tmp_path, figures):
    figures("degradation", "frontier", "curves")
    endings = {("plain", 20, 2): ("interrupted", 40), ("resnet", 20, 2): None}
    html = write_report(
        store_study(tmp_path / "made-up", study_of(frontier={"below": 6.0}), endings)
    ).read_text()
    assert "<h1>How deep do these networks train?</h1>" in html
    assert "The search is not finished: 2 runs have no final error" in html
    assert re.findall('<h3 id="figure-(.*?)"', html) == ["frontier", "degradation", "curves"]


def test_a_search_without_a_finished_run_says_so(tmp_path, figures):
    figures()
    study = study_of(networks=("plain",), depths=(8,), seeds=(0,), frontier={"below": 6.0})
    html = write_report(
        store_study(tmp_path / "m", study, {("plain", 8, 0): ("interrupted", 150)})
    ).read_text()
    assert "<h1>How deep do these networks train?</h1>" in html
    assert "The search is not finished: 1 run has no final error" in html


def test_responses_of_runs_that_did_not_finish_are_in_no_mean(tmp_path, figures):
    figures()
    endings = {("plain", 8, 1): ("interrupted", 150)}
    path = store_study(
        tmp_path / "made-up", study_of(networks=("plain",), depths=(8,), seeds=(0, 1)), endings
    )
    assert "at depth 8 (n\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}1)" in write_report(path).read_text()


def test_names_are_escaped(tmp_path, figures):
    figures()
    study = study_of(networks=("plain",), depths=(8,), seeds=(0,), data={"name": "<blink>", "path": "images"})
    path = store_study(tmp_path / "made-up", study, {("plain", 8, 0): ("interrupted", 40)})
    html = write_report(path).read_text()
    assert "<blink>" not in html
    assert "&lt;blink&gt; · 1 run: 1 interrupted" in html


def test_a_study_whose_runs_all_diverged_is_still_about_degradation(tmp_path, figures):
    figures()
    study = study_of(networks=("plain",), depths=(8, 14))
    endings = {("plain", depth, seed): ("diverged", 60) for depth in (8, 14) for seed in range(3)}
    page = write_report(store_study(tmp_path / "made-up", study, endings)).read_text()
    assert "<h1>Do deeper networks train worse?</h1>" in page
    assert "plain is at chance at every depth, so degradation cannot be measured." in page
    assert "Recommended" not in page


def test_an_unfinished_study_says_that_the_recommendation_may_change(tmp_path, figures, monkeypatch):
    figures()
    monkeypatch.setattr(
        "depthbench.report.choosing.choice", lambda table, unfinished, **more: [f"{unfinished} left"]
    )
    endings = {("plain", 20, 2): ("interrupted", 40), ("resnet", 20, 2): None}
    page = write_report(store_study(tmp_path / "made-up", study_of(), endings)).read_text()
    assert "<li>2 left</li>" in page


@pytest.mark.parametrize("endings", [{("plain", 8, 0): None}, {("plain", 8, 0): ("failed", 0)}])
def test_results_without_data_are_refused(tmp_path, endings):
    path = store_study(tmp_path / "made-up", study_of(networks=("plain",), depths=(8,), seeds=(0,)), endings)
    with pytest.raises(BadInput, match="no run has any data yet"):
        write_report(path)
    assert not (path / "report").exists()


def test_a_directory_without_results_is_refused(tmp_path):
    with pytest.raises(BadInput, match="holds no results"):
        write_report(tmp_path)


def test_a_given_output_folder_can_hold_one_report(partial, whole, tmp_path):
    with pytest.raises(BadInput, match="can hold only one report"):
        write_report([partial, whole], out=tmp_path)
    with pytest.raises(BadInput, match="no results directory"):
        write_report([])


def test_slides_are_written_next_to_the_paper_report(tmp_path, figures):
    figures("degradation")
    study = study_of(networks=("plain",), depths=(8,), seeds=(0,))
    path = store_study(tmp_path / "made-up", study)
    assert write_report(path, style="slides") == path / "report-slides" / "index.html"
    assert not (path / "report").exists()
    svg = (path / "report-slides" / "figures" / "degradation.svg").read_text()
    assert 'viewBox="0 0 384 216"' in svg  # points: 16:9
    figures_of = path / "report" / "figures"
    write_report(path, style="paper")
    assert (figures_of / "degradation.pdf").exists()
    (figures_of / "degradation.pdf").write_text("of before")
    write_report(path)
    assert (figures_of / "degradation.pdf").read_bytes().startswith(b"%PDF")  # what is there is of one report
    with pytest.raises(BadInput, match="--style poster: no such style; use page, paper or slides"):
        write_report(path, style="poster")


def test_several_directories_each_get_their_report(tmp_path, figures):
    figures()
    study = study_of(networks=("plain",), depths=(8,), seeds=(0,))
    ending = {("plain", 8, 0): ("interrupted", STEPS // 2)}
    paths = [store_study(tmp_path / name / "made-up", study, ending) for name in ("a", "b")]
    assert write_report(paths) == paths[1] / "report" / "index.html"
    assert (paths[0] / "report" / "index.html").is_file()


def test_a_new_table_is_one_entry_and_the_page_shows_it(tmp_path, figures, monkeypatch):
    figures()

    def build(evidence):
        return Table("A note.", evidence.summary, evidence.summary[["network"]])

    monkeypatch.setitem(TABLES, "mine", Entry(ReportTable(build, "Mine")))
    path = store_study(tmp_path / "made-up", study_of(networks=("plain",), depths=(8,), seeds=(0,)))
    html = write_report(path).read_text()
    assert '<h3 id="table-mine">Mine</h3>' in html
    assert (path / "report" / "tables" / "mine.csv").is_file()


def test_backticks_become_code_and_markup_is_escaped():
    page = template("page.html").environment.from_string("{{ text | prose }}")
    assert page.render(text="`--name A` & <b>") == "<code>--name A</code> &amp; &lt;b&gt;"


def test_numbers_do_not_break_over_lines():
    page = template("page.html").environment.from_string("{{ text | prose }}")
    text = "n = 3, p < 0.001, p <= 0.05, 57.3 % of 4 seeds; 1: 5 and `p = 3`"
    assert page.render(text=text).replace("\N{NO-BREAK SPACE}", "_") == (
        "n_=_3, p_&lt;_0.001, p_&lt;=_0.05, 57.3_% of 4 seeds; 1: 5 and <code>p = 3</code>"
    )
