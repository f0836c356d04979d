"""Maps: what a step moves particles by."""

from wgf.maps.affine import Affine
from wgf.maps.base import Flow, Map, Static, Transport
from wgf.maps.compose import Compose, Explicit, Extrapolated, Inverse
from wgf.maps.dynamic import Dynamic
from wgf.maps.guided import Guided
from wgf.maps.icnn import ICNN
from wgf.maps.integrate import RK4, Adaptive, Euler, Heun
from wgf.maps.logit import Logit
from wgf.maps.neural_ode import Exact, FiniteDifference, Hutchinson, NeuralODE
from wgf.maps.normal_scores import NormalScores
from wgf.maps.potential import OTFlow, PotentialFlow
from wgf.maps.quantile_map import quantile_map
from wgf.maps.residual import Residual
from wgf.maps.standard import Standard
from wgf.maps.unet import UNet

__all__ = [
    "ICNN",
    "RK4",
    "Adaptive",
    "Affine",
    "Compose",
    "Dynamic",
    "Euler",
    "Exact",
    "Explicit",
    "Extrapolated",
    "FiniteDifference",
    "Flow",
    "Guided",
    "Heun",
    "Hutchinson",
    "Inverse",
    "Logit",
    "Map",
    "NeuralODE",
    "NormalScores",
    "OTFlow",
    "PotentialFlow",
    "Residual",
    "Standard",
    "Static",
    "Transport",
    "UNet",
    "quantile_map",
]
