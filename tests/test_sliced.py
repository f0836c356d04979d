"""Sums on the line by sorting, sliced distances and their flows: against dense sums, closed forms and differences."""

import math

import ot
import pytest
import torch
import zoo
from torch import Tensor

from validation import sliced_wasserstein2
from wgf import Empirical, Particles, SlicedMMD2, SlicedW2, autodiff, evolve
from wgf.errors import Incompatible, InputError
from wgf.functionals.quantiles import LineTransport
from wgf.kernels import Energy, Gaussian, Laplace, Matern32, Matern52, Power, engines, kernel_sum, line, sorting
from wgf.kernels.slices import Slices, orthogonal_directions, project
from wgf.kernels.task import Task
from wgf.law import Cloud
from wgf.law import Gaussian as Normal

# Sorting


@pytest.fixture
def compiled(monkeypatch) -> None:
    monkeypatch.setattr(sorting, "COMPILED", 0)


def rows(kind: str, dtype: torch.dtype) -> Tensor:
    x = zoo.randn(0, 7, 300, dtype=dtype)
    match kind:
        case "tied":
            return (3 * x).round()
        case "outliers":
            x[:, 5], x[:, 9] = 1e30, -1e20
        case "constant":
            x[2] = 4.0
        case "lost":
            x[3, 7], x[4, 8], x[5, 9] = math.nan, math.inf, -math.inf
        case "wide":
            x *= torch.finfo(dtype).max / 4
    return x


@pytest.mark.parametrize("kind", ["spread", "tied", "outliers", "constant", "lost", "wide"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rows_are_sorted_as_torch_sorts_them(kind, dtype, compiled):
    x = rows(kind, dtype)
    values, order = torch.sort(x, dim=1, stable=True)
    got, whence = sorting.order_rows(x)
    for one, other in ((got, values), (sorting.sort_rows_(x.clone()), values)):
        torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)
    assert torch.equal(whence, order)


def test_projections_are_the_same_bits_compiled_or_not_and_wherever_a_point_stands(monkeypatch):
    x, theta = zoo.randn(0, 700, 5), orthogonal_directions(5, 7, 0)
    u = project(x, theta)
    torch.testing.assert_close(u, theta @ x.T)
    monkeypatch.setattr(sorting, "COMPILED", 0)
    assert torch.equal(project(x, theta), u)
    chosen = torch.randperm(700, generator=torch.Generator().manual_seed(0))[:33]
    assert torch.equal(project(x[chosen], theta), u[:, chosen])


# The engine


LINE = [
    Energy(), Power(1), Power(2), Power(3), Power(4), Laplace(0.3), Matern32(0.3), Matern52(0.3),
    Power(4) - Power(2), 0.5 * Laplace(0.1) + 2 * Matern52(1.0),
]  # fmt: skip


def points(kind: str, n: int, seed: int) -> Tensor:
    x = zoo.randn(seed, n, 1)
    match kind:
        case "tight":
            return 1e4 + 1e-4 * x
        case "several":
            return 1e4 * (torch.arange(n)[:, None] % 3) + 1e-3 * x
        case "outliers":
            x[0], x[-1] = 1e6, -1e5
        case "tied":
            return (3 * x).round()
    return x


def error(task: Task) -> float:
    """The largest error of the engine, relative to what each row sums in absolute value, against float64 pairs."""
    V, G = engines.run(task, "sorted")
    assert V is not None
    assert G is not None
    z = task.x.double() - task.y.double().T
    k, slope = task.kernel.value(z.square(), 1), 2 * task.kernel.derivative(z.square(), 1) * z
    if not task.diagonal:
        k, slope = (each - each.diagonal().diag() for each in (k, slope))
    worst = 0.0
    for got, pairs, weights in ((V, k, task.value_weights), (G[..., 0], slope, task.gradient_weights)):
        assert weights is not None
        scale = pairs.abs() @ weights.double().abs()
        gap = (got.double() - pairs @ weights.double()).abs()
        worst = max(worst, float((gap / scale.clamp_min(1e-250)).max()))
    return worst


@pytest.mark.parametrize("kernel", LINE, ids=lambda kernel: kernel.name)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sorted_sums_are_exact_wherever_the_points_lie(kernel, dtype):
    bound = 1e-12 if dtype == torch.float64 else 2e-7
    for kind in ("spread", "tight", "several", "outliers", "tied"):
        for n, m in ((1, 1), (1, 4), (90, 90), (40, 1300)):
            x, y = points(kind, n, 0).to(dtype), points(kind, m, 1).to(dtype)
            a, b = zoo.randn(2, m, 2, dtype=dtype), zoo.randn(3, m, 3, dtype=dtype)
            a[:, 1] *= y[:, 0] < y.mean()  # a column that sees part of the points only
            assert error(Task(kernel, x, y, a, b)) < bound, (kind, n, m)
            assert error(Task(kernel, y, y, a, b)) < bound, (kind, m)
            assert error(Task(kernel, y, y, a, b, diagonal=False)) < bound, (kind, m)


def test_the_sum_of_a_lonely_point_without_itself_keeps_its_digits():
    x = zoo.doubles(0, 1, 1, 30)[:, None]
    got = kernel_sum(Laplace(1.0), x, x, zoo.doubles(1, 1, 2, 1e9), diagonal=False, engine="sorted")
    e = math.exp(-1)
    others = [3 * e + 1e9 * math.exp(-30), e + 2 + 1e9 * math.exp(-29), e + 1 + 1e9 * math.exp(-29)]
    torch.testing.assert_close(got, zoo.doubles(*others, math.exp(-30) + 3 * math.exp(-29)), rtol=1e-14, atol=0)


def test_many_equal_steps_do_not_add_up_their_rounding():
    """Σ_j |x − j|/m in exact integers: a million additions of one number round the same way, if in one row."""
    m = 10**6
    y = torch.arange(m, dtype=zoo.DOUBLE)[:, None]
    x = zoo.doubles([0], [123_456], [999_999])
    got = kernel_sum(Power(1), x, y, engine="sorted")
    exact = [(int(i) * (int(i) + 1) + (m - 1 - int(i)) * (m - int(i))) / (2 * m) for i in x]
    torch.testing.assert_close(got, zoo.doubles(*exact), rtol=1e-13, atol=0)


def test_columns_are_summed_apart_where_memory_is_short():
    x, w = zoo.randn(0, 50, 1), zoo.randn(1, 50, 6)
    whole, parts = (engines.run(Task(Laplace(0.5), x, x, w, w, budget=size), "sorted") for size in (2**28, 1))
    for one, other in zip(whole, parts, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-14, atol=1e-15)


def test_auto_sorts_on_the_line():
    x = zoo.randn(0, 20_000, 1)
    assert engines.choose(Task(Energy(), x, x, torch.ones_like(x), None)) == "sorted"


@pytest.mark.parametrize(
    ("kernel", "dim", "diagonal", "reason"),
    [
        (Energy(), 2, True, "only points on the line"),
        (Gaussian(1.0), 1, True, "only powers"),
        (Energy(1.5), 1, True, "only powers"),
        (Energy(), 1, False, "the same points"),
    ],
)
def test_what_cannot_be_sorted_is_refused(kernel, dim, diagonal, reason):
    x, y = zoo.randn(0, 5, dim), zoo.randn(1, 5, dim)
    with pytest.raises(Incompatible, match=rf"the engine 'sorted' cannot take.*{reason}.*dense"):
        kernel_sum(kernel, x, y, diagonal=diagonal, engine="sorted")


def test_opposite_kernels_cancel_exactly():
    assert line.pieces(Energy() + Power(1))[0].value == (0.0, 0.0)


# Directions


@pytest.mark.parametrize("dim", [1, 2, 5])
def test_directions_are_orthonormal_in_blocks_and_uniform(dim):
    theta = orthogonal_directions(dim, 40 * dim, 3).reshape(40, dim, dim)
    torch.testing.assert_close(theta @ theta.mT, torch.eye(dim).double().expand(40, -1, -1))
    many = orthogonal_directions(dim, 20_000, 4)
    assert float(many.mean(0).abs().max()) < 0.03  # 4 standard errors
    assert float((many.pow(4).mean(0) - 3 / (dim * (dim + 2))).abs().max()) < 0.02


def test_directions_depend_on_the_seed_and_fresh_ones_on_the_particles():
    x, y = zoo.randn(0, 9, 3), zoo.randn(1, 9, 3)
    assert torch.equal(Slices(8, 1).at(x), Slices(8, 1).at(y))
    assert not torch.equal(Slices(8, 1).at(x), Slices(8, 2).at(x))
    assert torch.equal(Slices(8, 1, fresh=True).at(x), Slices(8, 1, fresh=True).at(x.clone()))
    assert not torch.equal(Slices(8, 1, fresh=True).at(x), Slices(8, 1, fresh=True).at(y))


# Sliced W₂


@pytest.mark.parametrize(("n", "m"), [(40, 40), (40, 97), (97, 40), (30, 90), (90, 30), (1, 7), (7, 1)])
def test_on_a_line_the_energy_is_exact(n, m):
    x, y = zoo.randn(0, n, 1), 1 + 2 * zoo.randn(1, m, 1)
    assert 2 * float(SlicedW2(y).energy(Cloud(x)).mean()) == pytest.approx(ot.emd2_1d(x[:, 0].numpy(), y[:, 0].numpy()))


@pytest.mark.parametrize("dim", [2, 3, 10])
def test_a_shift_costs_its_square_over_the_dimension(dim):
    """½ SW₂² = |c|²/2d, exactly over whole orthonormal blocks; and every particle moves by c/d."""
    x, shift = zoo.randn(0, 50, dim), zoo.randn(1, dim)
    F = SlicedW2(x + shift, 4 * dim)
    torch.testing.assert_close(F.energy(Cloud(x)).mean(), shift.square().sum() / (2 * dim), rtol=1e-13, atol=0)
    slope = F.first_variation(Cloud(x)).gradient(x)
    torch.testing.assert_close(slope, -(shift / dim).expand_as(x), rtol=1e-12, atol=1e-14)


def test_the_energy_and_the_metric_are_one_distance():
    x, y = zoo.randn(0, 60, 4), zoo.randn(1, 45, 4) + 1
    F = SlicedW2(y, 24, seed=5)
    metric = sliced_wasserstein2(x, y, F.slices.at(x))
    assert 2 * float(F.energy(Cloud(x)).mean()) == pytest.approx(metric**2, rel=1e-13)


@pytest.mark.parametrize("term", [SlicedW2, lambda y: SlicedMMD2(Energy(), y)], ids=["W2", "MMD2"])
def test_a_permuted_target_is_no_distance_away(term):
    x = zoo.randn(0, 50, 3)
    F = term(x[torch.randperm(50, generator=torch.Generator().manual_seed(0))])
    assert float(F.energy(Cloud(x)).abs().max()) < 1e-14
    assert float(F.first_variation(Cloud(x)).gradient(x).abs().max()) < 1e-14


def test_a_rotation_keeps_the_distance_up_to_the_error_of_the_directions():
    x, y, Q = zoo.randn(0, 60, 3), 0.5 * zoo.randn(1, 60, 3) + 1, torch.linalg.qr(zoo.randn(2, 3, 3)).Q
    F, rotated = (float(SlicedW2(b, 6000).energy(Cloud(a)).mean()) for a, b in ((x, y), (x @ Q.T, y @ Q.T)))
    assert rotated == pytest.approx(F, rel=0.01)


@pytest.mark.parametrize(("n", "m"), [(20, 20), (20, 33), (33, 20)])
def test_the_potential_and_its_conjugate_attain_the_distance(n, m):
    """Kantorovich: E φ(u) + E φᶜ(v) = W₂²/2, with φᶜ(v) = min over s of ½|s − v|² − φ(s), here over a fine grid."""
    u, v = (zoo.randn(seed, 1, size).sort().values for seed, size in enumerate((n, m)))
    plan = LineTransport(u, v)
    grid = torch.cat([u, torch.linspace(-5, 5, 100_001, dtype=zoo.DOUBLE)[None]], 1)
    conjugate = (0.5 * (grid - v[0, :, None]).square() - plan.potential(grid)).amin(1)
    value = plan.potential(u).mean() + conjugate.mean()
    assert float(value) == pytest.approx(float(plan.costs().mean()), abs=1e-8)


def test_coincident_particles_are_one_atom():
    x, y = zoo.doubles(0, 0, 0, 5, 5, 9)[:, None], zoo.doubles(1, 2, 6, 4, 8, 0)[:, None]
    slope = SlicedW2(y).first_variation(Cloud(x)).gradient
    expected = zoo.doubles(-1, -1, -1, 0, 0, 1)[:, None]  # to the means of 0 1 2, 4 6 and 8
    torch.testing.assert_close(slope(x), expected)
    torch.testing.assert_close(slope(x[[5, 0, 3]]), expected[[5, 0, 3]])


@pytest.mark.parametrize("F", [SlicedW2(zoo.randn(3, 30, 3) + 1, 9), SlicedMMD2(Matern52(1.0), zoo.randn(3, 30, 3), 9)])
def test_blocks_of_directions_of_any_size_give_the_same(F, monkeypatch):
    x, at = zoo.randn(0, 40, 3), zoo.randn(1, 11, 3)

    def everything() -> list[Tensor]:
        leaf = x.clone().requires_grad_()
        energy, psi = F.energy(Cloud(leaf)), F.first_variation(Cloud(x))
        (slope,) = torch.autograd.grad(energy @ zoo.randn(4, 40), leaf)
        return [energy, slope, psi(at), psi.gradient(at), psi.gradient(x)]

    whole = everything()
    monkeypatch.setattr("wgf.functionals.sliced.BYTES", 1)
    monkeypatch.setattr("wgf.kernels.slices.BYTES", 1)
    if isinstance(F, SlicedW2):
        F._kept.clear()
    torch.testing.assert_close(everything(), whole, rtol=1e-12, atol=1e-13)


def test_energies_have_the_gradients_of_differences_under_any_weights():
    x, g, h = zoo.randn(0, 15, 2), zoo.randn(1, 15), 1e-6
    eta = zoo.randn(2, 15, 2)
    for F in (SlicedW2(zoo.randn(3, 8, 2), 6), SlicedMMD2(Laplace(0.7), zoo.randn(3, 8, 2), 6)):
        leaf = x.clone().requires_grad_()
        (slope,) = torch.autograd.grad(F.energy(Cloud(leaf)) @ g, leaf)
        difference = (F.energy(Cloud(x + h * eta)) - F.energy(Cloud(x - h * eta))) @ g / (2 * h)
        assert float((slope * eta).sum()) == pytest.approx(float(difference), rel=1e-6)


def test_velocities_of_sliced_w2_have_their_derivative():
    """∇²δF/δρ = mean θθᵀ, I/d over whole blocks, between the jumps of T_θ."""
    psi, x = SlicedW2(zoo.randn(3, 8, 3), 6).first_variation(Cloud(zoo.randn(0, 15, 3))), zoo.randn(1, 5, 3)
    jacobian = autodiff.jacobian(lambda x: psi.gradient(x, create_graph=True), x)[1]
    torch.testing.assert_close(jacobian, (torch.eye(3) / 3).double().expand(5, 3, 3))
    slope = autodiff.jacobian(lambda x: autodiff.gradient(psi, x, create_graph=True), x)[1]
    torch.testing.assert_close(slope, jacobian)


# Sliced MMD


@pytest.mark.parametrize("dim", [2, 5])
def test_slices_of_the_energy_kernel_tend_to_it_at_the_monte_carlo_rate(dim):
    """c_d MMD² with the kernel −|z| in R^d, c_d = E|⟨θ, e⟩| = Γ(d/2)/(√π Γ((d+1)/2)): errors fall as p^{−1/2}."""
    x, y = zoo.randn(0, 30, dim), 0.7 * zoo.randn(1, 20, dim) + 0.5
    c = math.gamma(dim / 2) / (math.sqrt(math.pi) * math.gamma((dim + 1) / 2))
    z, w = torch.cat([x, y]), torch.cat([zoo.doubles(*[1 / 30] * 30), zoo.doubles(*[-1 / 20] * 20)])
    exact = c * float(w @ kernel_sum(Energy(), z, z, w))

    def error(count: int) -> float:
        values = [float(SlicedMMD2(Energy(), y, count, seed).energy(Cloud(x)).mean()) for seed in range(40)]
        return math.sqrt(sum((value - exact) ** 2 for value in values) / 40)

    few, many = error(5 * dim), error(80 * dim)
    assert many < 0.05 * exact
    assert math.log(few / many) / math.log(16) == pytest.approx(0.5, abs=0.15)


def test_the_energy_distance_on_a_line_is_twice_the_squared_gap_of_distributions():
    """MMD² = 2 ∫(F − G)² for the kernel −|z|: by the steps of F − G."""
    x, y = zoo.randn(0, 13, 1), zoo.randn(1, 22, 1)
    z, order = torch.cat([x, y])[:, 0].sort()
    gap = torch.cat([zoo.doubles(*[1 / 13] * 13), zoo.doubles(*[-1 / 22] * 22)])[order].cumsum(0)[:-1]
    value = float(SlicedMMD2(Energy(), y).energy(Cloud(x)).mean())
    assert value == pytest.approx(2 * float(gap.square() @ z.diff()), rel=1e-12)


def test_gradients_of_sliced_sums_say_that_they_are_not_differentiable():
    psi = SlicedMMD2(Energy(), zoo.randn(0, 5, 2), 4).first_variation(Cloud(zoo.randn(1, 6, 2)))
    with pytest.raises(Incompatible, match="not differentiable once more"):
        autodiff.jacobian(lambda x: psi.gradient(x, create_graph=True), zoo.randn(1, 6, 2))


# Flows


@pytest.mark.parametrize("fresh", [False, True])
def test_the_flow_of_sliced_w2_finds_its_target(fresh):
    target = Normal(zoo.MEAN, zoo.COVARIANCE)
    F = SlicedW2(target, 16, rows=4000, fresh=fresh)
    path = evolve(F, Particles(1000), Normal.standard(2, dtype=zoo.DOUBLE), [1.0] * 30, seed=0)
    x, y = path.final.x, F.target
    torch.testing.assert_close(x.mean(0), y.mean(0), rtol=0, atol=0.01)
    torch.testing.assert_close(x.T.cov(), y.T.cov(), rtol=0, atol=0.03)
    again = evolve(F, Particles(1000), Normal.standard(2, dtype=zoo.DOUBLE), [1.0] * 30, seed=0)
    assert torch.equal(again.final.x, x)
    if not fresh:
        assert all(later < sooner for sooner, later in zip(path.energy, path.energy[1:10], strict=False))


def test_a_mean_moves_as_the_flow_says():
    """d/dt (m − b) = −(m − b)/d, over whole orthonormal blocks: exactly (1 − τ/d)^k over k steps of Euler."""
    x = zoo.randn(0, 200, 3)
    F = SlicedW2(x + zoo.doubles(1, 2, -1), 6)
    path = evolve(F, Particles(200), Empirical(x), [0.3] * 5, seed=0)
    after_one = path.laws[1].x.mean(0)
    expected = F.target.mean(0) + 0.9**4 * (after_one - F.target.mean(0))
    torch.testing.assert_close(path.final.x.mean(0), expected, rtol=1e-12, atol=1e-13)


def test_the_flow_of_sliced_mmd_comes_near_its_target():
    y = zoo.randn(0, 300, 2) + zoo.doubles(3, 0)
    F = SlicedMMD2(Energy(), y, 16)
    path = evolve(F, Particles(300), Normal.standard(2, dtype=zoo.DOUBLE), [1.0] * 60, seed=0)
    assert path.energy[-1] < 0.01 * path.energy[0]
    torch.testing.assert_close(path.final.x.mean(0), y.mean(0), rtol=0, atol=0.1)


# The metric


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("m", [300, 411])
def test_the_metric_compiled_is_the_metric_and_that_of_pot(m, dtype, monkeypatch):
    x, y = zoo.randn(0, 300, 4, dtype=dtype), 2 * zoo.randn(1, m, 4, dtype=dtype) + 1
    y[3] = 1e4  # a far outlier, whose row no buckets resolve
    theta = orthogonal_directions(4, 12, 0).to(dtype)
    plain = sliced_wasserstein2(x, y, theta)
    tolerance = 1e-12 if dtype == torch.float64 else 2e-5
    pot = ot.sliced_wasserstein_distance(x.double().numpy(), y.double().numpy(), projections=theta.T.double().numpy())
    assert plain == pytest.approx(float(pot), rel=tolerance)
    monkeypatch.setattr(sorting, "COMPILED", 0)
    assert sliced_wasserstein2(x, y, theta) == pytest.approx(plain, rel=tolerance)
    assert sliced_wasserstein2(x, x[torch.randperm(300, generator=torch.Generator().manual_seed(0))], theta) == 0


def test_points_at_the_edge_of_what_float32_holds_keep_their_distance(compiled):
    x, y = (1e38 * zoo.randn(seed, 50, 2, dtype=torch.float32).clamp(-2, 2) for seed in (0, 1))
    theta = orthogonal_directions(2, 6, 0)
    exact = sliced_wasserstein2(x.double(), y.double(), theta)
    assert sliced_wasserstein2(x, y, theta.float()) == pytest.approx(exact, rel=1e-6)


X = zoo.randn(0, 5, 2)
BAD = {
    "the target must have 3 columns, got 2": lambda: SlicedW2(X).energy(Cloud(zoo.randn(0, 5, 3))),
    "must have 3 columns": lambda: SlicedMMD2(Energy(), X).first_variation(Cloud(zoo.randn(0, 5, 3))),
    "the target has 10 entries that are NaN": lambda: SlicedW2(X * math.nan),
    r"the target must have shape \(n, d\)": lambda: SlicedMMD2(Energy(), X[0]),
    "projections must be an integer of at least 1": lambda: SlicedW2(X, 0),
    "rows must be an integer of at least 1": lambda: SlicedW2(zoo.target(), rows=0),
    "must be unit vectors": lambda: sliced_wasserstein2(X, X, 2 * X),
    "projections must be an integer": lambda: sliced_wasserstein2(X, X, 0, torch.Generator()),
    "y is torch.float32": lambda: sliced_wasserstein2(X, X.float(), 5, torch.Generator()),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_input_is_refused_in_a_sentence(message):
    with pytest.raises(InputError, match=message):
        BAD[message]()


def test_a_kernel_that_cannot_be_sliced_says_which_can():
    with pytest.raises(Incompatible, match=r"Gaussian.*cannot be sliced.*Energy\(1\)"):
        SlicedMMD2(Gaussian(1.0), X)
