"""Laws on a ball with density ∝ (1 − |x|²/R²)^p: uniform, semicircle, Barenblatt, and all profiles between them."""

import math

import torch
from jaxtyping import Bool, Float
from scipy.special import betainc, betaincinv, gammaln
from torch import Tensor

from wgf import checks
from wgf.errors import InputError
from wgf.law import Law, Like


class PearsonII(Law):
    """ρ(c + x) = Γ(d/2 + p + 1)/(π^{d/2} Γ(p + 1) R^d) (1 − |x|²/R²)₊^p, Pearson's type II: its mass is one.

    p = 0 is the uniform law of the ball, p = ½ Wigner's semicircle for d = 1, p = 1/(m − 1) the Barenblatt profile of
    ∂_tρ = Δρ^m. |x|²/R² has the law Beta(d/2, p + 1) and the direction is uniform, which is how it is sampled;
    E|x|² = R² d/(d + 2p + 2). log_prob is −∞ outside the ball.

    Args: dim, d ≥ 1; radius, R > 0, in units of x; power, p > −1; dtype, float64 by default; centre, c, the origin by
    default.
    Raises: InputError for an argument outside these ranges. Source: Johnson, *Multivariate Statistical Simulation*,
    Wiley 1987, section 6.2.
    """

    def __init__(
        self, dim: int, radius: float, power: float, dtype: torch.dtype = torch.float64, centre: Like | None = None
    ) -> None:
        self.radius = checks.positive("the radius of a PearsonII law", radius)
        if isinstance(power, bool) or not (isinstance(power, (int, float)) and -1 < power < math.inf):
            raise InputError(f"the power of a PearsonII law must be a finite number above −1, got {power!r}")
        self.power = float(power)
        d = checks.at_least("the dimension of a PearsonII law", dim, 1)
        origin = torch.zeros(d, dtype=dtype)
        self.centre = origin if centre is None else checks.vector("the centre of a PearsonII law", centre, d, origin)

    @property
    def like(self) -> Tensor:
        return self.centre

    @property
    def has_density(self) -> bool:
        return True

    @property
    def spread(self) -> float:
        """√((d + 2p + 2)/d), so that R = spread · √E|x|²."""
        return ((self.dim + 2 * self.power + 2) / self.dim) ** 0.5

    def sample(self, n: int, generator: torch.Generator | None = None) -> Float[Tensor, "n d"]:
        like = self.centre
        unit = torch.rand(n, dtype=torch.float64, device=like.device, generator=generator)
        direction = torch.randn(n, self.dim, dtype=torch.float64, device=like.device, generator=generator)
        r = self.radius * self._quantile(unit).sqrt()
        return like + (r[:, None] * direction / direction.norm(dim=1, keepdim=True)).to(like)

    def _quantile(self, share: Tensor) -> Tensor:
        """The s = |x|²/R² below which this share of the mass lies."""
        if self.power == 0:
            return share.pow(2 / self.dim)
        return torch.from_numpy(betaincinv(self.dim / 2, self.power + 1, share.cpu().numpy())).to(share.device)

    def log_prob(self, x: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        if x.ndim != 2 or x.shape[1] != self.dim:
            raise InputError(f"log_prob needs a tensor of shape (n, {self.dim}), got {tuple(x.shape)}")
        s = ((x - self.centre.to(x)) / self.radius).square().sum(1)
        inside = torch.special.xlog1py(torch.full_like(s, self.power), -s.clamp_max(1))
        return torch.where(s <= 1, inside + self.log_peak, s.new_tensor(-math.inf))

    @property
    def log_peak(self) -> float:
        """log ρ(0)."""
        b = self.dim / 2
        normal = gammaln(b + self.power + 1) - gammaln(self.power + 1) - b * math.log(math.pi)
        return float(normal) - self.dim * math.log(self.radius)

    def radial_cdf(self, r: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """P(|x − c| ≤ r), r ≥ 0: the regularised incomplete Beta function at r²/R²."""
        s = (r.double() / self.radius).square().clamp_max(1)
        return torch.from_numpy(betainc(self.dim / 2, self.power + 1, s.cpu().numpy())).to(r.device)

    def to(self, target: torch.dtype | torch.device | str) -> "PearsonII":
        moved = PearsonII(self.dim, self.radius, self.power)
        moved.centre = self.centre.to(target)
        return moved

    def holds(self, x: Float[Tensor, "n d"]) -> Bool[Tensor, " n"]:
        """Whether x_i lies in the ball."""
        return (x - self.centre.to(x)).norm(dim=1) <= self.radius
