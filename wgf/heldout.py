"""What a learnt density is worth on rows it has not seen: scored, compared by two tests, and kept with its samples."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path as File

from wgf import keys, manifest, samples
from wgf.errors import Incompatible, InputError
from wgf.flow import Path
from wgf.kernels import Median
from wgf.law import Gaussian
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
    """On held-out rows: the score of the model, that of a Gaussian of the training rows, and two two-sample tests.

    mmd2 is the unbiased MMD² between held rows and as many samples, in the units of the flow, by `kernel`; p_mmd2 that
    of its permutation test; accuracy and p_accuracy those of a classifier, None where scikit-learn is not installed.
    """

    model: Score
    gaussian: Score
    mmd2: float
    kernel: str
    p_mmd2: float
    accuracy: float | None = None
    p_accuracy: float | None = None


def judge(learning: Learning, path: Path, seed: int = 0) -> HeldOut:
    """What the model that `path` has learnt is worth on the held rows.

    Raises: Incompatible for a path whose steps are no maps; NotInvertible where noise cannot be carried back.
    """
    model = learning.model(path)
    held = learning.held.to(model.like.device)
    drawn = model.sample(min(len(held), MOST), keys.generator(seed, 1, device=model.like.device)).to(held)
    frame = learning.frame.to(held)
    x, y = frame(held[:MOST]), frame(drawn)
    test = mmd_test(Median(), x, y, PERMUTATIONS, seed)
    try:
        told = classifier_test(x, y, seed)
    except InputError:  # too few rows, or no scikit-learn
        told = None
    return HeldOut(
        score(model, held),
        score(Gaussian.fit(learning.train.double()), held),
        float(test.statistic),
        test.statistic.name,
        test.p,
        None if told is None else told.accuracy,
        None if told is None else told.p,
    )


def kept(folder: File, experiment: Experiment, path: Path) -> HeldOut:
    """The judgement that a finished run's folder keeps, made now if it is not there yet, with samples beside it."""
    learning, listed = experiment.problem.learning, manifest.read(folder)
    if learning is None:
        raise Incompatible("only a flow from data to noise has held-out rows; this problem is none")
    if REPORT in listed.files:
        told = json.loads((folder / REPORT).read_text(encoding="utf-8"))
        return HeldOut(**{**told, "model": Score(**told["model"]), "gaussian": Score(**told["gaussian"])})
    found = judge(learning, path, experiment.seed)
    model = learning.model(path)
    rows = model.sample(min(len(learning.train), MOST), keys.generator(experiment.seed, 2, device=model.like.device))
    samples.save_rows(folder / SAMPLES, rows, list(learning.names))
    (folder / REPORT).write_text(json.dumps(asdict(found), indent=1) + "\n", encoding="utf-8")
    listed.commit([REPORT, SAMPLES])
    return found
