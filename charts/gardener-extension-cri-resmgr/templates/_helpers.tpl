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
{{- if .Values.image.ref -}}
{{ .Values.image.ref }}
{{- else -}}
{{- $tag := .Values.image.tag | default .Chart.AppVersion -}}
{{- if hasPrefix "sha256:" $tag -}}
{{ .Values.image.repository }}@{{ $tag }}
{{- else -}}
{{ .Values.image.repository }}:{{ $tag }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* Where gardenlet puts the controller on the network of its node, it hands in ports that nobody else there has (`usablePorts`, when it
prepares a shoot that hosts itself). */ -}}
{{- define "metrics-port" -}}
{{- if .Values.usablePorts }}{{ index .Values.usablePorts 0 }}{{ else }}{{ .Values.metrics.port }}{{ end -}}
{{- end -}}

{{- define "health-port" -}}
{{- if .Values.usablePorts }}{{ index .Values.usablePorts 1 }}{{ else }}{{ .Values.health.port }}{{ end -}}
{{- end -}}

{{- /* Gardener's version, if it is handed in and is one; else nothing. */ -}}
{{- define "gardener-version" -}}
{{- $gardener := .Values.gardener | default dict -}}
{{- $version := $gardener.version | default "" | toString -}}
{{- if regexMatch "^v?(0|[1-9][0-9]*)\\.(0|[1-9][0-9]*)\\.(0|[1-9][0-9]*)(-[0-9A-Za-z.-]+)?(\\+[0-9A-Za-z.-]+)?$" $version -}}
{{ regexReplaceAll "[-+].*$" $version "" }}
{{- end -}}
{{- end -}}

{{- /* From v1.122 on Gardener's VerticalPodAutoscaler resizes pods in place; what is older has no such mode. */ -}}
{{- define "vpa-update-mode" -}}
{{- $version := include "gardener-version" . -}}
{{- if .Values.vpa.updateMode -}}
{{ .Values.vpa.updateMode }}
{{- else if and $version (semverCompare ">=1.122.0" $version) -}}
InPlaceOrRecreate
{{- else -}}
Recreate
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

{{- /* How the controller knows the shoots' API servers. From v1.110 on Gardener writes their certificate authority next to the token; where
it is older, or does not say how old it is, it has to be read from the generic kubeconfig. The runtime cluster has no shoots. */ -}}
{{- define "shoot-ca" -}}
{{- $gardener := .Values.gardener | default dict -}}
{{- $runtime := $gardener.runtimeCluster | default dict -}}
{{- $version := include "gardener-version" . -}}
{{- if eq ($runtime.enabled | default false | toString) "true" -}}
bundle
{{- else if and $version (semverCompare ">=1.110.0" $version) -}}
bundle
{{- else -}}
generic-kubeconfig
{{- end -}}
{{- end -}}

{{- /* A value that may be a YAML text or the structure itself, as text. */ -}}
{{- define "text" -}}
{{- if kindIs "string" . -}}{{ . }}{{- else -}}{{ toYaml . }}{{- end -}}
{{- end -}}
