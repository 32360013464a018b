from depthbench.analysis.robustness import summarise_robustness
from depthbench.report.tables.robustness import robustness_table
from tests.report.figures.test_robustness import frame


def test_the_table_has_the_clean_and_the_strongest_images():
    row = robustness_table(summarise_robustness(frame())).shown.to_dict("records")[0]
    assert (row["network"], row["depth"], row["n"]) == ("plain", "8", "2")
    assert (row["clean images, mean (%)"], row["at the highest strength, mean (%)"]) == ("7.00", "42.00")
    assert (row["over all strengths, mean (%)"], row["range (%)"]) == ("25.00", "41.00 to 43.00")
    assert row["highest strength"] == "64 (standard deviation, white is 255)"


def test_a_corruption_of_another_version_has_no_unit():
    table = robustness_table(summarise_robustness(frame().assign(corruption="warped")))
    assert set(table.shown["highest strength"]) == {"64"}
