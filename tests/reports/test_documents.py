"""Tables in the form that MLflow's own pages show."""

from __future__ import annotations

import json
import math

from reports.documents import ema_table


def test_a_table_of_sweeps_has_a_row_per_point_with_its_solver_and_its_metrics() -> None:
    point = {"images": 256, "guidance_weight": 1.0, "guide_sigma_rel": None, "sigma_rel": 0.05, "standard_error": 0.1}
    found = json.loads(ema_table([{"solver": "robust", "points": [{**point, "metrics": {"fd_probe": 2.0}}]},
                                  {"solver": "reference", "points": [{**point, "metrics": {"fd_probe": math.nan, "kid": 1.0}}]}]))
    assert found["columns"] == ["solver", "images", "guidance_weight", "guide_sigma_rel", "sigma_rel", "standard_error", "fd_probe", "kid"]
    assert found["data"] == [["robust", 256, 1.0, None, 0.05, 0.1, 2.0, None], ["reference", 256, 1.0, None, 0.05, 0.1, None, 1.0]]
