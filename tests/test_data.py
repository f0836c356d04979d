"""Data sets: what is read has the documented shape, and what cannot be read says why in one sentence."""

import dataclasses
import gzip
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from wgf.data import (
    BreastCancer,
    Covertype,
    Dataset,
    Diabetes,
    Digits,
    GermanCredit,
    Miniboone,
    Mnist,
    Raetsch,
    ReferencePosterior,
    SingleCell,
    Table,
    Wine,
    folder,
)
from wgf.data.posteriors import POSTERIORS
from wgf.data.single_cell import SINGLE_CELL
from wgf.data.tabular import RAETSCH
from wgf.errors import InputError

DATA = os.environ.get("WGF_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="the environment variable WGF_DATA is not set")

BUNDLED = {BreastCancer(): (569, 30), Wine(): (178, 13), Digits(): (1797, 64), Diabetes(): (442, 10)}
FOLDER = {
    GermanCredit(): (1000, 24),
    Covertype(): (581012, 54),
    Miniboone(): (6932, 43),
    Mnist(train=False): (10000, 784),
    Raetsch("banana"): (5300, 2),
    Raetsch("image"): (2086, 18),
    Raetsch("splice"): (2991, 60),
    SingleCell("tigon_emt"): (3133, 3),
    ReferencePosterior("sblrc-blr"): (10000, 6),
}
NAMED = [*map(Raetsch, RAETSCH), *map(SingleCell, SINGLE_CELL), *map(ReferencePosterior, POSTERIORS)]


@pytest.mark.parametrize("spec", BUNDLED)
def test_bundled_sets_have_their_shape(spec):
    pytest.importorskip("sklearn", reason="these sets come with scikit-learn")
    check(spec.load(), BUNDLED[spec])


@needs_data
@pytest.mark.parametrize("spec", FOLDER)
def test_sets_of_the_folder_have_their_shape(spec):
    check(spec.load(), FOLDER[spec])


def check(table: Table, shape: tuple[int, int]) -> None:
    assert table.X.shape == shape
    assert table.X.is_floating_point()
    assert torch.isfinite(table.X).all()
    assert len(set(table.names)) == shape[1]
    if table.y is not None and not table.y.is_floating_point():
        labels = table.y.unique().tolist()
        assert labels == [-1, 1] or labels == list(range(len(labels)))


@needs_data
@pytest.mark.parametrize("spec", NAMED)
def test_every_name_loads(spec):
    table = spec.load()
    assert len(table) > 500
    assert len(table.y) == len(table)


@needs_data
def test_rows_of_the_raetsch_pools_are_distinct():
    X = Raetsch("image").load().X
    assert len(X.unique(dim=0)) == len(X)


@needs_data
def test_covertype_is_one_hot_and_its_positive_class_has_the_known_size():
    table = Covertype().load()
    assert (table.X[:, 10:14].sum(1) == 1).all()
    assert (table.X[:, 14:].sum(1) == 1).all()
    assert int((table.y == 1).sum()) == 283301  # lodgepole pine, in the UCI description


@needs_data
def test_german_credit_comes_with_its_published_moments():
    table, published = GermanCredit().load(), GermanCredit().reference()
    assert int((table.y == 1).sum()) == 300
    assert all(part.shape == (25,) for part in published)
    assert float(published.mean[-1]) < 0  # the intercept: class +1 is the rarer
    assert (published.se < 0.01 * published.sd).all()


@needs_data
def test_mnist_is_pixels_in_the_unit_interval_with_even_classes():
    table = Mnist(train=False).load()
    assert float(table.X.min()) == 0
    assert float(table.X.max()) == 1
    published = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert torch.bincount(table.y).tolist() == published


@needs_data
def test_reference_draws_agree_by_chain_and_pooled():
    spec = ReferencePosterior("kidiq-kidscore_interaction")
    draws, table = spec.draws(), spec.load()
    assert draws.shape == (10, 1000, 5)
    assert torch.equal(draws[3], table[table.y == 3].X)
    assert spec.observations()["kid_score"].shape == (434,)
    spread = draws.mean(1).std(0) / draws.std((0, 1))
    assert (spread < 0.1).all()  # chains of gold-standard draws agree


def test_without_the_variable_one_sentence_names_it(monkeypatch):
    monkeypatch.delenv("WGF_DATA", raising=False)
    for spec in FOLDER:
        with pytest.raises(InputError, match=r"^\S+(npz|gz) is looked for in the folder that WGF_DATA names"):
            spec.load()


def test_a_missing_file_is_named_with_the_variable(monkeypatch, tmp_path):
    monkeypatch.setenv("WGF_DATA", str(tmp_path))
    with pytest.raises(InputError, match=r"raetsch/banana\.npz is not in the folder .* WGF_DATA"):
        Raetsch("banana").load()


def write(root: Path, relative: str, content: bytes) -> None:
    (root / relative).parent.mkdir(parents=True, exist_ok=True)
    (root / relative).write_bytes(content)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 0.98])
def test_truncated_files_are_refused(monkeypatch, tmp_path, share):
    monkeypatch.setenv("WGF_DATA", str(tmp_path))
    np.savez_compressed(tmp_path / "whole.npz", X=np.random.default_rng(0).normal(size=(400, 3)), t=np.zeros(400))
    whole = (tmp_path / "whole.npz").read_bytes()
    write(tmp_path, "single_cell/tigon_emt.npz", whole[: int(share * len(whole))])
    with pytest.raises(InputError, match=r"single_cell/tigon_emt\.npz in WGF_DATA is truncated"):
        SingleCell("tigon_emt").load()
    images = gzip.compress(b"\x00\x00\x08\x03" + np.array([5, 28, 28], ">i4").tobytes() + bytes(5 * 784))
    write(tmp_path, "mnist/t10k-images-idx3-ubyte.gz", images[: int(share * len(images))])
    with pytest.raises(InputError, match=r"mnist/t10k-images-idx3-ubyte\.gz in WGF_DATA is truncated"):
        Mnist(train=False).load()


def test_damaged_and_incomplete_files_are_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("WGF_DATA", str(tmp_path))
    np.savez(tmp_path / "partial.npz", X=np.zeros((3, 2)))
    (tmp_path / "single_cell").mkdir()
    shutil.copy(tmp_path / "partial.npz", tmp_path / "single_cell/tigon_emt.npz")
    with pytest.raises(InputError, match=r"lacks an array: .*t"):
        SingleCell("tigon_emt").load()
    np.savez(tmp_path / "single_cell/tigon_emt.npz", X=np.array([object()], dtype=object), t=np.zeros(1))
    with pytest.raises(InputError, match="damaged"):  # a pickle inside is never opened
        SingleCell("tigon_emt").load()


def test_mnist_files_that_disagree_are_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("WGF_DATA", str(tmp_path))
    images = b"\x00\x00\x08\x03" + np.array([2, 28, 28], ">i4").tobytes() + bytes(2 * 784)
    labels = b"\x00\x00\x08\x01" + np.array([3], ">i4").tobytes() + bytes(3)
    write(tmp_path, "mnist/train-images-idx3-ubyte.gz", gzip.compress(images))
    write(tmp_path, "mnist/train-labels-idx1-ubyte.gz", gzip.compress(labels))
    with pytest.raises(InputError, match="should be 3 images"):
        Mnist().load()
    assert folder.idx("mnist/train-images-idx3-ubyte.gz").shape == (2, 28, 28)


@pytest.mark.parametrize("spec", [Raetsch, SingleCell, ReferencePosterior])
def test_unknown_names_are_refused_with_the_known_ones(spec):
    with pytest.raises(InputError, match=r", .*got 'nowhere'"):
        spec("nowhere")


def test_without_scikit_learn_one_sentence_says_so(monkeypatch):
    def refuse(name: str):
        raise ImportError(name)

    monkeypatch.setattr("importlib.import_module", refuse)
    with pytest.raises(InputError, match="BreastCancer comes with scikit-learn, which is not installed"):
        BreastCancer().load()


def test_specs_are_values():
    assert Raetsch("banana") == Raetsch("banana")
    assert isinstance(BreastCancer(), Dataset)
    with pytest.raises(dataclasses.FrozenInstanceError):
        Raetsch("banana").name = "image"


def test_a_split_is_a_seeded_partition():
    table = Table(torch.arange(10.0)[:, None], torch.arange(10), ("x",))
    train, held_out = table.split(0.8, seed=1)
    assert (len(train), len(held_out)) == (8, 2)
    assert sorted(train.y.tolist() + held_out.y.tolist()) == list(range(10))
    assert torch.equal(train.X[:, 0].long(), train.y)
    assert torch.equal(train.y, table.split(0.8, seed=1)[0].y)
    assert not torch.equal(train.y, table.split(0.8, seed=2)[0].y)
    with pytest.raises(InputError, match="both sides"):
        table.split(1.0)


def test_tables_check_their_shapes():
    with pytest.raises(InputError, match=r"X \(3, 2\), y \(2,\) and 2 names"):
        Table(torch.zeros(3, 2), torch.zeros(2), ("a", "b"))
    with pytest.raises(InputError, match="1 names"):
        Table(torch.zeros(3, 2), None, ("a",))
