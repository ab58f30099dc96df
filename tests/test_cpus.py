"""Which processors the tests are compiled for, and which are left out."""

import cpus

HOST = dict.fromkeys(cpus.CPUS["skylake-avx512"], True) | {"gfni": False, "sse4a": False}


def test_a_processor_is_left_out_if_this_one_lacks_a_feature_of_it():
    assert "gfni" in cpus.missing("znver4", HOST)
    assert cpus.missing("skylake-avx512", HOST) == []
    assert "avx512f" in cpus.missing("haswell", {}) + cpus.missing("skylake-avx512", {})
    assert cpus.missing("generic", {}) == []


def test_what_the_host_has_beyond_a_processor_is_switched_off():
    variables = cpus.environment("haswell", HOST)
    features = variables["NUMBA_CPU_FEATURES"].split(",")
    assert {"+avx2", "+fma", "-avx512f", "-gfni", "-sse4a"} <= set(features)
    assert cpus.environment("generic", HOST)["NUMBA_CPU_FEATURES"] == ""


def test_each_processor_has_a_cache_of_its_own():
    folders = {cpus.environment(name, HOST)["NUMBA_CACHE_DIR"] for name in cpus.CPUS}
    assert len(folders) == len(cpus.CPUS)
