"""The values that everything is rendered with, by name: the schemes, and all that is optional at once."""

import yaml

import chart
from chart import PORT, SINGLE, SNI, values

EVERYTHING = {
    "certificate": {"enabled": True, "issuerRef": {"name": "ca", "kind": "Issuer"}},
    "config": {
        "clusters": {"kafka": {"tls": {"ca": "/configmaps/trust/ca.crt"}}},
    },
    "containers": {"log": {"image": "log:1"}},
    "env": {"RUST_BACKTRACE": "1"},
    "gateway": {
        "parentRefs": [{"name": "edge", "namespace": "gateways"}],
        "tlsRoute": {"enabled": True},
        "tcpRoute": {"enabled": True},
    },
    "global": {"imagePullSecrets": ["key"]},
    "hostUsers": False,
    "initContainers": {"wait": {"image": "wait:1"}},
    "metrics": {
        "podMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
        "prometheusRule": {"enabled": True, "disabled": {"NarrowsDown": True}},
        "dashboard": {"enabled": True, "annotations": {"grafana_folder": "Kafka"}},
    },
    "networkPolicy": {"enabled": True, "brokers": [{"podSelector": {}}]},
    "priorityClassName": "high",
    "service": {"type": "ClusterIP", "spec": {"ipFamilyPolicy": "PreferDualStack"}},
    "tolerations": [{"key": "kafka", "operator": "Exists"}],
    "volumes": {"x": {"mountPath": "/x", "readOnly": True, "source": {"emptyDir": {}}}},
}

MATRIX = {
    "port": PORT,
    "sni": SNI,
    "single": SINGLE,
    "single-with-names": {**SINGLE, "externalHost": "b{node_id}.kafka.example.com"},
    "one-replica": values(PORT, {"replicas": 1, "serviceAccount": {"create": False}}),
    "no-service": values(PORT, {"service": {"enabled": False}}),
    "service-monitor": values(PORT, {"metrics": {"serviceMonitor": {"enabled": True}}}),
    "everything": values({**PORT, "scheme": "sni"}, EVERYTHING),
    **{
        path.stem: yaml.safe_load(path.read_text())
        for path in sorted((chart.CHART / "recipes").glob("*.yaml"))
    },
    **{
        f"preset-{path.stem}": values(PORT, yaml.safe_load(path.read_text()))
        for path in sorted((chart.CHART / "presets").glob("*.yaml"))
    },
}
