"""From a task's generation settings to the library's, and from token ids back to an answer.

Every setting is passed, so that nothing of a checkpoint's own generation defaults reaches an answer but its token ids.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from harness.errors import ModelError, ModelOutOfMemory
from harness.records import GenerationSettings, Request

if TYPE_CHECKING:
    import torch

_TOKEN_IDS = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id")
_CPU_OUT_OF_MEMORY = ("DefaultCPUAllocator", "not enough memory")


def keep_token_ids_only(model: Any) -> None:
    """Take every generation default but the token ids from a loaded model and from the language model inside it."""
    import transformers

    library: Any = transformers
    for module in model.modules():
        own = getattr(module, "generation_config", None)
        if own is not None:
            module.generation_config = library.GenerationConfig(**{name: getattr(own, name) for name in _TOKEN_IDS})


def generation_config(settings: GenerationSettings) -> Any:
    """The library's settings for one call, each given explicitly.

    `top_k` is off when sampling (the library's own default is 50), beams stop by the library's default rule.

    Raises:
        ModelError: a setting outside its range, naming it.
    """
    import transformers

    library: Any = transformers
    if settings.max_new_tokens < 1:
        raise ModelError(f"generation.max_new_tokens is {settings.max_new_tokens}; give an integer >= 1")
    if not 0 <= settings.min_new_tokens <= settings.max_new_tokens:
        raise ModelError(f"generation.min_new_tokens is {settings.min_new_tokens}; give 0 to max_new_tokens")
    if settings.num_beams < 1:
        raise ModelError(f"generation.num_beams is {settings.num_beams}; give an integer >= 1")
    if settings.repetition_penalty <= 0:
        raise ModelError(f"generation.repetition_penalty is {settings.repetition_penalty}; give a number > 0")
    arguments: dict[str, Any] = {
        "max_new_tokens": settings.max_new_tokens,
        "min_new_tokens": settings.min_new_tokens,
        "num_beams": settings.num_beams,
        "do_sample": settings.do_sample,
        "repetition_penalty": settings.repetition_penalty,
        "num_return_sequences": 1,
        "use_cache": True,
    }
    if settings.num_beams > 1:
        arguments |= {"length_penalty": settings.length_penalty, "early_stopping": False}
    if settings.do_sample:
        if settings.temperature <= 0:
            raise ModelError(
                f"generation.temperature is {settings.temperature}; give a number > 0, or do_sample: false"
            )
        if not 0 < settings.top_p <= 1:
            raise ModelError(f"generation.top_p is {settings.top_p}; give a number in (0, 1]")
        arguments |= {"temperature": settings.temperature, "top_p": settings.top_p, "top_k": 0}
    return library.GenerationConfig(**arguments)


def write_statically(config: Any, *, compiled: bool) -> None:
    """Let the library's settings write into keys and values of a fixed length; compiled on every kind of device.

    The library compiles by itself where it sees a GPU, which is switched off unless it is wanted.
    """
    import transformers

    library: Any = transformers
    config.cache_implementation = "static"
    config.disable_compile = not compiled
    if compiled:
        config.compile_config = library.CompileConfig(fullgraph=False, dynamic=None, mode="default")
        config.compile_config._compile_all_devices = True


def sampling_seed(seed: int, request: Request) -> int:
    """The seed of one request's sampling: of what is asked and the task's seed, so that no neighbour matters."""
    text = "\n".join([str(seed), *request.images, *request.audio, request.prompt])
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:7], "big")


@contextmanager
def library_errors(family: str, samples: Sequence[str]) -> Iterator[None]:
    """Turn what the libraries raise while they answer a batch into the harness's errors.

    Raises:
        ModelOutOfMemory: device or host memory ran out.
        ModelError: any other failure inside the libraries.
    """
    import torch

    shown = ", ".join(samples[:3]) + (", …" if len(samples) > 3 else "")
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise ModelOutOfMemory(f"{family}: a batch of {len(samples)} ({shown}) does not fit the device") from error
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        if any(mark in str(error) for mark in _CPU_OUT_OF_MEMORY):
            raise ModelOutOfMemory(f"{family}: a batch of {len(samples)} ({shown}) does not fit memory") from error
        raise ModelError(f"{family}: no answer to {shown}: {type(error).__name__}: {error}") from error


NOT_FINITE = "the scores of the next word are no finite numbers; try bfloat16 or float32 for float16, or other weights"


@contextmanager
def finite_scores(head: torch.nn.Module | None) -> Iterator[None]:
    """Around the writing of a batch: scores of the next word that are NaN or infinite are no answer.

    Args:
        head: the layer that scores the vocabulary: (rows, [tokens,] words); the last token counts.

    Raises:
        ModelError: at the end, if it gave such scores for any row; asked alone, the other rows have their answers.
    """
    import torch

    bad: list[torch.Tensor] = []

    def look(module: torch.nn.Module, given: Any, scores: torch.Tensor) -> None:
        last = scores[:, -1] if scores.dim() == 3 else scores
        found = ~(last < torch.inf).all()  # not true of NaN; a word that is barred by -inf is no fault
        bad[:] = [bad[0] | found if bad else found]

    handle = head.register_forward_hook(look) if head is not None else None
    try:
        yield
    finally:
        if handle is not None:
            handle.remove()
    if bad and bool(bad[0]):
        raise ModelError(NOT_FINITE)


def output_length(ids: torch.Tensor, end_ids: Collection[int]) -> int:
    """Number of generated tokens in one row (tokens,), the end token included and what follows it not."""
    for place, token in enumerate(ids.tolist()):
        if token in end_ids:
            return place + 1
    return int(ids.shape[0])


def cut_at(text: str, stop: Sequence[str]) -> str:
    """The text before the first of the stop strings; all of it where none occurs."""
    found = [text.find(mark) for mark in stop if mark and mark in text]
    return text[: min(found)] if found else text
