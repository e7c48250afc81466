"""Whether a loaded model sees: two different pictures must change what it would say first.

A processor that places no image tokens, or a wrong class, lets a model answer every question from its words alone and
without any error. The first picture is asked twice, so that a device whose sums vary from call to call is not mistaken
for sight.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.errors import ModelError
from harness.models.base import ModelInput
from harness.models.decoding import library_errors
from harness.models.shared_images import repeated
from harness.models.transformers_base import TransformersModel
from harness.records import GenerationSettings, Request

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

PICTURE_PX = 224


def pictures() -> tuple[Image, Image]:
    """Two pictures that no model takes for one: a grey ramp to the right, and a coloured one downwards."""
    import numpy as np
    from PIL import Image

    ramp = np.tile(np.linspace(0, 255, PICTURE_PX).astype("uint8"), (PICTURE_PX, 1))
    grey = np.stack([ramp, ramp, ramp], axis=-1)
    coloured = np.stack([ramp.T, 255 - ramp.T, ramp // 2], axis=-1)
    return Image.fromarray(grey), Image.fromarray(coloured)


def first_logits(model: TransformersModel, item: ModelInput) -> torch.Tensor:
    """Logits of the first token of the answer to one input: (1, vocabulary).

    Raises:
        ModelError: the input cannot be asked, with the reason.
    """
    import torch
    import transformers

    library: Any = transformers
    prepared = model.prepare([item])
    for problem in prepared.problems.values():
        raise ModelError(f"{model.settings.name}: a test picture cannot be asked: {problem.message}")
    once = library.GenerationConfig(max_new_tokens=1, do_sample=False, return_dict_in_generate=True, output_logits=True)
    with library_errors(model.family, [item.request.sample_id]), torch.inference_mode():
        output = model.model.generate(**repeated(model.on_device(prepared.tensors)), generation_config=once)
    logits: torch.Tensor = output.logits[0].float()
    return logits


def check_sight(model: TransformersModel, prompt: str) -> None:
    """Refuse a model whose first word does not depend on the picture.

    Args:
        prompt: a question in the form of a request's prompt, with a place for one image where the family wants one.

    Raises:
        ModelError: the logits for two different pictures are equal.
    """
    generation = GenerationSettings(max_new_tokens=1)
    request = Request("", "sight", "test picture", prompt, images=("test picture",), generation=generation)
    first, second = pictures()
    seen = [first_logits(model, ModelInput(request, (image,))) for image in (first, first, second)]
    noise = float((seen[0] - seen[1]).abs().max())
    if float((seen[0] - seen[2]).abs().max()) <= noise:
        raise ModelError(
            f"{model.settings.name}: the model runs blind: it would begin its answer alike for two different pictures. "
            "Its processor or its weights do not belong to the checkpoint; fetch all files of one revision"
        )
