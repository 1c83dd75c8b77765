"""The alerts and the dashboard: their expressions are PromQL, and ask for what Narrows really counts."""

import json
import os
import re
import subprocess
import tempfile
import time
import unittest
import urllib.error
import urllib.request

import yaml

import chart
from chart import PORT, one, render

ALERTS = chart.CHART / "files/alerts.yaml"
DASHBOARD = json.loads((chart.CHART / "files/dashboard.json").read_text())
METRICS = {"metrics": {"prometheusRule": {"enabled": True}, "dashboard": {"enabled": True}}}


def promtool(*arguments):
    return subprocess.run(
        ["promtool", *map(str, arguments)], text=True, capture_output=True, check=False
    )


def alerts():
    return [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


def dashboard_expressions():
    """The expressions of all panels, with something in the place of Grafana's variables."""
    found = [t["expr"] for panel in DASHBOARD["panels"] for t in panel.get("targets", [])]
    return [re.sub(r"\$\w+", ".*", e.replace("$__rate_interval", "5m")) for e in found]


def counted():
    """The names that Narrows' sources have for metrics."""
    sources = (chart.ROOT / "src/observe/metrics").rglob("*.rs")
    text = "".join(path.read_text() for path in sources)
    return set(re.findall(r'"(narrows_[a-z_]+)"', text))


def fetched(url):
    """What is there, once somebody listens."""
    deadline = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return answer.read().decode()
        except urllib.error.URLError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


class Monitoring(unittest.TestCase):
    def test_the_alerts_are_rules(self):
        done = promtool("check", "rules", ALERTS)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn(f"{len(alerts())} rules found", done.stdout)

    def test_what_narrows_counts_is_as_prometheus_wants_it(self):
        host = "127.91.%d.%d" % divmod(os.getpid() % 65536, 256)
        given = {"bind": "9092", "admin-bind": "9190", "bootstrap-servers": "1"}
        flags = [f"--{flag}={host}:{port}" for flag, port in given.items()]
        command = [chart.NARROWS, "run", "--advertised-host=localhost", "--node-ids=0", *flags]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as narrows:
            self.addCleanup(narrows.kill)
            text = fetched(f"http://{host}:9190/metrics")
            narrows.terminate()
        self.assertIn("narrows_build_info", text)
        done = subprocess.run(
            ["promtool", "check", "metrics"], input=text, text=True, capture_output=True, check=False
        )
        self.assertEqual((done.returncode, done.stdout + done.stderr), (0, ""))

    def test_each_alert_fires_on_what_it_is_for(self):
        done = promtool("test", "rules", chart.HERE / "alerts_test.yaml")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        tested = (chart.HERE / "alerts_test.yaml").read_text()
        for rule in alerts():
            self.assertIn(f"alertname: {rule['alert']}\n        exp_alerts:\n", tested)

    def test_each_alert_has_a_runbook_in_the_readme(self):
        readme = (chart.CHART / "README.md").read_text()
        for rule in alerts():
            anchor = rule["annotations"]["runbook_url"].split("#")[1]
            self.assertIn(f"\n#### {rule['alert']}\n", readme)
            self.assertEqual(anchor, rule["alert"].lower())

    def test_each_expression_of_the_dashboard_is_promql(self):
        expressions = dashboard_expressions()
        self.assertGreater(len(expressions), 15)
        rules = [{"record": f"panel:{i}", "expr": e} for i, e in enumerate(expressions)]
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}, file)
            file.flush()
            done = promtool("check", "rules", file.name)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_alerts_and_dashboard_name_only_metrics_that_narrows_has(self):
        expressions = dashboard_expressions() + [rule["expr"] for rule in alerts()]
        known = counted()
        self.assertGreater(len(known), 10)
        for expression in expressions:
            for name in re.findall(r"narrows_[a-z_]+", expression):
                self.assertIn(re.sub("_(bucket|sum|count)$", "", name), known, expression)

    def test_alerts_name_only_outcomes_that_narrows_has(self):
        sources = "".join(path.read_text() for path in (chart.ROOT / "src").rglob("*.rs"))
        for rule in alerts():
            for value in re.findall(r'[=~]"([a-z_|]+)"', rule["expr"]):
                for outcome in value.split("|"):
                    self.assertIn(f'"{outcome}"', sources, rule["alert"])

    def test_the_chart_makes_rules_and_dashboard_of_these_files(self):
        objects = render(PORT, METRICS)
        made = one(objects, "PrometheusRule")["spec"]["groups"][0]["rules"]
        self.assertEqual(made, alerts())
        made = next(o for o in objects if o["metadata"]["name"] == "r-narrows-dashboard")
        self.assertEqual(json.loads(made["data"]["narrows.json"]), DASHBOARD)
        self.assertEqual(made["metadata"]["labels"]["grafana_dashboard"], "1")

    def test_an_alert_can_be_left_out(self):
        given = {"metrics": {"prometheusRule": {"disabled": {"NarrowsDown": True}}}}
        made = one(render(PORT, METRICS, given), "PrometheusRule")["spec"]["groups"][0]["rules"]
        self.assertEqual(len(made), len(alerts()) - 1)
        self.assertNotIn("NarrowsDown", str(made))
