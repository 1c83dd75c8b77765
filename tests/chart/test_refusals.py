"""Values that can't work, each refused with a sentence that says what to write instead."""

import unittest

from chart import PORT, SNI, Refused, render, values


def config(**keys):
    return {"config": keys}


def external(**keys):
    return config(listeners={"external": keys})


MANY = external(address={"node_ids": ["0-49"]})
ROUTE = {"parentRefs": [{"name": "edge"}]}
SECOND = {"bind": "0.0.0.0:9092", "cluster": "kafka", "address": {"advertised_host": "h"}}

# The values, and a part of what is said.
CASES = {
    "no_cluster": ([{}], "no Kafka cluster is given: set bootstrapServers, externalHost"),
    "no_way_in": ([{"bootstrapServers": "k:1"}], "clients have no way in: set externalHost"),
    "a_host_with_a_port": (
        [{**PORT, "externalHost": "kafka.example.com:9092"}],
        "give a name or an IPv4 address alone",
    ),
    "sni_without_a_certificate": ([{**PORT, "scheme": "sni"}], "so it needs a certificate"),
    "fifty_node_ids": ([PORT, MANY], "has 50 node ids, and with scheme port each takes a port"),
    "fifty_node_ids_name_the_cure": ([PORT, MANY], "use sni or single"),
    "more_than_fifty_ports_of_all_listeners": (
        [
            PORT,
            external(address={"node_ids": ["0-30"]}),
            config(listeners={"b": {**SECOND, "bind": "0.0.0.0:7000"}}),
        ],
        "the listeners need 53 ports, and a load balancer has 50",
    ),
    "one_port_for_two_listeners": (
        [PORT, config(listeners={"other": SECOND})],
        "the listeners external and other both want port 9092 of the Service",
    ),
    "a_port_below_one": (
        [PORT, external(address={"advertised_port_offset": -9500})],
        "ports are from 1 to 65535",
    ),
    "only_a_local_listener": (
        [PORT, external(bind="127.0.0.1:9092")],
        "every listener is bound to 127.0.0.1, where a Service can't reach it",
    ),
    "a_local_admin_port": (
        [PORT, config(admin={"bind": "127.0.0.1:9190"})],
        "where the kubelet's probes can't reach it: use 0.0.0.0:9190",
    ),
    "a_grace_period_that_cuts_the_drain": (
        [PORT, {"terminationGracePeriodSeconds": 79}],
        "requests in flight would be cut off. Set it to 80 or more, or leave it out",
    ),
    "an_autoscaler_without_an_end_of_connections": (
        [PORT, {"autoscaling": {"enabled": True}}],
        "autoscaling needs config.limits.connection_age_max, such as 1h: Kafka clients keep",
    ),
    "an_autoscaler_and_connections_that_may_stay": (
        [PORT, config(limits={"connection_age_max": "0s"}), {"autoscaling": {"enabled": True}}],
        "autoscaling needs config.limits.connection_age_max, such as 1h: Kafka clients keep",
    ),
    "a_certificate_of_nobody": (
        [PORT, {"certificate": {"enabled": True}}],
        "certificate.enabled needs certificate.issuerRef",
    ),
    "a_name_that_no_wildcard_covers": (
        [
            SNI,
            external(address={"broker_host": "kafka.broker-{node_id}.example.com"}),
            {"certificate": {"enabled": True, "issuerRef": {"name": "ca"}}},
        ],
        "a wildcard of a certificate stands for the first label only",
    ),
    "a_route_without_a_gateway": (
        [SNI, {"gateway": {"tlsRoute": {"enabled": True}}}],
        "a route needs gateway.parentRefs",
    ),
    "a_route_without_a_service": (
        [
            SNI,
            {"gateway": {**ROUTE, "tlsRoute": {"enabled": True}}, "service": {"enabled": False}},
        ],
        "a route leads to the Service: set service.enabled to true",
    ),
    "a_tls_route_without_names": (
        [PORT, {"gateway": {**ROUTE, "tlsRoute": {"enabled": True}}}],
        "no listener has scheme sni: set scheme to sni, or use gateway.tcpRoute",
    ),
    "two_monitors": (
        [PORT, {"metrics": {m: {"enabled": True} for m in ("podMonitor", "serviceMonitor")}}],
        "every pod would be scraped twice: choose one",
    ),
    "a_version_that_is_too_old": (
        [PORT, {"image": {"tag": "v0.0.9"}}],
        "Narrows 0.0.9 is older than this chart (0.1.0) can run: use 0.1.0 or newer",
    ),
    "a_version_of_another_major": (
        [PORT, {"versionOverride": "1.0.0"}],
        "this chart (0.1.0) is for Narrows 0.x, not for 1.0.0",
    ),
    "a_version_that_is_none": (
        [PORT, {"versionOverride": "main"}],
        'versionOverride is "main": give a version such as 0.1.0',
    ),
    "a_misspelt_value": ([PORT, {"replica": 3}], "additional properties 'replica' not allowed"),
    "a_misspelt_key_of_config": (
        [PORT, config(limits={"frame_byte_max": "1MiB"})],
        "at '/config/limits': additional properties 'frame_byte_max' not allowed",
    ),
    "a_duration_without_a_unit": ([PORT, config(drain={"delay": "15"})], "/config/drain/delay"),
    "a_scheme_that_is_none": ([{**PORT, "scheme": "ports"}], "/scheme"),
    "a_server_without_a_port": (
        [{**PORT, "bootstrapServers": "kafka:9092, other"}],
        'bootstrapServers has "other": write each as host:port, such as',
    ),
    "a_server_that_is_a_url": (
        [{**PORT, "bootstrapServers": ["http://kafka:9092"]}],
        'bootstrapServers has "http://kafka:9092": write each as host:port',
    ),
    "a_host_that_is_a_wildcard": (
        [{**SNI, "externalHost": "*.kafka.example.com"}],
        "give the one name that clients begin with, kafka.example.com",
    ),
    "an_address_where_names_tell_brokers_apart": (
        [{**SNI, "externalHost": "192.0.2.7"}],
        "give a name such as kafka.example.com, or set scheme to port or single",
    ),
    "a_digest_that_is_none": ([PORT, {"image": {"digest": "sha256:abc"}}], "/image/digest"),
    "ports_of_the_service_by_hand": ([PORT, {"service": {"spec": {"ports": []}}}], "propertyName 'ports'"),
}


class Refusals(unittest.TestCase):
    def test_tags_that_are_no_versions_are_taken(self):
        render(PORT, {"image": {"tag": "dev"}})
        render(PORT, {"image": {"tag": "0.1.1-rc.1"}})

    def test_an_autoscaler_upside_down(self):
        scaling = {"enabled": True, "minReplicas": 5, "maxReplicas": 4}
        given = [PORT, config(limits={"connection_age_max": "1h"}), {"autoscaling": scaling}]
        with self.assertRaises(Refused) as refused:
            render(*given)
        expected = "autoscaling.minReplicas is 5, above autoscaling.maxReplicas, 4"
        self.assertIn(expected, str(refused.exception))

    def test_an_old_kubernetes(self):
        with self.assertRaises(Refused) as refused:
            render(PORT, kube_version="1.28.0")
        self.assertIn("incompatible with Kubernetes", str(refused.exception))


def add(name, given, expected):
    def test(self):
        with self.assertRaises(Refused) as refused:
            render(values(*given))
        self.assertIn(expected, str(refused.exception))

    setattr(Refusals, f"test_{name}", test)


for case in CASES.items():
    add(case[0], *case[1])
