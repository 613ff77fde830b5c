{{/*
Pools as Platform.pools has them: YAML of name -> pool, GPU and CPU pools alike. Here, and only here,
grace period and drain follow from the cloud's notice (files/clouds.yaml):

    drain = min(drainSeconds, notice - 5)      a spot pool; without spot: drainSeconds
    grace = drain + 5                          time to write the last bytes and leave

A rank hears of the drain at most 4 s after it began, so drain - 4 seconds are left for a checkpoint.
*/}}
{{- define "vidgen.pools" -}}
{{- $pools := dict }}
{{- range $name, $pool := .Values.cpuPools }}
{{- $_ := set $pools $name (include "vidgen.pool" (dict "root" $ "name" $name "pool" $pool "kind" "cpuPools") | fromYaml) }}
{{- end }}
{{- range $name, $pool := .Values.gpuPools }}
{{- $_ := set $pools $name (include "vidgen.pool" (dict "root" $ "name" $name "pool" $pool "kind" "gpuPools") | fromYaml) }}
{{- end }}
{{- toYaml $pools }}
{{- end }}

{{- define "vidgen.pool" -}}
{{- $root := .root }}
{{- $pool := .pool }}
{{- $cloud := index (.root.Files.Get "files/clouds.yaml" | fromYaml) .root.Values.cloud }}
{{- $key := printf "%s.%s" .kind .name }}
{{- $drain := $pool.drainSeconds | default .root.Values.preemption.drainSeconds | int }}
{{- if $pool.spot }}
{{- $notice := $pool.noticeSeconds | default $cloud.noticeSeconds | int }}
{{- if lt $notice 7 }}
{{- fail (printf "%s.spot needs %s.noticeSeconds (at least 7): how long a pod has when a spot node goes away. It is known only for cloud eks, gke and aks; cloud is %q." $key $key .root.Values.cloud) }}
{{- end }}
{{- if and $pool.drainSeconds (gt (add (int $pool.drainSeconds) 5) $notice) }}
{{- fail (printf "%s.drainSeconds %d plus 5 s to leave is more than the %d s of notice that a spot node gives; at most %d." $key (int $pool.drainSeconds) $notice (sub $notice 5)) }}
{{- end }}
{{- $drain = min $drain (sub $notice 5) }}
{{- end }}
{{- $selector := $pool.nodeSelector | default dict }}
{{- $types := $pool.instanceTypes | default list }}
{{- if and (not $selector) $types }}
{{- if gt (len $types) 1 }}
{{- fail (printf "%s.instanceTypes has %d types, which one nodeSelector cannot say; give %s.nodeSelector, a label that all of them have." $key (len $types) $key) }}
{{- end }}
{{- $selector = dict "node.kubernetes.io/instance-type" (first $types) }}
{{- end }}
{{- $tolerations := concat ($pool.tolerations | default list) (ternary $cloud.tolerations list (eq .kind "gpuPools")) }}
{{- if $pool.spot }}
{{- $selector = merge (dict) $selector $cloud.spotSelector }}
{{- $tolerations = concat $tolerations $cloud.spotTolerations }}
{{- end }}
{{- with $pool.gpu }}
gpu: {{ . | quote }}
{{- end }}
gpusPerNode: {{ $pool.gpusPerNode | default 0 }}
{{- with $pool.gpuMemory }}
gpuMemory: {{ . }}
{{- end }}
{{- with $pool.gpuResource }}
gpuResource: {{ . }}
{{- end }}
{{- with $pool.image }}
image: {{ include "vidgen.image" (dict "image" (merge (dict) . $root.Values.image) "tag" $root.Chart.AppVersion) }}
{{- end }}
nodeSelector: {{ $selector | toJson }}
tolerations: {{ $tolerations | uniq | toJson }}
spot: {{ $pool.spot | default false }}
maxNodes: {{ $pool.maxNodes | default 1 }}
resources: {{ $pool.resources | default dict | toJson }}
{{- with $pool.shm }}
shm: {{ . }}
{{- end }}
precision: {{ $pool.precision | default "auto" }}
gracePeriodSeconds: {{ add $drain 5 }}
drainSeconds: {{ $drain }}
{{- with $pool.pricePerHour }}
pricePerHour: {{ . }}
{{- end }}
{{- with $pool.currency }}
currency: {{ . }}
{{- end }}
{{- if $root.Values.priorityClasses.create }}
priorityClass: {{ include "vidgen.clusterName" $root }}-worker
{{- end }}
{{- end }}
