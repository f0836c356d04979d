"""Optimal transport between two sets of points on a line, or on many lines at once: quantiles of equal level meet."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


class LineTransport:
    """The optimal plans from (1/n) Σ δ_{u_i} to (1/m) Σ δ_{v_j} on each of p lines, exactly for any n and m.

    Atom u_i holds the levels from i/n to (i+1)/n of mass, and these go where G⁻¹, the quantiles of the v, sends them.
    The potential φ, with W₂²/2 = ∫φ dμ + ∫φᶜ dν, has the slope s − G⁻¹(F(s)) between the atoms, F the distribution
    function of the u. At an atom, where that jumps, the slope is the mean over the atom's levels: n times the
    derivative of W₂²/2 in its position. Where G⁻¹ itself jumps at a level, the middle of the jump is taken.

    Args: u (p, n) and v (p, m), float64, each row in ascending order.
    """

    def __init__(self, u: Float[Tensor, "p n"], v: Float[Tensor, "p m"]) -> None:
        self.u, self.v = u, v
        self.index, self.mass = _levels(u.shape[1], v.shape[1], u.device)

    def costs(self) -> Float[Tensor, "p n"]:
        """½ n ∫ |u_i − G⁻¹|² over the levels of each atom: its mean is W₂²/2."""
        return 0.5 * ((self.u[..., None] - self.v[:, self.index]).square() * self.mass).sum(-1)

    def images(self) -> Float[Tensor, "p n"]:
        """n ∫ G⁻¹ over the levels of each atom, coincident atoms being one: where its mass goes, on average."""
        images = (self.v[:, self.index] * self.mass).sum(-1)
        if not (self.u[:, 1:] == self.u[:, :-1]).any():
            return images
        below, up_to = self._counts(self.u)
        return _means(images, below, up_to)

    def slope(self, s: Float[Tensor, "p k"]) -> Float[Tensor, "p k"]:
        """φ′(s)."""
        below, up_to = self._counts(s)
        between = self._between().gather(1, below)
        if not (at := up_to > below).any():
            return s - between
        images = self.images().gather(1, below.clamp_max(self.u.shape[1] - 1))
        return s - torch.where(at, images, between)

    def potential(self, s: Float[Tensor, "p k"]) -> Float[Tensor, "p k"]:
        """φ(s), of mean zero over the atoms."""
        between, last = self._between(), self.u.shape[1] - 1
        middle = 0.5 * (self.u[:, 1:] + self.u[:, :-1])
        rises = (self.u.diff(dim=1) * (middle - between[:, 1:-1])).cumsum(1)
        at_atoms = torch.cat([torch.zeros_like(self.u[:, :1]), rises], 1)
        at_atoms = at_atoms - at_atoms.mean(1, keepdim=True)
        below = torch.searchsorted(self.u, s.contiguous())
        near = (below - 1).clamp(0, last)
        atom = self.u.gather(1, near)
        return at_atoms.gather(1, near) + (s - atom) * (0.5 * (s + atom) - between.gather(1, below))

    def _between(self) -> Float[Tensor, "p n+1"]:
        """G⁻¹ at the levels 0, 1/n, …, 1."""
        n, m = self.u.shape[1], self.v.shape[1]
        level = torch.arange(n + 1, device=self.u.device) * m  # in units of 1/nm, so exact
        left, right = (-(-level // n) - 1).clamp_min(0), (level // n).clamp_max(m - 1)
        return 0.5 * (self.v[:, left] + self.v[:, right])

    def _counts(self, s: Float[Tensor, "p k"]) -> tuple[Int[Tensor, "p k"], Int[Tensor, "p k"]]:
        """How many atoms are below s, and how many up to it."""
        s = s.contiguous()
        return torch.searchsorted(self.u, s), torch.searchsorted(self.u, s, right=True)


def _levels(n: int, m: int, device: torch.device) -> tuple[Int[Tensor, "n k"], Float[Tensor, "n k"]]:
    """Which of m atoms each of n meets, and the share of its mass that goes there."""
    start = torch.arange(n, device=device) * m  # in units of 1/nm, so exact
    first, last = start // n, (start + m - 1) // n
    index = first[:, None] + torch.arange(int((last - first).max()) + 1, device=device)
    shared = torch.minimum((index + 1) * n, (start + m)[:, None]) - torch.maximum(index * n, start[:, None])
    return index.clamp_max(m - 1), shared.clamp_min(0).double() / m


def _means(values: Float[Tensor, "p n"], below: Int[Tensor, "p n"], up_to: Int[Tensor, "p n"]) -> Float[Tensor, "p n"]:
    """The mean of values[below:up_to], for runs that are mostly of one."""
    sums = torch.cat([torch.zeros_like(values[:, :1]), values.cumsum(1)], 1)
    size = up_to - below
    means = (sums.gather(1, up_to) - sums.gather(1, below)) / size
    return torch.where(size == 1, values, means)
