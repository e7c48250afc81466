"""Captioned images as queries and candidates of retrieval in both directions.

An image becomes one query without question and up to five queries that are its captions. The ids name the candidates:
a caption is found by its own sample's id `IMAGE#k`, k = 0 … 4, an image by `IMAGE`. Five captions an image are the
published protocol for COCO and Flickr30k (Karpathy and Fei-Fei 2015, section 4.1); a sixth caption is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from harness.records import Sample

CAPTIONS_PER_IMAGE = 5
TO_TEXT, TO_IMAGE = "image-to-text", "text-to-image"


def retrieval_view(images: Iterable[Sample]) -> Iterator[Sample]:
    """For each image with its captions as references: the image as a query, then its captions, in one group.

    An image that cannot be asked is passed on as it is; its captions are neither queries nor candidates then.
    """
    for image in images:
        if image.problem is not None:
            yield replace(image, metadata={**image.metadata, "direction": TO_TEXT})
            continue
        captions = image.references[:CAPTIONS_PER_IMAGE]
        ids = tuple(f"{image.sample_id}#{k}" for k in range(len(captions)))
        cluster, group = image.cluster or image.sample_id, image.sample_id
        fields = {**image.metadata, "direction": TO_TEXT}
        yield replace(image, references=ids, cluster=cluster, group=group, metadata=fields)
        fields = {**image.metadata, "direction": TO_IMAGE}
        for name, caption in zip(ids, captions, strict=True):
            yield Sample(name, caption, references=(image.sample_id,), cluster=cluster, group=group, metadata=fields)
