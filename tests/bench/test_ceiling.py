from depthbench.bench.ceiling import work


def test_the_work_of_a_product_and_of_a_copy():
    assert work("multiply", "cpu") == 2 * 2048**3
    assert work("copy", "cuda:0") == 2 << 30
