"""One step of τ = ∞ against the plain adversarial game, written out here: a hundred updates, bit for bit."""

import math

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn.functional import logsigmoid, softplus

from validation.report import Check, Context, Report, at_least, at_most
from validation.studies._plots import axes, finish
from wgf import Alternate, Critic, Empirical, FDivergence, Gaussian, JensenShannon, Path, Residual, evolve, keys
from wgf.functionals import functional
from wgf.steppers import Anchor, Base, Previous, SaddleJKO

NAME = "gan-limit"
UPDATES, BATCH, RATE, WIDTH, HELD, SEED = 100, 64, 1e-3, 16, 100, 7
START = Gaussian.standard(2)


def data() -> Empirical:
    """Two clusters of 500 points."""
    noise = torch.randn(1000, 2, generator=keys.generator(5))
    return Empirical(torch.tensor([[3.0, 0.0], [0.0, 3.0]]).repeat(500, 1) + 0.3 * noise)


def study(quick: bool = False) -> Report:
    """The Jensen–Shannon game in float32, one update of each player in turn, from either anchor; quick is the same."""
    runs = {repr(anchor): _run(anchor) for anchor in (Base(), Previous())}
    checks, rows = [], []
    for name, (path, map, critic) in runs.items():
        found, row = _compare(name, path, map, critic)
        checks += found
        rows.append(row)
    return Report(NAME, tuple(checks), tuple(rows), _figure(*next(iter(runs.values()))))


def stepper(anchor: Anchor) -> SaddleJKO:
    """A step with no refits, no decay and no averages."""
    game = Alternate(UPDATES, inner=1, refit=0, batch=BATCH, rate=RATE, critic_rate=RATE, final=1.0, averaging=0.0)
    return SaddleJKO(Residual(2, WIDTH), Critic(2, WIDTH), anchor, game, particles=2000, held=HELD)


def by_hand(pool: Tensor, key: int) -> tuple[nn.Module, nn.Module]:
    """min over T, max over D of E log 2D(T(x)) + E log 2(1 − D(z)): Goodfellow et al. 2014 in logits, by Adam."""
    map, critic, target = Residual(2, WIDTH), Critic(2, WIDTH), data()
    map.reset(keys.generator(key, 0, 1))
    critic.reset(keys.generator(key, 0, 4, 0))
    critic.standardise(torch.cat([pool, target.sample(len(pool), keys.generator(keys.fold(key, 0, 4, 0, 1)))]))
    first, second = (torch.optim.Adam(p.parameters(), lr=RATE, betas=(0.5, 0.99), fused=True) for p in (map, critic))
    training, rows = keys.fold(key, 0, 2), len(pool) - HELD
    for k in range(UPDATES):
        start = keys.fold(training) % rows + k * BATCH
        x = pool[torch.arange(start, start + BATCH) % rows + HELD]
        with torch.no_grad():
            fake = map(x)
        real = target.sample(BATCH, keys.generator(keys.fold(keys.fold(training, 1, k), 0, 0)))
        at_fake, at_real = critic(torch.cat([fake, real])).split(BATCH)
        loss = -(math.log(2) + logsigmoid(at_fake).mean() - (softplus(at_real) - math.log(2)).mean())
        second.zero_grad()
        loss.backward()
        second.step()
        first.zero_grad()
        (math.log(2) + logsigmoid(critic(map(x)))).mean().backward()
        first.step()
    return map, critic


def _run(anchor: Anchor) -> tuple[Path, nn.Module, nn.Module]:
    F, ours = FDivergence(JensenShannon(), data()), stepper(anchor)
    path = evolve(F, ours, START, [math.inf], seed=SEED)
    start = ours.init(functional(F), START, SEED)
    return path, *by_hand(start.x, start.key)


def _compare(name: str, path: Path, map: nn.Module, critic: nn.Module) -> tuple[list[Check], Context]:
    mine, plain = path.state.memory["map"], map.state_dict()
    judged = {key.removeprefix("0."): value for key, value in path.state.memory["critics"].items()}
    fresh = Residual(2, WIDTH)
    fresh.reset(keys.generator(path.state.key, 0, 1))
    moved = _largest(plain, fresh.state_dict())
    off = {"map": _largest(mine, plain), "critic": _largest(judged, critic.state_dict())}
    checks = [at_most(NAME, f"{name}: largest difference of a weight, {player}", off[player], 0.0) for player in off]
    checks.append(at_least(NAME, f"{name}: largest motion of a weight of the map", moved, 10 * RATE))
    return checks, Context(name, {"updates": UPDATES, "dual": sum(path.infos[0].dual.values())})


def _largest(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> float:
    if ours.keys() != theirs.keys():
        return math.inf
    return max(float((ours[key] - theirs[key]).abs().max()) for key in ours)


@torch.no_grad()
def _figure(path: Path, map: nn.Module, critic: nn.Module) -> Figure:
    figure, (left, right) = axes(2)
    stepped = path.infos[0].map
    assert stepped is not None
    x = START.sample(400, keys.generator(1))
    for name, rows, style in (
        ("data", data().x[:400], "."),
        ("the step, τ = ∞", stepped(x), "o"),
        ("the game by hand", map(x), "x"),
    ):
        left.plot(*rows.T, style, ms=4, mfc="none", label=name)
    finish(left, f"After {UPDATES} updates", "x₁", "x₂")
    line = torch.linspace(-3, 5, 200)
    across = torch.stack([line, 3 - line], 1)
    right.plot(line, stepped(across)[:, 0], "-", lw=4, alpha=0.4, label="T₁ of the step")
    right.plot(line, map(across)[:, 0], "k--", lw=1, label="T₁ by hand")
    right.plot(line, critic(across), ":", label="critic by hand")
    finish(right, "On the line through both clusters", "x₁ (x₂ = 3 − x₁)", "map [length], critic [nats]")
    return figure
