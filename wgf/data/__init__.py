"""Data sets as specs: planar laws, what scikit-learn ships, the folder that WGF_DATA names, files of your own."""

from wgf.data.bundled import BreastCancer, Diabetes, Digits, Wine
from wgf.data.columns import check_columns
from wgf.data.densities import Checkerboard, Circles, EightGaussians, SwissRoll, TwoSpirals
from wgf.data.dequantised import Dequantised
from wgf.data.drawn import Picture, Rose, Tree
from wgf.data.file import File
from wgf.data.household import Household
from wgf.data.images import Mnist
from wgf.data.latent import Latent, Learnt
from wgf.data.planar import Moons, Pinwheel
from wgf.data.posteriors import GermanCredit, Reference, ReferencePosterior
from wgf.data.single_cell import SingleCell
from wgf.data.table import Dataset, Table
from wgf.data.tabular import Covertype, Miniboone, Raetsch
from wgf.data.toys import grid_of_gaussians, two_circles

__all__ = [
    "BreastCancer",
    "Checkerboard",
    "Circles",
    "Covertype",
    "Dataset",
    "Dequantised",
    "Diabetes",
    "Digits",
    "EightGaussians",
    "File",
    "GermanCredit",
    "Household",
    "Latent",
    "Learnt",
    "Miniboone",
    "Mnist",
    "Moons",
    "Picture",
    "Pinwheel",
    "Raetsch",
    "Reference",
    "ReferencePosterior",
    "Rose",
    "SingleCell",
    "SwissRoll",
    "Table",
    "Tree",
    "TwoSpirals",
    "Wine",
    "check_columns",
    "grid_of_gaussians",
    "two_circles",
]
