{{- define "name" -}}
gardener-extension-cri-resmgr
{{- end -}}

{{- define "global-name" -}}
extensions.gardener.cloud:extension-cri-resmgr:controller
{{- end -}}

{{- define "labels" -}}
app.kubernetes.io/name: {{ include "name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "image" -}}
{{- $tag := .Values.image.tag | default .Chart.AppVersion -}}
{{- if hasPrefix "sha256:" $tag -}}
{{ .Values.image.repository }}@{{ $tag }}
{{- else -}}
{{ .Values.image.repository }}:{{ $tag }}
{{- end -}}
{{- end -}}

{{- /* In the garden's runtime cluster gardener-operator names the class; seeds have one of their own. */ -}}
{{- define "priority-class" -}}
{{- $gardener := .Values.gardener | default dict -}}
{{- $runtime := $gardener.runtimeCluster | default dict -}}
{{- if eq ($runtime.enabled | default false | toString) "true" -}}
{{ $runtime.priorityClassName | default "gardener-garden-system-200" }}
{{- else -}}
gardener-system-900
{{- end -}}
{{- end -}}

{{- /* A value that may be a YAML text or the structure itself, as text. */ -}}
{{- define "text" -}}
{{- if kindIs "string" . -}}{{ . }}{{- else -}}{{ toYaml . }}{{- end -}}
{{- end -}}
