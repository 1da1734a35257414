"""Parameters that cannot be written, as those of a file that is mapped into memory, are read and never written."""

import numpy as np
from ranks import Fork, forks
from reference import DIMS, random_parameters

from pipeline import update_parameters


def update(folder):
    """Update parameters that are mapped from files, and those of bytes, of which no byte may be written."""
    stored = {path.stem: np.load(path, mmap_mode="r") for path in folder.iterdir()}
    immutable = {name: np.frombuffer(each.tobytes(), each.dtype).reshape(each.shape) for name, each in stored.items()}
    for parameters in (stored, immutable):
        before = {name: np.array(each) for name, each in parameters.items()}
        given = dict(parameters)
        updated = update_parameters(parameters, {f"d{name}": np.ones_like(each) for name, each in before.items()}, 0.5)
        assert all(np.array_equal(given[name], before[name]) for name in before)
        assert all(np.allclose(updated[name], before[name] - 0.5) for name in before)
    print("updated")


def test_parameters_from_memory_that_cannot_be_written_are_updated_and_left_as_they_were(tmp_path):
    """In a process of its own: writing into such memory would not raise an error but end the process."""
    folder = tmp_path / "parameters"
    folder.mkdir()
    for name, each in random_parameters(DIMS).items():
        np.save(folder / f"{name}.npy", each.numpy())
    files = {path: path.read_bytes() for path in folder.iterdir()}
    with forks() as started:
        started.append(Fork(lambda: update(folder), tmp_path / "said"))
        assert (started[0].wait(), started[0].said()) == (0, "updated\n")
    assert {path: path.read_bytes() for path in folder.iterdir()} == files
