"""Data are taken from the first source that gives the right bytes, and from none that gives others."""

import gzip
import hashlib
import http.server
import os
import struct
import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torchvision.datasets import KMNIST, MNIST, FashionMNIST

from pipeline import datasets
from pipeline.datasets import DataUnavailableError, load
from pipeline.preprocessing import split_indices

CLASSES = {"mnist": MNIST, "fashion_mnist": FashionMNIST, "kmnist": KMNIST}
NUMBERS = np.random.default_rng(0)
IMAGES = {
    "train": NUMBERS.integers(0, 256, (12, 28, 28), np.uint8),
    "t10k": NUMBERS.integers(0, 256, (5, 28, 28), np.uint8),
}
LABELS = {"train": NUMBERS.integers(0, 10, 12, np.uint8), "t10k": NUMBERS.integers(0, 10, 5, np.uint8)}


def idx(array):
    """Pack an array as MNIST's files are packed."""
    head = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    return gzip.compress(head + array.tobytes(), mtime=0)


FILES = {f"{part}-images-idx3-ubyte.gz": idx(images) for part, images in IMAGES.items()}
FILES |= {f"{part}-labels-idx1-ubyte.gz": idx(labels) for part, labels in LABELS.items()}
FIRST = "train-images-idx3-ubyte.gz"


def digest(content, algorithm="md5"):
    return hashlib.new(algorithm, content).hexdigest()


def send(handler, content, status=200, **headers):
    handler.send_response(status)
    for name, value in ({"Content-Length": len(content)} | headers).items():
        handler.send_header(name, str(value))
    handler.end_headers()
    handler.wfile.write(content)


def flipped(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def break_off(handler, content):
    send(handler, content[: len(content) // 2], **{"Content-Length": len(content)})


def hang(handler, content):
    handler.server.over.wait(3)


def hang_half_way(handler, content):
    break_off(handler, content)
    handler.server.over.wait(3)


def trickle(handler, content):
    send(handler, b"", **{"Content-Length": len(content)})
    for _ in range(60):
        handler.server.over.wait(0.05)
        handler.wfile.write(b"x")


def send_too_much(handler, content):
    handler.send_response(200)
    handler.end_headers()
    handler.wfile.write(bytes(2**18))


def redirect(handler, content, to):
    send(handler, b"", 302, Location=f"/{to}/{FIRST}")


SOURCES = {
    "good": send,
    "truncated": lambda handler, content: send(handler, content[:-9]),
    "flipped": lambda handler, content: send(handler, flipped(content)),
    "empty": lambda handler, content: send(handler, b""),
    "html": lambda handler, content: send(handler, b"<html>Please log in</html>"),
    "unpacked": lambda handler, content: send(handler, gzip.decompress(content)),
    "404": lambda handler, content: handler.send_error(404),
    "403": lambda handler, content: handler.send_error(403),
    "503": lambda handler, content: handler.send_error(503),
    "broken": break_off,
    "hanging": hang,
    "hanging-half-way": hang_half_way,
    "trickling": trickle,
    "too-large": send_too_much,
    "redirect-to-html": lambda handler, content: redirect(handler, content, "html"),
    "redirect-to-404": lambda handler, content: redirect(handler, content, "404"),
    "redirect-to-itself": lambda handler, content: redirect(handler, content, "redirect-to-itself"),
    "no-answer": lambda handler, content: None,
}
REASONS = {
    "truncated": "wrong MD5",
    "flipped": "wrong MD5",
    "empty": "0 bytes with a wrong MD5",
    "html": "26 bytes with a wrong MD5",
    "unpacked": "wrong MD5",
    "404": "404",
    "403": "403",
    "503": "503",
    "broken": "",
    "hanging": "timed out",
    "hanging-half-way": "timed out",
    "trickling": "took more than",
    "too-large": "sent more than 65536 bytes",
    "redirect-to-html": "wrong MD5",
    "redirect-to-404": "404",
    "redirect-to-itself": "infinite loop",
    "no-answer": "closed connection",
}


class Handler(http.server.BaseHTTPRequestHandler):
    """Answer as the first part of the path says."""

    def do_GET(self):
        _, source, *_, filename = self.path.split("/")
        self.server.asked.append(source)
        try:
            SOURCES[source](self, FILES[filename])
        except OSError:
            self.close_connection = True  # the client has had enough

    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="module")
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.asked, server.over = [], threading.Event()
        server.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server
        server.over.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def offer(server, monkeypatch):
    """Put small files and sources of this machine in place of torchvision's."""

    def offer(*sources, name="mnist"):
        server.asked.clear()
        mirrors = [source if "://" in source else f"{server.url}/{source}/" for source in sources]
        monkeypatch.setattr(CLASSES[name], "mirrors", mirrors)

    for data in CLASSES.values():
        monkeypatch.setattr(data, "resources", [(filename, digest(content)) for filename, content in FILES.items()])
    sha256 = {filename: digest(content, "sha256") for filename, content in FILES.items()}
    monkeypatch.setattr(datasets, "SHA256", {"mnist": sha256})
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(datasets, "SILENCE_LIMIT", 0.3)
    monkeypatch.setattr(datasets, "FILE_LIMIT", 2)
    monkeypatch.setattr(datasets, "SIZE_LIMIT", 2**16)
    return offer


@pytest.fixture(autouse=True)
def temporary_folder(tmp_path_factory, monkeypatch):
    """Whatever happens, nothing is left in the folder for temporary files."""
    folder = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


def assert_is_the_small_set(dataset, name="mnist"):
    assert dataset.name == name
    assert torch.equal(dataset.train_images, torch.from_numpy(IMAGES["train"]).flatten(1))
    assert torch.equal(dataset.test_images, torch.from_numpy(IMAGES["t10k"]).flatten(1))
    assert torch.equal(dataset.train_labels, torch.from_numpy(LABELS["train"]))
    assert torch.equal(dataset.test_labels, torch.from_numpy(LABELS["t10k"]))


def fill(folder, change=lambda content: content):
    folder.mkdir(parents=True)
    for filename, content in FILES.items():
        (folder / filename).write_bytes(change(content))
    return folder


@pytest.mark.parametrize(
    ("name", "first_class", "last_class"),
    [("mnist", "0", "9"), ("fashion_mnist", "T-shirt/top", "Ankle boot"), ("kmnist", "o", "wo")],
)
def test_each_downloadable_set_is_fetched_and_decoded(offer, server, name, first_class, last_class):
    offer("good", "flipped", name=name)
    dataset = load(name)
    assert_is_the_small_set(dataset, name)
    assert (dataset.classes[0], dataset.classes[-1], len(dataset.classes)) == (first_class, last_class, 10)
    assert server.asked == ["good"] * len(FILES)


@pytest.mark.parametrize("bad", REASONS)
def test_a_bad_source_is_refused_and_the_next_one_tried(offer, server, monkeypatch, bad):
    if bad == "trickling":
        monkeypatch.setattr(datasets, "FILE_LIMIT", 0.2)
    offer(bad, "good")
    assert_is_the_small_set(load("mnist"))
    assert {bad, "good"} <= set(server.asked)
    assert server.asked.count("good") == len(FILES)


@pytest.mark.parametrize("bad", REASONS)
def test_if_no_source_is_left_the_error_lists_each_with_its_reason(offer, server, monkeypatch, bad):
    if bad == "trickling":
        monkeypatch.setattr(datasets, "FILE_LIMIT", 0.2)
    offer(bad, "http://127.0.0.1:9/nobody-listens/")
    with pytest.raises(DataUnavailableError) as caught:
        load("mnist")
    first, ours, nobody, advice = str(caught.value).splitlines()
    assert first == f"{FIRST} could not be had from any source:"
    assert ours.startswith(f"  {server.url}/{bad}/{FIRST}: ")
    assert REASONS[bad] in ours
    assert len(ours) > len(f"  {server.url}/{bad}/{FIRST}: ")
    assert nobody.startswith(f"  http://127.0.0.1:9/nobody-listens/{FIRST}: ")
    assert "refused" in nobody
    assert "DATA_MIRROR" in advice


def test_the_order_of_the_sources_is_kept(offer, server):
    offer("404", "flipped", "good", "html")
    load("mnist")
    assert server.asked == ["404", "flipped", "good"] * len(FILES)


def test_a_file_of_the_right_md5_and_a_wrong_sha256_is_refused(offer, monkeypatch):
    offer("good")
    monkeypatch.setitem(datasets.SHA256["mnist"], FIRST, "0" * 64)
    with pytest.raises(DataUnavailableError, match="wrong SHA-256"):
        load("mnist")


def test_every_file_of_mnist_has_a_sha256():
    assert set(datasets.SHA256["mnist"]) == {filename for filename, _ in MNIST.resources}


@pytest.mark.parametrize("below", ["", "mnist"], ids=["in it", "in its subfolder"])
@pytest.mark.parametrize("slash", ["", "/"], ids=["no slash", "slash"])
def test_a_folder_is_asked_first(offer, server, tmp_path, below, slash):
    offer("good")
    fill(tmp_path / "mirror" / below)
    assert_is_the_small_set(load("mnist", mirror=f"{tmp_path}/mirror{slash}"))
    assert server.asked == []


@pytest.mark.parametrize("below", ["", "/mnist"], ids=["in it", "in its subfolder"])
def test_a_base_url_is_asked_first(offer, server, below):
    offer("flipped")
    assert_is_the_small_set(load("mnist", mirror=f"{server.url}/good{below.removesuffix('/mnist')}"))
    assert set(server.asked) == {"good"}


def test_one_folder_may_hold_several_sets(offer, tmp_path):
    offer(name="kmnist")
    fill(tmp_path / "mnist", flipped)
    fill(tmp_path / "kmnist")
    assert_is_the_small_set(load("kmnist", mirror=str(tmp_path)), "kmnist")


@pytest.mark.parametrize("change", [flipped, lambda content: b""], ids=["flipped", "empty"])
def test_a_corrupt_folder_is_passed_over(offer, server, tmp_path, change):
    offer("good")
    fill(tmp_path / "mirror", change)
    assert_is_the_small_set(load("mnist", mirror=str(tmp_path / "mirror")))
    assert server.asked == ["good"] * len(FILES)


def test_a_folder_that_lacks_the_files_is_listed_among_what_was_tried(offer, tmp_path):
    offer("404")
    with pytest.raises(DataUnavailableError) as caught:
        load("mnist", mirror=str(tmp_path))
    message = str(caught.value)
    assert f"{tmp_path}/mnist/{FIRST}: [Errno 2] No such file or directory" in message
    assert f"{tmp_path}/{FIRST}: " in message


@pytest.mark.parametrize("mirror", ["http://", "nonsense://x", "http://[", "http://a b/"])
def test_a_mirror_that_is_no_address_is_passed_over(offer, mirror):
    offer("good")
    assert_is_the_small_set(load("mnist", mirror=mirror))


def test_an_empty_mirror_is_none(offer, server):
    offer("good")
    load("mnist", mirror="")
    assert server.asked == ["good"] * len(FILES)


def test_the_limits_leave_room_for_the_largest_file():
    largest = 29_515 * 2**10  # Fashion-MNIST's training images, packed
    assert largest < datasets.SIZE_LIMIT < 2**28


@pytest.fixture(scope="module")
def digits():
    return load("digits")


def test_digits_have_mnists_form(digits):
    assert digits.name == "digits"
    assert digits.classes == list("0123456789")
    assert digits.train_images.shape == (1438, 784)
    assert digits.test_images.shape == (359, 784)
    for images, labels in ((digits.train_images, digits.train_labels), (digits.test_images, digits.test_labels)):
        assert images.dtype == labels.dtype == torch.uint8
        assert (images.min(), images.max()) == (0, 255)
        assert labels.unique().tolist() == list(range(10))


def test_digits_are_the_bundled_scans_with_their_labels(digits):
    bundled = load_digits()
    _, test = split_indices(len(bundled.target), 0.2, seed=0)
    assert digits.test_labels.tolist() == bundled.target[test].tolist()
    for k in range(0, len(test), 40):
        enlarged = Image.fromarray(digits.test_images[k].view(28, 28).numpy())
        reduced = np.asarray(enlarged.resize((8, 8), Image.Resampling.BOX))
        assert np.corrcoef(reduced.ravel(), bundled.images[test[k]].ravel())[0, 1] > 0.95


def test_digits_are_the_same_each_time_and_need_no_source(digits, offer, server):
    offer("404")
    again = load("digits", mirror="nowhere")
    assert torch.equal(again.train_images, digits.train_images)
    assert torch.equal(again.test_labels, digits.test_labels)
    assert server.asked == []


def mirror_with_real_mnist():
    mirror = Path(os.environ.get("DATA_MIRROR") or "nowhere")
    return next((str(mirror) for folder in (mirror, mirror / "mnist") if (folder / FIRST).is_file()), None)


@pytest.mark.skipif(mirror_with_real_mnist() is None, reason="DATA_MIRROR names no folder that holds MNIST")
def test_real_mnist_is_decoded(monkeypatch):
    monkeypatch.setattr(MNIST, "mirrors", [])
    mnist = load("mnist", mirror=mirror_with_real_mnist())
    assert mnist.train_images.shape == (60_000, 784)
    assert mnist.test_images.shape == (10_000, 784)
    assert mnist.train_labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert mnist.test_labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert mnist.train_images.numpy().mean() / 255 == pytest.approx(0.1307, abs=1e-4)
    assert mnist.train_images.numpy().std() / 255 == pytest.approx(0.3081, abs=1e-4)
