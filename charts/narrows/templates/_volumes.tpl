{{/* Where the configuration, and the Secrets and ConfigMaps that it names, are mounted; as folders. */}}

{{- define "narrows.volumeMounts" -}}
- name: config
  mountPath: /etc/narrows
  readOnly: true
{{- range include "narrows.mounts" . | fromJsonArray }}
- name: {{ .name }}
  mountPath: /{{ .kind }}/{{ .source }}
  readOnly: true
{{- end }}
{{- end -}}

{{- define "narrows.volumes" -}}
- name: config
  configMap:
    name: {{ include "narrows.fullname" . }}
{{- range include "narrows.mounts" . | fromJsonArray }}
- name: {{ .name }}
  {{- if eq .kind "secrets" }}
  secret:
    secretName: {{ .source }}
    defaultMode: 0440
  {{- else }}
  configMap:
    name: {{ .source }}
  {{- end }}
{{- end }}
{{- end -}}
