"""The studies of `wgf validate`: the cheap ones hold here, the long ones under the marker slow."""

import importlib
import os

import pytest
import torch
from matplotlib.figure import Figure

from validation.report import Report, gathered


def _run(name: str) -> Report:
    report = gathered(importlib.import_module(f"validation.studies.{name}").study(quick=True))
    assert isinstance(report.figure, Figure)
    assert all(axis.get_xlabel() and axis.get_title() for axis in report.figure.axes)
    return report


def _hold(report: Report) -> None:
    broken = [check for check in report.checks if not check.holds]
    assert report.checks
    assert not broken, broken


@pytest.mark.parametrize("name", ["ou_order", "langevin", "gan_limit", "trace"])
def test_cheap_studies_hold(name: str) -> None:
    _hold(_run(name))


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "ou_accuracy",
        "saddle_ou",
        "saddle_steps",
        "logdet_cost",
        "heat",
        "mckean_vlasov",
        "kernel_engines",
        "log_gas",
        "barenblatt",
        "jko_iflow",
        "digits",
    ],
)
def test_long_studies_hold(name: str) -> None:
    torch.set_num_threads(os.cpu_count() or 1)
    try:
        _hold(_run(name))
    finally:
        torch.set_num_threads(1)


def test_digits_without_mnist_say_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    digits = importlib.import_module("validation.studies.digits")
    monkeypatch.delenv("WGF_DATA", raising=False)
    large, missing = digits._large(digits._digits_codes.QUICK)
    assert not large
    assert "MNIST is left out" in missing[0].label
    assert "WGF_DATA" in missing[0].label


@pytest.mark.slow
@pytest.mark.skipif("WGF_DATA" not in os.environ, reason="they read the WGF_DATA folder")
@pytest.mark.parametrize("name", ["german_credit", "w1w2", "jko_flow_miniboone"])
def test_studies_of_data_hold(name: str) -> None:
    _hold(_run(name))
