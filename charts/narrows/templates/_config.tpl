{{/*
The configuration in effect, and what follows from it: ports, names, Secrets. Everything else in this
chart asks here, so that no value has to be said twice. Lists and maps are handed on as JSON.
*/}}

{{/* The configuration in effect, as YAML: what the three values give, below `config`. */}}
{{- define "narrows.config" -}}
{{- $values := .Values -}}
{{- $config := dict
      "admin" (dict "bind" "0.0.0.0:9190")
      "drain" (dict "delay" "15s" "timeout" "60s") -}}
{{- if $values.bootstrapServers -}}
{{- $_ := set $config "clusters" (dict "kafka" (dict "bootstrap_servers" $values.bootstrapServers)) -}}
{{- end -}}
{{- if $values.externalHost -}}
{{- $address := dict "scheme" $values.scheme "advertised_host" $values.externalHost -}}
{{- if eq $values.scheme "sni" -}}
{{- $address = dict "scheme" "sni" "bootstrap_host" $values.externalHost "broker_host" (printf "broker-{node_id}.%s" $values.externalHost) -}}
{{- end -}}
{{- $listener := dict "bind" "0.0.0.0:9092" "address" $address -}}
{{- if $values.bootstrapServers -}}
{{- $_ := set $listener "cluster" "kafka" -}}
{{- end -}}
{{- with include "narrows.tlsSecretName" . -}}
{{- $_ := set $listener "tls" (dict "certificate" (printf "/secrets/%s/tls.crt" .) "key" (printf "/secrets/%s/tls.key" .)) -}}
{{- end -}}
{{- $_ := set $config "listeners" (dict "external" $listener) -}}
{{- end -}}
{{- mustMergeOverwrite $config (deepCopy $values.config) | toYaml -}}
{{- end -}}

{{/* The Secret with the certificate of the listener that the three values give; empty without TLS. */}}
{{- define "narrows.tlsSecretName" -}}
{{- if .Values.tls.secretName -}}
{{- .Values.tls.secretName -}}
{{- else if .Values.certificate.enabled -}}
{{- include "narrows.fullname" . }}-tls
{{- end -}}
{{- end -}}

{{/* Node ids, each alone, out of `[0-2, 7]` or "0-2,7". More than 1000 are not counted on. */}}
{{- define "narrows.nodeIds" -}}
{{- $ids := list -}}
{{- $given := kindIs "slice" . | ternary . (splitList "," (toString .)) -}}
{{- range $given -}}
{{- $ends := splitList "-" (toString . | nospace) -}}
{{- $first := first $ends | int -}}
{{- $last := min (last $ends | int) (add $first 1000) | int -}}
{{- range untilStep $first (add1 $last | int) 1 -}}
{{- $ids = append $ids . -}}
{{- end -}}
{{- end -}}
{{- $ids | toJson -}}
{{- end -}}

{{/* A word of the configuration: YAML takes a bare `off` for a boolean, and Narrows reads both. */}}
{{- define "narrows.word" -}}
{{- if kindIs "bool" . -}}
{{- ternary "on" "off" . -}}
{{- else -}}
{{- . | default "" -}}
{{- end -}}
{{- end -}}

{{/*
What there is to know about every listener, as a JSON list of
  name, scheme, tls     as the configuration has them (tls: off, terminate, passthrough)
  local                 whether only the pod itself can reach it
  bootstrap             host:port for clients' bootstrap.servers
  nodeIds               as given, empty for all
  ports                 {port, targetPort} for the Service, the bootstrap port first
  ranges                {first, last} of the ports that it is bound to
  dnsNames              what the DNS has to lead here, and a certificate has to cover
  certificate           the path of its certificate
*/}}
{{- define "narrows.listeners" -}}
{{- $all := list -}}
{{- range $name, $listener := (include "narrows.config" . | fromYaml).listeners -}}
{{- $address := $listener.address | default dict -}}
{{- $scheme := $address.scheme | default "port" -}}
{{- $tls := $listener.tls | default dict -}}
{{- $derived := ternary "terminate" "off" (not (empty $tls.certificate)) -}}
{{- $mode := include "narrows.word" $tls.mode | default $derived -}}
{{- $bind := $listener.bind | default "" | toString -}}
{{- $port := regexFind "[0-9]+$" $bind | int -}}
{{- $one := dict "name" $name "scheme" $scheme "tls" $mode "nodeIds" list
      "local" (regexMatch "^(127\\.|\\[::1\\])" $bind)
      "certificate" (kindIs "slice" $tls.certificate | ternary ($tls.certificate | default list | join ",") ($tls.certificate | default "")) -}}
{{- $ports := list -}}
{{- $ranges := list (dict "first" $port "last" $port) -}}
{{- if eq $scheme "port" -}}
{{- $offset := $address.advertised_port_offset | default 0 | int -}}
{{- $first := $address.first_port | default (add1 $port) | int -}}
{{- $ids := include "narrows.nodeIds" ($address.node_ids | default (list "0-19")) | fromJsonArray -}}
{{- $ports = append $ports (dict "port" (add $port $offset) "targetPort" $port) -}}
{{- range $position, $id := $ids -}}
{{- $target := add $first $position -}}
{{- $ports = append $ports (dict "port" (add $target $offset) "targetPort" $target) -}}
{{- end -}}
{{- $ranges = append $ranges (dict "first" $first "last" (sub (add $first (len $ids)) 1)) -}}
{{- $_ := set $one "nodeIds" $ids -}}
{{- $_ := set $one "dnsNames" (list $address.advertised_host) -}}
{{- $_ := set $one "bootstrap" (printf "%v:%d" $address.advertised_host (add $port $offset)) -}}
{{- else -}}
{{- $outside := $address.advertised_port | default $port | int -}}
{{- $ports = append $ports (dict "port" $outside "targetPort" $port) -}}
{{- $host := $address.bootstrap_host | default $address.advertised_host -}}
{{- $brokers := $address.broker_host | default $address.advertised_host | toString -}}
{{- $names := compact (list $host) -}}
{{- if contains "{node_id}" $brokers -}}
{{- $wildcard := printf "*.%s" (regexReplaceAll "^[^.]*[.]" $brokers "") -}}
{{- $names = compact (list $address.bootstrap_host $wildcard) -}}
{{- end -}}
{{- $_ := set $one "dnsNames" ($names | uniq) -}}
{{- $_ := set $one "brokerHost" $brokers -}}
{{- $_ := set $one "bootstrap" (printf "%v:%d" ($host | toString | replace "{node_id}" "bootstrap") $outside) -}}
{{- end -}}
{{- $_ := set $one "ports" $ports -}}
{{- $_ := set $one "ranges" $ranges -}}
{{- $all = append $all $one -}}
{{- end -}}
{{- $all | toJson -}}
{{- end -}}

{{/* The Service's ports, as a JSON list of {name, port, targetPort}. Listeners that names tell apart share one. */}}
{{- define "narrows.servicePorts" -}}
{{- $ports := list -}}
{{- range include "narrows.listeners" . | fromJsonArray -}}
{{- if not .local -}}
{{- range .ports -}}
{{- $ports = append $ports (dict "name" (printf "kafka-%d" (int .port)) "port" (int .port) "targetPort" (int .targetPort)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $ports | uniq | toJson -}}
{{- end -}}

{{/* Seconds of a duration such as 15s, rounded up. */}}
{{- define "narrows.seconds" -}}
{{- $number := regexFind "^[0-9]+" (toString .) | int -}}
{{- $unit := regexFind "[a-z]+$" (toString .) -}}
{{- if eq $unit "ms" -}}
{{- div (add $number 999) 1000 -}}
{{- else -}}
{{- mul $number (get (dict "s" 1 "m" 60 "h" 3600) $unit | default 1) -}}
{{- end -}}
{{- end -}}

{{/* How long Narrows may take to go down: drain.delay + drain.timeout, in seconds. */}}
{{- define "narrows.drainSeconds" -}}
{{- $drain := (include "narrows.config" . | fromYaml).drain -}}
{{- add (include "narrows.seconds" $drain.delay | int) (include "narrows.seconds" $drain.timeout | int) -}}
{{- end -}}

{{/* The port of health, metrics and status. */}}
{{- define "narrows.adminPort" -}}
{{- regexFind "[0-9]+$" (include "narrows.config" . | fromYaml).admin.bind -}}
{{- end -}}

{{/*
The volumes that the configuration needs, as a JSON list of {name, kind, source}: one for each Secret
in a path /secrets/NAME/FILE, one for each ConfigMap in /configmaps/NAME/FILE.
*/}}
{{- define "narrows.mounts" -}}
{{- $mounts := list -}}
{{- $found := regexFindAll "/(secrets|configmaps)/[a-z0-9][a-z0-9.-]*/" (include "narrows.config" .) -1 -}}
{{- range $found | uniq | sortAlpha -}}
{{- $parts := splitList "/" . -}}
{{- $kind := index $parts 1 -}}
{{- $source := index $parts 2 -}}
{{- $name := printf "%s-%s" (trimSuffix "s" $kind) (replace "." "-" $source) | trunc 63 | trimSuffix "-" -}}
{{- $mounts = append $mounts (dict "name" $name "kind" $kind "source" $source) -}}
{{- end -}}
{{- $mounts | toJson -}}
{{- end -}}
