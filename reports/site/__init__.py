"""A report as a folder of web pages that opens from disk and serves from anywhere: nothing is loaded from elsewhere.

grid            tables as typed cells: words, what they are sorted by, where they lead
figures         plots as plain data, for Chart.js
places          where each page lies
page            a page before it is drawn, and the templates
choose          every latency known, for choosing
models, devices, measurements, overview     what their pages hold
build           all of it into a report's folder
"""

from __future__ import annotations

from reports.site.build import build

__all__ = ["build"]
