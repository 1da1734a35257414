"""Fixtures that every test shares."""

import pytest
import torch

torch.set_num_threads(1)  # the tensors are tiny: waiting for a second thread on a busy machine costs tenfold


@pytest.fixture(autouse=True)
def _same_random_numbers_in_every_run():
    torch.manual_seed(20240229)


@pytest.fixture(scope="session")
def clone(tmp_path_factory):
    """A clone in which the whole pipeline has run once; who changes it changes it back."""
    from test_pipeline import finished_clone  # noqa: PLC0415 - a test module, which pytest rewrites before it is imported

    return finished_clone(tmp_path_factory.mktemp("pipeline"))
