"""The page of `dvc plots show`: seven plots, each once, drawn with no network, from one revision and two."""

import csv
import html
import json
import math
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import ClassVar
from xml.etree import ElementTree

import pytest
from dvc.utils.serialize import dumps_yaml, loads_yaml
from dvc_render.html import render_html
from dvc_render.vega import VegaRenderer

from pipeline.report import figures

vl_convert = pytest.importorskip("vl_convert")
plots_template = pytest.importorskip("tools.plots_template")

ROOT = Path(__file__).parents[2]
TEMPLATES = ROOT / ".dvc" / "plots"
PIPELINE = loads_yaml((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
PLOTS = {path: properties for entry in PIPELINE["stages"]["evaluate"]["plots"] for path, properties in entry.items()}
NAMES = {Path(path).stem: path for path in PLOTS}
ARMS = ["plain", "batchnorm", "another"]  # not in alphabetical order
REVISIONS = ["workspace", "HEAD~1"]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
CHROMIUM_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--virtual-time-budget=20000",
    "--enable-logging=stderr",
]


def _curve(arm, series, level):
    return [
        {
            "arm": arm,
            "series": series,
            "step": step,
            "low": 0.9 * level / (1 + step),
            "median": level / (1 + step),
            "high": 1.1 * level / (1 + step),
        }
        for step in range(0, 200, 50)
    ]


def _sample_tables(shift):
    costs = ("training cost", "validation cost")
    tables = {
        "curves": [row for arm in ARMS for series in costs for row in _curve(arm, series, 2.3 + shift)],
        "accuracy": [row for arm in ARMS for row in _curve(arm, "validation accuracy", 90 + shift)],
        "seeds": [
            {
                **{"arm": arm, "seed": seed, "headline": int(seed == 1), "test_accuracy": 90 + seed + shift},
                **{
                    "validation_accuracy": 91,
                    "train_accuracy": 92,
                    "validation_cost": 0.3,
                    "steps": 900,
                    "epochs": 9.6,
                },
            }
            for arm in ARMS
            for seed in range(3)
        ],
        "confusion": [
            {"arm": arm, "actual": i, "predicted": j, "count": 90 if i == j else 5, "percent": 5.0}
            for arm in ARMS
            for i in range(3)
            for j in range(3)
        ],
        "weights": [
            {"arm": arm, "layer": layer, "weight": weight, "percent": 30 - weight + shift}
            for layer in ("W1", "W2")
            for arm in ARMS
            for weight in (-1, 0, 1)
        ],
        "l2_path": [
            {
                "l2": l2,
                "validation_cost": 0.3,
                "validation_accuracy": 91 + shift,
                "accuracy_low": 90 + shift,
                "accuracy_high": 92 + shift,
                "weight_norm": 12.0,
                "steps": 900.0,
            }
            for l2 in (0.0, 1e-3, 2.5e-2)
        ],
        "study": [
            {
                **{"arm": arm, "quantity": quantity, "unit": "x", "above_zero": "better", "difference": 1.5 + shift},
                **{"low": low, "high": high, "above": 2, "below": 1, "pairs": 3},
            }
            for arm in ARMS[1:]
            for quantity, low, high in (("accuracy", -1.0, 3.0), ("without an interval", "", ""))
        ],
    }
    return {name: [{"dataset": "mnist", **row} for row in rows] for name, rows in tables.items()}


def _write_tables(repository, shift):
    for folder in ("plots", "metrics"):
        (repository / folder).mkdir(exist_ok=True)
    tables = _sample_tables(shift)
    study = {"dataset": "mnist", "arms": {arm: {"mean": 1.0} for arm in ARMS}, "plot": tables.pop("study")}
    (repository / "metrics" / "study.json").write_text(json.dumps(study), encoding="utf-8")
    for name, rows in tables.items():
        with (repository / "plots" / f"{name}.csv").open("w", newline="") as file:
            table = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            table.writeheader()
            table.writerows(rows)


def _datapoints(name, revisions):
    """Make what DVC makes of a CSV file, all values as text, or of JSON; and the revision."""
    as_text = str if name != "study" else lambda value: value
    return [
        {**{column: as_text(value) for column, value in row.items()}, "rev": revision}
        for shift, revision in enumerate(revisions)
        for row in _sample_tables(shift)[name]
    ]


@pytest.mark.parametrize("version", ["5.8", "5.21", "6.4"])
@pytest.mark.parametrize("name", NAMES)
def test_template_compiles(name, version):
    properties = {key: value for key, value in PLOTS[NAMES[name]].items() if key != "cache"}
    renderer = VegaRenderer(_datapoints(name, REVISIONS), name, template_dir=str(TEMPLATES), **properties)
    specification = renderer.get_filled_template()
    assert "<DVC_METRIC" not in json.dumps(specification)
    vega = vl_convert.vegalite_to_vega(specification, vl_version=version)
    assert vega["marks"]


@pytest.mark.parametrize("name", NAMES)
def test_samples_have_the_columns_of_the_real_tables(name):
    """Of the committed ones: the plots of the last run."""
    real = (ROOT / NAMES[name]).read_text(encoding="utf-8")
    columns = list(json.loads(real)["plot"][0]) if name == "study" else next(csv.reader(real.splitlines()))
    assert columns == list(_sample_tables(0)[name][0])


def _template(name):
    properties = {key: value for key, value in PLOTS[NAMES[name]].items() if key != "cache"}
    return json.loads((TEMPLATES / f"{properties['template']}.json").read_text(encoding="utf-8")), properties


def _title(template):
    return json.loads((TEMPLATES / f"{template}.json").read_text(encoding="utf-8"))["title"]["text"]


def _find(node, key):
    """Yield whatever stands under a key, however deep."""
    if isinstance(node, dict):
        yield from (value for name, value in node.items() if name == key)
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else []:
        yield from _find(child, key)


@pytest.mark.parametrize("name", NAMES)
def test_committed_tables_hold_what_their_templates_draw(name):
    text = (ROOT / NAMES[name]).read_text(encoding="utf-8")
    rows = json.loads(text)["plot"] if name == "study" else list(csv.DictReader(text.splitlines()))
    template, properties = _template(name)
    placed = {f"<DVC_METRIC_{axis.upper()}>": properties[axis] for axis in ("x", "y")}
    wanted = {placed.get(field, field) for field in _find(template, "field") if isinstance(field, str)}
    computed = {field for field in _find(template, "as") if isinstance(field, str)}
    assert rows and wanted - computed - {"rev"} <= set(rows[0])
    (numeric,) = _find(template, "parse")
    for row in rows:
        assert None not in row and None not in row.values(), row  # a value too many, or too few
        assert all(math.isfinite(float(row[column] or 0)) for column in numeric)
        assert name == "study" or all(row[column] for column in numeric)
    arms = list(loads_yaml((ROOT / "params.yaml").read_text(encoding="utf-8"))["arms"])
    if name != "l2_path":
        assert list(dict.fromkeys(row["arm"] for row in rows)) == (arms[1:] if name == "study" else arms)


@pytest.mark.parametrize("name", ["accuracy", "curves", "weights"])
def test_lines_of_arms_have_a_shape_each_for_who_sees_no_colour(name):
    template, properties = _template(name)
    rows = [
        {"arm": arm, "series": "cost", "layer": "W1", "step": x, "weight": x, "rev": revision}
        | dict.fromkeys(("low", "median", "high", "percent"), 1 + 0.01 * x)
        for revision in REVISIONS
        for arm in ARMS
        for x in range(60)
    ]
    shapes = template["config"]["range"]["symbol"]
    assert len(set(shapes)) == len(shapes) == len(template["config"]["range"]["category"])
    renderer = VegaRenderer(rows, name, template_dir=str(TEMPLATES), **properties)
    drawn = ElementTree.fromstring(vl_convert.vegalite_to_svg(renderer.get_filled_template(), vl_version="6.4"))
    outlines = {}
    for point in drawn.iter("{http://www.w3.org/2000/svg}path"):
        if point.get("aria-roledescription") == "point" and float(point.get("opacity", 1)) == 1:
            outlines.setdefault(point.get("fill"), []).append(point.get("d"))
    assert set(outlines) == set(figures.PALETTE[: len(ARMS)])
    assert all(len(set(each)) == 1 and len(each) == 2 * 5 for each in outlines.values())  # a revision, every 12th
    assert len({each[0] for each in outlines.values()}) == len(ARMS)


def test_arms_have_one_colour_in_the_report_and_on_the_page():
    for path in TEMPLATES.glob("*.json"):
        template = json.loads(path.read_text(encoding="utf-8"))
        assert template["config"]["range"]["category"] == list(figures.PALETTE), path.name
    of_others = json.loads((TEMPLATES / "differences.json").read_text())["spec"]["encoding"]["color"]["scale"]["range"]
    assert of_others == [*figures.PALETTE[1:], figures.PALETTE[0]]  # there the first arm is what all differ from


def _run(*command, cwd):
    quiet = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "DVC_NO_ANALYTICS": "1"}
    author = [f"GIT_{who}_{what}" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")]
    done = subprocess.run(
        command, cwd=cwd, env=quiet | dict.fromkeys(author, "a"), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Make a repository of two commits with the real templates, and of it both pages."""
    repository = tmp_path_factory.mktemp("repository")
    shutil.copytree(TEMPLATES, repository / ".dvc" / "plots", ignore=shutil.ignore_patterns("*offline*"))
    for file in (".dvc/config", ".dvc/.gitignore", "tools/plots_template.py"):
        (repository / file).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / file, repository / file)
    stage = {"cmd": "true", "plots": PIPELINE["stages"]["evaluate"]["plots"]}
    pipeline = {"stages": {"evaluate": stage}}
    (repository / "dvc.yaml").write_text(dumps_yaml(pipeline), encoding="utf-8")
    _run("git", "init", "--quiet", cwd=repository)
    for shift in (1, 0):
        _write_tables(repository, shift)
        _run("git", "add", "--all", cwd=repository)
        _run("git", "commit", "--quiet", "--message", f"shift {shift}", cwd=repository)
    dvc = (sys.executable, "-m", "dvc", "plots")
    _run(*dvc, "show", "--out", "online", cwd=repository)
    _run(sys.executable, "tools/plots_template.py", cwd=repository)
    assert not _run("git", "status", "--porcelain", ".dvc", cwd=repository).stdout, "the page is not ignored"
    _run(*dvc, "show", "--out", "one", cwd=repository)
    _run(*dvc, "diff", "HEAD~1", "workspace", "--out", "two", cwd=repository)
    return {number: repository / number / "index.html" for number in ("online", "one", "two")}


class _Page(HTMLParser):
    """What a page shows: each plot's number of marks and texts, and all addresses that it loads."""

    VOID: ClassVar = {"meta", "link", "br", "img", "input", "hr"}

    def __init__(self, text):
        super().__init__()
        self.text = text
        self.marks, self.texts, self.loaded, self._open = {}, {}, [], []
        self.feed(text)

    def _plot(self):
        return next((identity for tag, identity in self._open if tag == "div" and identity), None)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.loaded += [values[key] for key in ("src", "href") if tag != "a" and values.get(key)]
        if tag not in self.VOID:
            self._open.append((tag, values.get("id") if tag == "div" else None))
        plot = self._plot()
        if plot:
            self.marks.setdefault(plot, 0)
            self.texts.setdefault(plot, [])
            self.marks[plot] += tag == "path" and any(open_tag == "svg" for open_tag, _ in self._open)

    def handle_endtag(self, tag):
        while self._open and self._open.pop()[0] != tag:
            pass

    def handle_data(self, data):
        if self._plot() and self._open[-1][0] in ("text", "tspan"):
            self.texts[self._plot()].append(data)


def _opened(page, profile):
    if CHROMIUM is None:
        pytest.skip("needs chromium to open the page: apt-get install chromium")
    profile = f"--user-data-dir={profile}"
    offline = "--host-resolver-rules=MAP * ~NOTFOUND"
    command = (CHROMIUM, *CHROMIUM_FLAGS, profile, offline, "--dump-dom", page.as_uri())
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert "CONSOLE" not in done.stderr, done.stderr
    return _Page(done.stdout)


def test_page_is_whole_and_small(pages):
    text = pages["one"].read_text(encoding="utf-8")
    assert len(text.encode()) < 3e6
    assert not [address for address in _Page(text).loaded if not address.startswith("data:")]
    assert not re.search(r"@import|url\(\s*['\"]?https?:", text.partition("<script>")[0])


def test_in_a_clone_without_the_offline_page_the_libraries_come_from_the_internet(pages):
    """And if the page alone was deleted, whose name is in DVC's settings, DVC says so."""
    loaded = _Page(pages["online"].read_text(encoding="utf-8")).loaded
    assert [address for address in loaded if address.startswith("https://")]
    offline = pages["one"].parents[1] / ".dvc" / "plots" / "page-offline.html"
    kept = offline.rename(offline.with_suffix(".kept"))
    command = [sys.executable, "-m", "dvc", "plots", "show", "--out", "none"]
    done = subprocess.run(command, cwd=offline.parents[2], capture_output=True, text=True, check=False)
    kept.rename(offline)
    assert done.returncode != 0 and "HTML template has to contain '{plot_divs}'" in done.stderr


@pytest.mark.parametrize("number", ["one", "two"])
def test_every_plot_is_drawn_once(pages, number, tmp_path):
    page = _opened(pages[number], tmp_path)
    assert list(page.marks) == [re.sub(r"\W", "_", path) for path in PLOTS]
    assert min(page.marks.values()) > 10
    assert not [address for address in page.loaded if re.match(r"(https?:)?//", address)]
    for (plot, texts), properties in zip(page.texts.items(), PLOTS.values(), strict=True):
        assert _title(properties["template"]) in texts, plot
        assert not {"undefined", "null", "NaN"} & set(texts)
        revisions_shown = all(any(revision in text for text in texts) for revision in REVISIONS)
        assert revisions_shown == (number == "two")
        assert number == "two" or not any("workspace" in text for text in texts)
    heads = page.texts["metrics_study_json"]
    assert {"accuracy (x)", "right of zero: better"} <= set(heads)
    assert not any("\\n" in text for text in heads)
    legend = [text for text in page.texts["plots_curves_csv"] if text in ARMS]
    assert legend == ARMS


def test_what_a_table_or_a_revision_holds_is_text_on_the_page_and_never_runs(tmp_path):
    """DVC writes both into the page as they are."""
    run = "<script>document.body.id = 'ran'</script><img src=x onerror=\"document.body.id = 'ran'\">"
    ends = ("</script>", "</plaintext>", "-->", "]]>", "</main></body></html>", "\\n", "\n    </script>")
    hostile = "".join(f"{end}{run}" for end in ends)
    rows = [
        {**row, **dict.fromkeys(("dataset", "arm", "series", "rev"), hostile)}
        for row in _datapoints("curves", REVISIONS)
    ]
    name = hostile.replace("\n", "")
    plots = [VegaRenderer(rows, name, template_dir=str(TEMPLATES), **_template("curves")[1])]
    (tmp_path / "page.html").write_text(
        plots_template.offline_page((TEMPLATES / "page.html").read_text("utf-8")), "utf-8"
    )
    render_html(plots, tmp_path / "index.html", tmp_path / "page.html")
    shown = _opened(tmp_path / "index.html", tmp_path / "profile").text
    body = shown[shown.rindex("<body") :]
    assert body.startswith("<body>") and not re.search("<(img|script|plaintext)", body)
    assert "<svg" in body and html.escape(hostile, quote=False) in body  # as text
