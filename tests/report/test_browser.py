"""The page in a real browser: it opens from disk, makes no network requests, and its switches work."""

import json
import math
import shutil

import numpy as np
import pytest

from depthbench.report import write_report
from depthbench.report.opening import Opening, Row
from depthbench.report.page import Parts, render
from depthbench.report.sparkline import sparkline
from depthbench.store.results import load_results
from tests.report.conftest import store_study, study_of

webdriver = pytest.importorskip("selenium.webdriver")
Keys = pytest.importorskip("selenium.webdriver.common.keys").Keys
WebDriverWait = pytest.importorskip("selenium.webdriver.support.wait").WebDriverWait
CHROMIUM, DRIVER = (shutil.which(name) for name in ("chromium", "chromedriver"))
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="needs Debian's packages chromium and chromium-driver"
)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return store_study(tmp_path_factory.mktemp("browser") / "made-up", study_of())


@pytest.fixture(scope="module")
def page(study):
    """The report of a made-up study, as an address."""
    with pytest.MonkeyPatch.context() as patch:  # starting processes that draw takes longer
        patch.setattr("depthbench.report.drawing.MANY_FIGURES", math.inf)
        return write_report(study).as_uri()


@pytest.fixture(scope="module")
def browser():
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def opened(browser, page):
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.get(page)
    WebDriverWait(browser, 30).until(
        lambda driver: driver.execute_script("return document.readyState") == "complete"
    )
    return browser


def test_the_page_makes_no_requests_and_logs_no_errors(opened, page):
    messages = [json.loads(entry["message"])["message"] for entry in opened.get_log("performance")]
    asked = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert page in asked
    assert {url for url in asked if not url.startswith("data:")} == {page}
    assert opened.get_log("browser") == []


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_does_not_scroll_sideways(opened, width):
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    root = "return [document.documentElement.scrollWidth, window.innerWidth]"
    assert opened.execute_script(root)[0] <= width


@pytest.mark.parametrize("networks", [1, 2, 9, 30])
def test_the_table_of_verdicts_fits_the_first_screen(browser, tmp_path, networks):
    rows = [
        Row(
            name=f"a-network-with-a-name-of-forty-letters-{i:02d}"[-40:],
            badge="inconclusive",
            kind="open",
            effect="+89.11 points",
            spread="95 % interval +88.73 to +89.49",
            depths="20 to 1202",
            n="10",
            p="< 0.0001",
            note="about 120 seeds in all would decide it",
            spark=sparkline([20, 56, 110], [0.0, 50.0, 90.0]),
        )
        for i in range(networks)
    ]
    first = Opening("Do deeper networks train worse?", rows, ["A sentence. Another."])
    parts = {"title": "", "subtitle": "", "depths": [], "environments": {}, "files": {}, "command": ""}
    browser.get(render(tmp_path, Parts([], []), first, sentences={}, **parts).as_uri())
    for width in (320, 390, 740, 1000, 1280):
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        table, box = browser.execute_script(
            "const t = document.querySelector('.verdicts');"
            "return [t.scrollWidth, t.closest('.box, #answer').clientWidth]"
        )
        assert table <= box
        end = "return document.querySelector('.summary').getBoundingClientRect().bottom"
        assert browser.execute_script(end) < (900 if networks != 9 or width < 1000 else 1000)


def test_a_depth_can_be_hidden_in_every_figure(opened):
    visible = "getComputedStyle(e).visibility === 'visible' && e.getBoundingClientRect().width"
    shown = f"return [...document.querySelectorAll('.depth-14')].filter(e => {visible}).length"
    assert opened.execute_script(shown) > 0
    box = opened.find_element("css selector", "#depths input[value=depth-14]")
    box.click()
    assert opened.execute_script(shown) == 0
    others = shown.replace("depth-14", "depth-20")
    assert opened.execute_script(others) > 0
    box.click()
    assert opened.execute_script(shown) > 0


def test_a_hidden_panel_leaves_its_scales_to_the_others(opened):
    """The steps of a column are labelled below its last cell, which has the deepest network."""
    opened.find_element("css selector", "#depths input[value=depth-20]").click()
    panel = "#heatmap_preact-svg g.depth-20"
    of = "return getComputedStyle(document.querySelector('{}')).visibility"
    assert opened.execute_script(of.format(panel)) == "hidden"
    assert opened.execute_script(of.format(f"{panel} .axis text")) == "visible"


@pytest.mark.parametrize(
    "figure",
    [
        *["degradation", "curves", "paper_errors", "choice", "gradient_preact", "gradient_weight"],
        *["first_steps", "heatmap_preact", "heatmap_weight", "response_std"],
    ],
)
def test_every_figure_of_depths_has_parts_that_can_be_hidden(opened, figure):
    assert opened.execute_script(f"return document.querySelectorAll('#{figure}-svg .depth-20').length") > 0


def open_chapter(browser, name):
    """Open a chapter with the keyboard."""
    summary = browser.find_element("css selector", f"#{name} > summary")
    if not browser.execute_script("return arguments[0].parentElement.open", summary):
        summary.send_keys(Keys.ENTER)
    assert browser.execute_script("return arguments[0].parentElement.open", summary)


def test_chapters_fold_and_a_link_opens_its_chapter(opened):
    opened.refresh()
    is_open = "return document.getElementById('gradients').open"
    assert not opened.execute_script(is_open)
    opened.find_element("css selector", "nav a[href='#gradients']").send_keys(Keys.ENTER)
    WebDriverWait(opened, 5).until(lambda driver: driver.execute_script(is_open))
    WebDriverWait(opened, 5).until(
        lambda driver: driver.find_element("css selector", "nav [aria-current]").text == "Gradients"
    )
    opened.find_element("css selector", "#gradients > summary").send_keys(Keys.ENTER)
    assert not opened.execute_script(is_open)
    opened.execute_script("dispatchEvent(new Event('beforeprint'))")
    assert opened.execute_script("return [...document.querySelectorAll('details')].every((d) => d.open)")


def point_at(browser, figure, name):
    """Point at the first point of a series; return what the page says."""
    place = browser.execute_script(
        """
        const [figure, name] = arguments;
        const svg = document.getElementById(`${figure}-svg`);
        svg.scrollIntoView({ block: "center" });
        const data = JSON.parse(svg.parentElement.querySelector("script").textContent);
        const { points, grid } = data.find((series) => series.name === name);
        const [x, y] = grid ? [grid.left[0], grid.top[0]] : points[0];
        const at = new DOMPoint(x, y).matrixTransform(svg.getScreenCTM());
        return [at.x, at.y];
        """,
        figure,
        name,
    )
    browser.execute_cdp_cmd("Input.dispatchMouseEvent", {"type": "mouseMoved", "x": place[0], "y": place[1]})
    WebDriverWait(browser, 5).until(lambda driver: driver.find_element("id", "tip").is_displayed())
    return browser.find_element("id", "tip").text


def test_pointing_at_a_run_shows_its_error(opened, study):
    runs = load_results(study).runs.set_index(["network", "depth", "seed"])
    expected = runs.loc[("plain", 14, 0), "train_error_eval"]
    text = point_at(opened, "degradation", "plain, depth 14, seed 0")
    assert text == f"plain, depth 14, seed 0\ntrain error {expected:.4g} %"


def test_pointing_at_a_cell_shows_its_layer_step_and_value(opened, study):
    layers = load_results(study).layers.query(
        "network == 'plain' and depth == 14 and step == 0 and layer == 1"
    )
    expected = np.exp(np.log(layers["grad_norm_preact"]).mean())
    opened.execute_script("document.getElementById('gradients').open = true")
    name = f"plain, depth 14, geometric mean of {len(layers)} seeds"
    text = point_at(opened, "heatmap_preact", name)
    assert text == f"{name}\nlayer 1, step 0, L2 norm of dL/dz {expected:.4g}"


def test_boxes_that_scroll_say_so(opened):
    wide = "return [...document.querySelectorAll('.box')].filter((box) => box.checkVisibility() && {})"
    marked, overflowing = (
        wide.format(condition)
        for condition in ("box.classList.contains('wide')", "box.scrollWidth > box.clientWidth + 1")
    )
    for width, is_narrow in ((390, True), (1280, False)):
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        WebDriverWait(opened, 5).until(
            lambda driver: driver.execute_script(marked) == driver.execute_script(overflowing)
        )
        labels = [box.get_attribute("aria-label") for box in opened.execute_script(marked)]
        assert ("Degradation" in labels) == is_narrow


def test_arrow_keys_go_from_point_to_point(opened):
    box = opened.find_element("css selector", "#answer .figure")
    tip = opened.find_element("id", "tip")
    box.send_keys(Keys.ARROW_RIGHT)
    first = tip.text
    box.send_keys(Keys.ARROW_RIGHT)
    assert first.startswith("plain, depth 8")
    assert tip.text not in ("", first)
    box.send_keys(Keys.ESCAPE)
    assert not tip.is_displayed()


def test_pointing_at_a_legend_entry_dims_the_others_in_every_figure(opened):
    entry = "#degradation-svg .legend .network-plain"
    opened.execute_script(
        f"document.querySelector('{entry}').dispatchEvent(new PointerEvent('pointerenter'))"
    )
    count = "return document.querySelectorAll('#{}-svg .network-{}.dim').length"
    for figure in ("degradation", "curves"):
        assert opened.execute_script(count.format(figure, "resnet")) > 0
        assert opened.execute_script(count.format(figure, "plain")) == 0


def test_figures_follow_the_dark_page(opened):
    dark = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    colour = "return getComputedStyle(document.querySelector('#degradation-svg text')).fill"
    light = opened.execute_script(colour)
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", dark)
    try:
        assert opened.execute_script(colour) != light
        assert opened.execute_script(colour) == "rgb(232, 232, 234)"  # --ink
    finally:
        opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_one_of_two_gradients_is_shown_and_the_other_can_be_selected(opened):
    open_chapter(opened, "gradients")
    section = opened.find_element("css selector", "section[aria-labelledby=figure-gradient_preact]")
    figures = section.find_elements("css selector", "figure")
    assert [figure.is_displayed() for figure in figures] == [True, False]
    weights = section.find_elements("css selector", ".choices input")[1]
    weights.click()
    assert [figure.is_displayed() for figure in figures] == [False, True]


def test_a_list_is_sorted_part_by_part_and_blanks_are_last(opened):
    open_chapter(opened, "training")
    table = opened.find_element("css selector", "section[aria-labelledby=table-verdicts_train] table")
    heads = table.find_elements("css selector", "thead th")

    def cells(name):
        column = [head.text for head in heads].index(name)
        heads[column].find_element("css selector", "button").click()
        rows = table.find_elements("css selector", "tbody tr")
        return [row.find_elements("css selector", "td")[column].text for row in rows]

    depths = cells("depths")
    assert list(dict.fromkeys(depths)) == ["8, 14", "8, 14, 20", "8, 20", "14, 20"]
    firsts = [float(text.split(", ")[0].removeprefix("0: ")) for text in cells("each seed's difference")]
    assert firsts == sorted(firsts)
    for _ in range(2):  # ascending, descending
        known = [text != "" for text in cells("p, sign flips")]
        assert known == sorted(known, reverse=True)
        assert len(set(known)) == 2


def test_a_table_is_sorted_by_the_column_that_is_clicked(opened):
    open_chapter(opened, "training")
    table = opened.find_element("css selector", "section[aria-labelledby=table-summary] table")
    head = table.find_elements("css selector", "thead th")[1]
    head.find_element("css selector", "button").click()
    depths = [
        row.find_elements("css selector", "td")[1].text
        for row in table.find_elements("css selector", "tbody tr")
    ]
    assert depths == ["8", "8", "14", "14", "20", "20"]
    assert head.get_attribute("aria-sort") == "ascending"
    head.find_element("css selector", "button").click()
    first = table.find_element("css selector", "tbody tr td:nth-child(2)")
    assert (first.text, head.get_attribute("aria-sort")) == ("20", "descending")
