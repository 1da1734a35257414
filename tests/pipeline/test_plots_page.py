"""The page of `dvc plots show` and `dvc plots diff`: each plot once, drawn with no network, as a reader uses it."""

import base64
import csv
import html
import io
import json
import math
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from browser import CHROMIUM, chromium
from dvc.utils.serialize import dumps_yaml, loads_yaml
from dvc_render.html import render_html
from dvc_render.vega import VegaRenderer
from PIL import Image

from pipeline.report import figures

vl_convert = pytest.importorskip("vl_convert")
configure = pytest.importorskip("tools.configure")

ROOT = Path(__file__).parents[2]
TEMPLATES = ROOT / ".dvc" / "plots"
PIPELINE = loads_yaml((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
PLOTS = {path: properties for entry in PIPELINE["stages"]["evaluate"]["plots"] for path, properties in entry.items()}
NAMES = {Path(path).stem: path for path in PLOTS}
ARMS = ["Plain", "B. 'n' [5]", "another"]  # titles may be strange, and in any order
REVISIONS = ["workspace", "HEAD~1"]
STEPS = [0, 50, 100, 150]
WIDTHS = {"desktop": 1320, "tablet": 768, "phone": 390}


def _curve(arm, series, level):
    """Make a curve; that of one arm ends between two steps of the others."""
    return [
        {
            "arm": arm,
            "series": series,
            "step": step,
            "low": 0.9 * level / (1 + step),
            "median": level / (1 + step),
            "high": 1.1 * level / (1 + step),
        }
        for step in (STEPS if arm != ARMS[1] else [*STEPS[:-1], 125])
    ]


def _sample_tables(shift):
    costs = ("training cost", "validation cost")
    tables = {
        "results": [
            {
                **{"arm": arm, "test": 93.31 + shift, "validation": 92.97, "train": 94.34, "gap": 1.37, "steps": 7650},
                **{"epochs": 40.8, "cost": 0.2618, "mean_test": 90.47, "sd_test": 3.13 if arm == ARMS[0] else ""},
                **dict.fromkeys(("difference", "low", "high"), "" if arm == ARMS[0] else 2.21),
            }
            for arm in ARMS
        ],
        "costs": [
            {"arm": arm, "step": step, "cost": 2 / (1 + step), "penalty": 0.5 if arm == ARMS[2] else 0.0}
            for arm in ARMS
            for step in range(0, 400, 100)
        ],
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
                **{"arm": arm, "quantity": quantity, "unit": "x", "above_zero": "more", "difference": 1.5},
                **{"low": -2.0, "high": 0.5, "above": 2, "below": 1, "pairs": 3},
                **{"better": better, "better_low": low, "better_high": high},
            }
            for arm in ARMS[1:]
            for quantity, better, low, high in (
                ("a gain", 1.5 + shift, -0.5, 3.0),
                ("a loss", -1.5 - shift, "", ""),
                ("neither", "", "", ""),
            )
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
    wanted |= set(re.findall(r"datum\.(\w+)", json.dumps(template))) - {"value", "label"}  # those of legends and axes
    computed = {name for each in _find(template, "as") for name in (each if isinstance(each, list) else [each])}
    assert rows and wanted - computed - {"rev"} <= set(rows[0])
    (numeric,) = _find(template, "parse")
    for row in rows:
        assert None not in row and None not in row.values(), row  # a value too many, or too few
        assert all(math.isfinite(float(row[column] or 0)) for column in numeric)
        assert name in ("study", "results") or all(row[column] for column in numeric)
    arms = [arm["title"] for arm in loads_yaml((ROOT / "params.yaml").read_text(encoding="utf-8"))["arms"].values()]
    if name != "l2_path":
        assert list(dict.fromkeys(row["arm"] for row in rows)) == (arms[1:] if name == "study" else arms)


@pytest.mark.parametrize("name", ["costs", "accuracy", "curves", "weights"])
def test_lines_of_arms_have_a_shape_each_for_who_sees_no_colour(name):
    template, properties = _template(name)
    rows = [
        {"arm": arm, "series": "cost", "layer": "W1", "step": x, "weight": x, "rev": revision}
        | dict.fromkeys(("low", "median", "high", "percent", "cost", "penalty"), 1 + 0.01 * x)
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
    quiet["XDG_CACHE_HOME"] = str(cwd / ".caches")
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
    for file in (".dvc/config", ".dvc/.gitignore", "tools/configure.py"):
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
    _run(sys.executable, "tools/configure.py", cwd=repository)
    assert not _run("git", "status", "--porcelain", ".dvc", cwd=repository).stdout, "the page is not ignored"
    _run(*dvc, "show", "--out", "one", cwd=repository)
    _run(*dvc, "diff", "HEAD~1", "workspace", "--out", "two", cwd=repository)
    (repository / "plots" / "costs.csv").unlink()
    _run(*dvc, "show", "--out", "some", cwd=repository)
    for folder in ("plots", "metrics"):
        shutil.rmtree(repository / folder)
    _run(*dvc, "show", "--out", "none", cwd=repository)
    return {number: repository / number / "index.html" for number in ("online", "one", "two", "some", "none")}


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if CHROMIUM is None:
        pytest.skip("needs chromium to open the page: apt-get install chromium")
    with chromium(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture
def opened(browser, pages):
    """Open a page at a width, wait until all is drawn, and expect no word on the console until the test's end."""

    def open_page(number, width="desktop"):
        browser.open(pages[number], WIDTHS[width])
        browser.wait(
            "[...document.querySelectorAll('main > div')].every(e => e.matches(':has(h2), .nothing, .failed'))"
        )
        return browser

    browser.problems.clear()
    yield open_page
    assert browser.problems == []


def _id(path):
    return re.sub(r"\W", "_", path)


CARDS = """[...document.querySelectorAll('main > div')].map(card => {
    const box = card.querySelector('.chart-wrapper');
    return {
        id: card.id,
        heading: card.querySelector('h2').textContent,
        named: box.getAttribute('aria-label'),
        role: box.getAttribute('role'),
        marks: box.querySelectorAll('svg path, svg text').length,
        texts: [...box.querySelectorAll('svg text, svg tspan')].map(e => e.textContent),
        too_wide: box.scrollWidth > box.clientWidth,
        scrolls: getComputedStyle(box).overflowX === 'auto',
        shadowed: getComputedStyle(box).backgroundAttachment === 'local, scroll',
    };
})"""
# In a drawing that is scaled, a letter is smaller than its size says.
SMALLEST_LETTER = """Math.min(...[...document.querySelectorAll('h1, p, h2, text')].map(e => {
    const matrix = e.getScreenCTM ? e.getScreenCTM() : {a: 1, b: 0};
    return parseFloat(getComputedStyle(e).fontSize) * Math.hypot(matrix.a, matrix.b);
}))"""


def test_page_is_small_and_asks_no_network(opened, pages):
    assert pages["one"].stat().st_size < 3e6
    assert opened("one").evaluate("performance.getEntriesByType('resource').map(e => e.name)") == []
    styles = pages["one"].read_text(encoding="utf-8").partition("<script>")[0]
    assert not re.search(r"@import|url\(\s*['\"]?https?:", styles)


def test_results_and_headline_models_come_first_and_differences_last():
    first = ["results", "costs", "accuracy", "seeds", "weights", "confusion", "l2_path"]
    assert list(NAMES) == [*first, "curves", "study"]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("number", ["one", "two"])
def test_every_plot_is_drawn_once_in_order_readable_and_named(opened, number, width):
    page = opened(number, width)
    cards = page.evaluate(CARDS)
    assert [card["id"] for card in cards] == [_id(path) for path in PLOTS]
    for card, properties in zip(cards, PLOTS.values(), strict=True):
        assert card["heading"] == card["named"] == _title(properties["template"])
        assert card["role"] == "graphics-document" and card["marks"] > 20
        assert card["scrolls"] and card["shadowed"]  # where the chart goes on beyond the card
        assert not {"undefined", "null", "NaN"} & set(card["texts"])
        shows = [any(revision in text for text in card["texts"]) for revision in REVISIONS]
        assert shows == [number == "two"] * 2, card["id"]
        assert card["too_wide"] <= (width != "desktop"), card["id"]
    assert any(card["too_wide"] for card in cards) == (width != "desktop")
    assert page.evaluate("document.documentElement.scrollWidth") <= page.evaluate("innerWidth") == WIDTHS[width]
    assert page.evaluate(SMALLEST_LETTER) >= 11


@pytest.mark.parametrize("width", ["desktop", "phone"])
def test_a_shadow_at_the_edge_is_seen_where_the_chart_goes_on_beyond_it_and_nowhere_else(opened, width):
    page = opened("one", width)
    box = "(r => ({x: r.right - 12, y: r.y, width: 12, height: r.height, scale: 1}))"
    strip = page.evaluate(f"{box}(document.querySelector('.chart-wrapper').getBoundingClientRect())")
    png = base64.b64decode(page("Page.captureScreenshot", format="png", clip=strip)["data"])
    darkest = np.asarray(Image.open(io.BytesIO(png)).convert("L")).min(axis=1)
    assert (np.median(darkest) < 255) == (width == "phone")


def test_results_are_a_table(opened):
    texts = {card["id"]: card["texts"] for card in opened("two").evaluate(CARDS)}["plots_results_csv"]
    rows = [f"{arm}, {revision}" for arm in ARMS for revision in REVISIONS]
    assert [text for text in texts if text in rows] == rows
    assert texts.count("90.47 ± 3.13") == 2 and texts.count("90.47") == 2 * 2  # without a deviation of one network
    assert texts.count("+2.21") == texts.count("[2.21, 2.21]") == 2 * 2 and "+0.00" not in texts


@pytest.mark.parametrize("name", ["costs", "accuracy", "curves", "weights", "l2_path", "study"])
def test_a_click_on_a_legend_entry_shows_it_alone_and_another_click_all(opened, name):
    page, plot = opened("two"), f"#{_id(NAMES[name])}"
    marks = f"[...document.querySelectorAll('{plot} .role-mark > [opacity]')]"
    visible = f"{marks}.filter(e => e.getAttribute('opacity') > 0)"
    colours = f"[...new Set({visible}.map(e => e.getAttribute('stroke') || e.getAttribute('fill')))]"
    everything = page.evaluate(f"{visible}.length")
    for entry in [*([] if name in ("l2_path", "study") else ARMS[1:]), *REVISIONS]:
        labels = f"[...document.querySelectorAll('{plot} .role-legend-label text')]"
        label = f"{labels}.find(e => e.textContent === {json.dumps(entry)})"
        page.click(label)
        if entry in ARMS:
            page.wait(f"{colours} == '{figures.PALETTE[ARMS.index(entry)]}'")
        else:
            page.wait(f"{visible}.length === {everything} / 2")
        page.click(label)
        page.wait(f"{visible}.length === {everything}")


NUMBERS = "document.querySelector('#vg-tooltip-element.visible table')"


@pytest.mark.parametrize("width", ["desktop", "phone"])
@pytest.mark.parametrize("number", ["one", "two"])
@pytest.mark.parametrize("name", ["costs", "accuracy", "curves"])
def test_a_rule_under_the_pointer_shows_all_arms_at_that_step(opened, name, number, width):
    page, plot = opened(number, width), f"#{_id(NAMES[name])}"
    rules = f"[...document.querySelectorAll('{plot} .mark-rule.role-mark line')]"
    seen = {}
    for place in range(page.evaluate(f"{rules}.length")):
        page.move(f"{rules}[{place}]")
        step = f"{rules}[{place}].getAttribute('aria-label').split(' ').pop()"
        page.wait(f"{rules}[{place}].getAttribute('opacity') > 0 && {NUMBERS}?.rows[0].cells[1].textContent === {step}")
        rows = page.evaluate(f"[...{NUMBERS}.rows].map(row => [...row.cells].map(cell => cell.textContent))")
        shown = dict(rows)
        seen[int(shown.pop("step")), shown.pop("series", None)] = shown
    wanted = {}
    for shift, revision in enumerate(REVISIONS[: 1 if number == "one" else 2]):
        for row in _sample_tables(shift)[name]:
            line = row["arm"] if number == "one" else f"{row['arm']}, {revision}"
            of_step = wanted.setdefault((row["step"], row["series"] if name == "curves" else None), {})
            if name != "costs":
                digits = 2 if name == "accuracy" else 4
                low, median, high = (f"{row[key]:.{digits}f}" for key in ("low", "median", "high"))
                of_step[line] = f"{median} ({low} to {high})"
            else:
                of_step |= {line: f"{row['cost']:.4f}"}
                of_step |= {f"{line}, L2 penalty": f"{row['penalty']:.4f}"} if row["penalty"] else {}
    assert seen == {key: values for key, values in wanted.items() if key[0] != 125}  # there one arm ends, alone


def test_seeds_of_one_revision_are_joined_and_those_of_two_stand_side_by_side(opened):
    plot = f"#{_id(NAMES['seeds'])}"
    marks = "document.querySelectorAll('{} .mark-{}.role-mark path{}').length"
    lines, points = marks.format(plot, "line", "[d*=L]"), marks.format(plot, "symbol", "")
    assert [opened("one").evaluate(count) for count in (lines, points)] == [3, 3 * len(ARMS)]
    page = opened("two")
    assert [page.evaluate(count) for count in (lines, points)] == [0, 2 * 3 * len(ARMS)]
    texts = {card["id"]: card["texts"] for card in page.evaluate(CARDS)}[plot[1:]]
    assert [text for text in texts if text in ARMS + REVISIONS] == [
        text for arm in ARMS for revision in REVISIONS for text in (arm, revision)
    ]


def test_right_of_the_line_is_better_in_every_difference(opened):
    page, plot = opened("one"), f"#{_id(NAMES['study'])}"
    middle = "(e => (r => r.x + r.width / 2)(e.getBoundingClientRect()))"
    panels = page.evaluate(f"""[...document.querySelectorAll('{plot} .role-scope.cell > g')].map(cell => {{
        const zero = {middle}(cell.querySelector('.mark-rule.role-mark line'));
        return [...cell.querySelectorAll('.mark-symbol.role-mark path')].map(e => Math.sign({middle}(e) - zero));
    }})""")
    assert panels == [[1] * 2, [-1] * 2]  # a gain and a loss of two arms; what is neither is not drawn
    texts = {card["id"]: card["texts"] for card in page.evaluate(CARDS)}[plot[1:]]
    assert {"a gain, x", "a loss, x"} <= set(texts)


def test_one_card_says_what_to_do_where_nothing_is_made_yet(opened):
    page = opened("none")
    assert page.evaluate("document.querySelector('main').innerText.trim()") == "Nothing yet: run `make`"
    headings = opened("some").evaluate(
        "[...document.querySelectorAll('main > div')].map(e => e.innerText.split('\\n')[0])"
    )
    titles = {path: _title(properties["template"]) for path, properties in PLOTS.items()}
    assert headings == list((titles | {NAMES["costs"]: "Nothing yet: run `make`"}).values())


def test_in_a_clone_without_the_offline_page_the_libraries_come_from_the_internet(pages):
    """If the page alone was deleted, whose name is in DVC's settings, DVC says so, and so they do without that name."""
    assert re.findall(r'<script [^>]*src="https://', pages["online"].read_text(encoding="utf-8"))
    offline = pages["one"].parents[1] / ".dvc" / "plots" / "page-offline.html"
    settings, kept = offline.parents[1] / "config.local", offline.rename(offline.with_suffix(".kept"))
    dvc, before = [sys.executable, "-m", "dvc"], settings.read_text()
    show = [*dvc, "plots", "show", "--out", "deleted"]
    done = subprocess.run(show, cwd=offline.parents[2], capture_output=True, text=True, check=False)
    assert done.returncode != 0 and "HTML template has to contain '{plot_divs}'" in done.stderr
    _run(*dvc, "config", "--local", "--unset", "plots.html_template", cwd=offline.parents[2])  # as the docs say
    _run(*show, cwd=offline.parents[2])
    page = (offline.parents[2] / "deleted" / "index.html").read_text(encoding="utf-8")
    assert re.findall(r'<script [^>]*src="https://', page)
    settings.write_text(before)
    kept.rename(offline)


def test_what_a_table_or_a_revision_holds_is_text_on_the_page_and_never_runs(browser, tmp_path):
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
    template = configure.offline_page((TEMPLATES / "page.html").read_text("utf-8"))
    (tmp_path / "page.html").write_text(template, "utf-8")
    render_html(plots, tmp_path / "index.html", tmp_path / "page.html")
    browser.open(tmp_path / "index.html", WIDTHS["desktop"])
    browser.wait("document.querySelector('main h2') !== null")
    body = browser.evaluate("document.body.outerHTML")
    assert body.startswith("<body>") and not re.search("<(img|script|plaintext)", body)
    assert "<svg" in body and html.escape(hostile, quote=False) in body  # as text
