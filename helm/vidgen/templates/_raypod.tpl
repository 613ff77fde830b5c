{{/*
Pod template of the interactive cluster, alike to the one vidgen-cloud makes for runs (cloud/pods.py).
Arguments: root, role, image, resources, token (mount the API token), grace, drain, selector,
tolerations, priority, shm.
*/}}
{{- define "vidgen.rayPod" -}}
metadata:
  labels:
    app.kubernetes.io/name: vidgen
    vidgen.dev/role: {{ .role }}
    vidgen.dev/run: interactive
    {{- include "vidgen.podLabels" .root | trim | nindent 4 }}
spec:
  serviceAccountName: vidgen-interactive
  automountServiceAccountToken: {{ .token }}
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ .grace }}
  securityContext: {{- include "vidgen.podSecurity" .root | nindent 4 }}
  nodeSelector: {{ .selector | default dict | toJson }}
  tolerations: {{ .tolerations | default list | toJson }}
  {{- with .priority }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with .root.Values.image.pullSecrets }}
  imagePullSecrets: {{ range . }}
    - {name: {{ . }}}{{ end }}
  {{- end }}
  containers:
    - name: ray-{{ .role }}
      image: {{ .image }}
      imagePullPolicy: {{ .root.Values.image.pullPolicy }}
      resources: {{ .resources | toJson }}
      env:
        - {name: HOME, value: /home/vidgen}
        - {name: RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S, value: {{ .drain | toString | quote }}}
        - {name: VIDGEN_METRICS_PORT, value: {{ .root.Values.monitoring.metricsPort | toString | quote }}}
        {{- include "vidgen.objectStoreEnv" .root | trim | nindent 8 }}
      ports:
        - {name: metrics, containerPort: 8080}
        {{- if eq .role "head" }}
        - {name: gcs-server, containerPort: 6379}
        - {name: dashboard, containerPort: 8265}
        - {name: client, containerPort: 10001}
        {{- end }}
        - {name: vidgen-metrics, containerPort: {{ .root.Values.monitoring.metricsPort }}}
      securityContext: {{- include "vidgen.containerSecurity" .root | nindent 8 }}
      volumeMounts:
        - {name: tmp, mountPath: /tmp}
        - {name: home, mountPath: /home/vidgen}
        {{- if .shm }}
        - {name: shm, mountPath: /dev/shm}
        {{- end }}
  volumes:
    - {name: tmp, emptyDir: {}}
    - {name: home, emptyDir: {}}
    {{- with .shm }}
    - {name: shm, emptyDir: {medium: Memory, sizeLimit: {{ . }}}}
    {{- end }}
{{- end }}
