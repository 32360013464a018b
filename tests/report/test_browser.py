"""The page in a real browser: it opens from disk, makes no network requests, and its switches work."""

import json
import math
import shutil

import pytest

from depthbench.report import write_report
from tests.report.conftest import store_study, study_of

webdriver = pytest.importorskip("selenium.webdriver")
WebDriverWait = pytest.importorskip("selenium.webdriver.support.wait").WebDriverWait
CHROMIUM, DRIVER = (shutil.which(name) for name in ("chromium", "chromedriver"))
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="needs Debian's packages chromium and chromium-driver"
)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The report of a made-up study, as an address."""
    path = store_study(tmp_path_factory.mktemp("browser") / "made-up", study_of())
    with pytest.MonkeyPatch.context() as patch:  # starting processes that draw takes longer
        patch.setattr("depthbench.report.drawing.MANY_FIGURES", math.inf)
        return write_report(path).as_uri()


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


def test_one_of_two_gradients_is_shown_and_the_other_can_be_selected(opened):
    section = opened.find_element("css selector", "section[aria-labelledby=figure-gradient_preact]")
    figures = section.find_elements("css selector", "figure")
    assert [figure.is_displayed() for figure in figures] == [True, False]
    weights = section.find_elements("css selector", ".choices input")[1]
    weights.click()
    assert [figure.is_displayed() for figure in figures] == [False, True]


def test_a_list_is_sorted_part_by_part_and_blanks_are_last(opened):
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
