"""What is found, as Markdown: printed and written line by line, so that a run that is killed leaves what it has."""

from __future__ import annotations

import contextlib
import time
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path


class Report:
    """Takes lines and tables. `failures` are what must not be; `aims` what was hoped for beside what is reached.
    `mark` stands in every heading."""

    def __init__(self, path: Path | None, seconds: float, mark: str = "") -> None:
        self._file = path.open("w", encoding="utf-8") if path else None
        self._mark, self._end, self._columns = mark, time.monotonic() + seconds, 0
        self.failures: list[str] = []
        self.aims: list[tuple[str, str, str, bool]] = []

    def left(self) -> float:
        """Seconds of the budget."""
        return self._end - time.monotonic()

    def say(self, *lines: str) -> None:
        """Lines, at once; a table ends there."""
        self._columns = 0
        self._print(*lines)

    def _print(self, *lines: str) -> None:
        for line in lines:
            print(line, flush=True)
            if self._file:
                self._file.write(f"{line}\n")
                self._file.flush()

    def heading(self, text: str, level: int = 2) -> None:
        """A section begins."""
        self.say("", f"{'#' * level} {text}{f' ({self._mark})' if self._mark else ''}", "")

    def head(self, *cells: str) -> None:
        """The first row of a table: `row` adds others."""
        self._columns = len(cells)
        self.row(*cells)
        self.row(*("---" for _ in cells))

    def row(self, *cells: str) -> None:
        """A row of the table that was begun."""
        self._print(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |")

    def note(self, line: str) -> None:
        """A line, or a row where a table goes on."""
        if self._columns:
            self.row(line, *[""] * (self._columns - 1))
        else:
            self.say("", line, "")

    def check(self, what: str, error: str, note: str = "") -> None:
        """A row on something that holds unless there is an `error`."""
        self.row(what, "FAIL" if error else "pass", error or note)
        if error:
            self.failures.append(f"{what}: {error}")

    def aim(self, what: str, wanted: str, reached: str, is_reached: bool) -> None:
        """Said at the end."""
        self.aims.append((what, wanted, reached, is_reached))

    @contextlib.contextmanager
    def going_on(self, what: str, fails: bool = True) -> Iterator[None]:
        """What goes wrong within is reported, and the rest goes on."""
        try:
            yield
        except Exception as failure:
            last = traceback.extract_tb(failure.__traceback__)[-1]
            first = str(failure).strip().partition("\n")[0]
            line = f"{what} did not work: {type(failure).__name__}: {first} ({Path(last.filename).name}:{last.lineno})"
            self.note(line)
            if fails:
                self.failures.append(line)

    def has_time(self, what: str, seconds: float) -> bool:
        """Whether so many seconds are left; what is left out is said."""
        if self.left() < seconds:
            self.note(f"Left out, as the time is up: {what}.")
            return False
        return True

    def end(self) -> int:
        """Aims and failures; 1 if there are failures."""
        if self.aims:
            self.heading("Aims")
            self.head("what", "aim", "reached", "")
            for what, wanted, reached, is_reached in self.aims:
                self.row(what, wanted, reached, "yes" if is_reached else "not yet")
        self.heading("Failures")
        self.say(*[f"- {failure}" for failure in self.failures] or ["None."])
        return bool(self.failures)


def median(values: Sequence[float]) -> float:
    """The middle one; of an even number the higher of the two."""
    return sorted(values)[len(values) // 2]


def figure(value: float) -> str:
    """Three digits."""
    return f"{value:.3g}" if value < 100 else f"{value:,.0f}"
