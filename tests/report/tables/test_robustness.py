from depthbench.analysis.robustness import summarise_robustness
from depthbench.report.tables.robustness import robustness_table
from tests.report.figures.test_robustness import frame


def test_the_table_tells_clean_and_strongest():
    row = robustness_table(summarise_robustness(frame())).shown.to_dict("records")[0]
    assert (row["network"], row["depth"], row["n"]) == ("plain", "8", "2")
    assert (row["clean, mean (%)"], row["at the greatest, mean (%)"]) == ("7.00", "42.00")
    assert (row["over all strengths, mean (%)"], row["range (%)"]) == ("25.00", "41.00 to 43.00")
    assert row["greatest strength"] == "64 (standard deviation, white is 255)"
