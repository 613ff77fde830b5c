{{/* What a schema cannot say; each message names the key. configmap-platform.yaml includes it. */}}
{{- define "vidgen.validate" -}}
{{- $store := .Values.objectStore }}
{{- $identities := list }}
{{- range $key, $value := .Values.identity }}
{{- if $value }}{{ $identities = append $identities (printf "identity.%s" $key) }}{{ end }}
{{- end }}
{{- if gt (len $identities) 1 }}
{{- fail (printf "%s are both set: runs have one cloud identity." (join " and " $identities)) }}
{{- end }}
{{- if and $store.existingSecret $identities }}
{{- fail (printf "objectStore.existingSecret and %s are both set: the Secret would win silently. Keep one." (first $identities)) }}
{{- end }}
{{- if and $store.embedded.enabled (or $store.url $store.endpointUrl) }}
{{- fail "objectStore.embedded.enabled and objectStore.url or objectStore.endpointUrl are both set: keep one store." }}
{{- end }}
{{- if not (or $store.url $store.embedded.enabled) }}
{{- fail "objectStore.url is empty: give s3://bucket/prefix, or set objectStore.embedded.enabled for a trial." }}
{{- end }}
{{- if not (or .Values.gpuPools .Values.cpuPools) }}
{{- fail "gpuPools is empty: start from a preset, for example -f helm/vidgen/presets/eks-a100.yaml." }}
{{- end }}
{{- range $name, $_ := .Values.cpuPools }}
{{- if hasKey $.Values.gpuPools $name }}
{{- fail (printf "gpuPools.%s and cpuPools.%s have one name." $name $name) }}
{{- end }}
{{- end }}
{{- range $key := list "run" "interactive" }}
{{- $pool := (index $.Values $key).pool }}
{{- if and $pool (not (or (hasKey $.Values.gpuPools $pool) (hasKey $.Values.cpuPools $pool))) }}
{{- fail (printf "%s.pool %q is no pool; pools: %s." $key $pool (concat (keys $.Values.gpuPools) (keys $.Values.cpuPools) | sortAlpha | join ", ")) }}
{{- end }}
{{- end }}
{{- if include "vidgen.live" . }}
{{- if contains "//example-" $store.url }}
{{- fail (printf "objectStore.url %s is the preset's placeholder; give your own: --set objectStore.url=s3://BUCKET/PREFIX" $store.url) }}
{{- end }}
{{- if contains ".example.com" $store.endpointUrl }}
{{- fail (printf "objectStore.endpointUrl %s is the preset's placeholder; give your own: --set objectStore.endpointUrl=URL" $store.endpointUrl) }}
{{- end }}
{{- if contains ":000000000000:" .Values.identity.awsRoleArn }}
{{- fail "identity.awsRoleArn is the preset's placeholder; give your own: --set identity.awsRoleArn=arn:aws:iam::ACCOUNT:role/NAME" }}
{{- end }}
{{- if not (.Capabilities.APIVersions.Has "ray.io/v1") }}
{{- fail "The KubeRay operator is missing. Install it first:\n  helm repo add kuberay https://ray-project.github.io/kuberay-helm/\n  helm install kuberay-operator kuberay/kuberay-operator --version 1.7.0 --namespace kuberay-system --create-namespace" }}
{{- end }}
{{- if and .Values.queue.name .Values.queue.create (not (.Capabilities.APIVersions.Has "kueue.x-k8s.io/v1beta2")) }}
{{- fail "queue.name is set but Kueue (API kueue.x-k8s.io/v1beta2) is missing. Install it first:\n  kubectl apply --server-side -f https://github.com/kubernetes-sigs/kueue/releases/download/v0.15.0/manifests.yaml" }}
{{- end }}
{{- end }}
{{- end }}
