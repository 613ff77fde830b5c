{{/* Names, labels, image references and security contexts that every template shares. */}}

{{/* Prefix of cluster-wide objects: one release per namespace. */}}
{{- define "vidgen.clusterName" -}}
{{- if eq .Release.Namespace "vidgen" }}vidgen{{ else }}vidgen-{{ .Release.Namespace }}{{ end }}
{{- end }}

{{- define "vidgen.labels" -}}
app.kubernetes.io/name: vidgen
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/part-of: vidgen
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{/* Labels of the pods of runs, as vidgen-cloud and KubeRay set them. */}}
{{- define "vidgen.rayPods" -}}
app.kubernetes.io/name: vidgen
ray.io/is-ray-node: "yes"
{{- end }}

{{/* An image by digest, or by exact tag. Argument: {image, tag}, where tag is the one of an empty image.tag. */}}
{{- define "vidgen.image" -}}
{{- if .image.digest -}}
{{ .image.repository }}@{{ .image.digest }}
{{- else -}}
{{ .image.repository }}:{{ .image.tag | default .tag }}
{{- end }}
{{- end }}

{{- define "vidgen.podSecurity" -}}
runAsNonRoot: true
runAsUser: 1000
runAsGroup: 1000
fsGroup: 1000
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "vidgen.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "vidgen.authSecret" -}}
{{ .Values.auth.existingSecret | default "vidgen-ray-auth" }}
{{- end }}

{{/* Where runs live, as Platform.objectStore. */}}
{{- define "vidgen.objectStore" -}}
{{- $store := .Values.objectStore }}
{{- if $store.embedded.enabled }}
url: s3://{{ $store.embedded.bucket }}
endpointUrl: http://vidgen-objectstore.{{ .Release.Namespace }}.svc:9000
region: us-east-1
secretName: {{ $store.existingSecret | default "vidgen-objectstore" }}
podSelector: {app.kubernetes.io/name: vidgen-objectstore}
port: 9000
{{- else }}
url: {{ $store.url | trimSuffix "/" }}
{{- with $store.endpointUrl }}
endpointUrl: {{ . }}
{{- end }}
{{- with $store.region }}
region: {{ . }}
{{- end }}
{{- with $store.existingSecret }}
secretName: {{ . }}
{{- end }}
{{- end }}
{{- end }}

{{/* The environment that gives a container the object store; credentials by reference. */}}
{{- define "vidgen.objectStoreEnv" -}}
{{- $store := include "vidgen.objectStore" . | fromYaml }}
{{- with $store.endpointUrl }}
- {name: AWS_ENDPOINT_URL, value: {{ . | quote }}}
{{- end }}
{{- with $store.region }}
- {name: AWS_REGION, value: {{ . | quote }}}
{{- end }}
{{- with $store.secretName }}
{{- range list "AWS_ACCESS_KEY_ID" "AWS_SECRET_ACCESS_KEY" }}
- name: {{ . }}
  valueFrom: {secretKeyRef: {name: {{ $store.secretName }}, key: {{ . }}}}
{{- end }}
{{- end }}
{{- end }}

{{/* Cloud identity of runs, as annotations of their service accounts. */}}
{{- define "vidgen.identityAnnotations" -}}
{{- with .Values.identity.awsRoleArn }}
eks.amazonaws.com/role-arn: {{ . }}
{{- end }}
{{- with .Values.identity.gcpServiceAccount }}
iam.gke.io/gcp-service-account: {{ . }}
{{- end }}
{{- with .Values.identity.azureClientId }}
azure.workload.identity/client-id: {{ . }}
{{- end }}
{{- end }}

{{/* More labels of every run's pods: Azure injects its identity into labelled pods only. */}}
{{- define "vidgen.podLabels" -}}
{{- with .Values.run.podLabels }}
{{ toYaml . }}
{{- end }}
{{- if .Values.identity.azureClientId }}
azure.workload.identity/use: "true"
{{- end }}
{{- end }}

{{/* "yes" when the templates are rendered against a cluster rather than on a laptop: every API server
     serves this group, and Helm's built-in list does not have it. */}}
{{- define "vidgen.live" -}}
{{- if .Capabilities.APIVersions.Has "apiregistration.k8s.io/v1" }}yes{{ end }}
{{- end }}

{{/* RBAC subjects: users and groups carry an apiGroup, service accounts a namespace. */}}
{{- define "vidgen.subjects" -}}
{{- range . }}
{{- if eq .kind "ServiceAccount" }}
- {kind: ServiceAccount, name: {{ .name | quote }}, namespace: {{ .namespace | quote }}}
{{- else }}
- {kind: {{ .kind }}, name: {{ .name | quote }}, apiGroup: rbac.authorization.k8s.io}
{{- end }}
{{- end }}
{{- end }}
