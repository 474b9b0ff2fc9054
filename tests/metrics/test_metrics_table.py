"""The table of metrics against its page, the dashboard, the alert rules and the compose file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.metrics.programs import promtool
from tests.paper.deadline import ROOT
from trueup.doors.metrics.table import BOOK, TABLE, Metric

OPS = ROOT / "ops"
RULES = OPS / "prometheus" / "trueup.rules.yml"
COMPOSE = OPS / "compose" / "compose.yaml"
DASHBOARD = OPS / "grafana" / "dashboards" / "trueup.json"
_NAME = re.compile(r"\btrueup_[a-z_]+")
_SELECTOR = re.compile(r"(trueup_[a-z_]+)\{([^}]*)\}")
_LABEL = re.compile(r"([a-z_]+)\s*(?:=~|!=|!~|=)")
# Prometheus adds these to every series.
ADDED = {"job", "instance", "le"}


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def series() -> dict[str, Metric]:
    """The names of all series, with their metrics: a histogram has three."""
    found = {}
    for metric in TABLE:
        ends = ("_bucket", "_sum", "_count") if metric.kind == "histogram" else ("",)
        found.update({metric.name + end: metric for end in ends})
    return found


def rules() -> list[dict[str, Any]]:
    return [rule for group in read(RULES)["groups"] for rule in group["rules"]]


def dashboard_expressions() -> list[str]:
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    found = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    found += [one["expr"] for one in dashboard["annotations"]["list"]]
    found += [one["definition"] for one in dashboard["templating"]["list"] if "definition" in one]
    return found


def expressions() -> Iterator[str]:
    yield from (rule["expr"] for rule in rules())
    yield from dashboard_expressions()


def test_names_units_and_labels_follow_the_conventions() -> None:
    assert len({metric.name for metric in TABLE}) == len(TABLE)
    for metric in TABLE:
        name = metric.name
        assert re.fullmatch(r"trueup_[a-z]+(_[a-z]+)*", name)
        assert name.endswith("_total") == (metric.kind == "counter"), name
        for unit in ("seconds", "bytes"):
            assert name.endswith(f"_{unit}") == (metric.unit == unit), name
        assert not name.endswith(("_count", "_sum", "_bucket")), name
        assert metric.help.endswith("."), name
        assert not {"ticket", "order_id", "identifier"} & set(metric.labels), name
        assert not metric.labels or metric.labels[:1] in (("journal",), ("version",)), name
        assert "book" not in metric.labels or metric.labels[:2] == BOOK, name


def test_the_dashboard_and_the_rules_name_metrics_of_the_table_alone_and_use_all_of_them() -> None:
    known = series()
    named = {name for text in expressions() for name in _NAME.findall(text)}
    assert named - known.keys() == set()
    used = {known[name].name for name in named}
    assert {metric.name for metric in TABLE} - used == set()


def test_the_labels_in_the_dashboard_and_the_rules_are_labels_of_their_metrics() -> None:
    known = series()
    count = 0
    for text in expressions():
        for name, selector in _SELECTOR.findall(text):
            metric = known[name]
            assert set(_LABEL.findall(selector)) <= {*metric.labels, *ADDED}, text
            count += 1
            if metric.values:
                for label, values in re.findall(r"(\w+)=~?\"([a-z_|]+)\"", selector):
                    if label == metric.labels[-1]:
                        assert set(values.split("|")) <= set(metric.values), text
    assert count > 30


def test_every_alert_has_a_severity_a_summary_an_action_and_a_test() -> None:
    tested = {
        check["alertname"]
        for test in read(RULES.with_name("trueup.rules.test.yml"))["tests"]
        for check in test["alert_rule_test"]
        if check["exp_alerts"]
    }
    for rule in rules():
        assert rule["labels"]["severity"] in ("critical", "warning"), rule
        assert set(rule["annotations"]) == {"summary", "description"}, rule
        assert rule["alert"] in tested, rule
    page = (ROOT / "docs" / "operating" / "metrics.md").read_text(encoding="utf-8")
    assert all(f"`{rule['alert']}`" in page for rule in rules())


def test_promtool_accepts_the_configuration_and_the_rules_fire_when_they_should() -> None:
    folder = OPS / "prometheus"
    assert "SUCCESS" in promtool("check", "config", str(folder / "prometheus.yml"))
    assert f"{len(rules())} rules found" in promtool("check", "rules", str(RULES))
    assert "SUCCESS" in promtool("test", "rules", str(folder / "trueup.rules.test.yml"))


def test_promtool_reads_every_query_of_the_dashboard(tmp_path: Path) -> None:
    found = [text for text in dashboard_expressions() if not text.startswith("label_values(")]
    plain = [text.replace("$__rate_interval", "1m") for text in found]
    made = [{"record": f"query:{number}", "expr": text} for number, text in enumerate(plain)]
    path = tmp_path / "queries.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": made}]}), "utf-8")
    assert f"{len(made)} rules found" in promtool("check", "rules", "--lint=none", str(path))


def test_the_dashboard_has_panels_with_own_numbers_and_places() -> None:
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not taken & cells, panel["title"]
        taken |= cells
        assert panel["type"] == "row" or panel["targets"], panel["title"]


def test_the_compose_file_has_pinned_images_no_password_and_mounts_what_is_there() -> None:
    text = COMPOSE.read_text(encoding="utf-8")
    compose = read(COMPOSE)
    assert "PASSWORD" not in text.upper()
    for name, service in compose["services"].items():
        assert re.fullmatch(r"[a-z/]+:v?\d+(\.\d+)+", service["image"]), name
        # A mapping without an address listens at every address of the machine.
        for port in service["ports"]:
            assert port.startswith("127.0.0.1:"), name
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (COMPOSE.parent / source).resolve().exists(), volume
                assert volume.endswith(":ro"), volume
            else:
                assert source in compose["volumes"], volume
        if "env_file" in service:
            example = COMPOSE.parent / f"{service['env_file']}.example"
            keys = dict(re.findall(r"^(\w+)=(.*)$", example.read_text("utf-8"), re.MULTILINE))
            secret = next(key for key in keys if key.endswith("_PASSWORD"))
            assert keys[secret] == ""
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8")
    assert "ops/compose/*.env" in ignored.splitlines()


def test_the_parts_of_the_compose_file_find_each_other() -> None:
    services = read(COMPOSE)["services"]
    (source,) = read(OPS / "grafana/provisioning/datasources/prometheus.yml")["datasources"]
    assert source["url"] == "http://prometheus:9090"
    assert "127.0.0.1:9090:9090" in services["prometheus"]["ports"]
    (provider,) = read(OPS / "grafana/provisioning/dashboards/trueup.yml")["providers"]
    mounts = [volume.split(":")[1] for volume in services["grafana"]["volumes"]]
    assert provider["options"]["path"] in mounts
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    (chosen,) = [one for one in dashboard["templating"]["list"] if one["name"] == "datasource"]
    assert chosen["current"]["value"] == source["uid"]
    (job,) = read(OPS / "prometheus/prometheus.yml")["scrape_configs"]
    assert job["job_name"] == "trueup"
    (path,) = job["file_sd_configs"][0]["files"]
    assert f"./targets.yml:/etc/prometheus/{path}:ro" in services["prometheus"]["volumes"]
    for targets in (OPS / "prometheus" / path, COMPOSE.with_name("targets.yml")):
        ((target,),) = [one["targets"] for one in read(targets)]
        assert target.endswith(":9787")
    assert "host.docker.internal:host-gateway" in services["prometheus"]["extra_hosts"]
