"""Handwritten digits of 8 × 8 pixels as a density: carried to noise in three steps, scored in bits, drawn again.

Beside a Gaussian of the same logits of pixels: python examples/digits.py
"""

import torch
from matplotlib.figure import Figure

from wgf import Adam, Gaussian, Inverse, ProgressBar, Pushforward, evolve, keys
from wgf.data import Digits
from wgf.methods import jko_iflow
from wgf.scoring import score
from wgf.targets import images


def main(iterations: int = 300, particles: int = 30_000) -> tuple[float, float, Figure]:
    problem = images(Digits())  # pixels spread over their cells, anew in every draw; a fifth of the digits held out
    training = Adam(iterations, 256, 5e-3, averaging=0.98)
    stepper = jko_iflow(problem.dim, training=training, particles=particles, steps=2, evaluation_steps=4)
    start, bar = problem.initial.to(torch.float32), ProgressBar("digits to noise")
    path = evolve(problem.F, stepper, start, [0.5, 0.7, 1.0], seed=0, observers=[bar])

    learning = problem.learning
    model = learning.model(path)  # noise to digits, in the units of the pixels
    gaussian = Pushforward(Gaussian.fit(learning.frame(learning.train)), Inverse(learning.frame))
    bits, plain = (score(law, learning.held).bits for law in (model, gaussian))
    print(f"held-out bits a dimension: {bits:.3f}, of a Gaussian {plain:.3f}")

    figure = Figure(figsize=(8, 2.6), layout="constrained")
    rows = (("held-out digits", learning.held), ("samples of the model", model.sample(30, keys.generator(1))))
    for axis, (title, x) in zip(figure.subplots(1, 2), rows, strict=True):
        axis.imshow(x[:30].reshape(3, 10, 8, 8).transpose(1, 2).reshape(24, 80).numpy(), cmap="gray_r")
        axis.set(title=title, xlabel="8 × 8 pixels each", xticks=[], yticks=[])
    return bits, plain, figure


if __name__ == "__main__":
    main()[2].savefig("digits.png", dpi=150)
