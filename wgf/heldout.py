"""What a learnt density is worth on rows it has not seen: scored, compared by two tests, and kept with its samples."""

import copy
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path as File

from torch import Tensor

from wgf import keys, manifest, samples
from wgf.errors import Incompatible, InputError, NotInvertible
from wgf.flow import Path
from wgf.kernels import Median
from wgf.law import Gaussian, Law, Pushforward
from wgf.maps import Inverse
from wgf.problem import Learning
from wgf.scoring import Score, score
from wgf.spec import Experiment
from wgf.two_sample import classifier_test, mmd_test

REPORT, SAMPLES = "heldout.json", "samples.csv"
MOST = 10_000
"""Rows of either sample that the tests take."""
PERMUTATIONS = 499


@dataclass(frozen=True)
class HeldOut:
    """On held-out rows: the score of the model, that of a Gaussian fitted to training rows in the units of the flow,
    and two two-sample tests.

    mmd2 is the unbiased MMD² between held rows and as many samples, in the units of the flow, by `kernel`; p_mmd2 that
    of its permutation test; accuracy and p_accuracy those of a classifier, None with fewer than five rows and where
    scikit-learn is not installed. All of them are None where the model could not be sampled: `note` says why.
    """

    model: Score
    gaussian: Score
    kernel: str = ""
    mmd2: float | None = None
    p_mmd2: float | None = None
    accuracy: float | None = None
    p_accuracy: float | None = None
    note: str = ""


def judge(learning: Learning, path: Path, seed: int = 0) -> HeldOut:
    """What the model that `path` has learnt is worth on the held rows.

    Raises: Incompatible for a path whose steps are no maps.
    """
    try:
        model = learning.model(path)
    except NotInvertible as error:  # no samples to map it by: as it is
        bare = judge(replace(learning, mapped=0), path, seed)
        return replace(bare, note=f"its quantiles could not be mapped, and this is the flow without: {error}")
    held = learning.held.to(model.like.device)
    frame = copy.deepcopy(learning.frame).to(held.device)
    plain = Pushforward(Gaussian.fit(frame(learning.train.to(held))), Inverse(frame))
    scores = score(model, held), score(plain, held)
    try:
        drawn = _drawn(model, min(len(held), MOST), seed, 1)
    except NotInvertible as error:
        return HeldOut(*scores, note=str(error))
    x, y = frame(held[:MOST]), frame(drawn)
    test = mmd_test(Median(), x, y, PERMUTATIONS, seed)
    found = HeldOut(*scores, test.statistic.name, float(test.statistic), test.p)
    try:
        told = classifier_test(x, y, seed)
    except InputError:  # too few rows, or no scikit-learn
        return found
    return HeldOut(*scores, found.kernel, found.mmd2, found.p_mmd2, told.accuracy, told.p)


def kept(folder: File, experiment: Experiment, path: Path) -> HeldOut:
    """The judgement that a finished run's folder keeps, made now if it is not there yet, with samples beside it.

    Raises: Incompatible for a problem that learns nothing; InputError for a report that this version did not write.
    """
    learning, listed = experiment.problem.learning, manifest.read(folder)
    if learning is None:
        raise Incompatible("only a flow from data to noise has held-out rows; this problem is none")
    if REPORT in listed.files:
        return _read(folder / REPORT)
    found, written = judge(learning, path, experiment.seed), [REPORT]
    if not found.note:
        rows = _drawn(learning.model(path), min(len(learning.train), MOST), experiment.seed, 2)
        samples.save_rows(folder / SAMPLES, rows, list(learning.names))
        written.append(SAMPLES)
    (folder / REPORT).write_text(json.dumps(asdict(found), indent=1) + "\n", encoding="utf-8")
    listed.commit(written)
    return found


def _drawn(model: Law, n: int, seed: int, stream: int) -> Tensor:
    return model.sample(n, keys.generator(seed, stream, device=model.like.device))


def _read(file: File) -> HeldOut:
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
        return HeldOut(**{**told, "model": Score(**told["model"]), "gaussian": Score(**told["gaussian"])})
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file} was written by another version of wgf: run it anew") from error
