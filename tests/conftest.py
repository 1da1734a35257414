"""Fixtures that every test shares."""

import os
import signal

import pytest
import torch
from clones import finished_clone, shared_clone
from pretended_gpu import NEEDS_A_GPU, pretended_gpu
from samples import trained_folder

for name in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS"):  # of the make that runs the tests; a test runs its own
    os.environ.pop(name, None)
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores Ctrl-C, and so its children
torch.set_num_threads(1)  # the tensors are tiny: waiting for a second thread on a busy machine costs tenfold


@pytest.hookimpl(trylast=True)  # when what is not to run is out
def pytest_collection_modifyitems(items):
    """Begin with a test of the clone: one process makes it while the others test what needs none."""
    items.sort(key=lambda item: "clone" in item.fixturenames)
    items[:] = items[-1:] + items[:-1]


@pytest.fixture(autouse=True)
def _alike_in_every_run():
    torch.manual_seed(20240229)
    torch.set_num_threads(1)  # a stage run in this process may have changed it, and a fork with more threads hangs


@pytest.fixture(scope="session")
def clone(tmp_path_factory, worker_id):
    """A clone in which the whole pipeline has run once; who changes it changes it back."""
    folder = tmp_path_factory.mktemp("pipeline")
    if worker_id == "master":  # the only process
        return finished_clone(folder)
    return shared_clone(folder, tmp_path_factory.getbasetemp().parent / "pipeline")


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A folder that looks as after `dvc repro evaluate`; nobody changes it."""
    return trained_folder(tmp_path_factory.mktemp("trained"))


@pytest.fixture(params=["pretended", pytest.param("real", marks=NEEDS_A_GPU)])
def gpu(request):
    """A GPU: one that is pretended, everywhere; and a real one where there is one, for which None stands."""
    if request.param == "real":
        yield None
    else:
        with pretended_gpu() as pretended:
            yield pretended
