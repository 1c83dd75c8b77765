{{/*
What can't work is refused here, with a sentence that says what to write instead. Every template that
makes an object is reached only after these: templates/deployment.yaml includes them.
*/}}

{{- define "narrows.guards" -}}
{{- include "narrows.guardVersion" . -}}
{{- include "narrows.guardGiven" . -}}
{{- include "narrows.guardListeners" . -}}
{{- include "narrows.guardLife" . -}}
{{- include "narrows.guardObjects" . -}}
{{- end -}}

{{- define "narrows.guardVersion" -}}
{{- $version := .Values.versionOverride | default .Values.image.tag | default .Chart.AppVersion | trimPrefix "v" -}}
{{- $least := index .Chart.Annotations "narrows/app-version-min" -}}
{{- if regexMatch "^[0-9]+[.][0-9]+[.][0-9]+(-.*)?$" $version -}}
{{- $major := (semver .Chart.AppVersion).Major -}}
{{- if not (semverCompare (printf ">=%s-0" $least) $version) -}}
{{- fail (printf "Narrows %s is older than this chart (%s) can run: use %s or newer, or an older chart" $version .Chart.Version $least) -}}
{{- else if ne (semver $version).Major $major -}}
{{- fail (printf "this chart (%s) is for Narrows %d.x, not for %s: use the chart that came with that version" .Chart.Version $major $version) -}}
{{- end -}}
{{- else if .Values.versionOverride -}}
{{- fail (printf "versionOverride is %q: give a version such as %s" .Values.versionOverride .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{- define "narrows.guardGiven" -}}
{{- $values := .Values -}}
{{- $config := include "narrows.config" . | fromYaml -}}
{{- if empty $config.clusters -}}
{{- fail "no Kafka cluster is given: set bootstrapServers, externalHost and scheme, for example --set bootstrapServers=kafka:9092,externalHost=kafka.example.com,scheme=port, or write config.clusters and config.listeners" -}}
{{- end -}}
{{- if empty $config.listeners -}}
{{- fail "clients have no way in: set externalHost to the name that they dial, such as kafka.example.com, or write config.listeners" -}}
{{- end -}}
{{- if regexMatch "[:/]" $values.externalHost -}}
{{- fail (printf "externalHost is %q: give a name or an IPv4 address alone, without a port or a scheme. Ports follow from config.listeners.external.bind" $values.externalHost) -}}
{{- end -}}
{{- if contains "*" $values.externalHost -}}
{{- fail (printf "externalHost is %q: give the one name that clients begin with, %s; the names of brokers follow from it" $values.externalHost ($values.externalHost | trimPrefix "*.")) -}}
{{- end -}}
{{- $given := kindIs "slice" $values.bootstrapServers | ternary $values.bootstrapServers (splitList "," (toString $values.bootstrapServers)) -}}
{{- range compact $given -}}
{{- if not (regexMatch "^[^\\s:]+:[0-9]{1,5}$|^\\[[0-9a-fA-F:.]+\\]:[0-9]{1,5}$" (. | trim)) -}}
{{- fail (printf "bootstrapServers has %q: write each as host:port, such as kafka.orders.svc:9092, several joined by commas" (. | trim)) -}}
{{- end -}}
{{- end -}}
{{- if and $values.externalHost (eq $values.scheme "sni") -}}
{{- if regexMatch "^[0-9.]+$" $values.externalHost -}}
{{- fail (printf "externalHost is %s, and scheme sni tells brokers apart by names, which clients of an address don't send: give a name such as kafka.example.com, or set scheme to port or single" $values.externalHost) -}}
{{- end -}}
{{- $tls := $config.listeners.external.tls | default dict -}}
{{- if not (or $tls.certificate (eq (include "narrows.word" $tls.mode) "passthrough")) -}}
{{- fail "scheme sni reads the server name of TLS, so it needs a certificate: set tls.secretName to a kubernetes.io/tls Secret, or certificate.enabled with an issuerRef, or config.listeners.external.tls.mode to passthrough" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "narrows.guardListeners" -}}
{{- $seen := dict -}}
{{- $reachable := false -}}
{{- range include "narrows.listeners" . | fromJsonArray -}}
{{- if and (eq .scheme "port") (gt (len .nodeIds) 49) -}}
{{- fail (printf "config.listeners.%s has %d node ids, and with scheme port each takes a port of the load balancer, of which there are 50 (AWS NLB), one for bootstrap: use sni or single, which take one port for all brokers, or list fewer node_ids" .name (len .nodeIds)) -}}
{{- end -}}
{{- $name := .name -}}
{{- $scheme := .scheme -}}
{{- if not .local -}}
{{- $reachable = true -}}
{{- range .ports -}}
{{- $port := int .port | toString -}}
{{- if or (lt (int .port) 1) (gt (int .port) 65535) -}}
{{- fail (printf "config.listeners.%s comes to port %s outside: ports are from 1 to 65535, so check bind, first_port and advertised_port_offset" $name $port) -}}
{{- end -}}
{{- $way := dict "name" $name "target" (int .targetPort) "shared" (eq $scheme "sni") -}}
{{- $other := get $seen $port | default $way -}}
{{- if and (ne $other.name $name) (not (and $way.shared $other.shared (eq $way.target $other.target))) -}}
{{- fail (printf "the listeners %s and %s both want port %s of the Service, and only listeners with scheme sni can share one: give one another bind port, first_port or advertised_port" $other.name $name $port) -}}
{{- end -}}
{{- $_ := set $seen $port $way -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and .Values.service.enabled (not $reachable) -}}
{{- fail "every listener is bound to 127.0.0.1, where a Service can't reach it: bind to 0.0.0.0, or set service.enabled to false" -}}
{{- end -}}
{{- if gt (len $seen) 50 -}}
{{- fail (printf "the listeners need %d ports, and a load balancer has 50 (AWS NLB): use sni or single, which take one port each" (len $seen)) -}}
{{- end -}}
{{- end -}}

{{- define "narrows.guardLife" -}}
{{- $values := .Values -}}
{{- $config := include "narrows.config" . | fromYaml -}}
{{- if regexMatch "^(127\\.|\\[::1\\])" ($config.admin.bind | toString) -}}
{{- fail (printf "config.admin.bind is %s, where the kubelet's probes can't reach it: use 0.0.0.0:9190, and networkPolicy.monitoring to say who may read it" $config.admin.bind) -}}
{{- end -}}
{{- $drain := include "narrows.drainSeconds" . | int -}}
{{- with $values.terminationGracePeriodSeconds -}}
{{- if lt (int .) (add $drain 5 | int) -}}
{{- fail (printf "terminationGracePeriodSeconds is %d, and going down takes up to %d s (config.drain.delay %s + config.drain.timeout %s): requests in flight would be cut off. Set it to %d or more, or leave it out" (int .) $drain $config.drain.delay $config.drain.timeout (add $drain 5)) -}}
{{- end -}}
{{- end -}}
{{- if $values.autoscaling.enabled -}}
{{- if regexMatch "^0*(ms|s|m|h)?$" (dig "limits" "connection_age_max" "" $config | toString) -}}
{{- fail "autoscaling needs config.limits.connection_age_max, such as 1h: Kafka clients keep their connections, so that new pods would stay idle without it" -}}
{{- end -}}
{{- if gt (int $values.autoscaling.minReplicas) (int $values.autoscaling.maxReplicas) -}}
{{- fail (printf "autoscaling.minReplicas is %d, above autoscaling.maxReplicas, %d" (int $values.autoscaling.minReplicas) (int $values.autoscaling.maxReplicas)) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "narrows.guardObjects" -}}
{{- $values := .Values -}}
{{- $listeners := include "narrows.listeners" . | fromJsonArray -}}
{{- if $values.certificate.enabled -}}
{{- if not $values.certificate.issuerRef.name -}}
{{- fail "certificate.enabled needs certificate.issuerRef: {name: letsencrypt, kind: ClusterIssuer}, say" -}}
{{- end -}}
{{- range $listeners -}}
{{- if and .brokerHost (contains "{node_id}" .brokerHost) (not (contains "{node_id}" (first (splitList "." .brokerHost)))) -}}
{{- fail (printf "config.listeners.%s.address.broker_host is %s: a wildcard of a certificate stands for the first label only, so {node_id} has to be in it, as in broker-{node_id}.kafka.example.com" .name .brokerHost) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $gateway := $values.gateway -}}
{{- if or $gateway.tlsRoute.enabled $gateway.tcpRoute.enabled -}}
{{- if empty $gateway.parentRefs -}}
{{- fail "a route needs gateway.parentRefs: [{name: my-gateway, namespace: gateways}], say" -}}
{{- end -}}
{{- if not $values.service.enabled -}}
{{- fail "a route leads to the Service: set service.enabled to true, with service.type ClusterIP" -}}
{{- end -}}
{{- end -}}
{{- if $gateway.tlsRoute.enabled -}}
{{- $named := list -}}
{{- range $listeners -}}
{{- if eq .scheme "sni" -}}
{{- $named = append $named .name -}}
{{- end -}}
{{- end -}}
{{- if empty $named -}}
{{- fail "gateway.tlsRoute tells connections apart by their server name, and no listener has scheme sni: set scheme to sni, or use gateway.tcpRoute" -}}
{{- end -}}
{{- end -}}
{{- if and $values.metrics.podMonitor.enabled $values.metrics.serviceMonitor.enabled -}}
{{- fail "metrics.podMonitor and metrics.serviceMonitor are both enabled, so that every pod would be scraped twice: choose one, podMonitor where you can" -}}
{{- end -}}
{{- end -}}
