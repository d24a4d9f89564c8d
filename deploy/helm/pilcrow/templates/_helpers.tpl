{{/* Names are at most 63 characters long (RFC 1123). */}}
{{- define "pilcrow.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "pilcrow.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{- define "pilcrow.selectorLabels" -}}
app.kubernetes.io/name: {{ include "pilcrow.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "pilcrow.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "pilcrow.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "pilcrow.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "pilcrow.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "pilcrow.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}

{{/* Whose positions are imported before the first start: the node's folder with them, and what of it is read. Empty: none. */}}
{{- define "pilcrow.import" -}}
{{- $folders := dict "promtail" "/run/promtail" "alloy" "/var/alloy-log-storage" }}
{{- $migrate := default dict .Values.migrate }}
{{- if (default dict .Values.importPositions).file }}
folder: {{ dir .Values.importPositions.file | quote }}
path: {{ printf "/run/import/%s" (base .Values.importPositions.file) | quote }}
{{- else if $migrate.from }}
folder: {{ default (get $folders $migrate.from) $migrate.path | quote }}
path: /run/import
{{- end }}
{{- end }}

{{/* Where the Secrets are mounted. Not below /etc/pilcrow: a ConfigMap's folder takes no further mounts. */}}
{{- define "pilcrow.secrets" -}}/run/secrets/pilcrow{{- end }}

{{/* pilcrow.yaml: what the values say, then .Values.config over it. */}}
{{- define "pilcrow.config" -}}
{{- $secrets := include "pilcrow.secrets" . }}
{{- $loki := dict "url" (required "set loki.url to the address of your Loki: --set loki.url=http://loki.monitoring:3100" .Values.loki.url) }}
{{- with .Values.loki.tenant }}{{ $_ := set $loki "tenant" . }}{{ end }}
{{- with .Values.loki.basicAuth }}
{{- if .existingSecret }}
{{- $username := default "${LOKI_USERNAME}" .username }}
{{- $_ := set $loki "basic_auth" (dict "username" $username "password_file" (printf "%s/basic-auth/%s" $secrets .passwordKey)) }}
{{- end }}
{{- end }}
{{- with .Values.loki.bearerToken }}
{{- if .existingSecret }}
{{- if $.Values.loki.basicAuth.existingSecret }}{{ fail "set loki.basicAuth.existingSecret or loki.bearerToken.existingSecret, not both" }}{{ end }}
{{- $_ := set $loki "bearer_token_file" (printf "%s/bearer-token/%s" $secrets .key) }}
{{- end }}
{{- end }}
{{- $tls := dict }}
{{- with .Values.loki.tls }}
{{- if .existingSecret }}
{{- with .caKey }}{{ $_ := set $tls "ca_file" (printf "%s/tls/%s" $secrets .) }}{{ end }}
{{- with .certKey }}{{ $_ := set $tls "cert_file" (printf "%s/tls/%s" $secrets .) }}{{ end }}
{{- with .keyKey }}{{ $_ := set $tls "key_file" (printf "%s/tls/%s" $secrets .) }}{{ end }}
{{- end }}
{{- with .serverName }}{{ $_ := set $tls "server_name" . }}{{ end }}
{{- if .insecureSkipVerify }}{{ $_ := set $tls "insecure_skip_verify" true }}{{ end }}
{{- end }}
{{- with $tls }}{{ $_ := set $loki "tls" . }}{{ end }}
{{- $config := dict "loki" $loki }}
{{- with .Values.labels }}{{ $_ := set $config "labels" (deepCopy .) }}{{ end }}
{{- if .Values.levels }}{{ $_ := set $config "levels" true }}{{ end }}
{{- if .Values.serviceName }}{{ $_ := set $config "service_name" true }}{{ end }}
{{- if or .Values.listenAddress (ne (int .Values.port) 9080) }}
{{- $address := default "::" .Values.listenAddress }}
{{- $listen := printf (ternary "[%s]:%d" "%s:%d" (contains ":" $address)) $address (int .Values.port) }}
{{- $_ := set $config "http" (dict "listen" $listen) }}
{{- end }}
{{- if .Values.tail }}{{ $_ := set $config "http" (set (default dict $config.http) "tail" true) }}{{ end }}
{{- mergeOverwrite $config (deepCopy (default dict .Values.config)) | toYaml }}
{{- end }}

{{/* Where the state folder is mounted. */}}
{{- define "pilcrow.state" -}}
{{- $paths := default dict (default dict .Values.config).paths }}
{{- default "/var/lib/pilcrow" $paths.state }}
{{- end }}

{{/* The kubelet's podLogsDir, where it is not below /var/log and so needs a mount of its own. */}}
{{- define "pilcrow.pods" -}}
{{- $paths := default dict (default dict .Values.config).paths }}
{{- $pods := default "/var/log/pods" $paths.pods }}
{{- if not (hasPrefix "/var/log/" $pods) }}{{ $pods }}{{ end }}
{{- end }}

{{/* Of all containers. */}}
{{- define "pilcrow.env" -}}
- name: NODE_NAME
  valueFrom:
    fieldRef:
      fieldPath: spec.nodeName
{{- with .Values.loki.basicAuth }}
{{- if and .existingSecret (not .username) }}
- name: LOKI_USERNAME
  valueFrom:
    secretKeyRef:
      name: {{ .existingSecret }}
      key: {{ .usernameKey }}
{{- end }}
{{- end }}
{{- with .Values.extraEnv }}
{{- toYaml . | nindent 0 }}
{{- end }}
{{- end }}
