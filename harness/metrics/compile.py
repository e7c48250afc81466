r"""The share of answers that pdfTeX compiles.

A column of its own, never zeros inside another mean. It says that a formula is valid LaTeX, not that it is the right
one; prose compiles too, as italics. The answer's wrappers are taken off (`latex_normal.unwrap`), empty lines are
removed, and the rest is put into `\[…\]`, or taken as it is where it begins with a display environment such as align.

`rule` is the verdict: `compiled`, `error`, `timeout`, `ended_early`, `killed`, `too_long` or `empty`. A timeout scores
0 and is counted by its rule, because it may depend on the machine; it is never remembered.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from harness.metrics.base import MeanMetric, ScoringContext, mean_score, unscored
from harness.metrics.latex_normal import WRAPPERS_VERSION, unwrap
from harness.metrics.tex_engine import PACKAGES, Limits, Verdict, find_engine, open_compiler
from harness.metrics.variants import no_variants
from harness.records import Case, MetricInfo, Score

MAX_CHARACTERS = 10_000
WORKERS = 2

_DISPLAY = re.compile(r"\s*\\begin\s*\{(?:align|alignat|flalign|gather|multline|eqnarray)\*?\}")
_LINE_ENDS = re.compile(r"\s*[\r\n]\s*")


def document_body(answer: str) -> str:
    """What is put between `\\begin{document}` and `\\end{document}` for an answer; "" for an empty one."""
    formula = _LINE_ENDS.sub("\n", unwrap(answer)[0]).strip()
    if not formula or _DISPLAY.match(formula):
        return formula
    return f"\\[\n{formula}\n\\]"


class CompileRate(MeanMetric):
    """Share of answers that compile; verdicts are remembered by content for the life of this object."""

    by_sample = True

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._verdicts: dict[str, Verdict] = {}
        self.info = MetricInfo(
            name="latex_compile_rate",
            variant="",
            signature=(
                f"latex_compile_rate|pdflatex|{'+'.join(PACKAGES)}|cpu={self._limits.cpu_s}s"
                f"|max_chars={MAX_CHARACTERS}|extract={WRAPPERS_VERSION}|v1"
            ),
            source="compilation success as in HELM's Image2Struct, with pdfTeX in a sandbox",
        )

    def score(self, cases: Sequence[Case], context: ScoringContext) -> list[Score]:
        """1 or 0 per answer, with the verdict as its rule and TeX's first error as its detail.

        Raises:
            MetricUnavailable: no TeX engine, or one without amsmath and amssymb.
        """
        find_engine()
        bodies = [None if case.text is None else document_body(case.text) for case in cases]
        verdicts = self._judge([body for body in bodies if body])
        scores = []
        for case, body in zip(cases, bodies, strict=True):
            if body is None:
                scores.append(unscored(case))
            else:
                verdict = verdicts[body] if body else Verdict("empty")
                value = float(verdict.rule == "compiled")
                scores.append(mean_score(case, value, extracted=body, rule=verdict.rule, detail=verdict.detail))
        return scores

    def _judge(self, bodies: Sequence[str]) -> dict[str, Verdict]:
        known = {body: self._verdicts[body] for body in bodies if body in self._verdicts}
        for body in bodies:
            if len(body) > MAX_CHARACTERS:
                known[body] = Verdict("too_long", f"{len(body)} characters; the limit is {MAX_CHARACTERS}")
        todo = [body for body in bodies if body not in known]
        if todo:
            with open_compiler(self._limits) as compiler:
                fresh = compiler.compile_all(todo, WORKERS)
            known.update(fresh)
            self._verdicts.update((body, verdict) for body, verdict in fresh.items() if verdict.rule != "timeout")
        return known


def compile_rate_metric(variant: str = "") -> CompileRate:
    """The metric of compiling answers."""
    no_variants("latex_compile_rate", variant)
    return CompileRate()
