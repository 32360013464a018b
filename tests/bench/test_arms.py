"""The arms on each kind of machine."""

from depthbench.bench.arms import Arm, arms_on, work_of


def jobs_of(arms, what, mode="steps"):
    return [(arm.jobs, arm.threads) for arm in arms if (arm.what, arm.mode) == (what, mode)]


def test_on_a_cpu_jobs_share_the_cores_and_each_share_has_its_ceiling():
    arms = arms_on("cpu", "fp32", cores=6, max_jobs=6, conventional_threads=3)
    assert jobs_of(arms, "conventional") == [(1, 3), (6, 1)]
    assert jobs_of(arms, "depthbench") == [(1, 6), (2, 3), (4, 1), (6, 1)]
    assert jobs_of(arms, "depthbench", "probes") == [(1, 6)]
    for mode in ("multiply", "copy"):
        assert jobs_of(arms, "ceiling", mode) == jobs_of(arms, "depthbench")


def test_on_a_gpu_all_jobs_share_one_ceiling():
    arms = arms_on("cuda:0", "fp32", cores=16, max_jobs=4, conventional_threads=8)
    assert jobs_of(arms, "depthbench eager") == [(1, 16)]
    assert jobs_of(arms, "depthbench captured") == [(1, 16), (2, 8), (4, 4), (1, 16), (1, 16)]
    assert [arm.name for arm in arms if arm.lanes > 1] == [
        "depthbench captured, 2 lanes",
        "depthbench captured, 4 lanes",
    ]
    assert jobs_of(arms, "ceiling", "copy") == [(1, 16)]


def test_one_job_has_no_competing_conventional_jobs():
    assert jobs_of(arms_on("cpu", "bf16", cores=1, max_jobs=1, conventional_threads=1), "conventional") == [
        (1, 1)
    ]


def test_the_work_of_a_step():
    assert work_of(Arm("depthbench", 3, 1), 128, "cpu") == 3 * 128
    assert work_of(Arm("depthbench captured", 1, 1, lanes=4), 128, "cuda:0") == 4 * 128
    assert work_of(Arm("ceiling", 2, 1, "copy"), 128, "cpu") == 2 * 2 * (1 << 28)
