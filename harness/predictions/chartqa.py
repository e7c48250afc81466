"""Published ChartQA answers: a JSON list of `imgname`, `query`, `prediction`, `split` and, with the gold, `answer`.

Sample ids are made as the data set's reader makes them, which needs the subset: `split` must end in `human` or
`augmented` (such as `test_human`). A list without it cannot be joined with anything and is refused.
"""

from __future__ import annotations

from harness.errors import PredictionError
from harness.predictions.base import Prediction, Readout
from harness.predictions.content import Content, Row
from harness.records import Sample
from harness.sample_ids import ChartQAIds

SUBSETS = ("human", "augmented")


def matches(content: Content) -> bool:
    """Whether the entries have `imgname`, `query` and `prediction`."""
    return content.shape in ("list", "lines") and content.has("imgname", "query", "prediction")


def read(content: Content) -> Readout:
    """The answers; `gold` is the question with its label where the file has `answer`."""
    ids = ChartQAIds()
    return Readout(tuple((row.where, _prediction(row, ids)) for row in content.rows))


def _prediction(row: Row, ids: ChartQAIds) -> Prediction:
    imgname, query, subset = row.text("imgname"), row.text("query"), _subset(row)
    sample_id = ids.next(subset, imgname, query)
    gold = None
    if "answer" in row.fields:
        answer = row.fields["answer"]
        references = row.texts("answer") if isinstance(answer, list) else (row.text("answer"),)
        gold = Sample(sample_id, question=query, references=references, cluster=imgname, metadata={"subset": subset})
    return Prediction(sample_id, row.text("prediction"), gold)


def _subset(row: Row) -> str:
    if "split" not in row.fields:
        raise PredictionError(
            f'{row.where} has no field "split"; ChartQA questions are identified within their subset: '
            'add "split": "test_human" or "test_augmented" to every entry'
        )
    subset = row.text("split").rpartition("_")[2]
    if subset not in SUBSETS:
        raise PredictionError(f'{row.where}: split is "{row.text("split")}"; it should end in human or augmented')
    return subset
