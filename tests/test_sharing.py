"""What one has computed and pushed to a remote, another pulls into a clone and does not compute again.

Every command of docs/sharing.md runs here as it stands there.
"""

import contextlib
import importlib
import os
import re
import socket
import subprocess
import sys
import time

import docx
import pytest
from clones import DVC, PARAMS, ROOT, ran, small_params
from pages import Page

ANOTHER_LAMBDA = small_params(arms={"l2": PARAMS["arms"]["l2"] | {"l2": 0.3}})
S3_ACCOUNT = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}


@pytest.mark.long
def test_nothing_that_was_pushed_to_a_folder_is_computed_again_elsewhere(clone, tmp_path):
    page = Page("sharing.md")
    here = clone.copied(tmp_path / "here")
    here.shell(page.take("dvc remote add", REMOTE=tmp_path / "remote"))
    here.shell(page.take("git commit"))
    pull_and_compare(page, here, page.take("dvc push"), tmp_path / "elsewhere")


@pytest.mark.long
def test_nothing_that_was_pushed_to_s3_is_computed_again_elsewhere(clone, tmp_path):
    page = Page("sharing.md")
    page.left = page.left[page.left.index("make .venv/remotes") :]
    page.take("make .venv/remotes")  # `make test-remotes` has done it
    with an_s3_bucket(tmp_path) as url:
        here = clone.copied(tmp_path / "here", **S3_ACCOUNT)
        here.shell(page.take("dvc remote add"))
        here.shell(page.take("dvc remote modify", **{"https://s3.example.org": url}))
        here.commit()
        pull_and_compare(Page("sharing.md"), here, page.take("dvc push"), tmp_path / "elsewhere")
    assert page.left == []


def pull_and_compare(page, here, push, folder):
    """Push a run, and beside it one with another lambda; pull the first into a new clone, then try the other."""
    with here.edited("params.yaml", ANOTHER_LAMBDA):
        assert "train@l2" in ran(here.shell(page.take("dvc repro") + " train@l2"))
        here.shell(page.take("dvc push"))
    assert here.repro() == []
    here.shell(push)

    here.git("clone", "--quiet", ".", str(folder))
    elsewhere = here.in_folder(folder)
    elsewhere.shell(page.take("dvc pull"))
    assert relative_contents(elsewhere) == relative_contents(here)
    assert (elsewhere.folder / "report.docx").read_bytes() == (here.folder / "report.docx").read_bytes()
    assert docx.Document(str(elsewhere.folder / "report.docx")).tables
    elsewhere.shell(page.take("make plots"))
    shown = (elsewhere.folder / "dvc_plots" / "index.html").read_text(encoding="utf-8")
    assert all(plot["title"] in shown for each in DVC["stages"]["evaluate"]["plots"] for plot in each.values())
    assert docx.Document(str(elsewhere.folder / "report.docx")).tables
    assert elsewhere.dvc("status") == "Data and pipelines are up to date.\n"
    assert ran(elsewhere.dvc("repro", "--dry")) == []
    assert ran(elsewhere.shell(page.take("dvc repro"))) == []
    with elsewhere.edited("params.yaml", ANOTHER_LAMBDA):
        assert "train@l2" not in ran(elsewhere.shell(page.take("dvc repro --pull") + " train@l2"))
        assert "is cached - skipping run" in elsewhere.printed


def relative_contents(clone):
    return {path.relative_to(clone.folder): content for path, content in clone.contents().items()}


def test_what_s3_needs_agrees_with_the_environment():
    locked, remotes = (
        dict(re.findall(r"^(\S+)==(\S+)", (ROOT / name).read_text(encoding="utf-8"), flags=re.MULTILINE))
        for name in ("requirements.lock", "tests/remotes.lock")
    )
    assert {name: version for name, version in remotes.items() if locked.get(name, version) != version} == {}


@contextlib.contextmanager
def an_s3_bucket(folder):
    """Start a server of S3 with a bucket in it, and give its address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with (folder / "server.log").open("w") as log:
        command = [sys.executable, "-m", "moto.server", "--host", "127.0.0.1", "--port", str(port)]
        server = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | S3_ACCOUNT)
    try:
        make_bucket(f"http://127.0.0.1:{port}", server)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


def make_bucket(url, server):
    """Wait for the server and make a bucket."""
    client = importlib.import_module("boto3").client(  # which `make test-remotes` installs, with moto
        "s3", endpoint_url=url, aws_access_key_id="test", aws_secret_access_key="test", region_name="us-east-1"
    )
    deadline = time.monotonic() + 60
    while True:
        try:
            client.create_bucket(Bucket="bucket")
            return
        except Exception:
            assert server.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
