"""The sidecar: the template gives what the plain manifest shows, a native sidecar on 127.0.0.1."""

import json
import pathlib
import tempfile
import unittest

import yaml

import chart

LIBRARY = chart.ROOT / "charts/narrows-sidecar"


def rendered(call):
    """The entry for `initContainers` that a chart gets, which has the library as a dependency."""
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "templates").mkdir()
        (folder / "Chart.yaml").write_text("apiVersion: v2\nname: app\nversion: 1.0.0\n")
        (folder / "charts").mkdir()
        (folder / "charts/narrows-sidecar").symlink_to(LIBRARY)
        (folder / "templates/pod.yaml").write_text(
            'kind: Sidecar\ndata:\n  {{- include "narrows.sidecar" (' + call + ") | nindent 2 }}\n"
        )
        text = chart.helm("template", "r", folder, "--kube-version=1.34.0")
    return yaml.safe_load(text)["data"][0]


def manifest():
    text = (LIBRARY / "examples/job.yaml").read_text()
    return yaml.safe_load(text)


class Sidecar(unittest.TestCase):
    def test_the_plain_manifest_is_what_the_template_gives(self):
        made = rendered('dict "bootstrapServers" "kafka:9092"')
        self.assertEqual(made, manifest()["spec"]["template"]["spec"]["initContainers"][0])

    def test_it_is_a_native_sidecar_for_the_pod_alone(self):
        made = rendered('dict "bootstrapServers" "kafka:9092" "port" 7000 "nodeIds" "0-2"')
        self.assertEqual(made["restartPolicy"], "Always")
        self.assertIn("--bind=127.0.0.1:7000", made["args"])
        self.assertIn("--advertised-host=127.0.0.1", made["args"])
        self.assertIn("--node-ids=0-2", made["args"])
        self.assertEqual(made["startupProbe"]["httpGet"]["path"], "/readyz")
        self.assertEqual(made["resources"]["requests"]["memory"], "16Mi")
        self.assertEqual(made["securityContext"]["runAsUser"], 65532)

    def test_configuration_passes_by_the_environment(self):
        made = rendered(
            'dict "bootstrapServers" "k:1" "env" (dict "NARROWS_LOG__LEVEL" "debug") '
            '"volumeMounts" (list (dict "name" "ca" "mountPath" "/secrets/ca"))'
        )
        self.assertIn({"name": "NARROWS_LOG__LEVEL", "value": "debug"}, made["env"])
        self.assertEqual(made["volumeMounts"], [{"name": "ca", "mountPath": "/secrets/ca"}])

    def test_without_bootstrap_servers_it_says_so(self):
        with self.assertRaises(chart.Refused) as refused:
            rendered("dict")
        self.assertIn("narrows.sidecar needs bootstrapServers", str(refused.exception))

    def test_the_manifest_is_valid(self):
        import kubernetes_validate

        for version in ("1.29", "1.34"):
            kubernetes_validate.validate(manifest(), version, strict=True)

    def test_the_library_passes_lint(self):
        chart.helm("lint", "--strict", LIBRARY, "--values=-", given=json.dumps({}))
