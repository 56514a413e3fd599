{{- define "radbridge.labels" -}}
app.kubernetes.io/name: radbridge
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}
{{- define "radbridge.selector" -}}
app.kubernetes.io/name: radbridge
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}
