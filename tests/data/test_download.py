"""Data are taken from the first source that gives the right bytes, and from none that gives others."""

import dataclasses
import functools
import gzip
import hashlib
import http.server
import itertools
import math
import os
import tempfile
import threading
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from mirrors import ARRAYS, FILES, FIRST, assert_is_the_small_set, digest, idx, mirror_with_real_mnist, source
from PIL import Image
from sklearn.datasets import load_digits
from torchvision.datasets import KMNIST, MNIST, FashionMNIST

from pipeline.data import download
from pipeline.data.download import DataUnavailableError, load
from pipeline.data.preprocessing import split_indices
from pipeline.data.sources import DIGITS, SOURCES

FORGED = {file: idx(array.max() - array) for file, array in ARRAYS.items()}  # as well-formed


SHORT = 0.2  # seconds, and only for what never comes to its end: nothing else can be too slow for a test
ENDLESS = {
    "hanging": "SILENCE_LIMIT",
    "hanging-half-way": "SILENCE_LIMIT",
    "trickling": "FILE_LIMIT",
    "trickling-headers": "FILE_LIMIT",
    "pipe": "FILE_LIMIT",
}
PATIENCE = 30  # seconds


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
    handler.connection.settimeout(PATIENCE)
    handler.rfile.read(1)  # comes back when the client has gone


def hang_half_way(handler, content):
    break_off(handler, content)
    hang(handler, content)


def trickle(handler, content):
    send(handler, b"", **{"Content-Length": len(content)})
    for _ in range(60):
        handler.server.over.wait(0.05)
        handler.wfile.write(b"x")


def trickle_headers(handler, content):
    handler.wfile.write(b"HTTP/1.0 200 OK\r\n")
    for _ in range(60):
        handler.server.over.wait(0.05)
        handler.wfile.write(b"X-Wait: x\r\n")


def swapped(filename):
    return (
        filename.replace("images-idx3", "LABELS-idx1").replace("labels-idx1", "images-idx3").replace("LABELS", "labels")
    )


def send_too_much(handler, content):
    handler.send_response(200)
    handler.end_headers()
    for _ in range(2**10):  # 64 MiB, if the client takes it all
        handler.wfile.write(bytes(2**16))
    handler.server.taken.set()


def redirect(handler, content, to):
    send(handler, b"", 302, Location=f"/{to}/{handler.filename}")


ANSWERS = {
    "good": send,
    "truncated": lambda handler, content: send(handler, content[:-9]),
    "flipped": lambda handler, content: send(handler, flipped(content)),
    "empty": lambda handler, content: send(handler, b""),
    "html": lambda handler, content: send(handler, b"<html>Please log in</html>"),
    "404": lambda handler, content: handler.send_error(404),
    "403": lambda handler, content: handler.send_error(403),
    "503": lambda handler, content: handler.send_error(503),
    "broken": break_off,
    "hanging": hang,
    "hanging-half-way": hang_half_way,
    "trickling": trickle,
    "trickling-headers": trickle_headers,
    "swapped": lambda handler, content: send(handler, FILES[swapped(handler.filename)]),
    "forged": lambda handler, content: send(handler, FORGED[handler.filename]),
    "too-large": send_too_much,
    "redirect-to-html": lambda handler, content: redirect(handler, content, "html"),
    "redirect-to-404": lambda handler, content: redirect(handler, content, "404"),
    "redirect-to-itself": lambda handler, content: redirect(handler, content, "redirect-to-itself"),
    "no-answer": lambda handler, content: None,
}
WRONG = "bytes with a wrong SHA-256 checksum"
CUT_OFF = "Compressed file ended before the end-of-stream marker was reached"
REASONS = {
    "truncated": CUT_OFF,
    "flipped": "",  # a wrong code, length, check or checksum, by where the bit is
    "empty": f"0 {WRONG}",
    "html": f"26 {WRONG}",
    "swapped": WRONG,
    "forged": WRONG,
    "404": "HTTP Error 404: Not Found",
    "403": "HTTP Error 403: Forbidden",
    "503": "HTTP Error 503: Service Unavailable",
    "broken": CUT_OFF,
    "hanging": "timed out",
    "hanging-half-way": "timed out",
    "trickling": "took more than 0.2 seconds",
    "trickling-headers": "took more than 0.2 seconds",
    "too-large": "sent more than 65,536 bytes",
    "redirect-to-html": f"26 {WRONG}",
    "redirect-to-404": "HTTP Error 404: Not Found",
    "redirect-to-itself": "HTTP Error 302: Found",
    "no-answer": "closed connection",
}
each_fault = pytest.mark.parametrize("fault", REASONS)
each_file = pytest.mark.parametrize("file", FILES)


class Handler(http.server.BaseHTTPRequestHandler):
    """Answer as the first part of the path says, but well where it names another file than the one asked for.

    A fault is the same under each of a file's names.
    """

    def do_GET(self):
        _, source, *_, name = self.path.split("/")
        source, _, only = source.partition("@")
        self.filename = f"{name.replace('.idx', '-idx').removesuffix('.gz')}.gz"
        source = source if only in ("", self.filename) else "good"
        self.server.asked.append(source)
        try:
            ANSWERS[source](self, self.server.files[self.filename])
        except OSError:
            self.close_connection = True  # the client has had enough

    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="module")
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.asked, server.over, server.taken, server.files = [], threading.Event(), threading.Event(), FILES
        server.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server
        server.over.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def offer(server, monkeypatch):
    """Put small files and sources of this machine in place of the real ones."""

    def offer(*answers, name="mnist", files=FILES):
        server.asked.clear()
        monkeypatch.setattr(server, "files", files)
        mirrors = [answer if "://" in answer else f"{server.url}/{answer}/" for answer in answers]
        monkeypatch.setitem(SOURCES, name, source(name, files, mirrors))

    read = download._read_in_time

    def read_in_time(base, path):
        fault, _, only = base.rstrip("/").rpartition("/")[2].partition("@")
        with monkeypatch.context() as patched:
            if fault in ENDLESS and path.endswith(only):
                patched.setattr(download, ENDLESS[fault], SHORT)
            return read(base, path)

    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(download, "_read_in_time", read_in_time)
    monkeypatch.setattr(download, "SIZE_LIMIT", 2**16)
    return offer


@pytest.fixture(autouse=True)
def temporary_folder(tmp_path_factory, monkeypatch):
    """Whatever happens, nothing is left in the folder for temporary files."""
    folder = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


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


@each_file
@each_fault
def test_a_bad_file_is_refused_and_the_next_source_asked_for_it(offer, server, fault, file):
    offer(f"{fault}@{file}", "good")
    assert_is_the_small_set(load("mnist"))
    assert server.asked[0] == (fault if file == FIRST else "good")
    assert fault in server.asked
    assert server.asked.count("good") == len(FILES)


@each_file
@each_fault
def test_if_no_source_is_left_the_error_lists_each_with_its_reason(offer, server, fault, file):
    offer(f"{fault}@{file}", "http://127.0.0.1:9/nobody-listens/")
    with pytest.raises(DataUnavailableError) as caught:
        load("mnist")
    first, ours, nobody, advice = str(caught.value).splitlines()
    assert first == f"{file} could not be had from any source:"
    assert ours.startswith(f"  {server.url}/{fault}@{file}/: ")
    assert REASONS[fault] in ours
    assert nobody == "  http://127.0.0.1:9/nobody-listens/: Connection refused"
    assert "DATA_MIRROR" in advice
    assert max(map(len, (first, nobody, advice))) <= 80


def test_what_is_too_large_is_not_read_to_its_end(offer, server):
    offer(f"too-large@{FIRST}", "good")
    load("mnist")
    assert not server.taken.is_set()


BOMB = 2**25  # bytes


@functools.cache
def bomb(file):
    """Pack a well-formed file of nothing but zeros, which has too many of them."""
    sides = ARRAYS[file].shape[1:]
    return idx(np.zeros((BOMB // math.prod(sides), *sides), np.uint8))


def promising(change):
    """Lie about the number of items, and give the error that follows."""

    def lie(file):
        array = ARRAYS[file]
        promised = [change(len(array)), *array.shape[1:]]
        return idx(array, promised=promised), f"not an IDX file: RuntimeError(\"shape '{promised}' is invalid for input"

    return lie


def head(file):
    """First bytes of a file: 0, 0, the type of its items and its number of axes."""
    return bytes([0, 0, 8, ARRAYS[file].ndim])


def typed(magic, said):
    """Name another type of items, and give the error that follows."""
    return lambda file: (idx(ARRAYS[file], magic=magic), said)


def wrong_items(kind, found, file):
    return f"holds {kind} items of shape {list(found.shape[1:])}, not bytes of shape {list(ARRAYS[file].shape[1:])}"


NO_IDX = "not an IDX file: "
TOO_SHORT = NO_IDX + "ValueError("
LIES = {
    "not gzip": lambda file: (b"<html>Please log in</html>", f"{NO_IDX}AssertionError()"),
    "an empty file": lambda file: (b"", TOO_SHORT),
    "a packed nothing": lambda file: (gzip.compress(b""), TOO_SHORT),
    "cut off": lambda file: (FILES[file][:-9], "Compressed file ended before the end-of-stream marker"),
    "a flipped bit": lambda file: (
        FILES[file][:-8] + flipped(FILES[file][-8:-4]) + FILES[file][-4:],
        "CRC check failed",
    ),
    "a broken stream": lambda file: (FILES[file][:10] + b"\xff" * 40, "Error -3 while decompressing data"),
    "something behind it": lambda file: (FILES[file] + b"x", "Not a gzipped file"),
    "swapped": lambda file: (FILES[swapped(file)], wrong_items("torch.uint8", ARRAYS[swapped(file)], file)),
    "signed bytes": lambda file: (idx(ARRAYS[file], magic=9), wrong_items("torch.int8", ARRAYS[file], file)),
    "two bytes a value": typed(11, NO_IDX),
    "a type below all": typed(7, f"{NO_IDX}AssertionError()"),
    "a type above all": typed(15, f"{NO_IDX}AssertionError()"),
    "a type that is none": typed(10, f"{NO_IDX}KeyError(10)"),
    "no axis": lambda file: (gzip.compress(bytes([0, 0, 8, 0, 1])), f"{NO_IDX}AssertionError()"),
    "four axes": lambda file: (idx(ARRAYS[file].reshape(1, 1, 1, -1)), f"{NO_IDX}AssertionError()"),
    "two axes": lambda file: (idx(ARRAYS[file].reshape(1, -1)), "not bytes of shape"),
    "a first byte that is not 0": lambda file: (gzip.compress(b"x" + bytes(99)), f"{NO_IDX}AssertionError()"),
    "no lengths": lambda file: (gzip.compress(head(file)), TOO_SHORT),
    "half a length": lambda file: (gzip.compress(head(file) + bytes(2)), TOO_SHORT),
    "no items": lambda file: (idx(ARRAYS[file][:0]), TOO_SHORT),
    "more promised": promising(lambda count: count + 1),
    "fewer promised": promising(lambda count: count - 1),
    "none promised": promising(lambda count: 0),
    "billions promised": promising(lambda count: 2**32 - 1),
    "a bomb": lambda file: (bomb(file), "unpacks to more than 65,536 bytes"),
}


@each_file
@pytest.mark.parametrize("lie", LIES)
def test_a_file_whose_checksum_is_right_and_whose_contents_are_wrong_is_refused(offer, lie, file):
    content, said = LIES[lie](file)
    offer("good", files=FILES | {file: content})
    with pytest.raises(DataUnavailableError) as caught:
        load("mnist")
    first, reason, _ = str(caught.value).splitlines()
    assert file in first
    assert said in reason


@pytest.mark.parametrize("part", ["train", "t10k"])
def test_images_of_other_sides_are_refused(offer, part):
    file = f"{part}-images-idx3-ubyte.gz"
    offer("good", files=FILES | {file: idx(ARRAYS[file], promised=(len(ARRAYS[file]), 14, 56))})
    with pytest.raises(DataUnavailableError, match=r"items of shape \[14, 56\], not bytes of shape \[28, 28\]"):
        load("mnist")


@pytest.mark.parametrize("part", ["train", "t10k"])
def test_fewer_labels_than_images_are_refused(offer, part):
    file = f"{part}-labels-idx1-ubyte.gz"
    count = len(ARRAYS[file])
    offer("good", files=FILES | {file: idx(ARRAYS[file][:-1])})
    with pytest.raises(DataUnavailableError, match=f"{file} holds {count - 1} labels for {count} images"):
        load("mnist")


def test_a_bomb_is_not_unpacked_beyond_the_limit(offer):
    assert len(bomb(FIRST)) < download.SIZE_LIMIT < 2**21 < BOMB
    offer("good", files=FILES | {FIRST: bomb(FIRST)})
    tracemalloc.start()
    try:
        with pytest.raises(DataUnavailableError):
            load("mnist")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2**21


def test_the_order_of_the_sources_is_kept(offer, server):
    offer("404", "flipped", "good", "html")
    load("mnist")
    assert [source for source, _ in itertools.groupby(server.asked)] == ["404", "flipped", "good"] * len(FILES)


@pytest.mark.parametrize("mirror", ["/nowhere", f"/{'long/' * 40}", "http://user:s3cret@127.0.0.1:9/?token=s3cret"])
def test_a_line_of_80_columns_says_which_source_is_asked_for_which_file(offer, monkeypatch, mirror):
    offer("good")
    said = []
    load("mnist", mirror, said.append)
    assert len(said) == 2 * len(FILES) and max(map(len, said)) <= 80 and "s3cret" not in "".join(said)
    assert said[0].startswith(f"train-images from {'DATA_MIRROR' if '://' in mirror else mirror[:50]}")
    assert said[-1] == f"t10k-labels from {SOURCES['mnist'].mirrors[0]}"


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_of_every_shipped_mirror_the_line_is_whole(source):
    assert max(len(f"train-images from {mirror}") for mirror in source.mirrors) <= download.LINE


@pytest.mark.parametrize(("name", "source"), SOURCES.items(), ids=SOURCES)
def test_names_files_mirrors_and_classes_are_torchvisions_and_each_file_has_a_checksum(name, source):
    theirs = {"mnist": MNIST, "fashion_mnist": FashionMNIST, "kmnist": KMNIST}[name]
    assert name.replace("_", "") == theirs.__name__.lower()
    assert [file for file, _ in theirs.resources] == [*FILES]
    assert [len(bytes.fromhex(sha256)) for sha256 in source.sha256] == [32] * len(FILES)
    assert source.mirrors == theirs.mirrors
    assert source.mirrors
    assert source.raw == f"{theirs.__name__}/raw/"
    for ours, shown in zip(source.classes, theirs.classes, strict=True):
        assert shown in (ours, f"{ours} - {shown.split()[-1]}")
    assert len(set(source.classes)) == 10


def test_a_label_without_a_class_is_refused_whatever_the_checksums(offer, monkeypatch):
    offer("good")
    monkeypatch.setitem(SOURCES, "mnist", dataclasses.replace(SOURCES["mnist"], classes=list("012345678")))
    label = max(ARRAYS["train-labels-idx1-ubyte.gz"].max(), ARRAYS["t10k-labels-idx1-ubyte.gz"].max())
    with pytest.raises(ValueError, match=rf"^mnist: \S+ holds the label {label}, which has no class in pipeline/data/"):
        load("mnist")


def test_as_many_digits_are_for_training_as_their_source_says(digits):
    assert len(digits.train_labels) == DIGITS.train_examples


def test_no_two_files_have_one_checksum():
    sha256 = [each for source in SOURCES.values() for each in source.sha256]
    assert len(set(sha256)) == 12


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


DAMAGES = {"flipped": flipped, "empty": lambda content: b"", "truncated": lambda content: content[:-9]}


@each_file
@pytest.mark.parametrize("damage", DAMAGES)
def test_of_a_folder_with_a_corrupt_file_the_others_are_taken(offer, server, tmp_path, damage, file):
    offer("good")
    path = fill(tmp_path / "mirror") / file
    path.write_bytes(DAMAGES[damage](FILES[file]))
    assert_is_the_small_set(load("mnist", mirror=str(tmp_path / "mirror")))
    assert server.asked == ["good"]
    assert path.read_bytes() == DAMAGES[damage](FILES[file])  # what is another's is not touched


def test_a_folder_that_lacks_the_files_is_listed_among_what_was_tried(offer, tmp_path):
    offer("404")
    with pytest.raises(DataUnavailableError) as caught:
        load("mnist", mirror=str(tmp_path))
    assert f"\n  {tmp_path}/: No such file or directory\n" in str(caught.value)


def test_a_folder_in_which_reading_never_ends_is_passed_over(offer, tmp_path):
    offer("good")
    (tmp_path / "pipe").mkdir()
    os.mkfifo(tmp_path / "pipe" / FIRST)
    assert_is_the_small_set(load("mnist", mirror=str(tmp_path / "pipe")))
    with (tmp_path / "pipe" / FIRST).open("wb"):
        pass  # lets the reader go


@pytest.mark.parametrize("mirror", ["http://a b/", "http://127.0.0.1:9/größe/"])
def test_a_mirror_that_is_no_address_is_passed_over(offer, mirror):
    offer("good")
    assert_is_the_small_set(load("mnist", mirror=mirror))


def test_an_empty_mirror_is_none(offer, server):
    offer("good")
    load("mnist", mirror="")
    assert server.asked == ["good"] * len(FILES)


def test_the_limits_leave_room_for_the_largest_file():
    assert 16 + 60_000 * 784 < download.SIZE_LIMIT < 2**28
    assert 0 < download.SILENCE_LIMIT < download.FILE_LIMIT < 3600


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


needs_mnist = pytest.mark.skipif(
    mirror_with_real_mnist() is None, reason="DATA_MIRROR names no folder that holds MNIST"
)


@needs_mnist
def test_our_checksums_belong_to_torchvisions_files():
    for (file, md5), sha256 in zip(MNIST.resources, SOURCES["mnist"].sha256, strict=True):
        content = (Path(mirror_with_real_mnist()) / file).read_bytes()
        assert hashlib.md5(content).hexdigest() == md5
        assert digest(gzip.decompress(content)) == sha256


@needs_mnist
def test_real_mnist_is_decoded(monkeypatch):
    monkeypatch.setitem(SOURCES, "mnist", dataclasses.replace(SOURCES["mnist"], mirrors=[]))
    mnist = load("mnist", mirror=mirror_with_real_mnist())
    assert mnist.classes == list("0123456789")
    assert mnist.train_images.shape == (SOURCES["mnist"].train_examples, 784) == (60_000, 784)
    assert mnist.test_images.shape == (10_000, 784)
    assert mnist.train_labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert mnist.test_labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert mnist.train_images.numpy().mean() / 255 == pytest.approx(0.1307, abs=1e-4)
    assert mnist.train_images.numpy().std() / 255 == pytest.approx(0.3081, abs=1e-4)
    parts = (mnist.train_images, mnist.train_labels, mnist.test_images, mnist.test_labels)
    for (file, _), part in zip(MNIST.resources, parts, strict=True):
        values = gzip.decompress((Path(mirror_with_real_mnist()) / file).read_bytes())[16 if "images" in file else 8 :]
        assert part.dtype == torch.uint8
        assert part.numpy().tobytes() == values
