"""Steppers: how a state moves down a functional."""

from wgf.steppers.anchors import Anchor, Base, Previous
from wgf.steppers.base import Certificate, Info, State, Stepper, Variational
from wgf.steppers.crank_nicolson import CrankNicolson
from wgf.steppers.critic_particles import CriticParticles
from wgf.steppers.jko import JKO, Fresh, FromPath, WarmStart, Weights
from wgf.steppers.langevin import AdjustedLangevin, Langevin
from wgf.steppers.midpoint import Midpoint
from wgf.steppers.particles import Particles
from wgf.steppers.saddle import SaddleJKO
from wgf.steppers.splitting import Splitting
from wgf.steppers.svgd import SVGD, stein_velocity
from wgf.steppers.updates import AdaGrad, AdamStep, Optimiser, Plain, Update

__all__ = [
    "JKO",
    "SVGD",
    "AdaGrad",
    "AdamStep",
    "AdjustedLangevin",
    "Anchor",
    "Base",
    "Certificate",
    "CrankNicolson",
    "CriticParticles",
    "Fresh",
    "FromPath",
    "Info",
    "Langevin",
    "Midpoint",
    "Optimiser",
    "Particles",
    "Plain",
    "Previous",
    "SaddleJKO",
    "Splitting",
    "State",
    "Stepper",
    "Update",
    "Variational",
    "WarmStart",
    "Weights",
    "stein_velocity",
]
