"""Candidates for tests of choosing: every field filled as a real entry fills it."""

from __future__ import annotations

import hashlib
from typing import Any

from zoo.artifact import Accuracy
from zoo.candidate import LOCAL, Candidate, CellFacts


def digest_of(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def top1(value: float, digest: str, **fields: Any) -> Accuracy:
    known: dict[str, Any] = {"metric": "top1", "dataset": "imagenet", "split": "val", "samples": 50_000}
    return Accuracy(value=value, measured_on=digest, **{**known, **fields})


def cell(digest: str, centre_ms: float | None, **fields: Any) -> CellFacts:
    known: dict[str, Any] = {
        "job_key": digest_of(f"{digest}{centre_ms}{sorted(fields.items(), key=str)}"),
        "artifact_sha256": digest,
        "device": "kirin970",
        "fingerprint": "f" * 64,
        "abi": "armv8",
        "threads": 4,
        "threads_actual": None,
        "affinity": None,
        "options": (),
        "runner": "benchmark_model",
        "delegate": None,
        "metric": "latency",
        "centre_ms": centre_ms,
        "ci95_ms": (centre_ms * 0.98, centre_ms * 1.02) if centre_ms is not None else None,
        "verdict": "valid",
        "reason": None,
        "provenance": "hardware",
        "output_check": "agrees",
        "time": "2026-11-21T10:00:00.000+00:00",
    }
    return CellFacts(**{**known, **fields})


def model(
    name: str,
    *,
    accuracy: float | None = 71.0,
    ms: float | None = None,
    cells: tuple[CellFacts, ...] = (),
    salt: str = "",
    **fields: Any,
) -> Candidate:
    digest = fields.pop("digest", digest_of(name + salt))
    known: dict[str, Any] = {
        "source": LOCAL,
        "tags": ("latest",),
        "format": "tflite",
        "task": "image-classification",
        "size_bytes": 4_000_000,
        "accuracy": (top1(accuracy, digest),) if accuracy is not None else (),
        "parent": None,
        "parent_name": None,
        "cells": (*cells, *((cell(digest, ms),) if ms is not None else ())),
    }
    return Candidate(name=name, digest=digest, **{**known, **fields})
