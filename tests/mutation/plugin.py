"""For pytest while mutants run: which test runs which line and how long it takes, and random examples that are few and
the same each time."""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Generator
from pathlib import Path

import pytest
from coverage import Coverage
from hypothesis import HealthCheck, Phase, settings

settings.register_profile(
    "mutation",
    derandomize=True,
    database=None,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
MOST_EXAMPLES = 20
"""Of a test with random examples, whatever it asks for."""
MOST_MEMORY = 8 * 2**30
passed: dict[str, float] = {}
failed: list[str] = []


def pytest_configure() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        test = getattr(item, "obj", None)
        case = getattr(item, "cls", None)
        if hasattr(case, "settings"):  # a state machine
            case.settings = _fewer(case.settings)
        elif hasattr(test, "_hypothesis_internal_use_settings"):
            test._hypothesis_internal_use_settings = _fewer(test._hypothesis_internal_use_settings)


def _fewer(own: settings) -> settings:
    return settings(own, max_examples=min(own.max_examples, MOST_EXAMPLES))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    measured = Coverage.current()
    if measured is not None:
        measured.switch_context(item.nodeid)
    return (yield)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.failed:
        failed.append(report.nodeid)
    elif report.when == "call" and report.passed:
        passed[report.nodeid] = report.duration


def pytest_sessionfinish() -> None:
    if path := os.environ.get("MUTATION_FINDINGS"):
        Path(path).write_text(json.dumps({"seconds": passed, "failed": failed}), encoding="utf-8")
