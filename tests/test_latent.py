"""Codes of images: the linear one is the best linear one, and the convolutional one goes on from there."""

import pytest
import torch
from zoo import DOUBLE, randn

from wgf import keys
from wgf.autoencoder import Autoencoder, PrincipalComponents, reconstruction_error, train_autoencoder
from wgf.components import Reader
from wgf.data import Dataset, Digits, Latent, Mnist, Table
from wgf.errors import InputError
from wgf.training import Adam

X = randn(0, 60, 9) @ randn(1, 9, 9) + 5
QUICK = Adam(120, 64, 1e-2)


def digits() -> torch.Tensor:
    pytest.importorskip("sklearn", reason="the digits come with scikit-learn")
    return Digits().load().X.float()


@pytest.mark.parametrize("k", [1, 4, 9])
def test_principal_components_reach_the_bound_of_eckart_and_young(k):
    """Σ_{j>k} σ_j², σ_j the singular values of the centred rows, is the least squared error of an affine code."""
    found = PrincipalComponents.fit(X, k)
    squares = torch.linalg.svdvals(X - X.mean(0)).square()
    least = float(squares[k:].sum()) / X.numel()
    assert reconstruction_error(found, X) == pytest.approx(least, rel=1e-10, abs=1e-25)
    assert found.explained == pytest.approx(float(squares[:k].sum() / squares.sum()), rel=1e-12)
    z = found.encode(X)
    torch.testing.assert_close(z.T @ z / len(X), torch.diag(found.variances), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(found.encode(found.decode(z)), z)
    torch.testing.assert_close(found.basis.T @ found.basis, torch.eye(k, dtype=DOUBLE))


def test_no_other_linear_code_is_better():
    found = PrincipalComponents.fit(X, 3)
    best = reconstruction_error(found, X)
    for seed in range(5):
        basis, _ = torch.linalg.qr(found.basis + 0.1 * randn(seed, 9, 3))
        assert reconstruction_error(PrincipalComponents(found.mean, basis, found.variances, 0.0), X) > best


def test_components_do_not_depend_on_chance_and_keep_the_dtype():
    found, turned = PrincipalComponents.fit(X, 4), PrincipalComponents.fit(X.flip(0), 4)
    torch.testing.assert_close(found.basis, turned.basis)
    assert (found.basis.gather(0, found.basis.abs().argmax(0)[None]) > 0).all()
    assert PrincipalComponents.fit(X.float(), 4).basis.dtype == torch.float32
    few = PrincipalComponents.fit(X[:3], 2)  # fewer rows than columns: three points lie in a plane
    assert few.explained == pytest.approx(1)
    torch.testing.assert_close(few.decode(few.encode(X[:3])), X[:3])


@pytest.mark.parametrize(
    ("x", "k", "match"),
    [
        (X, 10, r"k must be at most min\(n, d\) = 9, got 10"),
        (X[:4], 5, r"min\(n, d\) = 4, got 5"),
        (X, 0, "k must be an integer of at least 1"),
        (torch.ones(5, 3), 1, "the rows x are all the same"),
        (X.log().sqrt(), 1, "entries that are NaN"),
    ],
)
def test_rows_without_components_are_refused(x, k, match):
    with pytest.raises(InputError, match=match):
        PrincipalComponents.fit(x, k)


# The autoencoder


@pytest.mark.parametrize(("channels", "side", "levels"), [(1, 8, 2), (3, 4, 1), (2, 12, 2)])
def test_training_starts_at_the_linear_code(channels, side, levels):
    x = 3 + 7 * randn(0, 40, channels * side**2)
    model = Autoencoder(channels, side, 5, features=4, levels=levels).to(DOUBLE)
    model.reset(torch.Generator().manual_seed(1))
    model.standardise(x)
    linear = PrincipalComponents.fit(x, 5)
    z = model.encode(x)
    torch.testing.assert_close(model.decode(z), linear.decode(linear.encode(x)))
    torch.testing.assert_close(z.T.cov(correction=0), torch.eye(5, dtype=DOUBLE), rtol=1e-8, atol=1e-8)
    assert model.decode(randn(1, 3, 5)).shape == (3, channels * side**2)


def test_resets_are_decided_by_the_generator():
    models = [Autoencoder(1, 8, 3, features=4) for _ in range(3)]
    before = torch.random.get_rng_state()
    for model, seed in zip(models, (1, 1, 2), strict=True):
        model.reset(torch.Generator().manual_seed(seed))
    first, again, other = ([p.clone() for p in model.parameters()] for model in models)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first, other, strict=True))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(p.isfinite().all() for p in first)


def test_rows_of_images_do_not_mix():
    x = randn(0, 12, 64)
    model = train_autoencoder(Autoencoder(1, 8, 3, features=4), x, Adam(5, 8), held=4)
    torch.testing.assert_close(model(x)[:5], model(x[:5]))


def test_digits_are_coded_better_than_by_any_linear_code():
    """On held rows, with as many numbers, after two seconds: below nine tenths of the error of principal components."""
    x = digits()
    train, held = x[:1500], x[1500:]
    linear = reconstruction_error(PrincipalComponents.fit(train, 4), held)
    model = train_autoencoder(Autoencoder(1, 8, 4, features=8), train, QUICK, seed=3)
    assert reconstruction_error(model, held) < 0.9 * linear
    assert not any(p.requires_grad for p in model.parameters())


def test_the_seed_decides_the_weights():
    x, model = randn(0, 60, 64).float(), Autoencoder(1, 8, 4, features=4)
    first, again, other = (list(train_autoencoder(model, x, Adam(4, 16), seed=seed).parameters()) for seed in (3, 3, 4))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first, other, strict=True))


def test_what_training_cannot_better_is_left_as_it_was():
    """Of white noise the linear code is the best there is: the weights chosen on held rows are never worse."""
    x = randn(0, 200, 64)
    model = train_autoencoder(Autoencoder(1, 8, 3, features=4), x, Adam(20, 64, 1e-1), held=50)
    order = torch.randperm(200, generator=keys.generator(0, 2))
    linear = PrincipalComponents.fit(x[order[50:]], 3)
    assert reconstruction_error(model, x[order[:50]]) <= reconstruction_error(linear, x[order[:50]]) + 1e-12


@pytest.mark.parametrize(
    ("sizes", "match"),
    [
        ((1, 6, 3), "needs a side that 4 divides, got 6"),
        ((1, 4, 17), "at most as many numbers as an image, 16, got 17"),
        ((0, 4, 1), "channels must be an integer of at least 1"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(sizes, match):
    with pytest.raises(InputError, match=match):
        Autoencoder(*sizes)


def test_images_that_do_not_fit_are_refused():
    model = Autoencoder(1, 4, 2, features=2)
    with pytest.raises(InputError, match="the images must have 16 columns, got 9"):
        train_autoencoder(model, X)
    with pytest.raises(InputError, match="held must be below the number of images, got 10 of 10"):
        train_autoencoder(model, randn(0, 10, 16), held=10)


# As a data set


def test_latent_codes_keep_rows_and_labels_and_decode():
    pytest.importorskip("sklearn", reason="the digits come with scikit-learn")
    spec = Latent(Digits(), code=6, features=8, training=QUICK)
    learnt, images = spec.learn(), Digits().load()
    codes = learnt.codes
    assert codes.X.shape == (1797, 6)
    assert codes.names == tuple(f"code{k}" for k in range(1, 7))
    assert torch.equal(codes.y, images.y)
    assert learnt.error < learnt.linear
    whole = float((learnt.model.decode(codes.X) - images.X).square().mean())
    assert whole == pytest.approx(learnt.error, rel=0.3)  # held rows are coded about as well as the others
    assert 0.5 < float(codes.X.std()) < 2


def test_what_is_no_square_image_is_refused():
    class Rows(Dataset):
        def load(self) -> Table:
            return Table(X, None, tuple("abcdefghi"))

    with pytest.raises(InputError, match="9 columns are no square images of 2 channels"):
        Latent(Rows(), channels=2).load()
    with pytest.raises(InputError, match="needs a side that 4 divides, got 3"):
        Latent(Rows()).load()
    with pytest.raises(InputError, match=r"held must be a share of the rows in \(0, 1\), got 1.0"):
        Latent(held=1.0)


def test_specs_can_say_codes():
    written, spec = Reader().component(Dataset, {"type": "latent", "images": "mnist", "code": 4}, "data")
    assert spec == Latent(Mnist(), code=4)
    assert Reader().component(Dataset, written, "data")[1] == spec
    assert hash(spec) == hash(Latent(code=4))
