{{- define "sponsor-vouchers.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" }}{{ end }}
{{- end }}

{{/* What the pods of a part are selected by. The argument: the root as "root", and the "part". */}}
{{- define "sponsor-vouchers.selector" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .part }}
{{- end }}

{{- define "sponsor-vouchers.labels" -}}
{{ include "sponsor-vouchers.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end }}

{{/* The pod of a part up to its command: who runs it, and what it may do. */}}
{{- define "sponsor-vouchers.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 1000
  runAsGroup: 1000
  seccompProfile:
    type: RuntimeDefault
{{- end }}

{{/* A container up to its command. */}}
{{- define "sponsor-vouchers.container" -}}
name: {{ .part }}
image: {{ printf "%s:%s" .root.Values.image.repository (.root.Values.image.tag | default .root.Chart.AppVersion) | quote }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
envFrom:
  - secretRef:
      name: {{ .root.Values.secretName }}
env:
  - name: RUN
    value: {{ if eq .part "work" }}work{{ else }}serve{{ end }}
  - name: MIGRATE_ON_START
    value: 'false'
  {{- if eq .part "serve" }}
  # Load balancers hear of the end of a pod while it still answers.
  - name: DRAIN_SECONDS
    value: {{ .root.Values.drainSeconds | toString | quote }}
  {{- end }}
  {{- if eq .part "work" }}
  - name: METRICS_PORT
    value: '9464'
  {{- end }}
  {{- range $name, $value := .root.Values.settings }}
  - name: {{ $name }}
    value: {{ $value | toString | quote }}
  {{- end }}
{{- end }}

{{/* The port at which a process answers for itself, by name and number, and who asks there. */}}
{{- define "sponsor-vouchers.probes" -}}
ports:
  - name: {{ .port }}
    containerPort: {{ .number }}
# Restarting it does not repair the database, so /livez does not ask it; /readyz does.
startupProbe:
  httpGet:
    path: /livez
    port: {{ .port }}
  periodSeconds: 1
  failureThreshold: 60
livenessProbe:
  httpGet:
    path: /livez
    port: {{ .port }}
  periodSeconds: 10
  timeoutSeconds: 5
readinessProbe:
  httpGet:
    path: /readyz
    port: {{ .port }}
  periodSeconds: 2
  timeoutSeconds: 3
  failureThreshold: 2
{{- end }}
