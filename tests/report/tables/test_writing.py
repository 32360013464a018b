import pandas as pd

from depthbench.report.entries import Table
from depthbench.report.tables.writing import latex, markdown, write_table


def test_markdown_escapes_what_would_break_a_row():
    text = markdown(pd.DataFrame({"a": ["x | y"], "b": ["z"]}))
    assert text == "| a | b |\n| --- | --- |\n| x \\| y | z |\n"


def test_csv_holds_the_raw_numbers(tmp_path):
    raw, shown = pd.DataFrame({"error": [1.23456789]}), pd.DataFrame({"error (%)": ["1.23"]})
    write_table("Errors", Table("A note.", raw, shown), tmp_path / "errors")
    assert (tmp_path / "errors.csv").read_text() == "error\n1.2345679\n"
    assert (tmp_path / "errors.md").read_text().startswith("# Errors\n\nA note.\n\n| error (%) |")


def test_a_latex_table_is_no_wider_than_the_text():
    shown = pd.DataFrame({"a": ["1"]})
    text = latex("A title", Table("A note.", shown, shown))
    assert text.index("\\resizebox") < text.index("\\begin{tabular}") < text.index("\\end{tabular}}")


def test_latex_has_no_character_that_text_fonts_lack():
    shown = pd.DataFrame({"p": ["< 0.0001"]})
    assert "$<$ 0.0001" in latex("Verdicts", Table("A note.", shown, shown))
