"""An image file of a digit is made into an image as MNIST's, and classified; what is no digit is told apart."""

import io
import random
import runpy
import shutil
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from mirrors import mirror_with_real_mnist
from PIL import Image, ImageDraw
from samples import ARMS
from sklearn.datasets import load_digits, load_sample_images

import stages
from pipeline import artifacts
from pipeline.data import download, preprocessing
from pipeline.data.sources import SOURCES
from tools import classify, photographed
from tools.classify import ClassifyError, as_mnist, find_ink, is_blank, is_cluttered, largest_piece, read_image

WARNING = "This does not look like one digit on a plain page: the figures mean little.\n"
GREY = (235, 235, 235)


def seven(ink=(20, 20, 20), paper=GREY, size=(500, 400), mode="RGB"):
    """Draw a seven, off the centre of its page."""
    image = Image.new(mode, size, paper)
    ImageDraw.Draw(image).line([(280, 60), (400, 60), (330, 260)], fill=ink, width=24, joint="curve")
    return image


def prepared(image):
    return as_mnist(largest_piece(find_ink(image.convert("RGBA"))))


def saved(image, format="PNG", **options):
    """Write an image into memory as a file and read it back as the tool reads it."""
    file = io.BytesIO()
    image.save(file, format, **options)
    file.seek(0)
    return read_image(file)


def exif(orientation):
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


def shaded(image):
    """Let the light fall from the left, so that the right of the page is darker than the left of the ink is light."""
    levels = np.asarray(image).astype(float)
    return Image.fromarray((levels * np.linspace(1, 0.4, levels.shape[1])[:, None]).astype(np.uint8))


def noisy(image):
    levels = np.asarray(image) + np.random.default_rng(0).normal(0, 8, (*image.size[::-1], 3))
    return Image.fromarray(levels.clip(0, 255).astype(np.uint8))


def sixteen_bits(image):
    return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)


SAME_SEVEN = {
    "light on dark": lambda: saved(seven(ink="white", paper="black")),
    "red on green of one brightness": lambda: saved(seven(ink=(200, 0, 0), paper=(0, 102, 0))),
    "black on a transparent page": lambda: saved(seven(ink=(0, 0, 0, 255), paper=(0, 0, 0, 0), mode="RGBA")),
    "white on a transparent page": lambda: saved(seven(ink=(255,) * 4, paper=(255, 255, 255, 0), mode="RGBA")),
    "palette": lambda: saved(seven().quantize(8)),
    "one bit": lambda: saved(seven().convert("1", dither=Image.Dither.NONE)),
    "sixteen bits": lambda: saved(sixteen_bits(seven())),
    "JPEG": lambda: saved(seven(), "JPEG", quality=60),
    "CMYK JPEG": lambda: saved(seven().convert("CMYK"), "JPEG", quality=95),
    "six times as large": lambda: saved(seven().resize((3000, 2400)), "JPEG"),
    "a quarter as large": lambda: saved(seven().resize((125, 100), Image.Resampling.BOX)),
    "held sideways, with an EXIF entry": lambda: saved(seven().transpose(Image.Transpose.ROTATE_90), exif=exif(6)),
    "upside down, with an EXIF entry": lambda: saved(seven().rotate(180), "JPEG", exif=exif(3)),
    "light from one side": lambda: saved(shaded(seven())),
    "noise of a camera": lambda: saved(noisy(seven())),
    "a wide page": lambda: saved(seven(size=(1500, 400))),
}


@pytest.mark.parametrize("case", SAME_SEVEN)
def test_however_it_is_drawn_the_digit_is_the_same(case):
    image, expected = SAME_SEVEN[case](), prepared(seven()).astype(int)
    ink = find_ink(image)
    assert not is_blank(ink) and not is_cluttered(ink)
    difference = np.abs(as_mnist(largest_piece(ink)) - expected)
    assert difference.mean() < 4 and (difference > 100).sum() < 5


def test_a_digit_is_20_pixels_long_keeps_its_shape_and_has_its_centre_of_mass_at_the_centre():
    for size in ((30, 300), (300, 30), (200, 100), (100, 190), (90, 90)):
        page = Image.new("L", (640, 480), 255)
        x, y = 200, 120
        ImageDraw.Draw(page).rectangle((x, y, x + size[0] - 1, y + size[1] - 1), fill=0)
        ImageDraw.Draw(page).rectangle((x, y, x + size[0] - 1, y + size[1] // 4), fill=120)  # a lighter top
        image = prepared(page).astype(float)
        assert image.shape == (28, 28) and image.max() == 255
        width, height = (int(image.any(axis=axis).sum()) for axis in (0, 1))
        assert max(width, height) == 20
        assert np.abs(np.subtract((width, height), np.multiply(size, 20 / max(size)))).max() <= 1.1
        for axis in (0, 1):
            mass = image.sum(axis=axis)
            assert abs((mass * np.arange(28)).sum() / mass.sum() - 14) <= 0.5  # as in MNIST: to the pixel


def test_edges_are_smoothed_and_what_is_faint_is_background():
    page = seven(ink="black", paper="white")
    ImageDraw.Draw(page).line([(20, 350), (480, 350)], fill=(215, 215, 215), width=4)  # a ruled line
    image = prepared(page)
    assert np.abs(image - prepared(seven(ink="black", paper="white")).astype(int)).max() <= 1
    assert ((image > 0) & (image < 255)).sum() > 20


@pytest.mark.skipif(mirror_with_real_mnist() is None, reason="DATA_MIRROR names no folder that holds MNIST")
def test_images_of_mnist_stay_nearly_what_they_are():
    images = download.load("mnist", mirror=mirror_with_real_mnist()).test_images[:200].view(-1, 28, 28).numpy()
    differences = [np.abs(prepared(Image.fromarray(image)) - image.astype(int)).mean() for image in images]
    assert np.mean(differences) < 6 and np.median(differences) < 4  # of 255 levels


@pytest.mark.parametrize("size", [(1, 1), (3, 900), (28, 28), (300, 200)], ids=str)
@pytest.mark.parametrize("colour", ["white", "black", (120, 40, 200)], ids=str)
def test_a_blank_image_is_blank(size, colour):
    assert is_blank(find_ink(saved(Image.new("RGB", size, colour))))
    assert is_blank(find_ink(saved(Image.new("RGBA", size, (255, 0, 0, 0)))))


@pytest.mark.parametrize("size", [(3, 3), (5, 4), (9, 3)], ids=str)
def test_a_tiny_image_is_enlarged(size):
    page = Image.new("L", size, 255)
    page.putpixel((1, 1), 0)
    assert prepared(page).max() == 255


@pytest.mark.parametrize("photograph", load_sample_images().images, ids=["China", "flower"])
def test_a_colour_photograph_is_cluttered(photograph):
    ink = find_ink(saved(Image.fromarray(photograph), "JPEG"))
    assert is_cluttered(ink)
    assert as_mnist(largest_piece(ink)).shape == (28, 28)


def command(monkeypatch, capsys, *arguments):
    """Run the command; its exit status or message, what it prints and what it warns of."""
    monkeypatch.setattr(sys, "argv", ["classify", *map(str, arguments)])
    code = None
    try:
        classify.main()
    except SystemExit as stopped:
        code = stopped.code
    return code, *capsys.readouterr()


@pytest.fixture
def folder(trained, monkeypatch):
    monkeypatch.chdir(trained)
    return trained


@pytest.mark.parametrize("arm", [None, *ARMS])
def test_it_prints_every_class_with_the_probability_of_the_headline_model(folder, tmp_path, monkeypatch, capsys, arm):
    seven().save(tmp_path / "seven.png")
    code, printed, warned = command(monkeypatch, capsys, tmp_path / "seven.png", *(["--arm", arm] if arm else []))
    assert code is None and warned == ""
    model = classify.load_model(arm)
    probabilities = classify.classify(prepared(seven())[None], model)[:, 0]
    head, *rows = printed.splitlines()
    assert head == f"{model.title}, trained on digits: {probabilities.argmax()}"
    assert [row.split()[0] for row in rows] == list("0123456789")
    assert [float(row.split()[1]) for row in rows] == pytest.approx(
        [100 * p for p in probabilities.tolist()], abs=0.006
    )
    assert [row.count("#") for row in rows] == [round(40 * p) for p in probabilities.tolist()]


def test_it_runs_as_a_module(folder, tmp_path, monkeypatch, capsys):
    seven().save(tmp_path / "seven.jpg")
    monkeypatch.setattr(sys, "argv", ["classify", str(tmp_path / "seven.jpg")])
    monkeypatch.delitem(sys.modules, "tools.classify")
    runpy.run_module("tools.classify", run_name="__main__")
    assert capsys.readouterr().out.startswith("Baseline, trained on digits: ")


def test_a_photograph_is_classified_with_a_warning(folder, tmp_path, monkeypatch, capsys):
    Image.fromarray(load_sample_images().images[0]).save(tmp_path / "china.jpg")
    code, printed, warned = command(monkeypatch, capsys, tmp_path / "china.jpg")
    assert code is None and len(printed.splitlines()) == 11
    assert warned == WARNING


def test_a_model_of_other_classes_says_so(folder, tmp_path, monkeypatch, capsys):
    seven().save(tmp_path / "seven.png")
    card = artifacts.read_record(preprocessing.DatasetCard, folder / "data/split/card")
    names = SOURCES["fashion_mnist"].classes
    clothes = preprocessing.DatasetCard("fashion_mnist", "Fashion-MNIST", names, card.mean, card.std, card.sizes)
    monkeypatch.setattr(artifacts, "read_record", with_card(artifacts.read_record, clothes))
    code, printed, warned = command(monkeypatch, capsys, tmp_path / "seven.png")
    assert code is None and printed.startswith("Baseline, trained on fashion_mnist: ")
    assert all(row.strip().startswith(name) for row, name in zip(printed.splitlines()[1:], names, strict=True))
    assert warned == "The model tells the classes of fashion_mnist apart; a digit is none of them.\n"


def test_a_card_of_hostile_classes_is_refused_and_not_shown(folder, tmp_path, monkeypatch, capsys):
    seven().save(tmp_path / "seven.png")
    card = artifacts.read_record(preprocessing.DatasetCard, folder / "data/split/card")
    forged = vars(card) | {"classes": ["\x1b[31m", *card.classes[1:]]}
    artifacts.write_record(tmp_path / "data/split/card", SimpleNamespace(**forged))
    for name in ("models", "params.yaml"):
        (tmp_path / name).symlink_to(folder / name)
    monkeypatch.chdir(tmp_path)
    code, printed, warned = command(monkeypatch, capsys, tmp_path / "seven.png")
    assert code.startswith("classify: ") and "card is damaged" in code and code.isprintable()
    assert printed == warned == ""


def with_card(read_record, card):
    return lambda kind, path: card if kind is preprocessing.DatasetCard else read_record(kind, path)


def thirty_two_bits():
    return Image.fromarray(np.asarray(seven().convert("L")).astype(np.int32) * 2**20)


def damaged(tmp_path, change):
    seven().save(tmp_path / "whole.png")
    (tmp_path / "x.png").write_bytes(change((tmp_path / "whole.png").read_bytes()))


REFUSED = {
    "missing": (lambda path: None, "cannot be read as an image: No such file or directory"),
    "a folder": (lambda path: path.mkdir(), "cannot be read as an image: Is a directory"),
    "text": (lambda path: path.write_text("7"), "cannot be read as an image: it is none"),
    "empty": (lambda path: path.write_bytes(b""), "cannot be read as an image: it is none"),
    "truncated": (lambda path: damaged(path.parent, lambda whole: whole[:200]), "image file is truncated"),
    "blank": (lambda path: Image.new("L", (99, 99), 255).save(path), "is blank: nothing on it differs"),
    "32 bits": (lambda path: thirty_two_bits().save(path, "TIFF"), "has 32 bits a pixel: save it with 8 or 16"),
    "floating point": (lambda path: Image.new("F", (9, 9), 0.5).save(path, "TIFF"), "has 32 bits a pixel"),
    "too large": (lambda path: Image.new("1", (12000, 9000)).save(path), "more than 89,478,485 pixels: reduce it"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_classified_is_refused_by_name(folder, tmp_path, monkeypatch, capsys, case):
    make, reason = REFUSED[case]
    make(tmp_path / "x.png")
    code, printed, _ = command(monkeypatch, capsys, tmp_path / "x.png")
    assert code.startswith(f"classify: {tmp_path}/x.png ") and reason in code
    assert printed == "" and "\n" not in code


@pytest.mark.parametrize("name", ["\x1b[2J.png", "two\nlines", "\u202egnp.x", "x" * 200])
def test_a_strange_name_is_shown_printable_on_one_line(folder, tmp_path, monkeypatch, capsys, name):
    (tmp_path / name).write_text("7")
    code, *_ = command(monkeypatch, capsys, tmp_path / name)
    assert code.startswith(f"classify: {tmp_path}/") and code.isprintable()


def test_damaged_bytes_are_refused_or_read_but_never_a_crash(tmp_path):
    chance, refused = random.Random(0), 0
    for format in ("PNG", "JPEG"):
        seven().save(tmp_path / "whole", format)
        whole = (tmp_path / "whole").read_bytes()
        for _ in range(60):
            content = bytearray(whole)
            for _ in range(5):
                content[chance.randrange(len(content))] = chance.randrange(256)
            (tmp_path / "damaged").write_bytes(content[: chance.choice([None, chance.randrange(len(content))])])
            try:
                ink = find_ink(read_image(tmp_path / "damaged"))
                assert is_blank(ink) or as_mnist(largest_piece(ink)).shape == (28, 28)
            except ClassifyError:
                refused += 1
    assert 20 < refused < 120


def test_without_a_model_it_says_which_command_makes_one(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code, *_ = command(monkeypatch, capsys, "x.png")
    assert code == "classify: params.yaml cannot be read: No such file or directory"
    (tmp_path / "params.yaml").write_bytes((folder / "params.yaml").read_bytes())
    code, *_ = command(monkeypatch, capsys, "x.png", "--arm", "l2")
    assert code == "classify: there is no trained model of the arm 'l2': make it by `dvc repro evaluate`"
    code, *_ = command(monkeypatch, capsys, "x.png", "--arm", "dropout")
    assert code == "classify: there is no arm 'dropout' in params.yaml, only baseline, batchnorm, l2"


def scans():
    """Give six of scikit-learn's digits, enlarged to the size of MNIST's, with their empty frame."""
    large = [
        Image.fromarray((scan * (255 / 16)).astype(np.uint8)).resize((20, 20)) for scan in load_digits().images[:6]
    ]
    return [np.pad(np.asarray(scan), 4) for scan in large]


def photographs(disturb):
    """Take pictures of the scans on pages; a disturbance draws its random numbers after the page's."""
    for seed, scan in enumerate(scans()):
        numbers = np.random.default_rng(seed)
        yield photographed.photograph(disturb(photographed.write(scan, numbers), numbers), numbers)


@pytest.fixture(scope="module")
def plain():
    return np.stack([prepared(picture) for picture in photographs(photographed.DISTURBANCES["a plain page"])])


@pytest.mark.parametrize("disturbance", [name for name in photographed.DISTURBANCES if name != "a plain page"])
def test_a_disturbed_page_gives_the_digit_of_the_plain_one_without_a_warning(plain, disturbance):
    inks = [find_ink(picture) for picture in photographs(photographed.DISTURBANCES[disturbance])]
    assert not any(is_cluttered(ink) for ink in inks)
    disturbed = np.stack([as_mnist(largest_piece(ink)) for ink in inks])
    assert np.abs(disturbed.astype(int) - plain).mean() < 12
    apart = np.abs(disturbed[:, None].astype(int) - plain).mean(axis=(2, 3))
    assert apart.argmin(axis=1).tolist() == list(range(len(plain)))


def with_speck(image):
    ImageDraw.Draw(image).rectangle((40, 330, 46, 336), fill="black")
    return image


def with_a_second(image):
    image.paste(seven().crop((260, 40, 420, 280)), (40, 100))
    return image


def at_the_edge(image):
    return image.crop((0, 70, *image.size))


def ruled_only(image):
    page = Image.new("RGB", image.size, GREY)
    for y in range(20, 400, 40):
        ImageDraw.Draw(page).line([(0, y), (500, y)], fill=(90, 90, 160), width=3)
    return page


@pytest.mark.parametrize(
    ("change", "warned"),
    [(lambda image: image, False), (with_speck, False), (with_a_second, True), (at_the_edge, True), (ruled_only, True)],
    ids=["plain", "a speck", "two digits", "a digit cut off", "lines alone"],
)
def test_it_warns_of_what_is_not_one_digit_on_a_plain_page(folder, tmp_path, monkeypatch, capsys, change, warned):
    change(seven()).save(tmp_path / "page.png")
    code, printed, said = command(monkeypatch, capsys, tmp_path / "page.png")
    assert code is None and len(printed.splitlines()) == 11
    assert said == (WARNING if warned else "")


def test_a_speck_changes_nothing_and_a_broken_stroke_stays_whole():
    assert np.abs(prepared(with_speck(seven())).astype(int) - prepared(seven())).max() <= 1
    broken = seven()
    ImageDraw.Draw(broken).line([(300, 150), (420, 150)], fill=GREY, width=8)
    assert (largest_piece(find_ink(broken.convert("RGBA")))[60:] > 50).any()  # the foot


def test_the_measurement_prints_a_row_for_each_disturbance(folder, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["photographed", "--images", "2"])
    stages.run(photographed.main, "photographed")
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ["of", "2", "test", "images,", "%", "Baseline", "Batch", "norm", "L2", "warned", "of"]
    assert [row[:26].strip() for row in rows] == ["as given", *photographed.DISTURBANCES]
    for row in rows[1:]:
        assert all(float(share) in (0, 50, 100) for share in row[26:].split())


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("data/split/test", "data/split/test/SHA256SUMS is missing; to make it: dvc repro"),
        ("models/l2", "there is no trained model of the arm 'l2'"),
    ],
)
def test_the_measurement_says_in_one_line_what_it_lacks(trained, tmp_path, monkeypatch, missing, said):
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / missing)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["photographed"])
    with pytest.raises(SystemExit, match=f"^photographed: {said}"):
        stages.run(photographed.main, "photographed")
