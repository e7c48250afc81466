"""Ranking option texts by their log-likelihood after a prompt.

The score of an option is Σ log p(token | image, prompt, earlier tokens) over the option's own tokens, without an end
token, as lm-evaluation-harness scores continuations. One request is scored at a time, so batches cannot matter.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from harness.models.base import LETTERS, Generation, ModelInput, Options
from harness.models.decoding import library_errors
from harness.models.shared_images import repeated
from harness.models.transformers_base import TransformersModel, TransformersOptions
from harness.records import Problem

if TYPE_CHECKING:
    import torch


class RankingOptions(TransformersOptions):
    """Options of a family that ranks option texts."""

    normalise: Literal["none", "tokens"] = "none"
    """`none` sums the log-probabilities of an option; `tokens` takes their mean, so that long options lose less."""


class RankingModel(TransformersModel):
    """A model with a language model that reads text: it generates and ranks option texts."""

    options_type: ClassVar[type[Options]] = RankingOptions
    static_cache: ClassVar[bool] = True
    options: RankingOptions

    @abstractmethod
    def encode_texts(
        self, items: Sequence[ModelInput], texts: list[str], padding_side: str
    ) -> tuple[dict[str, torch.Tensor], tuple[int, ...]]:
        """Tensors of texts, each with the images of the input beside it, and the length of each row."""

    def encode(self, items: Sequence[ModelInput]) -> tuple[dict[str, torch.Tensor], tuple[int, ...]]:
        """Tensors of the prompts with their images."""
        return self.encode_texts(items, [self.prompt_text(item) for item in items], self.padding_side())

    def prompt_text(self, item: ModelInput) -> str:
        """The text that the tokenizer reads for a request, up to where the answer begins."""
        return item.request.prompt

    def choose(self, batch: Sequence[ModelInput]) -> list[Generation | Problem]:
        """The likeliest option of each request (the first of equals): its letter and the score of every option."""
        answers: list[Generation | Problem] = []
        for item in batch:
            problem = self._basic_problem(item) or option_problem(item)
            if problem is None:
                with library_errors(self.family, [item.request.sample_id]):
                    answers.append(self._ranked(item))
            else:
                answers.append(problem)
        return answers

    def _ranked(self, item: ModelInput) -> Generation | Problem:
        scored = self.option_scores(item)
        if isinstance(scored, Problem):
            return scored
        prompt_tokens, scores = scored
        mean = self.options.normalise == "tokens"
        totals = tuple(sum(s) / len(s) if mean else sum(s) for s in scores)
        best = max(range(len(totals)), key=totals.__getitem__)
        return Generation(LETTERS[best], prompt_tokens, sum(map(len, scores)), totals)

    def option_scores(self, item: ModelInput) -> tuple[int, list[list[float]]] | Problem:
        """Tokens of the prompt, and log p of each token of each option.

        One row for each option in one forward pass, padded on the right so that a causal model never sees the pads.
        The tokens of an option are those that prompt, space and option together have beyond the prompt's own.
        """
        prompt_text, choices = self.prompt_text(item), item.request.choices
        space = "" if not prompt_text or prompt_text[-1].isspace() else " "
        texts = [f"{prompt_text}{space}{choice}" for choice in choices]
        with self._tokenizer_lock:
            prompt, (start,) = self.encode_texts([item], [prompt_text], "right")
            rows, lengths = self.encode_texts([item] * len(texts), texts, "right")
        ids = rows["input_ids"]
        if min(lengths) <= start or not bool((ids[:, :start] == prompt["input_ids"][0, :start]).all()):
            return Problem("unsupported_input", "an option joins the prompt's last token; end the prompt with a space")
        limit = self.position_limit()
        if limit is not None and max(lengths) > limit:
            return Problem("prompt_too_long", f"{max(lengths)} tokens with the longest option; the model takes {limit}")
        logits = self.continuation_logits(rows, start)
        return start, [
            token_scores(logits[row, : length - start], ids[row, start:length]) for row, length in enumerate(lengths)
        ]

    def continuation_logits(self, tensors: Mapping[str, torch.Tensor], start: int) -> torch.Tensor:
        """Logits (rows, tokens from `start` - 1 on, vocabulary) of texts that are alike before `start`."""
        logits: torch.Tensor = self.forward(tensors).logits
        return logits[:, start - 1 :]

    def forward(self, tensors: Mapping[str, torch.Tensor]) -> Any:
        """The library's output of one forward pass without generation."""
        import torch

        with torch.inference_mode():
            return self.model(**repeated(self.on_device(tensors)))


def option_problem(item: ModelInput) -> Problem | None:
    """Why the options of a request cannot be ranked by likelihood; `None` where they can."""
    choices = item.request.choices
    if not 2 <= len(choices) <= len(LETTERS):
        return Problem("unsupported_input", f"{len(choices)} options; 2 to {len(LETTERS)} can be ranked by likelihood")
    if not all(choice.strip() for choice in choices):
        return Problem("unsupported_input", "an option has no text, so it has no likelihood")
    return None


def token_scores(logits: torch.Tensor, targets: torch.Tensor) -> list[float]:
    """log p of each target: logits (tokens, vocabulary) that predict targets (tokens,)."""
    log_probabilities = logits.float().log_softmax(dim=-1)
    return [float(v) for v in log_probabilities.gather(1, targets.to(logits.device)[:, None])[:, 0]]
