"""What DATA_MIRROR may be, and that a password in it is used and never shown."""

import dataclasses
import functools
import gzip
import http.server
import threading
import urllib.error
from base64 import b64encode
from pathlib import Path

import pytest
from clones import small_params
from mirrors import FILES, FIRST, assert_is_the_small_set, digest, source

import stages
from pipeline.data.download import DataUnavailableError, load
from pipeline.data.sources import SOURCES
from stages import check, download

SECRET = "s3cret"
RAW = {"mnist": "MNIST/raw", "fashion_mnist": "FashionMNIST/raw", "kmnist": "KMNIST/raw"}
UNPACKED = {file.removesuffix(".gz"): gzip.decompress(packed) for file, packed in FILES.items()}
KAGGLE = {file.replace("-idx", ".idx"): content for file, content in UNPACKED.items()}
TREES = {
    "packed": FILES,
    "unpacked": UNPACKED,
    "unpacked below the name": {f"mnist/{file}": content for file, content in UNPACKED.items()},
    "unpacked under the packed name, as a proxy does it": {f"{file}.gz": content for file, content in UNPACKED.items()},
    "packed again": {f"{file}.gz": gzip.compress(content, 1, mtime=9) for file, content in UNPACKED.items()},
    "packed in two parts": {
        f"{file}.gz": gzip.compress(content[:99]) + gzip.compress(content[99:]) for file, content in UNPACKED.items()
    },
    "beside a broken packed file": UNPACKED | {FIRST: FILES[FIRST][:-9]},
    "Kaggle's names": KAGGLE,
    "Kaggle's names beside its folders": KAGGLE | {f"{file}/{file}": b"another" for file in UNPACKED},
    "torchvision's root": {f"MNIST/raw/{file}": content for file, content in (FILES | UNPACKED).items()},
}


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serve a folder, or answer as the server of the test says, and note what was asked."""

    def do_GET(self):
        self.server.asked.append(self)
        if not self.server.answer(self):
            super().do_GET()

    def do_CONNECT(self):  # as a proxy
        self.do_GET()

    def log_message(self, *arguments):
        pass


@pytest.fixture
def serve(tmp_path, monkeypatch):
    """Start servers of the folder; each answers as it is told before it looks there."""
    monkeypatch.setenv("no_proxy", "*")
    started = []

    def serve(answer=lambda request: False):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=tmp_path))
        server.asked, server.answer, server.host = [], answer, f"127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        started.append((server, thread))
        return server

    yield serve
    for server, thread in started:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(autouse=True)
def _small_sets(monkeypatch):
    for name in RAW:
        monkeypatch.setitem(SOURCES, name, source(name))


def plant(folder, files):
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)


@pytest.mark.parametrize("kind", ["folder", "file", "http"])
@pytest.mark.parametrize("tree", TREES)
def test_a_mirror_may_hold_the_right_contents_in_any_of_the_usual_forms(tmp_path, serve, tree, kind):
    plant(tmp_path, TREES[tree])
    mirror = {"folder": f"{tmp_path}", "file": f"file://{tmp_path}", "http": f"http://{serve().host}"}[kind]
    assert_is_the_small_set(load("mnist", mirror))


@pytest.mark.parametrize("name", RAW)
def test_torchvisions_root_may_hold_every_set(tmp_path, name):
    plant(tmp_path, {f"{RAW[name]}/{file}": content for file, content in UNPACKED.items()})
    assert_is_the_small_set(load(name, f"{tmp_path}"), name)


def refusal(mirror):
    with pytest.raises(DataUnavailableError) as caught:
        load("mnist", f"{mirror}")
    return str(caught.value)


@pytest.mark.parametrize("tree", ["unpacked", "packed again"])
def test_where_only_the_packed_files_are_known_no_others_are_taken(tmp_path, monkeypatch, tree):
    packed = [digest(content) for content in FILES.values()]
    monkeypatch.setitem(SOURCES, "mnist", dataclasses.replace(SOURCES["mnist"], sha256=packed))
    plant(tmp_path / "right", FILES)
    plant(tmp_path / "other", TREES[tree])
    assert_is_the_small_set(load("mnist", f"{tmp_path}/right"))
    assert "bytes with a wrong SHA-256 checksum" in refusal(tmp_path / "other")


def test_a_server_that_refuses_pythons_own_name_is_asked_under_ours(tmp_path, serve):
    plant(tmp_path, FILES)
    server = serve(lambda request: "Python" in request.headers["User-Agent"] and refuse(request, 403))
    assert_is_the_small_set(load("mnist", f"http://{server.host}"))


def test_a_server_that_does_not_answer_is_not_asked_for_every_name(serve):
    silent, empty = serve(lambda request: True), serve()
    assert "closed connection" in refusal(f"http://{silent.host}")
    assert "HTTP Error 404" in refusal(f"http://{empty.host}")
    assert (len(silent.asked), len(empty.asked)) == (1, 9)


def test_a_host_that_cannot_be_found_is_looked_for_once(monkeypatch):
    asked = []

    def urlopen(request, timeout):
        asked.append(request.full_url)
        raise urllib.error.URLError(OSError(-3, "Temporary failure in name resolution"))

    monkeypatch.setattr("urllib.request.urlopen", urlopen)
    assert "DATA_MIRROR: Temporary failure in name resolution" in refusal("http://host")
    assert asked == [f"http://host/mnist/{FIRST}"]


def refuse(request, status, words=None):
    request.send_response(status, words)
    request.end_headers()
    return True


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (f"user:{SECRET}", f"user:{SECRET}"),
        ("some%40one:p%2Fa%3As%40s%20w%C3%B6rd", "some@one:p/a:s@s wörd"),
        ("user:p@ss", "user:p@ss"),
        (SECRET, SECRET),
    ],
)
def test_user_and_password_in_a_url_are_sent(tmp_path, serve, written, meant):
    plant(tmp_path, FILES)
    basic = f"Basic {b64encode(meant.encode()).decode()}"
    server = serve(lambda request: request.headers["Authorization"] != basic and refuse(request, 401))
    assert_is_the_small_set(load("mnist", f"http://{written}@{server.host}/"))


def test_a_query_in_a_url_is_sent_with_every_file(tmp_path, serve):
    plant(tmp_path, FILES)
    server = serve(lambda request: not request.path.endswith(f".gz?token={SECRET}") and refuse(request, 403))
    assert_is_the_small_set(load("mnist", f"http://{server.host}/?token={SECRET}"))


def test_a_password_does_not_follow_a_redirect_to_another_server(tmp_path, serve):
    plant(tmp_path, FILES)
    stranger = serve()
    server = serve(lambda request: redirect(request, f"http://{stranger.host}{request.path}"))
    assert_is_the_small_set(load("mnist", f"http://user:{SECRET}@{server.host}"))
    assert len(server.asked) == len(stranger.asked) == 2 * len(FILES)  # below mnist/, then here
    assert all(request.headers["Authorization"] for request in server.asked)
    assert not any(request.headers["Authorization"] for request in stranger.asked)


def redirect(request, to):
    request.send_response(302)
    request.send_header("Location", to)
    request.end_headers()
    return True


def no_http(request):
    request.wfile.write(f"{request.path} {request.headers['Authorization']}\r\n".encode())
    return True


ANSWERS = {
    "none of the files": lambda request: False,
    "not the right password": lambda request: refuse(request, 401),
    "what it was asked": lambda request: refuse(request, 404, f"{request.path} {request.headers['Authorization']}"),
    "what it was asked, without a status": no_http,
    "another address with a password": lambda request: redirect(request, f"http://user:{SECRET}@localhost/"),
    "another address with a token": lambda request: redirect(request, f"nonsense://localhost/?token={SECRET}"),
    "no address": lambda request: redirect(request, f"http://[{SECRET}"),
}
URLS = [
    f"http://user:{SECRET}@HOST",
    f"http://{SECRET}@HOST/",
    f"http://user:x{SECRET}@{SECRET}@HOST/",
    f"http://HOST/?token={SECRET}",
    f"http://HOST/#{SECRET}",
    f"http://user:x/{SECRET}@HOST/",
    f"http://user:x?{SECRET}@HOST/",
    f"http://user:x#{SECRET}@HOST/",
    f"http://user:{SECRET}@HOST/a folder",
    f"http://user:{SECRET}@HOST/größe",
    f"http://user:{SECRET}℀@HOST/",
    f"http://user:{SECRET}@[HOST/",
    f"nonsense://user:{SECRET}@HOST/",
    f"user:{SECRET}@HOST/",
    f"HOST/?token={SECRET}",
]


def assert_holds_no_secret(text):
    assert SECRET not in text
    assert b64encode(f"user:{SECRET}".encode()).decode() not in text


@pytest.mark.parametrize("answer", ANSWERS)
def test_no_message_shows_a_password_or_a_token_whatever_the_server_answers(serve, answer):
    server = serve(ANSWERS[answer])
    assert_holds_no_secret(refusal(f"http://user:{SECRET}@{server.host}/?token={SECRET}"))
    assert len(server.asked) >= 1


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize("fallback", ["digits", None])
def test_neither_a_message_nor_a_file_of_the_stage_shows_what_a_url_hides(
    tmp_path, serve, monkeypatch, capfd, url, fallback
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATA_MIRROR", url.replace("HOST", serve().host))
    Path("params.yaml").write_text(small_params(data={"dataset": "mnist", "offline_fallback": fallback}))
    said = ""
    try:
        stages.run(download.main, "download")
    except SystemExit as stopped:
        said = f"{stopped.code}"
    said += "".join(capfd.readouterr())
    assert "DATA_MIRROR" in said
    assert_holds_no_secret(said)
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or SECRET.encode() not in path.read_bytes()


def test_the_stage_says_whom_it_asks_and_goes_on_saying_that_it_waits(tmp_path, serve, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("stages.progress.PLAIN_EVERY", 0.001)
    monkeypatch.setattr("pipeline.data.download.FILE_LIMIT", 1)
    over = threading.Event()
    monkeypatch.setenv("DATA_MIRROR", f"http://{serve(lambda request: over.wait(30)).host}")
    Path("params.yaml").write_text(small_params(data={"dataset": "mnist", "offline_fallback": "digits"}))
    stages.run(download.main, "download")
    over.set()
    begun, *said = capsys.readouterr().out.splitlines()
    assert begun == "download: mnist, 00:00" and "train-images from DATA_MIRROR" in said
    assert said.count("download: mnist, 00:00") > 2


@pytest.mark.parametrize("hostile", ["\x1b[31mred\x1b[0m", "x" * 60_000, "a\tb"])
def test_what_a_server_or_a_folder_is_called_is_shown_printable_and_cut(tmp_path, serve, hostile):
    server = serve(lambda request: refuse(request, 404, hostile))
    for mirror in (f"http://{server.host}", tmp_path / hostile):
        lines = refusal(mirror).splitlines()
        assert len(lines) == 3 and len(max(lines, key=len)) < 300
        assert all(line.isprintable() for line in lines)


@pytest.mark.parametrize("write", ["HTTP://{}", "Http://{}/", "FILE://{}", "file:{}", "file://localhost{}"])
def test_a_url_may_have_capitals_and_every_form_of_a_local_file(tmp_path, serve, write):
    plant(tmp_path, FILES)
    assert_is_the_small_set(load("mnist", write.format(serve().host if "ttp" in write.lower() else tmp_path)))


RELATIVE = ["mirror", "../here/mirror", ".", "~nobody-here/mirror", " /", "C:/mirror", "server:mirror"]
NO_URLS = [
    *("//host/mnist", "//user:secret@host/mnist"),
    *("http:/x", "http://", "https:///x", "http://[", "http://host:port/", "http://host:99999/", "http//host/x"),
    *("file://mirror", "file:mirror", "file://host/mirror", "file://./mirror", "FILE://~/mirror"),
    *("ftp://host/mnist", "FTP://HOST", "s3://bucket/mnist", "gs://bucket", "sftp://host/x", "data:,x", "://", "x://"),
]


@pytest.mark.parametrize("mirror", [*RELATIVE, *NO_URLS])
@pytest.mark.parametrize("stage", [check, download], ids=["check", "download"])
def test_what_is_no_absolute_folder_and_no_url_is_refused_by_name_before_anything_happens(
    tmp_path, monkeypatch, mirror, stage
):
    plant(tmp_path / "here", FILES)
    plant(tmp_path / "here" / "mirror", FILES)
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("DATA_MIRROR", mirror)
    Path("params.yaml").write_text(small_params(data={"dataset": "mnist", "offline_fallback": "digits"}))
    with pytest.raises(SystemExit, match=r"^stage: DATA_MIRROR must be an absolute folder, .*, or a URL, .*$"):
        stages.run(stage.main, "stage")
    assert not Path("data").exists()


def test_where_the_digits_are_asked_for_no_mirror_is_looked_at(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATA_MIRROR", "mirror")
    Path("params.yaml").write_text(small_params())
    for stage in (check, download):
        stages.run(stage.main, "stage")


@pytest.mark.parametrize("words", ["\x1b[31mred", "x" * 60_000, SECRET], ids=["escape codes", "long", "a password"])
def test_a_proxys_words_are_not_shown(serve, monkeypatch, words):
    proxy = serve(lambda request: refuse(request, 407, words))
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("https_proxy", f"http://user:{SECRET}@{proxy.host}")
    monkeypatch.setattr("urllib.request._opener", None)  # made of the environment at its first use
    said = refusal("https://host")
    assert "\n  DATA_MIRROR: Tunnel connection failed: 407\n" in said
    assert_holds_no_secret(said)
    assert proxy.asked[0].headers["Proxy-Authorization"]


def test_a_tilde_is_the_users_own_folder(tmp_path, monkeypatch):
    plant(tmp_path / "mirror", FILES)
    monkeypatch.setenv("HOME", f"{tmp_path}")
    assert_is_the_small_set(load("mnist", "~/mirror"))
