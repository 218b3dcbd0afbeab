"""The networks that a recipe can name, and their initial weights."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from torch import Tensor, nn

from ai4diag.config.classification import ClassificationModel, DenseNet, EfficientNet, ResNet, SmallResNet
from ai4diag.errors import ConfigError, DataError
from ai4diag.tasks.classification.small import SmallResNetwork

SMALL_SIDE = 64
"""Images up to this many pixels a side keep their resolution in the first layer of a ResNet (`stem: auto`)."""
LEAST_SIDE = {"densenet": 32, "efficientnet": 32}
"""Sides in pixels below which nothing would be left of an image after all reductions."""
MEMBER = re.compile(r"member\.(?P<number>\d+)\.")
"""What begins the name of a weight in a model that was trained here."""
RESNET = {10: (1, 1, 1, 1), 18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}


class Members(nn.Module):
    """Networks of one kind side by side, each with its own weights."""

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.member = nn.ModuleList(networks)

    def forward(self, images: Tensor) -> Tensor:
        """Return `(members, batch, outputs)` for normalised images `(batch, channels, *spatial)`."""
        return torch.stack([network(images) for network in self.member])


def build(model: ClassificationModel, outputs: int, channels: int, size: Sequence[int]) -> Members:
    """Return the untrained networks that a recipe names, with weights from torch's default generator.

    Args:
        model: the recipe's `model` block.
        outputs: numbers per image.
        channels: of the images.
        size: of the images in pixels, 2 or 3 sides.

    Raises:
        ConfigError: the images are too small for the network.
    """
    least = LEAST_SIDE.get(model.network, 1)
    if min(size) < least:
        raise ConfigError(
            f"model.network {model.network} needs images of at least {least} pixels a side, found {list(size)}.",
            "Take small_resnet or resnet, or a larger data.image_size.",
        )
    return Members([_network(model, outputs, channels, size) for _ in range(model.members)])


def _network(model: ClassificationModel, outputs: int, channels: int, size: Sequence[int]) -> nn.Module:
    dimensions = len(size)
    if isinstance(model, SmallResNet):
        return SmallResNetwork(outputs, channels, dimensions, model.width, model.blocks, model.dropout)
    if isinstance(model, ResNet):
        return _resnet(model, outputs, channels, size)
    if isinstance(model, DenseNet):
        from monai.networks.nets import densenet

        kind = getattr(densenet, f"DenseNet{model.layers}")
        dense: nn.Module = kind(spatial_dims=dimensions, in_channels=channels, out_channels=outputs)
        return dense
    assert isinstance(model, EfficientNet)
    from monai.networks.nets import EfficientNetBN

    efficient: nn.Module = EfficientNetBN(
        f"efficientnet-{model.scale}",
        pretrained=False,
        spatial_dims=dimensions,
        in_channels=channels,
        num_classes=outputs,
    )
    return efficient


def _resnet(model: ResNet, outputs: int, channels: int, size: Sequence[int]) -> nn.Module:
    from monai.networks.nets.resnet import ResNet as MonaiResNet

    small = model.stem == "small" or (model.stem == "auto" and max(size) <= SMALL_SIDE)
    network: nn.Module = MonaiResNet(
        block="bottleneck" if model.layers >= 50 else "basic",
        layers=list(RESNET[model.layers]),
        block_inplanes=[64, 128, 256, 512],
        spatial_dims=len(size),
        n_input_channels=channels,
        conv1_t_size=3 if small else 7,
        conv1_t_stride=1 if small else 2,
        no_max_pool=small,
        num_classes=outputs,
    )
    return network


def load_initial(networks: Members, path: Path) -> int:
    """Give every member the weights of a safetensors file; what has another name or shape keeps its own.

    The file holds one network, or is the `model.safetensors` of a run: then each member takes those of the member of
    its number, counted round when the run had fewer.

    Returns:
        The number of tensors that a member took.

    Raises:
        DataError: the file is missing or no safetensors file.
        ConfigError: none of its tensors fits.
    """
    try:
        stored = load_tensors(path.read_bytes())
    except FileNotFoundError:
        raise DataError(f"model.weights: {path} does not exist.") from None
    except (OSError, SafetensorError) as error:
        raise DataError(f"model.weights: {path} is no safetensors file: {error}.") from None
    taken, given = 0, _members_of(stored)
    for number, network in enumerate(networks.member):
        own, start = network.state_dict(), given[number % len(given)]
        fitting = {name: tensor for name, tensor in start.items() if name in own and own[name].shape == tensor.shape}
        network.load_state_dict({**own, **fitting})
        taken = len(fitting)
    if not taken:
        raise ConfigError(
            f"model.weights: no tensor of {path} has the name and shape of one of the network.",
            "Take weights of the same kind of network.",
        )
    return taken


def _members_of(stored: dict[str, Tensor]) -> list[dict[str, Tensor]]:
    """Return the weights of each network in a file, named as in the network itself."""
    found: dict[int, dict[str, Tensor]] = {}
    for name, tensor in stored.items():
        if match := MEMBER.match(name):
            found.setdefault(int(match["number"]), {})[name[match.end() :]] = tensor
    return [found[number] for number in sorted(found)] or [stored]
