"""The published methods, each a composition of steppers, maps, critics and schedules."""

from wgf.methods.semidual_jko import semidual_jko
from wgf.methods.variational_wgf import variational_wgf
from wgf.methods.w1w2_flow import w1w2_flow

__all__ = ["semidual_jko", "variational_wgf", "w1w2_flow"]
