"""What one has computed and pushed to a remote, another pulls into a clone and does not compute again."""

import contextlib
import copy
import os
import re
import shutil
import socket
import subprocess
import sys
import time

import docx
import pytest
from clones import DVC, PARAMS, RUNNING, small_params

ANOTHER_LAMBDA = small_params(arms={"l2": PARAMS["arms"]["l2"] | {"l2": 0.3}})
S3_ACCOUNT = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
NO_S3 = "S3 is tested by `make test-remotes`, which installs what it needs"
AUTHOR = {f"GIT_{who}_{what}": "test@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


def in_folder(clone, folder, **environment):
    """Give the same clone in another folder."""
    twin = copy.copy(clone)
    twin.folder = folder
    twin.env = clone.env | AUTHOR | environment
    return twin


@contextlib.contextmanager
def a_folder(folder):
    yield [["remote", "add", "--default", "shared", str(folder / "remote")]], {}


@contextlib.contextmanager
def an_s3_bucket(folder):
    *_, boto3 = [pytest.importorskip(module, reason=NO_S3) for module in ("dvc_s3", "moto.server", "boto3")]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with (folder / "server.log").open("w") as log:
        command = [sys.executable, "-m", "moto.server", "--host", "127.0.0.1", "--port", str(port)]
        server = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | S3_ACCOUNT)
    try:
        make_bucket(boto3, f"http://127.0.0.1:{port}", server)
        yield (
            [
                ["remote", "add", "--default", "shared", "s3://bucket/networks"],
                ["remote", "modify", "shared", "endpointurl", f"http://127.0.0.1:{port}"],
            ],
            S3_ACCOUNT,
        )
    finally:
        server.kill()
        server.wait()


def make_bucket(boto3, url, server):
    """Wait for the server and make a bucket."""
    client = boto3.client(
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


@pytest.mark.parametrize("remote", [a_folder, an_s3_bucket])
def test_nothing_that_was_pushed_is_computed_again_elsewhere(clone, tmp_path, remote):
    with remote(tmp_path) as (settings, environment):
        here = in_folder(clone, tmp_path / "here", **environment)
        shutil.copytree(clone.folder, here.folder)
        for setting in settings:
            here.dvc(*setting)
        here.git("add", "--all")
        here.git("commit", "--quiet", "--message", "A run")
        with here.edited("params.yaml", ANOTHER_LAMBDA):
            assert "train@l2" in here.repro("train@l2")
            here.dvc("push", "--run-cache")
        assert here.repro() == []
        here.dvc("push", "--run-cache")

        here.git("clone", "--quiet", ".", str(tmp_path / "elsewhere"))
        elsewhere = in_folder(here, tmp_path / "elsewhere")
        elsewhere.dvc("pull", "--run-cache")
        assert relative_contents(elsewhere) == relative_contents(here)
        assert (elsewhere.folder / "report.docx").read_bytes() == (here.folder / "report.docx").read_bytes()
        assert elsewhere.dvc("status") == "Data and pipelines are up to date.\n"
        assert re.findall(RUNNING, elsewhere.dvc("repro", "--dry")) == []
        assert elsewhere.repro() == []
        assert docx.Document(str(elsewhere.folder / "report.docx")).tables
        elsewhere.dvc("plots", "show")
        page = (elsewhere.folder / "dvc_plots/index.html").read_text(encoding="utf-8")
        assert all(plot["title"] in page for each in DVC["stages"]["evaluate"]["plots"] for plot in each.values())
        with elsewhere.edited("params.yaml", ANOTHER_LAMBDA):
            assert "train@l2" not in elsewhere.repro("--pull", "train@l2")
            assert "is cached - skipping run" in elsewhere.printed


def relative_contents(clone):
    return {path.relative_to(clone.folder): content for path, content in clone.contents().items()}
