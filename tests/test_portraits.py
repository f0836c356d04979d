"""Portraits: what is drawn is the density, the coordinates and the principal components that the axes say."""

import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from zoo import DOUBLE, doubles, randn

from wgf.data import Rose
from wgf.errors import InputError, Unknown
from wgf.law import Empirical, Gaussian
from wgf.pixels import Pixels
from wgf.portraits import GRID, planar_density, principal, slices

X, Y = randn(0, 300, 4) * doubles(1, 5, 2, 0.1), 3 + randn(1, 200, 4)


def panels(figure: Figure) -> list[Axes]:
    """The axes, drawn, that are not those of a colour bar: all say what they show."""
    figure.canvas.draw()
    found = [axis for axis in figure.axes if axis.get_label() != "<colorbar>"]
    for axis in found:
        assert axis.get_xlabel()
        assert axis.get_ylabel()
        assert axis.get_title()
    return found


def dots(axis: Axes, line: int = 0) -> torch.Tensor:
    return torch.tensor(axis.lines[line].get_xydata())


def by_rows(x: torch.Tensor) -> torch.Tensor:
    return x[x[:, 0].argsort()]


def test_a_heat_map_holds_the_mass_of_the_density():
    law = Gaussian(doubles(1, -1), doubles([0.5, 0.2], [0.2, 0.3]))
    heat, samples = panels(planar_density(law, (-4, 6, -5, 3)))
    (mesh,) = [part for part in heat.collections if isinstance(part, QuadMesh)]
    values = torch.tensor(mesh.get_array()).reshape(GRID, GRID)
    assert float(values.sum()) * 80 / GRID**2 == pytest.approx(1, abs=1e-9)
    row, column = divmod(int(values.argmax()), GRID)  # the mode, x₂ upwards and x₁ to the right
    assert -5 + 8 * (row + 0.5) / GRID == pytest.approx(-1, abs=8 / GRID)
    assert -4 + 10 * (column + 0.5) / GRID == pytest.approx(1, abs=10 / GRID)
    x = dots(samples)
    assert float((x.mean(0) - law.mean).abs().max()) < 5 * 0.5**0.5 / len(x) ** 0.5
    assert heat.get_xlim() == samples.get_xlim() == (-4, 6)


def test_images_stand_upright_in_a_heat_map():
    law = Pixels(doubles([1, 0], [0, 0]), (0, 0), (2, 2))
    heat, samples = panels(planar_density(law, (0, 2, 0, 2), rows=50))
    values = torch.tensor(heat.collections[0].get_array()).reshape(GRID, GRID)
    assert float(values[GRID // 2 :, : GRID // 2].min()) == pytest.approx(1)
    assert not values[: GRID // 2].any()
    assert (dots(samples)[:, 1] > 1).all()
    assert len(panels(planar_density(Rose().law(), (-4, 4, -4, 4)))) == 2


def test_what_has_no_planar_density_is_refused():
    with pytest.raises(InputError, match="laws of the plane, got dimension 3"):
        planar_density(Gaussian.standard(3), (-1, 1, -1, 1))
    with pytest.raises(InputError, match=r"left < right and low < high, got \(1, -1, 0, 1\)"):
        planar_density(Gaussian.standard(2), (1, -1, 0, 1))
    with pytest.raises(Unknown, match="no density"):
        planar_density(Empirical(X[:, :2]), (-1, 1, -1, 1))


def test_slices_show_the_coordinates_they_name():
    axes = panels(slices(X, Y, [(0, 2), (3, 1)], titles=("data", "flow")))
    assert len(axes) == 4
    for k, (a, b) in enumerate([(0, 2), (3, 1)]):
        for axis, sample, title in zip(axes[2 * k : 2 * k + 2], (X, Y), ("data", "flow"), strict=True):
            torch.testing.assert_close(by_rows(dots(axis)), by_rows(sample[:, [a, b]]))
            assert (axis.get_xlabel(), axis.get_ylabel(), axis.get_title()) == (f"x{'₁₂₃₄'[a]}", f"x{'₁₂₃₄'[b]}", title)
        assert axes[2 * k].get_xlim() == axes[2 * k + 1].get_xlim()
        assert axes[2 * k].get_ylim() == axes[2 * k + 1].get_ylim()


def test_slices_take_names_and_refuse_what_does_not_fit():
    (axis, _) = panels(slices(X.float(), Y.float(), [(1, 3)], names=["age", "dose", "weight", "height"]))
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("dose", "height")
    for pairs in ([], [(0, 4)], [(1, 1)], [(-1, 0)]):
        with pytest.raises(InputError, match=r"two different coordinates in 0 … 3, got"):
            slices(X, Y, pairs)
    with pytest.raises(InputError, match="names must be 4, one for each coordinate, got 2"):
        slices(X, Y, [(0, 1)], names=["a", "b"])
    with pytest.raises(InputError, match="the second sample must have 4 columns, got 3"):
        slices(X, Y[:, :3], [(0, 1)])


def test_principal_components_are_those_of_the_first_sample():
    (axis,) = panels(principal(X, Y, labels=("data", "flow")))
    first, second = dots(axis), dots(axis, 1)
    values = torch.linalg.eigvalsh(X.T.cov(correction=0)).flip(0)
    torch.testing.assert_close(first.T.cov(correction=0), torch.diag(values[:2]), rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(first.mean(0), torch.zeros(2, dtype=DOUBLE), rtol=0, atol=1e-10)
    assert f"({float(values[0] / values.sum()):.0%} of the variance)" in axis.get_xlabel()
    assert f"({float(values[1] / values.sum()):.0%} of the variance)" in axis.get_ylabel()
    shift = (Y.mean(0) - X.mean(0)).norm()
    assert 0 < float(second.mean(0).norm()) < float(shift)  # a projection never lengthens
    same = dots(panels(principal(X, X))[0], 1)
    torch.testing.assert_close(by_rows(same), by_rows(first))


def test_large_samples_are_thinned_and_say_so():
    many = randn(0, 5000, 2)
    for axis in panels(slices(many, Y[:, :2], [(0, 1)]))[:1] + panels(principal(many, Y[:, :2])):
        assert len(dots(axis)) == 4000
        assert "4,000 rows" in axis.get_legend_handles_labels()[1][0]


def test_samples_without_a_plane_are_refused():
    with pytest.raises(InputError, match=r"k must be at most min\(n, d\) = 1"):
        principal(X[:, :1], Y[:, :1])
    with pytest.raises(InputError, match="2 columns, got 3"):
        principal(X[:, :2], Y[:, :3])
