import os

import kill_and_resume
import pytest

pytest.importorskip("safetensors", reason="checkpoints need safetensors")
pytestmark = pytest.mark.skipif(os.name != "posix", reason="kills with SIGKILL")


@pytest.mark.parametrize("variant", kill_and_resume.VARIANTS)
def test_a_killed_run_comes_to_the_same_bits(variant, tmp_path):
    _, different = kill_and_resume.kill(variant, tmp_path, kills=3, seed=os.getpid())
    assert different == 0
