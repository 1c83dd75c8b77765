{{/* Names, labels and the image. Selector labels never change between chart versions. */}}

{{- define "narrows.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "narrows.fullname" -}}
{{- $name := include "narrows.name" . -}}
{{- $release := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) -}}
{{- .Values.fullnameOverride | default $release | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{- define "narrows.namespace" -}}
{{- .Values.namespaceOverride | default .Release.Namespace -}}
{{- end -}}

{{- define "narrows.serviceAccountName" -}}
{{- $own := .Values.serviceAccount.create | ternary (include "narrows.fullname" .) "default" -}}
{{- .Values.serviceAccount.name | default $own -}}
{{- end -}}

{{- define "narrows.selectorLabels" -}}
app.kubernetes.io/name: {{ include "narrows.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "narrows.labels" -}}
{{ include "narrows.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The metadata of an object; `suffix` and `labels` may be left out. */}}
{{- define "narrows.metadata" -}}
{{- $root := .root -}}
name: {{ include "narrows.fullname" $root }}{{ with .suffix }}-{{ . }}{{ end }}
namespace: {{ include "narrows.namespace" $root }}
labels:
  {{- include "narrows.labels" $root | nindent 2 }}
  {{- with .labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "narrows.image" -}}
{{- $image := .Values.image -}}
{{- $registry := .Values.global.imageRegistry | default $image.registry -}}
{{- $path := empty $registry | ternary $image.repository (printf "%s/%s" $registry $image.repository) -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $path $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $path ($image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{/* A container's environment out of a map: a text, or an object such as {valueFrom: …}. */}}
{{- define "narrows.env" -}}
{{- range $name, $value := . }}
{{- if kindIs "map" $value }}
- {{ merge (dict "name" $name) $value | toYaml | nindent 2 | trim }}
{{- else }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}
{{- end -}}
