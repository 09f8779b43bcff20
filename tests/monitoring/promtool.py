"""Run the rules over made-up time with `promtool test rules`: series in, the alerts that fire out."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "deploy/monitoring/prometheus/rules"
MINUTE = 60
DAY = 24 * 3600
FIRING = 'count by (alertname) (ALERTS{alertstate="firing"})'


@dataclass(frozen=True)
class Series:
    """A series in promtool's notation, a value a step."""

    name: str
    values: str

    def as_input(self) -> dict[str, str]:
        return {"series": self.name, "values": self.values}


def sampled(name: str, values: list[float]) -> Series:
    """A series of these values; what repeats is written once."""
    written: list[str] = []
    place = 0
    while place < len(values):
        times = 1
        while place + times < len(values) and values[place + times] == values[place]:
            times += 1
        written.append(f"{values[place]:g}x{times - 1}" if times > 1 else f"{values[place]:.12g}")
        place += times
    return Series(name, " ".join(written))


def alerts() -> dict[str, dict[str, Any]]:
    """The alerting rules, by name."""
    document = yaml.safe_load((RULES / "trivet-alerts.yml").read_text())
    return {rule["alert"]: rule for group in document["groups"] for rule in group["rules"]}


def write_test(
    folder: Path,
    step: int,
    series: list[Series],
    fire: dict[int, list[str]],
    there: dict[str, int] | None = None,
) -> Path:
    """Write a test: at each of these seconds just these alerts fire, and so many series of a name are there."""
    checks = [
        {
            "expr": FIRING,
            "eval_time": f"{second}s",
            "exp_samples": [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in sorted(names)],
        }
        for second, names in fire.items()
    ]
    checks += [
        {
            "expr": f"count({name})",
            "eval_time": f"{second}s",
            "exp_samples": [{"labels": "{}", "value": count}],
        }
        for name, count in (there or {}).items()
        for second in fire
    ]
    document = {
        "rule_files": [str(file) for file in sorted(RULES.glob("*.yml"))],
        "evaluation_interval": f"{step}s",
        "tests": [
            {
                "interval": f"{step}s",
                "input_series": [one.as_input() for one in series],
                "promql_expr_test": checks,
            }
        ],
    }
    file = folder / "test.yml"
    file.write_text(yaml.safe_dump(document, sort_keys=False))
    return file


def outcome(promtool: str, file: Path) -> str:
    """Empty if the test passes; else what promtool says."""
    done = subprocess.run([promtool, "test", "rules", file], capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr
