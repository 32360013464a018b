import pandas as pd

from depthbench.bench import output


def test_the_folder_is_named_after_the_machine():
    assert output.slug("NVIDIA H200", 16, "bf16") == "nvidia-h200-16-cores-bf16"
    assert output.slug("AMD EPYC 9654 (Genoa), AVX512", 2, "fp32") == "amd-epyc-9654-genoa-avx512-2-cores"


def test_a_busy_machine_is_reported():
    speeds = {"case": "digits-8", "arm": ["depthbench"] * 3 + ["conventional"] * 2, "mode": "steps"}
    assert output.unsteady(pd.DataFrame(speeds | {"per_second": [100, 120, 180, 9, 10]})) is None
    warning = output.unsteady(pd.DataFrame(speeds | {"per_second": [100, 120, 180, 3, 9]}))
    assert "the speed of conventional in digits-8 varied by a factor of 3.0" in warning
    assert output.unsteady(pd.DataFrame(speeds | {"mode": "probes", "per_second": [1, 9, 9, 9, 9]})) is None
