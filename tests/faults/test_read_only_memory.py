"""Parameters that cannot be written, as those of a file that is mapped into memory, are read and never written."""

import subprocess
import sys

import numpy as np
from clones import ROOT
from reference import DIMS, random_parameters

# In a process of its own: writing into such memory would not raise an error but end the process.
UPDATE = """
import sys
import numpy as np
from pipeline import update_parameters

stored = {name: np.load(f"{sys.argv[1]}/{name}.npy", mmap_mode="r") for name in sys.argv[2:]}
immutable = {name: np.frombuffer(each.tobytes(), each.dtype).reshape(each.shape) for name, each in stored.items()}
for parameters in (stored, immutable):
    before = {name: np.array(each) for name, each in parameters.items()}
    given = dict(parameters)
    updated = update_parameters(parameters, {f"d{name}": np.ones_like(each) for name, each in before.items()}, 0.5)
    assert all(np.array_equal(given[name], before[name]) for name in before)
    assert all(np.allclose(updated[name], before[name] - 0.5) for name in before)
print("updated")
"""


def test_parameters_from_memory_that_cannot_be_written_are_updated_and_left_as_they_were(tmp_path):
    parameters = random_parameters(DIMS)
    for name, each in parameters.items():
        np.save(tmp_path / f"{name}.npy", each.numpy())
    files = {path: path.read_bytes() for path in tmp_path.iterdir()}
    command = [sys.executable, "-c", UPDATE, str(tmp_path), *parameters]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "updated\n"), done.stderr
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == files
