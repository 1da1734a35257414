"""Fixtures that every test shares."""

import pytest
import torch

torch.set_num_threads(1)  # the tensors are tiny: waiting for a second thread on a busy machine costs tenfold


@pytest.fixture(autouse=True)
def _same_random_numbers_in_every_run():
    torch.manual_seed(20240229)
