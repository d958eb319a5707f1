"""The run of Ray Tune."""

from __future__ import annotations

import logging

import pytest

from orchestrator.execution.tuning import without_stack_trace


def test_an_error_that_tune_logs_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.handler.addFilter(without_stack_trace)
    try:
        raise RuntimeError("the actor died\nbecause of signal 9")
    except RuntimeError:
        logging.getLogger("ray.tune.execution.tune_controller").exception("Trial %s", "7")
    caplog.handler.removeFilter(without_stack_trace)
    assert "Trial 7: RuntimeError: the actor died" in caplog.text
    assert "Traceback" not in caplog.text and "signal 9" not in caplog.text
