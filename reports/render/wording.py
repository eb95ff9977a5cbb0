"""Table values as words, the same words in every format. Markup is added by the renderer, never here."""

from __future__ import annotations

from reports.numbers import half_width_text, ms_text, size_text
from reports.values import Change, Latency, Line, Missing, Ratio, Score, Size, Table, Text, Value
from zoo.markdown import visible


def figure(value: Value) -> str:
    """The number or words of a value, without marks."""
    match value:
        case Text(text=text) | Missing(why=text):
            return visible(text)
        case Latency():
            half = "" if value.half_ms is None else f" ± {half_width_text(value.median_ms, value.half_ms)}"
            called = "" if value.centre == "median" else f"{value.centre} "
            return called + ms_text(value.median_ms) + half
        case Ratio():
            return f"{value.value:.2f}× [{value.low:.2f}, {value.high:.2f}]"
        case Score():
            ends = "" if value.low is None or value.high is None else f" [{value.low:.1f}, {value.high:.1f}]"
            return f"{value.value:.2f}{value.unit}{ends}"
        case Change():
            ends = ""
            if value.low is not None and value.high is not None:
                ends = f" [{value.low:+.{value.decimals}f}, {value.high:+.{value.decimals}f}]"
            return f"{value.value:+.{value.decimals}f}{value.unit}{ends}"
        case Size():
            return size_text(value.size)
        case Line(parts=parts):
            return " / ".join(" ".join((figure(part), *_own_marks(part, value))) for part in parts)


def basis(value: Value) -> str:
    """What a number rests on, in words to follow it after a comma; empty where the number speaks for itself."""
    return visible(f"n={value.samples:,}, {value.dataset}") if isinstance(value, Score) else ""


def marks_of(value: Value) -> tuple[str, ...]:
    """What stands behind a value: verdict and provenance, what a ratio leans on, the letter of its set-up."""
    if isinstance(value, Missing | Size | Change):  # the most frequent values first
        return ()
    match value:
        case Latency():
            return (*value.marks, f"({value.setup})") if value.setup else value.marks
        case Ratio():
            return value.caveats
        case Score():
            return value.marks
        case Line():
            return _shared_marks(value)
        case Text(published=True):
            return ("‡published",)
        case _:
            return ()


def _shared_marks(line: Line) -> tuple[str, ...]:
    """The marks of a line's numbers where all are numbers and have the same; they stand once behind it."""
    told = {marks_of(part) for part in line.parts}
    return told.pop() if len(told) == 1 and not any(isinstance(part, Missing) for part in line.parts) else ()


def _own_marks(part: Value, line: Line) -> tuple[str, ...]:
    return () if _shared_marks(line) else marks_of(part)


def values_in(value: Value) -> tuple[Value, ...]:
    """A value, or those of a line."""
    return value.parts if isinstance(value, Line) else (value,)


SETUPS = "(A), (B), ... how it was measured, see README.md"
MEANING = {
    "✓": "measured on this hardware and valid",
    "!throttled": "the clock fell while it was measured",
    "!contended": "others used the processor",
    "!clamped": "fewer threads ran than asked for",
    "!unstable": "repeats disagree, or the interval is wide",
    "!failed": "did not end",
    "!on another file": "computed on another file than this one",
    "†emulated": "ran in an emulator; says nothing about the speed of the device it imitates",
    "‡published": "taken from a document, not measured here",
}


def whole_legend() -> tuple[str, ...]:
    """Every mark: the legend of a table that is too long to look through."""
    found = [f"{mark} {says}" for mark, says in MEANING.items()]
    return (*found, f"{SETUPS} (where a latency has such a letter)")


def legend(drawn: Table) -> tuple[str, ...]:
    """The marks a table uses, each with its meaning, in the order of :data:`MEANING`."""
    values = [each for row in drawn.rows for value in row for each in values_in(value)]
    used = {mark for value in values for mark in marks_of(value)}
    found = [f"{mark} {says}" for mark, says in MEANING.items() if any(mark in name for name in used)]
    if any(isinstance(value, Latency) and value.setup for value in values):
        found.append(SETUPS)
    if any(isinstance(value, Latency) and value.centre == "mean" for value in values):
        found.append("mean: the runner's tool printed no median")
    return tuple(found)


def second_hand(value: Value) -> bool:
    """Whether a number was not measured on the hardware it is about; it is set in italics."""
    if isinstance(value, Line):
        return any(map(second_hand, value.parts))
    return any("†emulated" in mark or "‡published" in mark for mark in marks_of(value))
