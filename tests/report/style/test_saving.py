from matplotlib.figure import Figure

from depthbench.report.style import canvas, layout, saving


def test_the_same_figure_gives_the_same_bytes(tmp_path):
    def files(folder):
        with canvas.styled():
            figure, panels = layout.grid(1, 2, 1.5, "title")
            panels[0, 0].fill_between([0, 1], [0, 1], [1, 2])
        saving.save(figure, tmp_path / folder / "name", (".svg", ".png", ".pdf"))
        return [(tmp_path / folder / f"name.{suffix}").read_bytes() for suffix in ("svg", "png", "pdf")]

    svg, png, pdf = files("one")
    assert [svg, png, pdf] == files("two")
    assert b"/Subtype /TrueType" in pdf or b"/CIDFontType2" in pdf
    assert b"/Type3" not in pdf
    assert b"CreationDate" not in pdf


def test_a_figure_without_a_layout_engine_is_saved(tmp_path):
    saving.save(Figure(), tmp_path / "name", (".svg",))
    assert (tmp_path / "name.svg").exists()
