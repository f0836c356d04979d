"""Training on problems whose answers are known: minima, saddle points, restored and averaged weights."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest
import torch
import zoo
from torch import Tensor, nn

from wgf.errors import Diverged, InputError
from wgf.optimisers import FusedAdam, gradients
from wgf.training import LBFGS, Adam, Alternate, Progress, Rows, saddle

H, CENTRE = zoo.doubles([3, 1, 0], [1, 2, 0.5], [0, 0.5, 1]), zoo.doubles(1, -2, 0.5)
DATA = zoo.randn(0, 64, 3)


def never(progress: Progress) -> bool:
    return False


class Point(nn.Module):
    """One vector to train."""

    def __init__(self, *values: float) -> None:
        super().__init__()
        self.w = nn.Parameter(zoo.doubles(*values))


@dataclass
class Bowl:
    """½E(w − c − ξ)ᵀH(w − c − ξ) over rows ξ: its minimum is at c + mean ξ."""

    point: Point
    rows: int = len(DATA)
    seen: list[Tensor] = field(default_factory=list)

    def loss(self, rows: Rows, key: int) -> Tensor:
        self.seen.append(torch.arange(self.rows)[rows])
        away = self.point.w - CENTRE - DATA[rows]
        return 0.5 * (away @ H * away).sum(-1).mean()

    def score(self) -> float:
        with torch.no_grad():
            return float(self.loss(torch.arange(self.rows), 0))


MINIMUM = CENTRE + DATA.mean(0)


def test_lbfgs_finds_the_minimum_of_a_quadratic():
    point = Point(0, 0, 0)
    curve = LBFGS(50, tolerance=1e-12).minimise(Bowl(point), point, 0, never)
    torch.testing.assert_close(point.w.detach(), MINIMUM, rtol=0, atol=1e-9)
    assert [index for index, _ in curve] == list(range(len(curve)))
    assert curve[0][1] == pytest.approx(Bowl(Point(0, 0, 0)).score())
    assert curve[-1][1] <= curve[0][1]


def test_lbfgs_restores_its_start_where_it_fails():
    class Cliff(Bowl):
        def loss(self, rows: Rows, key: int) -> Tensor:
            return super().loss(rows, key) + (self.point.w[0] - 0.5).clamp(max=0) * math.nan

    point = Point(0, 0, 0)
    with pytest.raises(Diverged, match="loss of nan"):
        LBFGS(5).minimise(Cliff(point), point, 0, never)
    assert torch.equal(point.w.detach(), zoo.doubles(0, 0, 0))


def test_adam_reaches_the_minimum():
    point = Point(0, 0, 0)
    Adam(iterations=400, batch=64, rate=5e-2).minimise(Bowl(point), point, 0, never)
    torch.testing.assert_close(point.w.detach(), MINIMUM, rtol=0, atol=2e-3)


def test_batches_cover_the_rows_evenly():
    point = Point(0, 0, 0)
    bowl = Bowl(point)
    Adam(iterations=8, batch=24, checks=1).minimise(bowl, point, 5, never)
    batches = [rows for rows in bowl.seen if len(rows) == 24]
    assert len(batches) == 8
    counts = torch.bincount(torch.cat(batches), minlength=64)
    assert counts.tolist() == [3] * 64  # 8 · 24 = 3 · 64
    assert all(len(rows.unique()) == 24 for rows in batches)
    again = Bowl(Point(0, 0, 0))
    Adam(iterations=8, batch=24, checks=1).minimise(again, again.point, 6, never)
    assert not torch.equal(again.seen[1], bowl.seen[1])  # another key, another start


@pytest.mark.parametrize("recipe", [Adam(iterations=40, batch=16), LBFGS(10)], ids=["Adam", "LBFGS"])
def test_the_key_decides_every_bit(recipe):
    ends = []
    for _ in range(2):
        point = Point(0, 0, 0)
        recipe.minimise(Bowl(point), point, 3, never)
        ends.append(point.w.detach())
    assert torch.equal(*ends)


# What Adam keeps


class Drift:
    """A loss that pushes w upwards without end, and a score that is best at w = ½: training passes the best point."""

    rows = 4

    def __init__(self, point: Point) -> None:
        self.point = point
        self.scored: list[tuple[float, float]] = []

    def loss(self, rows: Rows, key: int) -> Tensor:
        return -self.point.w.sum()

    def score(self) -> float:
        w = float(self.point.w.detach())
        self.scored.append((abs(w - 0.5), w))
        return abs(w - 0.5)


def test_the_best_weights_are_kept_and_are_a_copy():
    point = Point(0.0)
    drift = Drift(point)
    curve = Adam(iterations=100, rate=0.05, checks=20).minimise(drift, point, 0, never)
    best, at = min(drift.scored)
    assert point.w.item() == at
    assert best == min(score for _, score in curve) < 0.1
    assert max(w for _, w in drift.scored) > at + 0.5  # it went on, and came back
    assert curve[0] == (0, 0.5)


def test_training_that_never_improves_leaves_the_start():
    point = Point(0.5)
    Adam(iterations=30, rate=0.05).minimise(Drift(point), point, 0, never)
    assert point.w.item() == 0.5


def test_scores_are_those_of_the_average():
    """After one step of size r the average is w_0 + (1 − past) r with past = 1/10."""
    point = Point(0.0)
    drift = Drift(point)
    Adam(iterations=1, rate=0.1, checks=1).minimise(drift, point, 0, never)
    assert drift.scored[1][1] == pytest.approx(0.9 * 0.1, rel=1e-6)


def test_the_rate_decays_to_its_final_share():
    seen = []

    class Watched(Drift):
        def loss(self, rows: Rows, key: int) -> Tensor:
            seen.append(float(self.point.w.detach()))
            return super().loss(rows, key)

    Adam(iterations=200, rate=0.1, final=0.01, checks=1).minimise(Watched(point := Point(0.0)), point, 0, never)
    steps = torch.tensor(seen).diff()  # a constant gradient: each step has the length of the rate
    assert float(steps[0]) == pytest.approx(0.1, rel=1e-3)
    assert float(steps[99]) == pytest.approx(0.1 * (0.01 + 0.99 * 0.5), rel=0.02)
    assert float(steps[-1]) == pytest.approx(0.001, rel=0.1)


class Poisoned(Drift):
    """NaN at the losses whose numbers are in `at`."""

    def __init__(self, point: Point, at: set[int]) -> None:
        super().__init__(point)
        self.at, self.count, self.before = at, 0, []

    def loss(self, rows: Rows, key: int) -> Tensor:
        self.before.append(float(self.point.w.detach()))
        self.count += 1
        return super().loss(rows, key) * (math.nan if self.count in self.at else 1.0)

    def score(self) -> float:
        return -float(self.point.w.detach())


def test_a_retry_restores_the_best_weights_and_halves_the_rate():
    point = Point(0.0)
    poisoned = Poisoned(point, at={15})
    curve = Adam(iterations=40, rate=0.1, checks=4, averaging=0.0, final=1.0).minimise(poisoned, point, 0, never)
    seen = poisoned.before  # w before the losses number 1, 2, …: checks come after 10, 20, 30, 40
    assert seen[10] - seen[9] == pytest.approx(0.1, rel=1e-3)
    assert math.isnan(seen[19])
    assert seen[20] == pytest.approx(seen[10])  # the best so far: what was scored after ten
    assert seen[21] - seen[20] == pytest.approx(0.05, rel=1e-3)
    assert [math.isnan(score) for _, score in curve] == [False, False, True, False, False]
    assert point.w.item() == pytest.approx(seen[10] + 20 * 0.05, rel=1e-2)


def test_too_many_retries_are_a_failure_with_the_best_weights_in_place():
    point = Point(0.0)
    with pytest.raises(Diverged, match=r"not finite 3 times, last at iteration 40 with rate 0\.025"):
        Adam(iterations=80, rate=0.1, checks=8, averaging=0.0, final=1.0, retries=2).minimise(
            Poisoned(point, at=set(range(15, 100))), point, 0, never
        )
    assert point.w.item() == pytest.approx(1.0, rel=1e-3)


def test_a_watch_can_stop_and_hears_where_things_stand():
    heard: list[Progress] = []

    def watch(progress: Progress) -> bool:
        heard.append(progress)
        return len(heard) == 3

    point = Point(0, 0, 0)
    curve = Adam(iterations=80, batch=64, checks=8).minimise(Bowl(point), point, 0, watch)
    assert [progress.iteration for progress in heard] == [10, 20, 30]
    assert [score for _, score in curve[1:]] == [progress.loss for progress in heard]
    assert heard[0].of == 80
    assert heard[0].seconds <= heard[1].seconds


# Games


class Quadratic:
    """½a x² + b x y − ½c y² + p x + q y: x lowers it, y raises it."""

    rows, batch = 8, 8
    a, b, c, p, q = 2.0, 1.5, 1.0, -1.0, 0.5

    def __init__(self, x: Point, y: Point) -> None:
        self.x, self.y = x.w, y.w

    def loss(self) -> Tensor:
        x, y = self.x, self.y
        return (0.5 * self.a * x**2 + self.b * x * y - 0.5 * self.c * y**2 + self.p * x + self.q * y).sum()

    def value(self, rows: Rows, key: int) -> float:
        return float(self.loss().detach())

    def descent(self, rows: Rows, key: int) -> list[Tensor]:
        return gradients(self.loss(), [self.x])

    def seen(self, rows: Rows, count: int, key: int) -> Sequence[Tensor]:
        return torch.arange(self.rows)[rows].view(count, self.batch).unbind()

    def ascent(self, seen: Tensor, key: int) -> list[Tensor]:
        return gradients(-self.loss(), [self.y])

    @classmethod
    def solution(cls) -> Tensor:
        matrix = zoo.doubles([cls.a, cls.b], [cls.b, -cls.c])
        return torch.linalg.solve(matrix, zoo.doubles(-cls.p, -cls.q))


GAME = Alternate(iterations=500, inner=3, refit=200, rate=5e-2, critic_rate=5e-2, batch=8)


def test_a_game_ends_at_its_saddle_point():
    x, y = Point(3.0), Point(-2.0)
    curve = saddle(Quadratic(x, y), x, y, GAME, 0, never)
    torch.testing.assert_close(torch.cat([x.w, y.w]).detach(), Quadratic.solution(), rtol=0, atol=0.02)
    value = Quadratic(*(Point(each) for each in Quadratic.solution().tolist())).loss().item()
    assert curve[-1][1] == pytest.approx(value, abs=0.02)


class Rebinding(torch.optim.Optimizer):
    """Plain descent that gives each parameter new data, where others write on the old."""

    def __init__(self, parameters: list[nn.Parameter]) -> None:
        super().__init__(parameters, {"lr": 0.0})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        for group in self.param_groups:
            for p in group["params"]:
                p.data = p.data - group["lr"] * p.grad


def test_an_optimiser_may_give_parameters_new_data():
    x, y = Point(3.0), Point(-2.0)
    saddle(Quadratic(x, y), x, y, replace(GAME, optimiser=Rebinding), 0, never)
    torch.testing.assert_close(torch.cat([x.w, y.w]).detach(), Quadratic.solution(), rtol=0, atol=0.02)


def test_refitting_is_the_best_answer_to_the_final_map():
    x, y = Point(3.0), Point(-2.0)
    saddle(Quadratic(x, y), x, y, Alternate(2, 1, 600, 8, rate=1e-2, critic_rate=5e-2), 0, never)
    answer = (Quadratic.b * x.w.item() + Quadratic.q) / Quadratic.c
    assert abs(x.w.item() - float(Quadratic.solution()[0])) > 1
    assert y.w.item() == pytest.approx(answer, abs=0.05)


def test_a_game_can_be_stopped():
    heard: list[Progress] = []
    x, y = Point(3.0), Point(-2.0)
    curve = saddle(Quadratic(x, y), x, y, GAME, 0, lambda progress: bool(heard.append(progress)) or len(heard) == 2)
    assert [progress.iteration for progress in heard] == [iteration for iteration, _ in curve] == [25, 50]


class Spoiled(Quadratic):
    """NaN to the map at its moves number `at`."""

    def __init__(self, x: Point, y: Point, at: set[int]) -> None:
        super().__init__(x, y)
        self.at, self.moves = at, 0

    def value(self, rows: Rows, key: int) -> float:
        return super().value(rows, key) * (math.nan if self.moves + 1 in self.at else 1.0)

    def descent(self, rows: Rows, key: int) -> list[Tensor]:
        self.moves += 1
        return [slope * (math.nan if self.moves in self.at else 1.0) for slope in super().descent(rows, key)]


def test_a_game_recovers_from_a_loss_that_is_not_finite():
    x, y = Point(3.0), Point(-2.0)
    curve = saddle(Spoiled(x, y, {40}), x, y, GAME, 0, never)
    assert [math.isnan(value) for _, value in curve].count(True) == 1
    torch.testing.assert_close(torch.cat([x.w, y.w]).detach(), Quadratic.solution(), rtol=0, atol=0.02)


class Slope:
    """x falls and y rises at constant slope, so that Adam's steps have the length of its rates; NaN at move 30."""

    rows, batch = 8, 8

    def __init__(self, x: Point, y: Point) -> None:
        self.x, self.y, self.met = x.w, y.w, []

    def value(self, rows: Rows, key: int) -> float:
        return self.x.item() * (math.nan if len(self.met) == 29 else 1.0)

    def descent(self, rows: Rows, key: int) -> list[Tensor]:
        self.met.append((self.x.item(), self.y.item()))
        return [torch.full_like(self.x, math.nan if len(self.met) == 30 else 1.0)]

    def seen(self, rows: Rows, count: int, key: int) -> Sequence[Tensor]:
        return torch.arange(self.rows)[rows].view(count, self.batch).unbind()

    def ascent(self, seen: Tensor, key: int) -> list[Tensor]:
        return gradients(-self.y.sum(), [self.y])


def test_a_game_that_recovers_restores_both_players_and_halves_both_rates():
    x, y = Point(0.0), Point(0.0)
    game = Slope(x, y)
    recipe = Alternate(60, inner=1, refit=0, batch=8, rate=0.1, critic_rate=0.2, final=1.0, averaging=0.0)
    saddle(game, x, y, recipe, 0, never)  # checks come every three moves; y has moved once more than x when x is seen
    seen = torch.tensor(game.met)
    torch.testing.assert_close(seen[:30].diff(dim=0), torch.tensor([[-0.1, 0.2]]).expand(29, 2), rtol=1e-4, atol=0)
    torch.testing.assert_close(seen[30], torch.tensor([-2.7, 5.4 + 0.1]), rtol=1e-4, atol=0)  # as after 27 moves
    torch.testing.assert_close(seen[30:].diff(dim=0), torch.tensor([[-0.05, 0.1]]).expand(29, 2), rtol=1e-4, atol=0)


class Keyed(Slope):
    """One that notes its keys, and where y stands before its moves."""

    def __init__(self, x: Point, y: Point) -> None:
        super().__init__(x, y)
        self.keys, self.stood = [], []

    def descent(self, rows: Rows, key: int) -> list[Tensor]:
        self.keys.append(key)
        return super().descent(rows, key)

    def seen(self, rows: Rows, count: int, key: int) -> Sequence[Tensor]:
        self.keys.append(key)
        return super().seen(rows, count, key)

    def ascent(self, seen: Tensor, key: int) -> list[Tensor]:
        self.keys.append(key)
        self.stood.append(self.y.item())
        return super().ascent(seen, key)


def test_no_key_serves_twice_and_refitting_slows_down():
    """Moves of y have the length of its rate: of a refit's, critic_rate · max(½(1 + cos πk/R), final)."""
    x, y = Point(0.0), Point(0.0)
    game = Keyed(x, y)
    recipe = Alternate(4, inner=2, refit=5, batch=8, critic_rate=0.1, final=0.3, averaging=0.0)
    saddle(game, x, y, recipe, 0, never)
    assert len(set(game.keys)) == len(game.keys) == 4 + 4 + 8 + 3 + 5
    moves = torch.tensor([*game.stood[8:], y.w.item()]).diff()
    expected = torch.tensor([0.1 * max(0.5 * (1 + math.cos(math.pi * k / 5)), 0.3) for k in range(5)])
    torch.testing.assert_close(moves, expected, rtol=1e-3, atol=0)


class Roomy(Slope):
    """One of 64 rows that notes those of its players' moves."""

    rows, batch = 64, 24

    def __init__(self, x: Point, y: Point) -> None:
        super().__init__(x, y)
        self.of_x, self.of_y = [], []

    def descent(self, rows: Rows, key: int) -> list[Tensor]:
        self.of_x.append(torch.arange(64)[rows])
        return super().descent(rows, key)

    def seen(self, rows: Rows, count: int, key: int) -> Sequence[Tensor]:
        self.of_y.append(torch.arange(64)[rows])
        return super().seen(rows, count, key)


def test_batches_of_a_game_cover_the_rows_evenly_from_where_the_key_says():
    starts = set()
    for key in range(4):
        x, y = Point(0.0), Point(0.0)
        game = Roomy(x, y)
        saddle(game, x, y, Alternate(8, inner=3, refit=0, batch=24), key, never)
        for rows, times in ((torch.stack(game.of_x), 3), (torch.cat(game.of_y), 9)):
            assert torch.bincount(rows.flatten(), minlength=64).tolist() == [times] * 64
        starts.add(game.of_x[0][0].item())
    assert len(starts) > 1


class Watched(Quadratic):
    """One that notes which players' weights want gradients while the map moves, and breaks at its move `last`."""

    def __init__(self, x: Point, y: Point, last: int) -> None:
        super().__init__(x, y)
        self.met: list[tuple[bool, bool]] = []
        self.last = last

    def descent(self, rows: Rows, key: int) -> list[Tensor]:
        self.met.append((self.x.requires_grad, self.y.requires_grad))
        if len(self.met) == self.last:
            raise ZeroDivisionError
        return super().descent(rows, key)


@pytest.mark.parametrize("refit", [0, 3])
def test_critics_want_no_gradients_while_the_map_moves_and_do_afterwards(refit):
    x, y = Point(3.0), Point(-2.0)
    game = Watched(x, y, last=6)
    saddle(game, x, y, Alternate(4, 1, refit, 8), 0, never)
    assert game.met == 4 * [(True, False)]
    assert y.w.requires_grad
    with pytest.raises(ZeroDivisionError):
        saddle(game, x, y, Alternate(4, 1, refit, 8), 0, never)
    assert y.w.requires_grad


class Turned(torch.autograd.Function):
    """The identity, whose gradient is laid out in columns."""

    @staticmethod
    def forward(ctx, w):
        return w.clone()

    @staticmethod
    def backward(ctx, g):
        return g.T.contiguous().T


def test_gradients_are_read_by_their_places_not_by_their_layout():
    """Moves of Adam are signs of gradients at first: −rate where they are positive, rate where not."""
    slopes = zoo.doubles([1, -1, 1], [-1, -1, 1])

    class Linear(Quadratic):
        def loss(self) -> Tensor:
            return (slopes * Turned.apply(self.x)).sum() + self.y.sum()

    x, y = Point(0.0), Point(0.0)
    x.w = torch.nn.Parameter(torch.zeros(2, 3, dtype=zoo.DOUBLE))
    game = Linear(x, y)
    saddle(game, x, y, Alternate(1, 1, 0, 8, rate=0.1, averaging=0.0), 0, never)
    torch.testing.assert_close(x.w.detach(), -0.1 * slopes, rtol=1e-4, atol=0)


def test_the_fused_kernel_takes_the_steps_of_adam():
    start, slopes = zoo.randn(0, 3, 2), [zoo.randn(k, 3, 2) for k in range(1, 6)]
    ours, theirs = (torch.nn.Parameter(start.clone()) for _ in range(2))
    fused, adam = FusedAdam([ours], (0.5, 0.99)), torch.optim.Adam([theirs], betas=(0.5, 0.99))
    for k, slope in enumerate(slopes):
        fused.step([slope], 0.1 / (1 + k))
        adam.param_groups[0]["lr"], theirs.grad = 0.1 / (1 + k), slope
        adam.step()
    torch.testing.assert_close(ours, theirs)


def test_adam_reads_weights_by_their_places_not_by_their_layout():
    slopes = zoo.doubles([1, -1, 1], [-1, -1, 1])
    module = torch.nn.Module()
    module.w = torch.nn.Parameter(torch.zeros(3, 2, dtype=zoo.DOUBLE).T)

    class Tilted:
        rows = 8

        def loss(self, rows: Rows, key: int) -> Tensor:
            return (slopes * module.w).sum()

        def score(self) -> float:
            return float(self.loss(torch.arange(8), 0).detach())

    Adam(1, 8, 0.1, averaging=0.0).minimise(Tilted(), module, 0, never)
    torch.testing.assert_close(module.w.detach(), -0.1 * slopes, rtol=1e-4, atol=0)


def test_a_game_gives_up_with_the_last_good_weights():
    x, y = Point(3.0), Point(-2.0)
    with pytest.raises(Diverged, match="not finite 4 times"):
        saddle(Spoiled(x, y, set(range(26, 10_000))), x, y, GAME, 0, never)
    assert torch.isfinite(x.w).all()
    assert torch.isfinite(y.w).all()
    assert x.w.item() < 3


BAD = {
    "iterations must be": lambda: Adam(iterations=0),
    "batch must be": lambda: Adam(batch=0.5),
    "rate must be": lambda: Adam(rate=-1.0),
    "averaging must lie in": lambda: Adam(averaging=1.0),
    "tolerance must be": lambda: LBFGS(tolerance=0.0),
    "iterations must be an integer of at least 1, got 0": lambda: LBFGS(0),
    "inner must be": lambda: Alternate(inner=0),
    "refit must be": lambda: Alternate(refit=-1),
    "critic_rate must be": lambda: Alternate(critic_rate=math.nan),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_recipes_are_refused_by_name(message):
    with pytest.raises(InputError, match=message):
        BAD[message]()


@dataclass
class Blind(Bowl):
    """A bowl whose first `dark` scores are not finite."""

    dark: int = 1

    def score(self) -> float:
        self.dark -= 1
        return math.nan if self.dark >= 0 else super().score()


def test_a_first_score_that_is_not_finite_does_not_stop_training():
    point = Point(0.0, 0.0, 0.0)
    start = float(Bowl(point).loss(torch.arange(len(DATA)), 0).detach())
    Adam(200, 64, rate=0.1, checks=4).minimise(Blind(point), point, 0, never)
    assert float(Bowl(point).loss(torch.arange(len(DATA)), 0).detach()) < 0.9 * start


def test_training_that_never_saw_a_finite_score_says_so():
    point = Point(0.0, 0.0, 0.0)
    with pytest.raises(Diverged, match="no loss was finite in 20 iterations"):
        Adam(20, 64, checks=2).minimise(Blind(point, dark=100), point, 0, never)
    assert torch.equal(point.w.detach(), zoo.doubles(0.0, 0.0, 0.0))
