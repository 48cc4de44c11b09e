{{- define "ledgerline.name" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- (contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name)) | trunc 40 | trimSuffix "-" -}}
{{- end }}

{{/* Labels that select the pods of one group: dict "root" . "group" "edge" */}}
{{- define "ledgerline.selector" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .group }}
{{- end }}

{{- define "ledgerline.labels" -}}
{{ include "ledgerline.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{/* What counts for the nodes of a group, as JSON: its own settings over those of all. */}}
{{- define "ledgerline.config" -}}
{{- mustMergeOverwrite (deepCopy .root.Values.config) (default dict .node.config) | toJson -}}
{{- end }}
