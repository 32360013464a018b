from depthbench.report.style import canvas


def test_fewer_steps_are_shown_in_narrower_panels():
    with canvas.styled("page"):
        assert [canvas.most_rows(columns) for columns in (2, 9)] == [4, 2]
    with canvas.styled("slides"):
        assert [canvas.most_rows(columns) for columns in (2, 9)] == [2, 1]
