{{/*
The port of `metrics.listen` in the agent's configuration; empty if there is none, or nobody but the pod itself reaches it.
*/}}
{{- define "driftlock.metricsPort" -}}
{{- $metrics := .Values.config.metrics | default dict -}}
{{- $listen := $metrics.listen | default "" -}}
{{- if not (regexMatch "^(127\\.|\\[::1\\])" $listen) -}}
{{- regexFind "[0-9]+$" $listen -}}
{{- end -}}
{{- end -}}
