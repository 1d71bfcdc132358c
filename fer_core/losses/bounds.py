"""What scale and margin of a cosine classifier leave in reach: K classes cannot all be further apart than cosine -1 / (K - 1).

For unit embeddings e_i, one a class, and unit centers c_j with sum C, the gap between a class's own cosine and the others', averaged over
all, is mean_i e_i (K c_i - C) / (K - 1). It is at most sqrt(mean_i |K c_i - C|^2) / (K - 1) = sqrt(K^2 - |C|^2) / (K - 1) <= K / (K - 1),
and the regular simplex reaches that (it needs D >= K - 1). As log(1 + sum exp) is convex, the mean loss over classes is never below what
equal gaps of K / (K - 1) give. Same bounds as in Wang et al., "CosFace", CVPR 2018, section 3.3; derived in docs/explanation/method.md.
"""

import math


def cosine_gap(classes: int) -> float:
    """K / (K - 1): the largest gap between a face's own cosine and each other one that all K classes can have at once."""
    return classes / (classes - 1) if classes > 1 else math.inf


def largest_probability(scale: float, classes: int, margin: float = 0.0) -> float:
    """What softmax gives a face's own class at best, if all classes are to reach the same; with a margin: what the loss then sees."""
    return 1 / (1 + (classes - 1) * math.exp(-scale * (cosine_gap(classes) - margin)))


def smallest_scale(probability: float, classes: int, margin: float = 0.0) -> float:
    """The scale at which `largest_probability` is `probability` (between 1 / K and 1)."""
    if not 1 / classes <= probability < 1:
        raise ValueError(f"a probability is between 1 / {classes} and 1, not {probability}")
    return math.log((classes - 1) * probability / (1 - probability)) / (cosine_gap(classes) - margin)


def check(scale: float, margin: float, classes: int) -> None:
    """ValueError: a scale that is not positive and finite, or a margin that K classes cannot keep.

    At a margin of K / (K - 1) the loss cannot tell a perfect network from one that guesses: `largest_probability` is 1 / K.
    """
    if not 0 < scale < math.inf:
        raise ValueError(f"the scale of cosines must be positive and finite, not {scale}")
    if margin >= cosine_gap(classes):
        raise ValueError(f"a margin of {margin} is too large for {classes} classes: it must be below {cosine_gap(classes):.4g}")
