from dataclasses import replace

import pytest
import torch
from torch import nn

from fer_core.models.network import TINY, MultiscaleNet, NetworkConfig
from fer_core.predict.fusion import fused
from tests.support.made_faces import SMALL, faces


def trained_looking(config: NetworkConfig) -> MultiscaleNet:
    """Batch statistics and scales as training leaves them, nothing like the neutral ones of a new network."""
    torch.manual_seed(0)
    network = MultiscaleNet(config)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.3)
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2)
    return network.eval()


@pytest.mark.parametrize("config", [TINY, replace(SMALL, blocks=(2, 1)), replace(SMALL, classifier="linear", attention=False)])
def test_same_answers(config: NetworkConfig) -> None:
    network = trained_looking(config)
    grey = torch.from_numpy(faces(8)).unsqueeze(1).float()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    folded = fused(network)
    with torch.inference_mode():
        plain, quick = network.logits(network(grey)), folded.logits(folded(grey))
    assert plain.std() > 0.1
    torch.testing.assert_close(quick, plain, atol=1e-3, rtol=1e-4)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_only_a_convolution_with_its_norm() -> None:
    network = trained_looking(SMALL)
    network.stages[0][0].norm1 = nn.Identity()
    with pytest.raises(TypeError, match="only a convolution"):
        fused(network)
