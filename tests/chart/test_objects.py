"""What the chart makes of values: each test is about content."""

import unittest

import chart
from chart import PORT, SINGLE, SNI, configuration, one, pod, render, values


def ports(objects):
    return [(p["port"], p["targetPort"]) for p in one(objects, "Service")["spec"]["ports"]]


def external(**keys):
    return {"config": {"listeners": {"external": keys}}}


def address(**keys):
    return external(address=keys)


class Config(unittest.TestCase):
    def test_three_values_make_a_configuration_that_narrows_takes(self):
        made = configuration(render(PORT))
        self.assertEqual(made["clusters"], {"kafka": {"bootstrap_servers": "kafka:9092"}})
        listener = made["listeners"]["external"]
        self.assertEqual(listener["address"]["advertised_host"], "kafka.example.com")
        self.assertEqual(listener["address"]["scheme"], "port")
        self.assertEqual(made["admin"], {"bind": "0.0.0.0:9190"})

    def test_scheme_sni_names_each_broker_below_the_external_host(self):
        listener = configuration(render(SNI))["listeners"]["external"]
        self.assertEqual(listener["address"]["bootstrap_host"], "kafka.example.com")
        self.assertEqual(listener["address"]["broker_host"], "broker-{node_id}.kafka.example.com")
        self.assertNotIn("advertised_host", listener["address"])
        self.assertEqual(listener["tls"]["certificate"], "/secrets/narrows-tls/tls.crt")

    def test_scheme_single_has_one_host_for_all_brokers(self):
        listener = configuration(render(SINGLE))["listeners"]["external"]
        address = {"scheme": "single", "advertised_host": "kafka.example.com"}
        self.assertEqual(listener["address"], address)
        self.assertNotIn("tls", listener)

    def test_config_stands_above_the_three_values_and_passes_verbatim(self):
        given = {"config": {"limits": {"frame_bytes_max": "10MiB"}, "drain": {"delay": "1s"}}}
        made = configuration(render(PORT, given))
        self.assertEqual(made["limits"], {"frame_bytes_max": "10MiB"})
        self.assertEqual(made["drain"], {"delay": "1s", "timeout": "60s"})

    def test_config_alone_is_enough(self):
        given = {
            "config": {
                "clusters": {"a": {"bootstrap_servers": ["a:1"]}},
                "listeners": {"b": {"bind": "0.0.0.0:7000", "address": {"advertised_host": "h"}}},
            }
        }
        made = configuration(render(given))
        self.assertEqual(list(made["listeners"]), ["b"])
        self.assertEqual(ports(render(given))[0], (7000, 7000))


class Ports(unittest.TestCase):
    def test_the_service_has_a_port_for_bootstrap_and_each_node_id(self):
        given = address(node_ids=["0-2", 1000])
        self.assertEqual(
            ports(render(PORT, given)), [(n, n) for n in (9092, 9093, 9094, 9095, 9096)]
        )

    def test_node_ids_may_be_one_text_as_for_narrows(self):
        self.assertEqual(len(ports(render(PORT, address(node_ids="0-2, 7")))), 5)

    def test_without_node_ids_there_are_twenty(self):
        self.assertEqual(len(ports(render(PORT))), 21)

    def test_first_port_and_offset_move_the_ports(self):
        given = address(node_ids=[1], first_port=19093, advertised_port_offset=-10000)
        objects = render(PORT, external(bind="0.0.0.0:19092"), given)
        self.assertEqual(ports(objects), [(9092, 19092), (9093, 19093)])

    def test_scheme_sni_takes_one_port_the_one_that_clients_are_told(self):
        self.assertEqual(ports(render(SNI)), [(9092, 9092)])
        self.assertEqual(ports(render(SNI, address(advertised_port=443))), [(443, 9092)])

    def test_scheme_single_takes_one_port_whatever_the_node_ids(self):
        self.assertEqual(ports(render(SINGLE)), [(9092, 9092)])
        self.assertEqual(ports(render(SINGLE, address(advertised_port=443))), [(443, 9092)])

    def test_forty_nine_node_ids_are_still_taken(self):
        self.assertEqual(len(ports(render(PORT, address(node_ids=["0-48"])))), 50)

    def test_a_listener_on_the_pods_own_address_has_no_port_in_the_service(self):
        local = {"bind": "127.0.0.1:7000", "address": {"advertised_host": "localhost"}}
        objects = render(SNI, {"config": {"listeners": {"local": {**local, "cluster": "kafka"}}}})
        self.assertEqual(ports(objects), [(9092, 9092)])

    def test_probes_and_the_admin_port_follow_config(self):
        container = pod(render(PORT, {"config": {"admin": {"bind": "0.0.0.0:7777"}}}))["containers"]
        self.assertIn({"name": "admin", "containerPort": 7777}, container[0]["ports"])
        self.assertEqual(container[0]["readinessProbe"]["httpGet"]["port"], "admin")


class Pods(unittest.TestCase):
    def test_pods_are_restricted(self):
        made = pod(render(PORT))
        self.assertEqual(made["automountServiceAccountToken"], False)
        self.assertEqual(made["securityContext"]["seccompProfile"], {"type": "RuntimeDefault"})
        self.assertEqual(made["securityContext"]["runAsNonRoot"], True)
        self.assertEqual(made["securityContext"]["runAsUser"], 65532)
        container = made["containers"][0]["securityContext"]
        self.assertEqual(
            container,
            {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            },
        )
        self.assertFalse([v for v in made["volumes"] if "hostPath" in v])
        self.assertEqual(one(render(PORT), "ServiceAccount")["automountServiceAccountToken"], False)

    def test_the_grace_period_is_delay_timeout_and_five_seconds(self):
        self.assertEqual(pod(render(PORT))["terminationGracePeriodSeconds"], 80)
        drain = {"config": {"drain": {"delay": "1m", "timeout": "1500ms"}}}
        self.assertEqual(pod(render(PORT, drain))["terminationGracePeriodSeconds"], 67)
        given = {"terminationGracePeriodSeconds": 300}
        self.assertEqual(pod(render(PORT, given))["terminationGracePeriodSeconds"], 300)

    def test_no_pod_goes_before_another_is_ready(self):
        made = one(render(PORT), "Deployment")["spec"]
        self.assertEqual(made["strategy"]["rollingUpdate"]["maxUnavailable"], 0)
        self.assertGreater(made["minReadySeconds"], 0)

    def test_a_path_of_a_secret_in_config_mounts_it_as_a_folder(self):
        given = {"config": {"clusters": {"kafka": {"tls": {"ca": "/secrets/my.ca/ca.crt"}}}}}
        made = pod(render(SNI, given))
        mounts = {m["mountPath"]: m for m in made["containers"][0]["volumeMounts"]}
        self.assertEqual(set(mounts), {"/etc/narrows", "/secrets/my.ca", "/secrets/narrows-tls"})
        self.assertNotIn("subPath", str(mounts))
        volumes = {v["name"]: v for v in made["volumes"]}
        secret = volumes[mounts["/secrets/my.ca"]["name"]]["secret"]
        self.assertEqual(secret, {"secretName": "my.ca", "defaultMode": 0o440})

    def test_a_path_of_a_configmap_in_config_mounts_it(self):
        given = {"config": {"clusters": {"kafka": {"tls": {"ca": "/configmaps/trust/ca.crt"}}}}}
        made = pod(render(PORT, given))
        self.assertIn({"name": "trust"}, [v.get("configMap") for v in made["volumes"]])

    def test_a_change_of_config_rolls_pods_only_when_asked(self):
        other = {"config": {"limits": {"frame_bytes_max": "10MiB"}}}
        same = [one(render(PORT, v), "Deployment") for v in ({}, other)]
        self.assertEqual(*same)
        restart = {"onConfigChange": "restart"}
        rolled = [one(render(PORT, restart, v), "Deployment") for v in ({}, other)]
        self.assertNotEqual(*rolled)

    def test_the_image_is_by_tag_by_digest_or_from_a_mirror(self):
        digest = "sha256:" + "a" * 64

        def image(**keys):
            return pod(render(PORT, values(*keys.values())))["containers"][0]["image"]

        self.assertEqual(image(), "ghcr.io/narrows/narrows:0.1.0")
        by_digest = {"image": {"digest": digest, "tag": "0.1.0"}}
        self.assertEqual(image(a=by_digest), f"ghcr.io/narrows/narrows@{digest}")
        mirror = {"global": {"imageRegistry": "mirror:5000", "imagePullSecrets": ["key"]}}
        self.assertEqual(image(a=mirror), "mirror:5000/narrows/narrows:0.1.0")
        self.assertEqual(pod(render(PORT, mirror))["imagePullSecrets"], [{"name": "key"}])

    def test_pods_are_spread_over_hosts_and_zones(self):
        made = pod(render(PORT))["topologySpreadConstraints"]
        self.assertEqual(
            [c["topologyKey"] for c in made],
            ["kubernetes.io/hostname", "topology.kubernetes.io/zone"],
        )
        without = {"topologySpread": {"topology.kubernetes.io/zone": None}}
        self.assertEqual(len(pod(render(PORT, without))["topologySpreadConstraints"]), 1)

    def test_what_users_add_by_name_is_in_the_pod(self):
        given = {
            "env": {"A": "1", "B": {"valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}},
            "volumes": {"x": {"mountPath": "/x", "source": {"emptyDir": {}}}},
            "containers": {"log": {"image": "log:1"}},
            "hostUsers": False,
            "nodeSelector": {"a": "b"},
            "tolerations": [{"key": "k", "operator": "Exists"}],
            "podAnnotations": {"p": "q"},
            "podLabels": {"team": "data"},
        }
        objects = render(PORT, given)
        made = pod(objects)
        narrows = made["containers"][0]
        self.assertEqual(narrows["env"][0], {"name": "A", "value": "1"})
        self.assertIn("valueFrom", narrows["env"][1])
        self.assertIn({"name": "x", "mountPath": "/x"}, narrows["volumeMounts"])
        self.assertIn({"name": "x", "emptyDir": {}}, made["volumes"])
        self.assertEqual(made["containers"][1], {"name": "log", "image": "log:1"})
        self.assertEqual(made["hostUsers"], False)
        metadata = one(objects, "Deployment")["spec"]["template"]["metadata"]
        self.assertEqual(metadata["annotations"], {"p": "q"})
        self.assertEqual(metadata["labels"]["team"], "data")

    def test_selector_labels_never_change(self):
        selector = {"app.kubernetes.io/name": "narrows", "app.kubernetes.io/instance": "r"}
        changed = {"commonLabels": {"a": "b"}, "podLabels": {"c": "d"}}
        spec = one(render(PORT, changed), "Deployment")["spec"]
        self.assertEqual(spec["selector"]["matchLabels"], selector)
        self.assertEqual(one(render(PORT, changed), "Service")["spec"]["selector"], selector)


class Others(unittest.TestCase):
    def test_rendering_twice_gives_the_same_text(self):
        self.assertEqual(chart.text(SNI), chart.text(SNI))

    def test_a_disruption_budget_is_there_above_one_replica(self):
        budget = one(render(PORT), "PodDisruptionBudget")["spec"]
        self.assertEqual(budget["maxUnavailable"], 1)
        self.assertEqual(budget["unhealthyPodEvictionPolicy"], "AlwaysAllow")
        kinds = [o["kind"] for o in render(PORT, {"replicas": 1})]
        self.assertNotIn("PodDisruptionBudget", kinds)

    def test_replicas_null_leaves_the_number_to_another(self):
        self.assertNotIn("replicas", one(render(PORT, {"replicas": None}), "Deployment")["spec"])

    def test_an_autoscaler_takes_the_number_over(self):
        given = {
            "autoscaling": {"enabled": True},
            "config": {"limits": {"connection_age_max": "1h"}},
        }
        objects = render(PORT, given)
        scaler = one(objects, "HorizontalPodAutoscaler")["spec"]
        deployment = one(objects, "Deployment")
        self.assertEqual(scaler["scaleTargetRef"]["name"], deployment["metadata"]["name"])
        self.assertEqual((scaler["minReplicas"], scaler["maxReplicas"]), (2, 10))
        self.assertNotIn("replicas", deployment["spec"])

    def test_the_service_takes_annotations_and_spec_as_they_are(self):
        given = {
            "service": {
                "annotations": {"a/b": "c"},
                "spec": {"loadBalancerClass": "x", "externalTrafficPolicy": "Local"},
            }
        }
        service = one(render(PORT, given), "Service")
        self.assertEqual(service["metadata"]["annotations"], {"a/b": "c"})
        self.assertEqual(service["spec"]["loadBalancerClass"], "x")
        self.assertEqual(service["spec"]["type"], "LoadBalancer")

    def test_the_network_policy_opens_the_listeners_and_the_way_to_the_brokers(self):
        given = {
            "networkPolicy": {
                "enabled": True,
                "clients": [{"ipBlock": {"cidr": "10.0.0.0/8"}}],
                "brokerPorts": [9094],
            }
        }
        spec = one(render(PORT, address(node_ids=["0-9"]), given), "NetworkPolicy")["spec"]
        clients, admin = spec["ingress"]
        self.assertEqual(
            clients["ports"],
            [
                {"protocol": "TCP", "port": 9092},
                {"protocol": "TCP", "port": 9093, "endPort": 9102},
            ],
        )
        self.assertEqual(clients["from"], [{"ipBlock": {"cidr": "10.0.0.0/8"}}])
        self.assertEqual(admin, {"ports": [{"protocol": "TCP", "port": 9190}]})
        dns, brokers = spec["egress"]
        self.assertEqual({p["port"] for p in dns["ports"]}, {53})
        self.assertEqual([p["port"] for p in brokers["ports"]], [9094, 9092])

    def test_the_certificate_has_the_names_that_the_listeners_need(self):
        issued = {"certificate": {"enabled": True, "issuerRef": {"name": "ca"}}}
        spec = one(render({**PORT, "scheme": "sni"}, issued), "Certificate")["spec"]
        self.assertEqual(spec["dnsNames"], ["kafka.example.com", "*.kafka.example.com"])
        self.assertEqual(spec["secretName"], "r-narrows-tls")
        self.assertEqual(spec["privateKey"]["encoding"], "PKCS8")
        listener = configuration(render({**PORT, "scheme": "sni"}, issued))["listeners"]["external"]
        self.assertEqual(listener["tls"]["key"], "/secrets/r-narrows-tls/tls.key")
        spec = one(render(PORT, issued), "Certificate")["spec"]
        self.assertEqual(spec["dnsNames"], ["kafka.example.com"])

    def test_a_tls_route_leads_all_names_to_the_one_port(self):
        given = {"gateway": {"parentRefs": [{"name": "edge"}], "tlsRoute": {"enabled": True}}}
        route = one(render(SNI, address(advertised_port=443), given), "TLSRoute")
        self.assertEqual(route["apiVersion"], "gateway.networking.k8s.io/v1")
        self.assertEqual(route["spec"]["hostnames"], ["kafka.example.com", "*.kafka.example.com"])
        backend = route["spec"]["rules"][0]["backendRefs"][0]
        self.assertEqual(backend, {"name": "r-narrows", "port": 443})

    def test_each_tcp_route_is_for_the_gateways_listener_of_its_port(self):
        given = {"gateway": {"parentRefs": [{"name": "edge"}], "tcpRoute": {"enabled": True}}}
        routes = [
            o for o in render(PORT, address(node_ids=[0, 1]), given) if o["kind"] == "TCPRoute"
        ]
        parents = [r["spec"]["parentRefs"] for r in routes]
        self.assertEqual(parents, [[{"name": "edge", "port": p}] for p in (9092, 9093, 9094)])
        backends = [r["spec"]["rules"][0]["backendRefs"][0]["port"] for r in routes]
        self.assertEqual(backends, [9092, 9093, 9094])

    def test_monitors_scrape_the_admin_port(self):
        objects = render(PORT, {"metrics": {"podMonitor": {"enabled": True}}})
        endpoint = one(objects, "PodMonitor")["spec"]["podMetricsEndpoints"][0]
        self.assertEqual((endpoint["port"], endpoint["path"]), ("admin", "/metrics"))
        objects = render(PORT, {"metrics": {"serviceMonitor": {"enabled": True}}})
        monitor = one(objects, "ServiceMonitor")["spec"]["selector"]["matchLabels"]
        service = next(o for o in objects if o["metadata"]["name"] == "r-narrows-admin")
        self.assertEqual(monitor.items() - service["metadata"]["labels"].items(), set())
        self.assertEqual(service["spec"]["ports"][0]["port"], 9190)

    def test_more_objects_are_templates_in_a_list_or_a_map(self):
        extra = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "{{ .Release.Name }}-x"}}
        for given in ([extra], {"mine": extra}):
            made = one(render(PORT, {"extraObjects": given}), "Secret")
            self.assertEqual(made["metadata"]["name"], "r-x")

    def test_helm_test_checks_what_is_mounted_in_the_cluster(self):
        objects = render(SNI)
        made = one(objects, "Pod")
        self.assertIn("helm.sh/hook", made["metadata"]["annotations"])
        # The pod of the test must not get clients of the Service.
        selector = one(objects, "Service")["spec"]["selector"]
        self.assertGreater(selector.items() - made["metadata"]["labels"].items(), set())
        self.assertEqual(made["spec"]["volumes"], pod(objects)["volumes"])
        self.assertEqual(made["spec"]["containers"][0]["args"][:2], ["check", "--live"])
        self.assertEqual(made["spec"]["automountServiceAccountToken"], False)

    def test_helm_test_goes_the_way_of_clients_to_every_listener(self):
        doctor = {"args": ["--ca", "/secrets/narrows-tls/ca.crt"], "env": {"A": "b"}}
        made = one(render(SNI, {"helmTest": {"doctor": doctor}}), "Pod")["spec"]["containers"][1]
        self.assertEqual(made["name"], "doctor-external")
        self.assertEqual(
            made["args"],
            ["doctor", "--bootstrap=kafka.example.com:9092", "--tls", "--wait=30s", *doctor["args"]],
        )
        self.assertEqual(made["env"], [{"name": "A", "value": "b"}])
        forwarded = {**SINGLE, "externalHost": "localhost"}
        for given in ({**PORT, "helmTest": {"doctor": {"enabled": False}}}, forwarded):
            without = one(render(given), "Pod")
            self.assertEqual([c["name"] for c in without["spec"]["containers"]], ["check"])
        for plain in (PORT, SINGLE):
            args = one(render(plain), "Pod")["spec"]["containers"][1]["args"]
            self.assertNotIn("--tls", args)

    def test_names_and_namespace_can_be_given(self):
        given = {"fullnameOverride": "edge", "namespaceOverride": "other", "commonLabels": {"a": "b"}}
        for made in render(SNI, given):
            self.assertEqual(made["metadata"]["name"].removesuffix("-check"), "edge")
            self.assertEqual(made["metadata"]["namespace"], "other")
            self.assertEqual(made["metadata"]["labels"]["a"], "b")


class Notes(unittest.TestCase):
    def test_they_ask_for_no_dns_record_of_an_address_or_of_this_machine(self):
        said = chart.notes({**PORT, "externalHost": "192.0.2.7"})
        self.assertIn("DNS:               none, as 192.0.2.7 is an address: that of service", said)
        said = chart.notes({**SINGLE, "externalHost": "localhost"})
        self.assertIn("kubectl -n ns port-forward service/r-narrows 9092\n", said)
        self.assertNotIn("DNS:", said)
        self.assertIn("DNS:               lead kafka.example.com to", chart.notes(PORT))

    def test_they_give_the_exact_bootstrap_servers_and_the_dns_records(self):
        said = chart.notes(PORT, address(node_ids=["0-2"], advertised_port_offset=1000))
        self.assertIn("bootstrap.servers=kafka.example.com:10092\n", said)
        self.assertIn("10092 for bootstrap, 10093 to 10095 for the node ids 0 to 2", said)
        self.assertIn("lead kafka.example.com to the address of service/r-narrows", said)
        self.assertNotIn("security.protocol", said)
        self.assertIn("narrows doctor --bootstrap kafka.example.com:10092\n", said)

    def test_they_give_the_names_of_the_certificate(self):
        said = chart.notes(SNI, address(advertised_port=443))
        self.assertIn("bootstrap.servers=kafka.example.com:443\n", said)
        self.assertIn("narrows doctor --bootstrap kafka.example.com:443 --tls --ca FILE\n", said)
        self.assertIn("Certificate:       has to cover kafka.example.com and *.kafka.example.com", said)

    def test_they_tell_of_the_one_port_and_the_names_of_scheme_single(self):
        said = chart.notes(SINGLE)
        self.assertIn("bootstrap.servers=kafka.example.com:9092\n", said)
        self.assertIn("9092 for everything", said)
        self.assertIn("lead kafka.example.com to", said)
        said = chart.notes({**SINGLE, "externalHost": "b{node_id}.kafka.example.com"})
        self.assertIn("bootstrap.servers=bbootstrap.kafka.example.com:9092\n", said)
        self.assertIn("lead *.kafka.example.com to", said)

    def test_they_warn_of_brokers_that_are_not_verified(self):
        given = {"config": {"clusters": {"kafka": {"tls": {"verify": "off"}}}}}
        self.assertIn("WARNING: config.clusters.kafka.tls.verify is off", chart.notes(PORT, given))
        # A bare `off` is a boolean in YAML 1.1.
        given = {"config": {"clusters": {"kafka": {"tls": {"verify": False}}}}}
        self.assertIn("WARNING: config.clusters.kafka.tls.verify is off", chart.notes(PORT, given))
        self.assertNotIn("WARNING", chart.notes(PORT))

    def test_tls_that_is_off_needs_no_certificate_even_as_a_boolean(self):
        for off in ("off", False):
            given = external(tls={"mode": off, "certificate": "/secrets/a/tls.crt"})
            self.assertNotIn("security.protocol", chart.notes(PORT, given))
