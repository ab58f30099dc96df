"""What contestants change in their own processes is put back after a test that makes one in ours."""

import pytest
import sklearn


@pytest.fixture(autouse=True)
def scikit_learn_as_it_was():
    with sklearn.config_context():
        yield
