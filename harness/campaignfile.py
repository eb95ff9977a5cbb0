"""A campaign as a file that a person writes: what the flags say, for several groups of cells.

What stands at the top holds for every group; a group's own keys replace it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from devices.spec import Text
from harness.affinity import check_affinity
from harness.plan import parse_threads
from harness.request import parse_share
from pocketzoo import yamlfile
from pocketzoo.errors import BadInput
from pocketzoo.yamlfile import Section


def _checked(check: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def validate(value: Any) -> Any:
        try:
            return check(value)
        except BadInput as error:
            raise ValueError(error.what + (f"; {error.hint}" if error.hint else "")) from error

    return validate


def _listed(value: Any) -> Any:
    """One value where a list is expected is a list of one."""
    return [value] if isinstance(value, (str, int)) and not isinstance(value, bool) else value


def _threads(counts: tuple[int, ...]) -> tuple[int, ...]:
    return parse_threads(",".join(str(count) for count in counts))


Names = Annotated[tuple[Text, ...], BeforeValidator(_listed), Field(strict=False)]
Counts = Annotated[tuple[int, ...], BeforeValidator(_listed), Field(strict=False), AfterValidator(_checked(_threads))]
Share = Annotated[Text, AfterValidator(_checked(lambda text: parse_share(text, "until")))]
Positive = Annotated[float, Field(gt=0, le=86400)]


class Cool(Section):
    """``below`` degrees Celsius, waited for at most ``limit`` seconds."""

    below: Annotated[float, Field(gt=0, lt=150)]
    limit: Annotated[float, Field(ge=0, le=86400)] | None = None


class Cells(Section):
    """What is measured, and how. Each key is the option of that name."""

    devices: Names | None = None
    models: Names | None = None
    abis: Names | None = None
    threads: Counts | None = None
    affinity: Annotated[Text, AfterValidator(_checked(check_affinity))] | None = None
    warmup: Annotated[int, Field(ge=0, le=10**6)] | None = None
    runs: Annotated[int, Field(ge=1, le=10**6)] | None = None
    repeats: Annotated[int, Field(ge=1, le=1000)] | None = None
    until: Share | None = None
    max_repeats: Annotated[int, Field(ge=1, le=1000)] | None = None
    cool: Cool | None = None


class CampaignFile(Cells):
    """A whole file."""

    metric: Literal["latency", "instructions"] | None = None
    seed: int | None = None
    publish: bool | None = None
    deadline: Positive | None = None
    retry: Annotated[int, Field(ge=0, le=10)] | None = None
    groups: Annotated[tuple[Cells, ...], Field(strict=False, min_length=1)] | None = None

    def each(self) -> list[dict[str, Any]]:
        """What each group says, with what stands at the top where it says nothing. Only keys that are written."""
        top = _written(self)
        return [{**top, **_written(group)} for group in self.groups] if self.groups else [top]

    def common(self) -> dict[str, Any]:
        """What holds for the whole campaign. Only keys that are written."""
        found = {
            "metric": self.metric,
            "seed": self.seed,
            "publish": self.publish,
            "deadline": self.deadline,
            "retry": self.retry,
        }
        return {key: value for key, value in found.items() if value is not None}


def read(path: Path) -> CampaignFile:
    """Read a campaign file.

    Raises:
        BadInput: every mistake at once: file, line, key and what is allowed.
    """
    return yamlfile.validate(yamlfile.read(path), CampaignFile, str(path))


def _written(cells: Cells) -> dict[str, Any]:
    found = {name: getattr(cells, name) for name in Cells.model_fields}
    return {name: value for name, value in found.items() if value is not None}
