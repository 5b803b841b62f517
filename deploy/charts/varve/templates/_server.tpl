{{/*
The environment of a server. What differs between the pods is expanded by Kubernetes itself ($(POD_NAME)), so that no init
container and no shell has to work it out.
*/}}
{{- define "varve.env" -}}
- name: POD_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
- name: POD_IP
  valueFrom:
    fieldRef:
      fieldPath: status.podIP
- name: VARVE_CONFIG_FILE
  {{- if and .Values.externalAccess.enabled .Values.externalAccess.addresses }}
  value: /etc/varve/config/$(POD_NAME).yaml
  {{- else }}
  value: /etc/varve/config/varve.yaml
  {{- end }}
- name: VARVE_DATA_DIR
  # Not the volume's root, where some file systems keep things of their own.
  value: /var/lib/varve/data
- name: VARVE_NODE_NAME
  value: $(POD_NAME)
- name: VARVE_BIND_ADDR
  # Others are told this one by gossip, and by name for gRPC: the name outlives the address. Gossip's port is 8401.
  value: $(POD_IP)
- name: VARVE_GOSSIP_ADVERTISE_ADDR
  # Also where the address for gRPC leads in from outside, which gossip does not.
  value: $(POD_IP)
- name: VARVE_RPC_PORT
  value: "8400"
{{- if not (and .Values.externalAccess.enabled .Values.externalAccess.addresses) }}
- name: VARVE_ADVERTISE_ADDR
  {{- if .Values.externalAccess.enabled }}
  value: $(POD_NAME).{{ .Values.externalAccess.domain }}:{{ .Values.externalAccess.port }}
  {{- else }}
  value: $(POD_NAME).{{ include "varve.domain" . }}:8400
  {{- end }}
{{- end }}
- name: VARVE_START_JOIN_ADDRS
  # One name for all that there are, resolved anew at each try.
  value: {{ include "varve.domain" . }}:8401
- name: VARVE_GOSSIP_KEY_FILE
  value: /etc/varve/gossip/gossip.key
- name: VARVE_OPS_ADDR
  value: {{ printf "%s:8402" .Values.operations.host | quote }}
{{- with .Values.rack.fromPodLabel }}
- name: VARVE_RACK
  valueFrom:
    fieldRef:
      fieldPath: metadata.labels['{{ . }}']
{{- end }}
{{- $tls := "/etc/varve/tls" }}
{{- if has .Values.certificates.mode (list "job" "secret") }}
{{- include "varve.tlsEnv" (printf "%s/$(POD_NAME).pem %s/$(POD_NAME)-key.pem %s/ca.pem" $tls $tls $tls) }}
{{- else if eq .Values.certificates.mode "certManager" }}
{{- $tls = "/etc/varve/tls/$(POD_NAME)" }}
{{- include "varve.tlsEnv" (printf "%s/tls.crt %s/tls.key %s/ca.crt" $tls $tls $tls) }}
{{- else if eq .Values.certificates.mode "csi" }}
{{- include "varve.tlsEnv" (printf "%s/tls.crt %s/tls.key %s/ca.crt" $tls $tls $tls) }}
{{- end }}
{{- if include "varve.secured" . }}
- name: VARVE_ACL_POLICY_FILE
  value: /etc/varve/acl/policy.csv
{{- if .Values.acl.model }}
- name: VARVE_ACL_MODEL_FILE
  value: /etc/varve/acl/model.conf
{{- end }}
{{- if .Values.certificates.crlConfigMap }}
- name: VARVE_TLS_CRL_FILE
  value: /etc/varve/crl/crl.pem
{{- end }}
{{- else }}
- name: VARVE_INSECURE_SERVE_BEYOND_LOOPBACK
  value: "true"
{{- end }}
{{- end -}}

{{/* Where certificate, key and CA lie, with blanks between. */}}
{{- define "varve.tlsEnv" }}
{{- $files := splitList " " . }}
- name: VARVE_SERVER_TLS_CERT_FILE
  value: {{ index $files 0 }}
- name: VARVE_SERVER_TLS_KEY_FILE
  value: {{ index $files 1 }}
- name: VARVE_SERVER_TLS_CA_FILE
  value: {{ index $files 2 }}
{{- end -}}

{{/*
The nodes' certificates. A pod cannot choose a Secret by its own name, so all are there, and it reads its own: nodes trust each
other with everything anyway. By the CSI driver each pod has its own alone.
*/}}
{{- define "varve.tlsVolume" -}}
{{- $ := . -}}
{{- $fullname := include "varve.fullname" . -}}
- name: tls
{{- if eq .Values.certificates.mode "certManager" }}
  projected:
    defaultMode: 0440
    sources:
      {{- range $i := until (int (include "varve.nodes" .)) }}
      - secret:
          name: {{ $fullname }}-{{ $i }}-tls
          items:
            - { key: tls.crt, path: {{ $fullname }}-{{ $i }}/tls.crt }
            - { key: tls.key, path: {{ $fullname }}-{{ $i }}/tls.key }
            - { key: ca.crt, path: {{ $fullname }}-{{ $i }}/ca.crt }
      {{- end }}
{{- else if eq .Values.certificates.mode "csi" }}
  csi:
    driver: csi.cert-manager.io
    readOnly: true
    volumeAttributes:
      csi.cert-manager.io/issuer-name: {{ include "varve.issuerName" . }}
      csi.cert-manager.io/issuer-kind: {{ .Values.certificates.certManager.issuerKind }}
      csi.cert-manager.io/issuer-group: {{ .Values.certificates.certManager.issuerGroup }}
      csi.cert-manager.io/common-name: ${POD_NAME}
      csi.cert-manager.io/uri-sans: varve://{{ include "varve.clusterName" . }}/node/${POD_NAME}
      {{- $names := list }}
      {{- $addresses := list }}
      {{- range splitList "\n" (include "varve.sans" (list . "${POD_NAME}" 0)) }}
      {{- if include "varve.isAddress" . }}{{ $addresses = append $addresses . }}{{ else }}{{ $names = append $names . }}{{ end }}
      {{- end }}
      csi.cert-manager.io/dns-names: {{ join "," $names }}
      csi.cert-manager.io/ip-sans: {{ join "," $addresses }}
      csi.cert-manager.io/key-usages: digital signature,server auth,client auth
      csi.cert-manager.io/key-encoding: PKCS8
      csi.cert-manager.io/duration: {{ .Values.certificates.certManager.duration }}
      csi.cert-manager.io/renew-before: {{ .Values.certificates.certManager.renewBefore }}
      csi.cert-manager.io/fs-group: {{ .Values.podSecurityContext.fsGroup | quote }}
{{- else }}
  secret:
    secretName: {{ include "varve.tlsSecret" . }}
    defaultMode: 0440
{{- end }}
{{- end -}}

{{- define "varve.isAddress" -}}
{{- if regexMatch "^[0-9.]+$|:" . }}true{{ end -}}
{{- end -}}

{{- define "varve.issuerName" -}}
{{- .Values.certificates.certManager.issuerName | default (printf "%s-ca" (include "varve.fullname" .)) -}}
{{- end -}}
