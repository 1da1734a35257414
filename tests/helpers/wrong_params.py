"""Wrong versions of the shipped `params.yaml`, and what must be said of each."""

import copy
import itertools
from pathlib import Path

from dvc.utils.serialize import dumps_yaml, loads_yaml

SHIPPED = Path(__file__).parents[2] / "params.yaml"


VALUES = loads_yaml(SHIPPED.read_text(encoding="utf-8"))


ARM = next(iter(VALUES["arms"]))


def keys_of(values, prefix=()):
    """List the path of every key at every level."""
    for name, value in values.items():
        yield (*prefix, name)
        if isinstance(value, dict):
            yield from keys_of(value, (*prefix, name))


def edited(path, edit):
    """Copy the shipped values and apply ``edit`` to the section that holds the key."""
    values = copy.deepcopy(VALUES)
    section = values
    for name in path[:-1]:
        section = section[name]
    edit(section, path[-1])
    return dumps_yaml(values)


def without(path):
    return edited(path, lambda section, name: section.pop(name))


def misspelt(path):
    return edited(path, lambda section, name: section.__setitem__(f"{name}x", section.pop(name)))


def with_value(path, value):
    return edited(path, lambda section, name: section.__setitem__(name, value))


def dotted(path):
    return ".".join(path)


NEEDED = [path for path in keys_of(VALUES) if path[0] != "arms" or len(path) != 2 or len(VALUES["arms"]) == 1]


NO_INTEGER, NO_NUMBER, NO_BOOLEAN = "a valid integer", "a valid number", "a valid boolean"
AT_LEAST_1, AT_LEAST_0, POSITIVE = "greater than or equal to 1", "greater than or equal to 0", "greater than 0"
FINITE, NO_REPEAT, NO_LIST, NO_MAP = "a finite number", "must not repeat", "a valid list", "a valid dictionary"
IN_FLOAT32, AN_ARM = "between 1.2e-38 and 3.4e+38", "must be one of baseline, batchnorm, l2"
NO_FORMULA = "must have no =, +, - or @ at its beginning or after a semicolon"
A_DEVICE = "should be 'auto', 'cpu' or 'cuda'"
NAN, INF = float("nan"), float("inf")
BOMB = "a: &a [x, x]\n" + "".join(f"{new}: &{new} [*{old}, *{old}]\n" for old, new in itertools.pairwise("abcdefghij"))

WRONG = [
    ("data.dataset", ["mnist"], "a valid string"),
    ("network.layers", {"first": 20}, NO_LIST),
    ("training.seeds", "0..15", NO_LIST),
    ("training.learning_rate", [0.1], NO_NUMBER),
    ("data.dataset", None, "a valid string"),
    ("data.offline_fallback", "mnist", "'digits'"),
    ("data.offline_fallback", False, "'digits'"),
    ("data.validation_fraction", 0, POSITIVE),
    ("data.validation_fraction", 0.0, POSITIVE),
    ("data.validation_fraction", 1, "less than 1"),
    ("data.validation_fraction", 1.0, "less than 1"),
    ("data.validation_fraction", -0.2, POSITIVE),
    ("data.validation_fraction", NAN, FINITE),
    ("data.validation_fraction", "20%", NO_NUMBER),
    ("data.split_seed", -1, AT_LEAST_0),
    ("data.split_seed", 0.0, NO_INTEGER),
    ("data.split_seed", 2**63, "less than 9223372036854775808"),
    ("data", [1], ""),
    ("network", None, ""),
    ("network.layers", [], "at least 1 item"),
    ("network.layers", 10, NO_LIST),
    ("network.layers", "20, 10", NO_LIST),
    ("network.layers.0", 0, AT_LEAST_1),
    ("network.layers.1", -7, AT_LEAST_1),
    ("network.layers.2", 1.5, NO_INTEGER),
    ("network.layers.2", True, NO_INTEGER),
    ("training.learning_rate", 0.0, POSITIVE),
    ("training.learning_rate", -0.009, POSITIVE),
    ("training.learning_rate", NAN, FINITE),
    ("training.learning_rate", INF, FINITE),
    ("training.learning_rate", True, NO_NUMBER),
    ("training.learning_rate", 1.0e308, IN_FLOAT32),
    ("training.learning_rate", 1.0e-39, IN_FLOAT32),
    ("training.learning_rate", 10**400, "a valid number"),
    ("training.learning_rate", "\x1b[2J" * 100, NO_NUMBER),
    ("training.batch_size", 0, AT_LEAST_1),
    ("training.batch_size", -512, AT_LEAST_1),
    ("training.batch_size", 512.0, NO_INTEGER),
    ("training.batch_size", "512", NO_INTEGER),
    ("training.max_steps", 0, AT_LEAST_1),
    ("training.max_steps", 1.0e4, NO_INTEGER),
    ("training.evaluate_every", 0, AT_LEAST_1),
    ("training.patience", 0, AT_LEAST_1),
    ("training.patience", None, NO_INTEGER),
    ("training.min_delta", -1.0e-3, AT_LEAST_0),
    ("training.min_delta", INF, FINITE),
    ("training.min_delta", 10**39, IN_FLOAT32),
    ("training.seeds", [], "at least 1 item"),
    ("training.seeds", [0, 1, 0], NO_REPEAT),
    ("training.seeds", 16, NO_LIST),
    ("training.seeds.1", -1, AT_LEAST_0),
    ("training.seeds.1", 2**63, "less than 9223372036854775808"),
    ("training.shuffle_seed", -1, AT_LEAST_0),
    ("training.device", "gpu", A_DEVICE),
    ("training.device", "cuda:1", A_DEVICE),
    ("training.device", "CUDA", A_DEVICE),
    ("training.device", "mps", A_DEVICE),
    ("training.device", "", A_DEVICE),
    ("training.device", None, A_DEVICE),
    ("training.device", 0, A_DEVICE),
    ("training.device", ["cuda"], A_DEVICE),
    ("training.patience", 2**63, "less than 9223372036854775808"),
    ("training.threads", 0, AT_LEAST_1),
    ("training.threads", 1025, "less than or equal to 1024"),
    ("timing.rounds", 10**13, "less than or equal to 1000"),
    ("training.processes", 0, AT_LEAST_1),
    ("reference", "dropout", AN_ARM),
    ("reference", "Baseline", AN_ARM),
    ("reference", "", AN_ARM),
    ("reference", "two\nlines", AN_ARM),
    ("reference", None, "a valid string"),
    ("reference", True, "a valid string"),
    ("reference", [ARM], "a valid string"),
    ("arms", {}, "at least 1 item"),
    ("arms", None, NO_MAP),
    ("arms", ["baseline"], NO_MAP),
    (f"arms.{ARM}", None, ""),
    (f"arms.{ARM}.title", "", "printable, not blank"),
    (f"arms.{ARM}.title", "x" * 65, "at most 64 characters"),
    (f"arms.{ARM}.title", "  ", "printable, not blank"),
    (f"arms.{ARM}.title", "two\nlines", "printable, not blank"),
    (f"arms.{ARM}.title", "a \a bell", "printable, not blank"),
    (f"arms.{ARM}.title", "see [[b]]", "without [[, ]], ** and `"),
    (f"arms.{ARM}.title", "b]]", "without [[, ]], ** and `"),
    (f"arms.{ARM}.title", "a **bold** one", "without [[, ]], ** and `"),
    (f"arms.{ARM}.title", "`code`", "without [[, ]], ** and `"),
    (f"arms.{ARM}.title", "=HYPERLINK(1)", NO_FORMULA),
    (f"arms.{ARM}.title", "+1", NO_FORMULA),
    (f"arms.{ARM}.title", "-1", NO_FORMULA),
    (f"arms.{ARM}.title", "@SUM(1)", NO_FORMULA),
    (f"arms.{ARM}.title", ' "=1"', NO_FORMULA),
    (f"arms.{ARM}.title", "L2; =1", NO_FORMULA),
    (f"arms.{ARM}.title", 7, "a valid string"),
    (f"arms.{ARM}.use_batchnorm", 0, NO_BOOLEAN),
    (f"arms.{ARM}.use_batchnorm", "false", NO_BOOLEAN),
    (f"arms.{ARM}.l2", -0.01, AT_LEAST_0),
    (f"arms.{ARM}.l2", NAN, FINITE),
    (f"arms.{ARM}.l2", 3.5e38, IN_FLOAT32),
    (f"arms.{ARM}.l2", -1.0e308, IN_FLOAT32),
    (f"arms.{ARM}.l2", False, NO_NUMBER),
    ("l2_path.values", [0.0], "at least 2 items"),
    ("l2_path.values", [0.0, 0.01, 0.01], NO_REPEAT),
    ("l2_path.values.0", -0.1, AT_LEAST_0),
    ("l2_path.values.1", 1.0e-320, IN_FLOAT32),
    ("l2_path.seeds", [1, 1], NO_REPEAT),
    ("timing.rounds", 0, AT_LEAST_1),
    ("timing.steps", 2.5, NO_INTEGER),
]


NO_MAPS = {
    "does not parse": ("data: [", "is not YAML"),
    "a tab": ("data:\n\tdataset: mnist\n", "is not YAML"),
    "a control character": ("data: \x00\n", "is not YAML"),
    "an impossible date": ("data: 2020-13-45\n", "is not YAML"),
    "tags that do not fit": ("data: !!bool x\nnetwork: !!int ''\ntiming: !!map ab\n", "is not YAML"),
    "a tag with a control character": ("data: !%1B[2J x\n", "is not YAML"),
    "a list as a key": ("? [[a], b]\n: 1\n", "is not YAML"),
    "an ordered map with a key twice": ("data: !!omap [a: 1, a: 2]\n", "is not YAML"),
    "a date after the last": ("data: 9999-12-31T23:59:59.9999999Z\n", "is not YAML"),
    "two documents": ("a: 1\n---\nb: 2\n", "is not YAML"),
    "empty": ("", "must be a map of sections, got NoneType"),
    "only a comment": ("# nothing\n", "must be a map of sections, got NoneType"),
    "a list": ("- data\n- network\n", "must be a map of sections, got list"),
    "a word": ("data\n", "must be a map of sections, got str"),
}


COSTLY = {
    "aliases that multiply": (BOMB, "*a is an alias"),
    "an alias within itself": ("a: &a {b: *a}\n", "*a is an alias"),
    "a merge": ("<<: *x\n", "<<, a merge, is not allowed"),
    "a merge by its tag": ("data:\n  !!merge x: {threads: 2}\n  a: 1\n  a: 2\n", "<<, a merge, is not allowed"),
    "deep lists": ("[" * 60_000, "more than 10 levels deep"),
    "deep maps": ("{" * 60_000, "more than 10 levels deep"),
    "deep dashes": ("- " * 30_000, "more than 10 levels deep"),
    "many characters": ("x" * 2**20, "more than 65,536 characters"),
    "many digits": (f"data: {'1' * 5000}\n", "more than 1,000 characters"),
    "many digits to the base 16": (f"data: 0x{'f' * 5000}\n", "more than 1,000 characters"),
    "a key twice beside a merge": ("<<: {data: 1}\ntiming: 1\ntiming: 2\n", "<<, a merge, is not allowed"),
    "a long key": (f"{'k' * 5000}: 1\n", "more than 1,000 characters"),
    "a long key twice": (f"{'k' * 900}: 1\n{'k' * 900}: 1\n", 'found duplicate key "kkk'),
    "an object": ("data: !!python/object/apply:os.getcwd []\n", "could not determine a constructor"),
}
