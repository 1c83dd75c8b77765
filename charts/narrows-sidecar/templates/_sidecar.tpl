{{/*
narrows.sidecar: an entry for a pod's `initContainers` that runs Narrows as a native sidecar. The
application dials 127.0.0.1:9092 in plaintext; Narrows does the rest. It starts before the application
and ends after it, so that the last flush goes through and Jobs end.

    initContainers:
      {{- include "narrows.sidecar" (dict "bootstrapServers" "kafka:9092") | nindent 8 }}

bootstrapServers   required: host:port, several joined by commas
port               where the application dials; default 9092, brokers on the ports after it
nodeIds            the node ids that there may be; default 0-19
adminPort          health and metrics, for the kubelet; default 9190
image              default: the version that this chart came with
env                Narrows' configuration by its environment variables, a map:
                   NARROWS_CLUSTERS__DEFAULT__TLS__CA: /secrets/cluster-ca/ca.crt
volumeMounts       where the files that env names come from, as in a container
resources          default: 16 MiB and a hundredth of a core requested
*/}}
{{- define "narrows.sidecar" -}}
{{- $servers := required "narrows.sidecar needs bootstrapServers, such as kafka:9092" .bootstrapServers -}}
{{- $port := .port | default 9092 | int -}}
{{- $resources := dict "requests" (dict "cpu" "10m" "memory" "16Mi") "limits" (dict "memory" "64Mi") -}}
- name: narrows
  image: {{ .image | default "ghcr.io/narrows/narrows:0.1.0" }}
  # A sidecar: it is started before the containers, and stopped after them.
  restartPolicy: Always
  args:
    - run
    - --bootstrap-servers={{ $servers }}
    - --bind=127.0.0.1:{{ $port }}
    - --advertised-host=127.0.0.1
    - --node-ids={{ .nodeIds | default "0-19" }}
    - --admin-bind=0.0.0.0:{{ .adminPort | default 9190 }}
  env:
    # No pod starts to send to a sidecar that goes away: there is nobody to wait for.
    - name: NARROWS_DRAIN__DELAY
      value: 0s
    {{- range $name, $value := .env }}
    - name: {{ $name }}
      value: {{ $value | quote }}
    {{- end }}
  ports:
    - name: narrows-admin
      containerPort: {{ .adminPort | default 9190 }}
  # The application starts when this has passed.
  startupProbe:
    httpGet: {path: /readyz, port: narrows-admin}
    periodSeconds: 1
    failureThreshold: 60
  livenessProbe:
    httpGet: {path: /livez, port: narrows-admin}
    periodSeconds: 10
  resources:
    {{- toYaml (.resources | default $resources) | nindent 4 }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 65532
    runAsGroup: 65532
    allowPrivilegeEscalation: false
    readOnlyRootFilesystem: true
    capabilities:
      drop: [ALL]
    seccompProfile:
      type: RuntimeDefault
  {{- with .volumeMounts }}
  volumeMounts:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}
