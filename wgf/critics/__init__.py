"""Critics: the functions over which a dual takes its supremum."""

from wgf.critics.base import ScalarField
from wgf.critics.fourier import FourierCritic
from wgf.critics.image import ImageCritic
from wgf.critics.lipschitz import LipschitzCritic
from wgf.critics.perceptron import Critic

__all__ = ["Critic", "FourierCritic", "ImageCritic", "LipschitzCritic", "ScalarField"]
