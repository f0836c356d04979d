"""The published methods, each a composition of steppers, maps, critics and schedules."""

from wgf.methods.jko_flow import jko_flow
from wgf.methods.jko_iflow import jko_iflow
from wgf.methods.semidual_jko import semidual_jko
from wgf.methods.variational_wgf import variational_wgf
from wgf.methods.w1w2_flow import w1w2_flow

__all__ = ["jko_flow", "jko_iflow", "semidual_jko", "variational_wgf", "w1w2_flow"]
