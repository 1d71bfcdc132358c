"""Island loss (Cai et al., "Island Loss for Learning Discriminative Features in Facial Expression Recognition", FG 2018).

Center loss whose class means also push each other apart in angle. With the names of `center` and a second weight lambda_1:

    L = - sum_k t_k log softmax_k(w_k x + b_k) + lambda (1/2 sum_k t_k |x - mu_k|^2 + lambda_1 sum_j sum_{k != j} (cos(mu_j, mu_k) + 1))

Soft targets act on the first two terms as in center loss; the third knows no faces. Each pair counts twice, as in the paper. The sum is
never below K (K - 2), where the means form a regular simplex, so most of it cannot be removed: 48 of the 56 that eight means at right
angles have. With the usual lambda of 0.01 and lambda_1 of 10 the other 8 are 0.8: the order of the cross-entropy and of the second term.
"""

from torch import Tensor

from fer_core.losses.center import CenterLoss
from fer_core.losses.directions import pair_cosines
from fer_core.losses.objective import full


class IslandLoss(CenterLoss):
    """See the module's text. `config.compactness` is lambda, `config.separation` lambda_1."""

    def of_classes(self, centers: Tensor) -> Tensor:
        """Of the means, not of the classifier's rows -> scalar."""
        pairs = pair_cosines(full(self.scaled_means))  # a common factor leaves cosines as they are
        return self.config.compactness * self.config.separation * 2 * (pairs + 1).sum()
