"""Requests about one image in one batch: its pixels are kept once, and what stands before the question is read once.

A batch holds the pixels of its distinct images and, under `image_rows`, which of them each place in the texts shows.
Images are one where all their pixels are equal.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image
    from torch import nn

IMAGE_ROWS = "image_rows"
"""Name of the tensor (images,) that says which row of `pixel_values` each image of the texts is."""


def distinct(images: Sequence[Image]) -> tuple[list[Image], list[int]]:
    """The images without repetition, and the place of each given image among them."""
    places: dict[tuple[str, tuple[int, int], bytes], int] = {}
    kept: list[Image] = []
    rows = []
    for image in images:
        key = (image.mode, image.size, image.tobytes())
        if key not in places:
            places[key] = len(kept)
            kept.append(image)
        rows.append(places[key])
    return kept, rows


def repeated(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors as the library's model takes them: one row of pixels for each image of the texts."""
    given = dict(tensors)
    rows = given.pop(IMAGE_ROWS, None)
    if rows is not None and len(rows) != len(given["pixel_values"]):
        given["pixel_values"] = given["pixel_values"][rows]
    return given


@contextmanager
def encoded_once(tower: nn.Module, tensors: Mapping[str, torch.Tensor]) -> Iterator[None]:
    """While it lasts, the vision tower of a library's model sees each distinct image of `repeated(tensors)` once.

    Args:
        tower: called with `pixel_values` (images, …); every tensor of its output has the images first.
    """
    import torch

    rows = tensors.get(IMAGE_ROWS)
    if rows is None or len(rows) == len(tensors["pixel_values"]):
        yield
        return

    def fewer(module: nn.Module, args: tuple[Any, ...], given: dict[str, Any]) -> tuple[tuple[Any, ...], Any]:
        images = tensors["pixel_values"]
        return ((images, *args[1:]), given) if args else (args, {**given, "pixel_values": images})

    def all_of(module: nn.Module, args: Any, output: Any) -> Any:
        return torch.utils._pytree.tree_map_only(torch.Tensor, lambda value: value[rows], output)

    hooks = (tower.register_forward_pre_hook(fewer, with_kwargs=True), tower.register_forward_hook(all_of))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@dataclass(frozen=True, slots=True)
class Prefix:
    """What all texts of a batch begin with up to their image, and the texts behind it."""

    ids: torch.Tensor
    """(prefix,) ids of the beginning, the image's tokens included."""
    input_ids: torch.Tensor
    """(rows, tokens): beginning, padding, rest."""
    attention_mask: torch.Tensor
    """(rows, tokens)."""


def common_prefix(tensors: Mapping[str, torch.Tensor], image_token: int, pad: int) -> Prefix | None:
    """The common beginning of texts with one image each; `None` where reading it once is impossible or saves nothing.

    Args:
        tensors: `input_ids` and `attention_mask` (rows, tokens) of texts padded on the left, and `image_rows`.
        image_token: id of the image's tokens.
        pad: id of padding.
    """
    import torch

    ids, mask, rows = tensors["input_ids"], tensors["attention_mask"], tensors.get(IMAGE_ROWS)
    if rows is None or len(rows) != len(ids) or len(set(rows.tolist())) == len(rows):
        return None
    shown = ids == image_token
    total = ids.shape[1]
    lengths = mask.sum(dim=1)
    starts = total - lengths
    last = total - 1 - shown.flip(1).int().argmax(dim=1)
    ends = last + 1 - starts
    size = int(ends[0])
    if not bool(shown.any(dim=1).all()) or not bool((ends == size).all()) or not bool((lengths > size).all()):
        return None
    beginnings = torch.stack([row[start : start + size] for row, start in zip(ids, starts.tolist(), strict=True)])
    if not bool((beginnings == beginnings[0]).all()):
        return None
    place = torch.arange(total, device=ids.device)
    behind = place >= starts[:, None] + size
    kept = behind | (place < size)
    moved = torch.where(behind, ids, torch.full_like(ids, pad))
    moved[:, :size] = beginnings
    return Prefix(beginnings[0], moved, kept.to(mask.dtype))


def read_once(model: Any, prefix: torch.Tensor, pixels: torch.Tensor, rows: torch.Tensor) -> Any:
    """Keys and values of a beginning with each of the images `pixels`, for each row that shows one of them."""
    cache = model(
        input_ids=prefix.expand(len(pixels), -1), pixel_values=pixels, use_cache=True, logits_to_keep=1
    ).past_key_values
    cache.batch_select_indices(rows)
    return cache
