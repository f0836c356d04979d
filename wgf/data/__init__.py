"""Data sets as specs: those that scikit-learn ships, and those read from the folder that WGF_DATA names."""

from wgf.data.bundled import BreastCancer, Diabetes, Digits, Wine
from wgf.data.images import Mnist
from wgf.data.posteriors import GermanCredit, Reference, ReferencePosterior
from wgf.data.single_cell import SingleCell
from wgf.data.table import Dataset, Table
from wgf.data.tabular import Covertype, Miniboone, Raetsch
from wgf.data.toys import grid_of_gaussians, two_circles

__all__ = [
    "BreastCancer",
    "Covertype",
    "Dataset",
    "Diabetes",
    "Digits",
    "GermanCredit",
    "Miniboone",
    "Mnist",
    "Raetsch",
    "Reference",
    "ReferencePosterior",
    "SingleCell",
    "Table",
    "Wine",
    "grid_of_gaussians",
    "two_circles",
]
