"""Laws of images: their densities, their draws, our own drawings against geometry, and pictures in files."""

import math

import numpy as np
import pytest
import torch
from matplotlib import image
from zoo import DOUBLE, doubles, randn

from wgf.components import Reader
from wgf.data import Dataset, Picture, Rose, Tree
from wgf.data.drawn import PIXELS, SIDE, strokes
from wgf.errors import InputError, Unknown
from wgf.pixels import MOST, Pixels

WEIGHTS = doubles([1, 0, 3], [0, 4, 2])
PIXEL = SIDE / PIXELS
N = 200_000


def law() -> Pixels:
    return Pixels(WEIGHTS, (-3, 0), (3, 1))


def centres(h: int, w: int) -> torch.Tensor:
    """The centres of the pixels of [−3, 3] × [0, 1], row by row from above."""
    x, y = -3 + 6 * (torch.arange(w) + 0.5) / w, 1 - (torch.arange(h) + 0.5) / h
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), -1).reshape(-1, 2).double()


def frequencies(law: Pixels, x: torch.Tensor) -> torch.Tensor:
    """The share of rows in each pixel, laid as the image is."""
    h, w = law.weights.shape
    edges = [np.linspace(float(a), float(b), k + 1) for a, b, k in zip(law.low, law.high, (w, h), strict=True)]
    return torch.from_numpy(np.histogram2d(x[:, 0].numpy(), x[:, 1].numpy(), edges)[0].T[::-1].copy()) / len(x)


def test_the_density_is_that_of_each_pixel_and_integrates_to_one():
    density = law().log_prob(centres(2, 3)).exp()
    assert torch.allclose(density, WEIGHTS.flatten() / 10 / (2 * 0.5), rtol=1e-14)  # a pixel is 2 wide, ½ high
    fine = law().log_prob(centres(100, 300)).exp()
    assert float(fine.sum()) * 6 / 30_000 == pytest.approx(1, rel=1e-12)
    outside = law().log_prob(doubles([-3.01, 0.5], [0, 1.01], [3.01, 0.5], [0, -0.01], [math.nan, 0]))
    assert (outside == -math.inf).all()
    corners = law().log_prob(doubles([-3, 1], [3, 1], [3, 0])).exp()
    assert torch.allclose(corners, doubles(0.1, 0.3, 0.2))


def test_draws_fall_in_pixels_as_often_as_they_weigh():
    x = law().sample(N, torch.Generator().manual_seed(0))
    seen, expected = frequencies(law(), x), WEIGHTS / 10
    assert ((seen - expected).abs() <= 4 * (expected * (1 - expected) / N).sqrt()).all()
    inside = ((x - law().low) / law().pixel) % 1
    for power in (1, 2, 3):  # moments of the uniform law, whatever the pixel
        assert float((inside**power).mean()) == pytest.approx(1 / (power + 1), abs=4e-3)


def test_units_of_the_weights_do_not_matter_and_dtypes_follow():
    x = centres(5, 7)
    assert torch.allclose(Pixels(250 * WEIGHTS, (-3, 0), (3, 1)).log_prob(x), law().log_prob(x))
    single = law().to(torch.float32)
    assert single.sample(3).dtype == torch.float32
    assert torch.allclose(single.log_prob(x.float()).double(), law().log_prob(x), rtol=1e-5)


@pytest.mark.parametrize(
    ("weights", "low", "match"),
    [
        (doubles(1, 2), (0, 0), r"shape \(h, w\).*got \(2,\)"),
        (doubles([1, -2]), (0, 0), "must be 0 or more, and somewhere above it, got -2 to 1"),
        (doubles([0, 0]), (0, 0), "must be 0 or more, and somewhere above it"),
        (doubles([1, math.nan]), (0, 0), "1 entries that are NaN"),
        (torch.ones(1, 1).expand(MOST // 2 + 1, 2), (0, 0), r"1 to 16777216 of them"),
        (WEIGHTS, (0, 5), r"low < high in both coordinates, got \[0.0, 5.0\] and \[4.0, 4.0\]"),
        (WEIGHTS, (0, 0, 0), r"the lower left corner of Pixels must have shape \(2,\)"),
    ],
)
def test_bad_images_are_refused(weights, low, match):
    with pytest.raises(InputError, match=match):
        Pixels(weights, low, (4, 4))
    with pytest.raises(InputError, match=r"shape \(n, 2\), got \(3,\)"):
        law().log_prob(torch.zeros(3))


# Drawings


@pytest.mark.parametrize(("half", "length"), [(0.5, 3.0), (0.2, 4.0), (0.1, 0.5)])
def test_a_stroke_has_the_area_of_its_shape(half, length):
    """2hL + πh²: a rectangle with round ends."""
    angle = torch.rand(20, dtype=DOUBLE, generator=torch.Generator().manual_seed(0)) * math.pi
    for a in angle:
        arm = length / 2 * torch.stack([a.cos(), a.sin()])[None]
        ink = strokes(-arm, arm, doubles(half))
        assert float(ink.sum()) * PIXEL**2 == pytest.approx(2 * half * length + math.pi * half**2, rel=0.01)


def test_strokes_lie_where_they_are_drawn():
    ink = strokes(doubles([1, 2]), doubles([2, 2]), doubles(0.25))
    row, column = (float((ink.sum(axis) * torch.arange(PIXELS)).sum() / ink.sum()) + 0.5 for axis in (1, 0))
    assert 4 - PIXEL * row == pytest.approx(2)
    assert PIXEL * column - 4 == pytest.approx(1.5)
    over = strokes(doubles([3.9, 3.9]), doubles([5, 5]), doubles(0.3))  # what leaves the paper is cut off
    assert 0 < float(over.sum()) * PIXEL**2 < 0.25


@pytest.mark.parametrize("source", [Rose, Tree])
def test_drawings_fit_their_paper_and_are_symmetric(source):
    ink = source().ink()
    assert torch.allclose(ink, ink.flip(1))
    assert not torch.allclose(ink, ink.flip(0))
    assert not ink[[0, -1]].any()
    assert not ink[:, [0, -1]].any()
    assert float(ink.max()) == 1


def test_a_rose_is_unchanged_by_a_fifth_of_a_turn():
    """E e^{ikφ} r^k vanishes unless 5 divides k, for the draws and for the density."""
    law = Rose().law()
    z = torch.view_as_complex(law.sample(N, torch.Generator().manual_seed(0)))
    for k in (1, 2, 3, 4):
        assert float((z**k).mean().abs()) < 5 * float((z**k).std()) / N**0.5, k
    assert float((z**5).mean().abs()) > 20 * float((z**5).std()) / N**0.5


def test_a_tree_holds_its_trunk_and_branches_twice():
    ink = Tree().ink()
    widths = [2 * 0.17 * 0.75**k for k in range(2)]
    trunk = ink[int((4 + 2.5) / PIXEL)]
    assert float(trunk.sum()) * PIXEL == pytest.approx(widths[0], rel=0.02)
    forks = ink[int((4 + 1.0) / PIXEL)]  # two branches, cut aslant: as wide as their width over cos 27°
    assert float(forks.sum()) * PIXEL == pytest.approx(2 * widths[1] / math.cos(math.radians(27)), rel=0.05)
    assert int((forks.diff() > 0.4).sum()) <= 4


@pytest.mark.parametrize("source", [Rose, Tree])
def test_draws_have_the_density_of_the_law(source):
    table, law = source(N, seed=1).load(), source().law()
    assert (table.y == 0).all()
    seen, expected = frequencies(law, table.X), law.weights
    blocks = [image.unfold(0, 16, 16).unfold(1, 16, 16).sum((2, 3)) for image in (seen, expected)]
    error = (blocks[0] - blocks[1]).abs() / (blocks[1] * (1 - blocks[1]) / N).sqrt().clamp_min(1e-12)
    assert float(error.max()) < 5
    entropy = -(expected * (expected / PIXEL**2).log()).nan_to_num().sum()
    logs = law.log_prob(table.X)
    assert float(-logs.mean()) == pytest.approx(float(entropy), abs=4 * float(logs.std()) / N**0.5)


def test_drawings_in_more_dimensions_lie_in_a_plane():
    x = Rose(100, dim=5).load().X
    assert x.shape == (100, 5)
    assert not x[:, 2:].any()
    with pytest.raises(Unknown, match="it lies in a plane"):
        Rose(dim=5).law()


# Pictures


def test_a_picture_weighs_what_is_dark(tmp_path):
    grey = np.array([[0.0, 1.0, 0.4], [1.0, 0.2, 1.0]])
    file = tmp_path / "picture.png"
    image.imsave(file, np.repeat(grey[..., None], 3, 2))
    law = Picture(file=str(file)).law()
    expected = torch.tensor(1 - grey)
    assert torch.allclose(law.weights, expected / expected.sum(), atol=2 / 255)
    assert law.high.tolist() == pytest.approx([4, 8 / 3])
    assert law.low.tolist() == pytest.approx([-4, -8 / 3])
    x = Picture(file=str(file), rows=500, seed=3).load().X
    assert (law.log_prob(x) > -math.inf).all()


def test_colours_are_weighed_by_luma_and_clear_paper_is_white(tmp_path):
    rgba = np.array([[[1, 0, 0, 1], [0, 1, 0, 1], [0, 0, 1, 1], [0, 0, 0, 0], [0, 0, 0, 0.6]]])
    image.imsave(tmp_path / "colours.png", rgba)
    ink = Picture(file=str(tmp_path / "colours.png")).ink()
    assert torch.allclose(ink, doubles([0.701, 0.413, 0.886, 0, 0.6]), atol=1e-6)


def test_greyscale_files_are_read(tmp_path):
    from PIL import Image

    for name in ("grey.png", "grey.bmp"):
        Image.fromarray(np.array([[0, 255], [51, 255]], dtype=np.uint8)).save(tmp_path / name)
        ink = Picture(file=str(tmp_path / name)).ink()
        assert torch.allclose(ink, doubles([1, 0], [0.8, 0]), atol=1e-6)


def test_what_is_no_picture_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"absent\.png is not a file; a relative path starts from"):
        Picture(file=str(tmp_path / "absent.png")).load()
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(InputError, match=r"text\.png is truncated, damaged, or no image"):
        Picture(file=str(tmp_path / "text.png")).load()
    image.imsave(tmp_path / "white.png", np.ones((4, 4, 3)))
    with pytest.raises(InputError, match=r"white\.png is white throughout"):
        Picture(file=str(tmp_path / "white.png")).law()
    image.imsave(tmp_path / "whole.png", randn(0, 40, 40, 3).abs().clamp(max=1).numpy())
    whole = (tmp_path / "whole.png").read_bytes()
    for share in (0.0, 0.1, 0.5, 0.9):
        (tmp_path / "part.png").write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(InputError, match=r"part\.png is truncated"):
            Picture(file=str(tmp_path / "part.png")).load()


def test_specs_can_say_drawings_and_pictures():
    for said, spec in (
        ("rose", Rose()),
        ({"type": "picture", "file": "a.png", "rows": 9}, Picture(file="a.png", rows=9)),
    ):
        written, read = Reader().component(Dataset, said, "data")
        assert read == spec
        assert Reader().component(Dataset, written, "data")[1] == spec
