"""Quantization: after the training (``post_training``) or with it (``aware``), gated by accuracy (``gate``).

``graph`` and ``check`` read the file that came of it: what was asked for is looked up there, not believed.
"""

from compressors.steps.quantize.check import check
from compressors.steps.quantize.post_training import quantize

__all__ = ["check", "quantize"]
