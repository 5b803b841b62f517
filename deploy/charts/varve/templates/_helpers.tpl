{{/* The names of objects. */}}
{{- define "varve.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* Short enough that a pod's name, and that of the longest object made from it, stay within 63 characters. */}}
{{- define "varve.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 48 | trimSuffix "-" -}}
{{- else if contains (include "varve.name" .) .Release.Name -}}
{{- .Release.Name | trunc 48 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "varve.name" .) | trunc 48 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "varve.headless" -}}
{{- include "varve.fullname" . }}-headless
{{- end -}}

{{- define "varve.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (include "varve.fullname" .) -}}
{{- end -}}

{{- define "varve.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{/* What pods are selected by. It can never change, so nothing of the version is in it. */}}
{{- define "varve.selector" -}}
app.kubernetes.io/name: {{ include "varve.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "varve.labels" -}}
{{ include "varve.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The metadata of an object: (list $ name component annotations labels). */}}
{{- define "varve.metadata" -}}
{{- $ := index . 0 -}}
name: {{ index . 1 }}
namespace: {{ $.Release.Namespace }}
labels:
  {{- include "varve.labels" $ | nindent 2 }}
  app.kubernetes.io/component: {{ index . 2 }}
  {{- if gt (len .) 4 }}{{ with index . 4 }}{{ toYaml . | nindent 2 }}{{ end }}{{ end }}
{{- $annotations := $.Values.commonAnnotations -}}
{{- if gt (len .) 3 }}{{ $annotations = merge (dict) (index . 3 | default dict) $annotations }}{{ end }}
{{- with $annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* The name under which all of a node's fellows are found. */}}
{{- define "varve.domain" -}}
{{ include "varve.headless" . }}.{{ .Release.Namespace }}.svc.{{ .Values.clusterDomain }}
{{- end -}}

{{- define "varve.clusterName" -}}
{{- .Values.certificates.clusterName | default (include "varve.fullname" .) -}}
{{- end -}}

{{- define "varve.secured" -}}
{{- if ne .Values.certificates.mode "none" }}true{{ end -}}
{{- end -}}

{{- define "varve.byCertManager" -}}
{{- if has .Values.certificates.mode (list "certManager" "csi") }}true{{ end -}}
{{- end -}}

{{/* The Secret of certificates that are named as `varve cert` does. */}}
{{- define "varve.tlsSecret" -}}
{{- .Values.certificates.existingSecret | default (printf "%s-tls" (include "varve.fullname" .)) -}}
{{- end -}}

{{- define "varve.gossipSecret" -}}
{{- .Values.gossip.existingSecret | default (printf "%s-gossip" (include "varve.fullname" .)) -}}
{{- end -}}

{{- define "varve.aclConfigMap" -}}
{{- .Values.acl.existingConfigMap | default (printf "%s-acl" (include "varve.fullname" .)) -}}
{{- end -}}

{{/* How many nodes have certificates. */}}
{{- define "varve.nodes" -}}
{{- max (int .Values.replicas) (int .Values.certificates.nodes) -}}
{{- end -}}

{{/* Names and addresses in the certificate of a node, a line each: (list $ pod ordinal). */}}
{{- define "varve.sans" -}}
{{- $ := index . 0 -}}
{{- $pod := index . 1 -}}
{{- $ordinal := int (index . 2) -}}
{{- $zone := printf "%s.svc.%s" $.Release.Namespace $.Values.clusterDomain -}}
{{- $headless := include "varve.headless" $ -}}
{{- $service := include "varve.fullname" $ -}}
{{ $pod }}
{{ $pod }}.{{ $headless }}
{{ $pod }}.{{ $headless }}.{{ $.Release.Namespace }}
{{ $pod }}.{{ $headless }}.{{ $.Release.Namespace }}.svc
{{ $pod }}.{{ $headless }}.{{ $zone }}
{{ $service }}
{{ $service }}.{{ $.Release.Namespace }}
{{ $service }}.{{ $.Release.Namespace }}.svc
{{ $service }}.{{ $zone }}
localhost
127.0.0.1
::1
{{- with $.Values.externalAccess }}
{{- if and .enabled .domain }}
{{ $pod }}.{{ .domain }}
{{- else if and .enabled (lt $ordinal (len .addresses)) }}
{{ index .addresses $ordinal | regexFind "^.*:" | trimSuffix ":" | trimPrefix "[" | trimSuffix "]" }}
{{- end }}
{{- end }}
{{- range $.Values.certificates.extraSans }}
{{ . }}
{{- end }}
{{- end -}}

{{/* What clients of the chart's own, and those who look into a pod, connect by: (list $ server). */}}
{{- define "varve.clientEnv" -}}
{{- $ := index . 0 -}}
- name: VARVE_SERVER
  value: {{ index . 1 }}
{{- if include "varve.secured" $ }}
- name: VARVE_TLS_CA_FILE
  value: /etc/varve/admin/ca.pem
- name: VARVE_TLS_CERT_FILE
  value: /etc/varve/admin/cert.pem
- name: VARVE_TLS_KEY_FILE
  value: /etc/varve/admin/key.pem
{{- end }}
{{- end -}}

{{/* The admin's certificate, as files of the same names wherever it comes from. */}}
{{- define "varve.adminVolume" -}}
- name: admin
  secret:
    {{- if include "varve.byCertManager" . }}
    secretName: {{ include "varve.fullname" . }}-admin-tls
    {{- else }}
    secretName: {{ include "varve.tlsSecret" . }}
    {{- end }}
    defaultMode: 0440
    items:
      {{- if include "varve.byCertManager" . }}
      - { key: ca.crt, path: ca.pem }
      - { key: tls.crt, path: cert.pem }
      - { key: tls.key, path: key.pem }
      {{- else }}
      - { key: ca.pem, path: ca.pem }
      - { key: {{ .Values.certificates.admin }}.pem, path: cert.pem }
      - { key: {{ .Values.certificates.admin }}-key.pem, path: key.pem }
      {{- end }}
{{- end -}}

{{/* The rest of a pod of the chart's jobs and tests, behind its containers. */}}
{{- define "varve.jobPod" -}}
enableServiceLinks: false
securityContext:
  {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* A container of those, in which `varve` runs: (list $ name args server). */}}
{{- define "varve.command" -}}
{{- $ := index . 0 -}}
name: {{ index . 1 }}
image: {{ include "varve.image" $ }}
imagePullPolicy: {{ $.Values.image.pullPolicy }}
args:
  {{- toYaml (index . 2) | nindent 2 }}
securityContext:
  {{- toYaml $.Values.securityContext | nindent 2 }}
resources:
  {{- toYaml $.Values.jobResources | nindent 2 }}
{{- end -}}

{{/* A value of the configuration file. Helm reads whole numbers as fractions, and would write large ones with an exponent. */}}
{{- define "varve.value" -}}
{{- if and (kindIs "float64" .) (eq (floor .) .) -}}{{ int64 . }}{{- else -}}{{ . }}{{- end -}}
{{- end -}}

{{/* What the schema cannot say. */}}
{{- define "varve.check" -}}
{{- $replicas := int .Values.replicas -}}
{{- if and (has .Values.certificates.mode (list "job" "certManager")) (lt (int .Values.certificates.nodes) $replicas) -}}
{{- fail (printf "certificates.nodes is %d and replicas %d: each node needs a certificate" (int .Values.certificates.nodes) $replicas) -}}
{{- end -}}
{{- with .Values.externalAccess -}}
{{- if and .enabled .addresses (ne (len .addresses) $replicas) -}}
{{- fail (printf "externalAccess.addresses has %d addresses and there are %d replicas: give one for each pod" (len .addresses) $replicas) -}}
{{- end -}}
{{- if and .enabled (eq .type "NodePort") (ne (len .nodePorts) $replicas) -}}
{{- fail (printf "externalAccess.nodePorts has %d ports and there are %d replicas: give one for each pod" (len .nodePorts) $replicas) -}}
{{- end -}}
{{- end -}}
{{- end -}}
