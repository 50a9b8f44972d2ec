"""The labels of another form of a model in place of the truth: what a precision or a compiler costs on real images."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from ovseg_ros.evaluation.datasets import Dataset, Sample, ignore_label, label_dtype
from ovseg_ros.evaluation.evaluate import Source
from ovseg_ros.evaluation.scores import Question
from ovseg_ros.evaluation.subjects import Subject


@dataclass
class Labelled:
    """The images of a data set with a model's labels, in ids of evaluated classes.

    Measured on it, another form of the same model has as pixel accuracy the share of pixels whose labels are equal.
    Where the labelling model leaves a pixel without a class, that pixel does not count, as without truth.

    Args:
        data: gives the images; its labels are not looked at.
        source: opens the model that labels, once in each process.
        question: what it is asked.

    Attributes:
        classes: the data set's.
    """

    data: Dataset
    source: Source
    question: Question
    _subject: Subject | None = field(default=None, init=False, compare=False, repr=False)

    def __reduce__(self) -> tuple[type[Labelled], tuple[Dataset, Source, Question]]:
        return Labelled, (self.data, self.source, self.question)

    @property
    def classes(self) -> tuple[str, ...]:
        """See `Dataset`."""
        return self.data.classes

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> Sample:
        sample, kind = self.data[index], label_dtype(len(self.classes))
        labels = self.question.evaluated(self._opened().segment(sample.rgb).labels)
        return replace(sample, labels=np.where(labels < len(self.classes), labels, ignore_label(kind)).astype(kind))

    @property
    def title(self) -> str:
        """What labels, for the report."""
        return f"labels of {self._opened().identity.backend}"

    def _opened(self) -> Subject:
        if self._subject is None:
            self._subject = self.source.open()
            self._subject.set_vocabulary(self.question.words)
        return self._subject
